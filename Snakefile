"""An experiment as a graph of files: a step is a notebook that papermill executes, and is done when its stamp is there.

    ./run_all.sh paper --engine snakemake                               on this machine
    ./run_all.sh paper --engine snakemake --profile profiles/slurm      on a cluster

Both write a plan into data/steps, take away stamps of steps that are done no more, and call this; by hand, e.g. to see
what there is to do: ``snakemake --dry-run --config plan=data/steps/<name>.plan``.
"""

import sys

from mp_lib.pipeline.cluster import Plan

PLAN_FILE, PYTHON = config["plan"], sys.executable
PLAN = Plan.read(PLAN_FILE)


rule all:
    input:
        PLAN.stamps("recording", "group", "training", "evaluation", "page"),


rule runs:
    input:
        PLAN.stamps("recording", "group", "training", "evaluation"),


rule recording:
    input:
        lambda wildcards: PLAN.before(wildcards.name),
    output:
        "data/steps/{name}.json",
    wildcard_constraints:
        name=PLAN.names("recording"),
    params:
        told=lambda wildcards: PLAN.told(wildcards.name),
    threads: lambda wildcards: PLAN.cores(wildcards.name)
    resources:
        steps=1,
        mem_mb=4000,
        runtime=240,
    shell:
        "exec {PYTHON:q} -m mp_lib step {PLAN_FILE:q} {wildcards.name:q} {threads}"


use rule recording as group with:
    wildcard_constraints:
        name=PLAN.names("group"),
    resources:
        steps=1,
        mem_mb=64000,
        runtime=1440,


use rule recording as training with:
    wildcard_constraints:
        name=PLAN.names("training"),
    resources:
        steps=1,
        mem_mb=16000,
        runtime=1440,


use rule recording as evaluation with:
    wildcard_constraints:
        name=PLAN.names("evaluation"),


use rule recording as page with:
    wildcard_constraints:
        name=PLAN.names("page"),
