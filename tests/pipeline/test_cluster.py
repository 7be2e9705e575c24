"""Snakemake runs the same steps as run_all.sh alone, each once, whatever dies on the way."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml

from mp_lib.__main__ import main
from mp_lib.pipeline import cluster
from mp_lib.pipeline.cluster import Plan, check_snakemake, stamp_of, write_plan
from mp_lib.pipeline.options import parse
from mp_lib.pipeline.steps import KINDS, Step
from tests import ROOT
from tests.pipeline.slurm import Slurm, missing
from tests.pipeline.test_interruption import make_checkout
from tests.study.finished import comparable

MATRIX = (
    *("smoke", "--experiment", "width", "--task", "metaworld_drawer-open", "metaworld_reach"),
    *("--methods", "simple_dp3", "dp3_narrow", "dp3_mamba", "--seeds", "0", "1", "--device", "cpu"),
)


@pytest.fixture
def root(tmp_path, monkeypatch):
    """An empty root."""
    monkeypatch.setenv("MP_ROOT", str(tmp_path))
    return tmp_path


def snakemake(root, *arguments):
    """Run Snakemake by hand in a root."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(root)]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, cwd=ROOT)


@pytest.mark.parametrize("arguments", ["smoke", "quick --experiment denoising", "paper", " ".join(MATRIX)])
def test_a_plan_has_every_step_once_behind_those_that_it_needs(root, arguments):
    found = Plan.of(parse(arguments.split()))
    stamps = found.stamps(*KINDS)
    assert len(set(stamps)) == len(stamps) == len(found.steps)
    for kind in KINDS:
        matched = [name for name in found.steps if re.fullmatch(found.names(kind), name)]
        assert [found.steps[name].kind for name in matched] == [kind] * len(found.of_kinds(kind))
    seen = set()
    for name, step in found.steps.items():
        assert {*found.before(name)} <= seen, name
        seen.add(stamp_of(step))
    pages = [step for step in found.of_kinds("page") if step.after]
    assert pages and all({*found.stamps("training")} <= {*found.before(page.name)} for page in pages)


def test_a_plan_without_a_step_is_without_those_that_need_it(root):
    steps = [
        Step("a", "a", "n", root),
        Step("b", "b", "n", root, needs=("a",)),
        Step("c", "c", "n", root, after=("a",)),
    ]
    left = Plan({step.name: step for step in steps}).without(["a"])
    assert [*left.steps] == ["c"] and left.before("c") == []


def test_snakemake_plans_a_job_a_step(root):
    done = snakemake(root, "--dry-run", "--config", f"plan={write_plan('it', parse(MATRIX), 2)}")
    assert done.returncode == 0, done.stderr
    counts = dict(re.findall(r"^(\w+) +(\d+)$", done.stdout, re.M))
    expected = Plan.of(parse(MATRIX))
    assert {kind: int(counts.get(kind, 0)) for kind in KINDS} == {kind: len(expected.of_kinds(kind)) for kind in KINDS}
    assert int(counts["training"]) == 12


def test_without_the_extra_one_line_says_what_to_install(root, monkeypatch):
    monkeypatch.setattr("mp_lib.system.extras.find_spec", lambda _: None)
    with pytest.raises(ValueError, match=r"snakemake, .* are not installed.*python -m pip install -e .\.\[cluster\]"):
        check_snakemake("")


@pytest.mark.parametrize(
    ("profile", "said"), [("nowhere", "there is no such folder"), ("docs", "that has no config.yaml")]
)
def test_a_profile_that_is_not_there_is_named_before_anything_is_announced(root, capsys, profile, said):
    assert main(["run", "smoke", "--engine", "snakemake", "--profile", profile]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(f"run_all.sh: --profile {profile} was given, but {said}: ") and not printed.out
    assert printed.err.count("\n") == 1 and not [*root.iterdir()]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["{root}/nowhere.plan", "it", "1"],
            "there is no plan {root}/nowhere.plan; ./run_all.sh --engine snakemake writes",
        ),
        (["{plan}", "it", "1"], "unknown step 'it'; choose one of: smoke-metaworld_drawer-open"),
        (["{plan}", "smoke-00_overview", "0"], "threads 0 given; it must be at least 1"),
    ],
)
def test_a_step_that_cannot_be_run_is_answered_in_one_line(root, capsys, arguments, said):
    plan = write_plan("smoke", parse(["smoke"]), 1)
    assert main(["step", *(each.format(root=root, plan=plan) for each in arguments)]) == 2
    assert capsys.readouterr().err.startswith(f"mp_lib step: {said.format(root=root)}")


