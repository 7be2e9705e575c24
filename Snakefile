"""An experiment as a graph of files: a step is a notebook that papermill executes, and is done when its stamp is there.

    ./run_all.sh paper --engine snakemake                               on this machine
    ./run_all.sh paper --engine snakemake --profile profiles/slurm      on a cluster
    snakemake --cores 4 --config arguments="quick --methods dp3"        the same by hand, without the HTML report

``arguments`` are those of ./run_all.sh.
"""

from mp_lib.cluster import plan, run_step

PLAN = plan(config.get("arguments", "quick"), config.get("left_out", []))


rule all:
    input:
        PLAN.stamps("recording", "training", "evaluation", "page"),


rule runs:
    input:
        PLAN.stamps("recording", "training", "evaluation"),


rule recording:
    input:
        lambda wildcards: PLAN.before(wildcards.name),
    output:
        "data/steps/{name}.json",
    wildcard_constraints:
        name=PLAN.names("recording"),
    params:
        told=lambda wildcards: PLAN.told(wildcards.name),
    threads: 4
    resources:
        mem_mb=4000,
        runtime=240,
    run:
        run_step(PLAN, wildcards.name, threads)


use rule recording as training with:
    wildcard_constraints:
        name=PLAN.names("training"),
    threads: 2
    resources:
        mem_mb=16000,
        runtime=1440,


use rule recording as evaluation with:
    wildcard_constraints:
        name=PLAN.names("evaluation"),
    threads: 2


use rule recording as page with:
    wildcard_constraints:
        name=PLAN.names("page"),
    threads: 1