def test_every_rule_counts_as_one_of_the_steps_side_by_side(root):
    assert cluster.on_this_machine(5)[-2:] == ["--resources", "steps=5"]
    blocks = re.split(r"^(?:use )?rule ", (ROOT / "Snakefile").read_text(), flags=re.M)[1:]
    with_resources = [block for block in blocks if "resources:" in block]
    assert len(with_resources) >= 2 and all("steps=1," in block for block in with_resources)


def test_jobs_of_an_earlier_call_are_waited_for(root, monkeypatch, capsys):
    answers = [["12", "13"], ["13"], []]
    monkeypatch.setattr(cluster, "queued_jobs", lambda: answers.pop(0))
    monkeypatch.setattr(cluster, "POLL_SECONDS", 0)
    cluster.wait_for_earlier_jobs()
    assert capsys.readouterr().out.count("waiting for 2 jobs of an earlier call: 12 13") == 1 and not answers


@pytest.fixture
def squeue(tmp_path, monkeypatch):
    """A function that lets squeue answer with a script's output."""
    path = tmp_path / "bin" / "squeue"
    path.parent.mkdir()
    monkeypatch.setenv("PATH", f"{path.parent}:{os.environ['PATH']}")

    def answer(script):
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    return answer


def test_only_this_roots_jobs_count(root, squeue):
    squeue(f"echo '7 {cluster.queue_prefix()}_abc'; echo '8 my own job'; echo '9 '; echo '10'")
    assert cluster.queued_jobs() == ["7"]


def test_a_queue_that_does_not_answer_is_not_taken_for_an_empty_one(root, squeue):
    squeue("echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1")
    with pytest.raises(
        RuntimeError, match="does not answer .*Unable to contact slurm controller.*nothing was submitted"
    ):
        cluster.queued_jobs()


def test_without_slurm_nothing_is_queued(root, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert cluster.queued_jobs() == []


def test_a_job_without_a_gpu_of_its_own_sees_none(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    for name in [name for name in os.environ if name.startswith("SLURM")]:
        monkeypatch.delenv(name)
    for variables, expected in (
        ({}, "0"),
        ({"SLURM_JOB_ID": "7", "SLURM_JOB_GPUS": "3"}, "0"),
        ({"SLURM_JOB_ID": "7"}, ""),
    ):
        with monkeypatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            patch.setenv("CUDA_VISIBLE_DEVICES", "0")
            cluster.hide_gpus_of_others()
            assert os.environ["CUDA_VISIBLE_DEVICES"] == expected
            os.environ["CUDA_VISIBLE_DEVICES"] = "0"


def test_a_plan_of_an_earlier_version_is_refused_in_one_line(tmp_path):
    (tmp_path / "old.plan").write_text('{"arguments": ["smoke"], "jobs": 1, "left_out": []}')
    with pytest.raises(ValueError, match="old.plan is no plan of this version .*call ./run_all.sh again"):
        Plan.read(tmp_path / "old.plan")


def test_words_of_a_user_reach_no_shell(root):
    path = write_plan(
        "smoke", parse(["smoke", "--engine", "snakemake", "--profile", "o'brien $(exit 7) `exit 7`"]), None
    )
    assert re.fullmatch(r"smoke-[0-9a-f]{8}\.plan", path.name)
    with pytest.raises(SystemExit):
        Plan.of(parse(["smoke", "--device", "cpu'$(touch x) #"]))


def start(root, *arguments, checkout=ROOT):
    """The command line of a checkout in another process, in a process group of its own."""
    variables = {"MP_ROOT": str(root), "PYTHONPATH": str(checkout), "WANDB_MODE": "disabled"}
    return subprocess.Popen(
        [sys.executable, "-m", "mp_lib", "run", *arguments],
        cwd=checkout,
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def results_of(root):
    """What all runs have found, apart from times and memory."""
    found = {}
    for path in sorted((root / "data" / "runs").glob("*/result.json")):
        result = comparable(json.loads(path.read_text()))
        found[path.parent.name] = result, (path.parent / "policy.safetensors").read_bytes()
    return found


@pytest.mark.slow
def test_a_signal_ends_snakemake_and_lets_its_trainings_save(tmp_path):
    root = make_checkout(tmp_path)
    arguments = ("quick", "--experiment", "width", "--methods", "dp3_narrow", "--seeds", "0", "--device", "cpu")
    with start(root, *arguments, "--engine", "snakemake", "--jobs", "1", checkout=root) as driver:
        wait_until(lambda: list((root / "data" / "runs").glob("*/training.safetensors")), 300, driver)
        began = time.monotonic()
        driver.send_signal(signal.SIGTERM)
        printed = driver.communicate()[0]
    assert driver.returncode == 130 and time.monotonic() - began < 30, printed
    assert "stopped; the next call goes on from here" in printed
    left = [
        process for process in psutil.process_iter(["cmdline"]) if str(root) in " ".join(process.info["cmdline"] or ())
    ]
    assert not left
    (saved,) = (root / "data" / "runs").glob("*/training.json")
    assert json.loads(saved.read_text())["step"] > 0
    assert "Stopped at step " in (saved.parent / "03_train.ipynb").read_text()


@pytest.mark.slow
def test_snakemake_here_keeps_going_and_ends_in_the_report(root):
    """One store of demonstrations is spoiled: it, the training on it and its films fail, all else does not."""
    arguments = ("smoke", "--experiment", "demonstrations", "--methods", "dp3_narrow", "--device", "cpu")
    broken = root / "data" / "demos" / "metaworld_drawer-open-64points-5.zarr"
    broken.mkdir(parents=True)
    (broken / "file").write_text("")
    with start(root, *arguments, "--engine", "snakemake", "--jobs", "2") as driver:
        printed = driver.communicate()[0]
    assert driver.returncode == 1, printed
    failed = re.findall(r"^failed: (.*)$", printed, re.M)
    assert failed[0].startswith(f"smoke-{broken.stem}-demonstrations: {broken}"), printed
    others = [line.removesuffix(": a step before it failed") for line in failed[1:]]
    assert [name.rpartition("-")[2] for name in others] == ["num_demos=5", "films"], printed  # of that training, too
    assert len(results_of(root)) == 2
    assert Path(printed.splitlines()[-1]).exists()
    shutil.rmtree(broken)
    with start(root, *arguments, "--engine", "snakemake", "--jobs", "2") as driver:
        printed = driver.communicate()[0]
    assert driver.returncode == 0, printed
    assert len(results_of(root)) == 3


def slurm_profile(folder):
    """The profile that is shipped, for nodes of one core."""
    profile = yaml.safe_load((ROOT / "profiles" / "slurm" / "config.yaml").read_text())
    profile["set-threads"] = dict.fromkeys(profile["set-threads"], 1) | {"evaluation": 1}
    profile["set-resources"]["training"] |= {"mem_mb": 3000}
    profile["default-resources"] = ["mem_mb=3000", "runtime=60"]
    profile |= {"slurm-init-seconds-before-status-checks": 5, "latency-wait": 20}
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(profile))
    return folder


def wait_until(condition, seconds, driver):
    """Wait for a condition; an error if it does not come, or if the driver ends before."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end and driver.poll() is None, (
            driver.communicate()[0] if driver.poll() else "too late"
        )
        time.sleep(0.3)


def trainings_on(slurm, node):
    """The trainings that run on a node now."""
    return [job for job in slurm.jobs() if job["JobState"] == "RUNNING" and job.get("NodeList") == node
            and "training" in job.get("Comment", "")]  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(bool(missing()), reason=missing())
def test_a_matrix_on_slurm_survives_its_node_and_its_driver(root, tmp_path_factory):
    local = tmp_path_factory.mktemp("local")
    shutil.copytree(root, local, dirs_exist_ok=True)
    folder = tmp_path_factory.mktemp("slurm")
    arguments = (*MATRIX, "--engine", "snakemake", "--profile", str(slurm_profile(folder / "profile")))
    with Slurm(folder / "cluster") as slurm:
        driver = start(root, *arguments)
        wait_until(lambda: len(results_of(root)) >= 2 and trainings_on(slurm, "n2"), 600, driver)
        slurm.kill("n2")  # in mid-training
        time.sleep(2)
        for process in [*psutil.Process(driver.pid).children(recursive=True), psutil.Process(driver.pid)]:
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)
        driver.communicate()
        assert any(job["JobState"] in ("RUNNING", "PENDING") for job in slurm.jobs())
        slurm.start_node("n2")
        driver = start(root, *arguments)
        printed = driver.communicate(timeout=1800)[0]
        assert driver.returncode == 0, printed
        jobs = slurm.jobs()
    assert "of an earlier call" in printed
    comments = [job["Comment"] for job in jobs]
    assert len(comments) == len({*comments}) == len(Plan.of(parse(MATRIX)).steps), (
        "a step was submitted twice, or never"
    )
    assert any(int(job["Restarts"]) for job in jobs), "no job was put into the queue again"
    with start(local, *MATRIX, "--jobs", "2") as driver:
        printed = driver.communicate()[0]
    assert driver.returncode == 0, printed
    found, expected = results_of(root), results_of(local)
    assert len(expected) == 12
    assert found == expected
