"""Whatever is killed or stopped, at any moment: the next call goes on and ends in the same numbers."""

import contextlib
import json
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import nbformat
import psutil
import pytest

from mp_lib.pipeline.runner import Runner
from mp_lib.system import locks
from tests import ROOT
from tests.pipeline import small_run
from tests.pipeline.test_steps import make_step, notebook_root  # noqa: F401 (a fixture)
from tests.study.finished import comparable

KILLS = 20
WAITING = """
import pathlib, time
pathlib.Path(path).with_suffix(".began").write_text("")
try:
    time.sleep(600)
except KeyboardInterrupt:
    pathlib.Path(path).write_text("saved")
    raise
"""


@pytest.fixture
def waiting_step(notebook_root):  # noqa: F811
    """A step whose notebook waits, and saves when it is interrupted."""
    file = notebook_root / "source.ipynb"
    notebook = nbformat.read(file, 4)
    notebook.cells[1].source = WAITING
    nbformat.write(notebook, file)
    return make_step(notebook_root, "waiting")


def when(condition, action, seconds=60):
    """Call ``action`` as soon as ``condition()`` holds, in another thread."""

    def watch():
        end = time.monotonic() + seconds
        while time.monotonic() < end and not condition():
            time.sleep(0.05)
        action()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_notebooks_save_and_ends_all_of_them(waiting_step, notebook_root, number):  # noqa: F811
    began = notebook_root / "waiting.began"
    told = []

    def tell():
        told.append(time.monotonic())
        os.kill(os.getpid(), number)

    watcher = when(began.exists, tell)
    runner = Runner([waiting_step], jobs=1)
    with pytest.raises(KeyboardInterrupt):
        runner.run()
    assert time.monotonic() - told[0] < 10
    watcher.join()
    assert (notebook_root / "waiting.txt").read_text() == "saved"
    assert not waiting_step.stamp.exists()
    commands = [" ".join(process.cmdline()) for process in psutil.Process().children(recursive=True)]
    assert not [command for command in commands if "papermill" in command or "ipykernel" in command]
    with waiting_step.claim():
        pass


def test_a_stop_ends_a_step_that_has_no_kernel_yet(waiting_step, notebook_root):  # noqa: F811
    runner = Runner([waiting_step], jobs=1)
    watcher = when(lambda: runner.running, lambda: os.kill(os.getpid(), signal.SIGTERM))
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        runner.run()
    watcher.join()
    assert time.monotonic() - began < 10 and not (notebook_root / "waiting.began").exists()


def test_a_stop_does_not_wait_for_what_egl_is_asked(waiting_step, monkeypatch):
    asked = []
    monkeypatch.delenv("MUJOCO_EGL_DEVICE_ID", raising=False)
    monkeypatch.setattr("mp_lib.pipeline.runner.egl_device", lambda *gpu: (asked.append(gpu), time.sleep(20)) and "0")
    step = replace(waiting_step, kind="training", parameters=waiting_step.parameters | {"device": "auto"})
    watcher = when(lambda: asked, lambda: os.kill(os.getpid(), signal.SIGTERM))
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        Runner([step], jobs=1, gpus=["0"]).run()
    watcher.join()
    assert time.monotonic() - began < 10 and not step.log.exists()
    with step.claim():
        pass


def test_a_step_that_another_process_runs_is_waited_for(notebook_root, capsys):  # noqa: F811
    step = make_step(notebook_root)
    with contextlib.ExitStack() as stack:
        stack.enter_context(step.claim())

        def release():
            step.executed.write_text("")
            (notebook_root / "write.txt").write_text("of the other")
            step.finish(step.key(), 1)
            stack.close()

        timer = threading.Timer(1.5, release)
        timer.start()
        assert Runner([step], jobs=1).run() == []
        timer.join()
    assert (notebook_root / "write.txt").read_text() == "of the other"
    printed = capsys.readouterr().out
    assert printed.count(f"waiting: write is in use by process {os.getpid()} on ") == 1
    assert "there already: write" in printed


def test_a_step_whose_driver_was_killed_keeps_its_lock_until_it_ends(waiting_step, notebook_root):  # noqa: F811
    code = "import pickle, sys; from mp_lib.pipeline.runner import Runner; Runner([pickle.load(sys.stdin.buffer)]"
    code += ", 1).run()"
    driver = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    driver.stdin.write(pickle.dumps(waiting_step))
    driver.stdin.close()
    when((notebook_root / "waiting.began").exists, driver.kill).join()
    assert driver.wait() == -signal.SIGKILL
    (papermill,) = [each for each in psutil.process_iter(["cmdline"]) if "papermill" in (each.info["cmdline"] or ())
                    and str(waiting_step.executed) in each.info["cmdline"]]  # fmt: skip
    refused = pytest.raises(locks.InUseError, match=f"waiting is in use by process {papermill.pid} on ")
    with refused, waiting_step.claim():
        pass
    papermill.kill()
    with locks.sole_user(waiting_step.stamp.with_suffix(".lock"), "it", patience=10):
        pass


def make_checkout(folder):
    """A checkout, and root, of its own, whose trainings save twice a second."""
    for name in ("mp_lib", "notebooks"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns(".*", "__pycache__"))
    for name in ("pyproject.toml", "Snakefile"):
        shutil.copy(ROOT / name, folder)
    module = folder / "mp_lib" / "learning" / "fitting.py"
    text = module.read_text()
    module.write_text(text.replace("SAVE_SECONDS = 60.0", "SAVE_SECONDS = 0.5"))
    assert module.read_text() != text
    return folder


def start(checkout):
    """The small run in another process, by the package of a checkout."""
    paths = {"MP_ROOT": str(checkout), "PYTHONPATH": f"{checkout}{os.pathsep}{ROOT}"}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.pipeline.small_run"],
        cwd=checkout,
        env=os.environ | paths | {"WANDB_MODE": "disabled", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def results_of(root):
    """What a small run has found, apart from times and memory."""
    (result,) = (root / "data" / "runs").glob("*/result.json")
    (evaluation,) = (root / "data" / "runs").glob("*/evaluations/*.json")
    found = comparable(json.loads(result.read_text()))
    return found, json.loads(evaluation.read_text()), (result.parent / "policy.safetensors").read_bytes()


def kill_some(driver, chance):
    """Kill the driver, a process that it has started, or all of them; say which."""
    family = psutil.Process(driver.pid).children(recursive=True)
    which = chance.choice(["driver", "all", "one of them"])
    victims = {"driver": [], "all": family, "one of them": [chance.choice(family)] if family else []}[which]
    for process in ([] if which == "one of them" and family else [psutil.Process(driver.pid)]) + victims:
        with contextlib.suppress(psutil.Error):
            process.kill()
    return which


@pytest.mark.slow
def test_a_run_that_is_killed_twenty_times_ends_in_the_same_numbers(tmp_path):
    whole, torn = make_checkout(tmp_path / "whole"), make_checkout(tmp_path / "torn")
    with start(whole) as driver:
        printed = driver.communicate()[0]
    assert driver.returncode == 0, printed
    chance, kills = random.Random(0), []
    while len(kills) < KILLS:
        with start(torn) as driver:
            try:
                printed = driver.communicate(timeout=chance.uniform(1, 12))[0]
            except subprocess.TimeoutExpired:
                kills.append(kill_some(driver, chance))
                driver.communicate()
                continue
        assert driver.returncode == 0, printed  # unkilled, it goes on and ends well
        for folder in ("runs", "steps", *(["demos"] if chance.random() < 0.5 else [])):
            shutil.rmtree(torn / "data" / folder)  # begin again, so that all stages are hit
    with start(torn) as driver:
        printed = driver.communicate()[0]
    assert driver.returncode == 0, printed
    assert results_of(torn) == results_of(whole), kills
    assert {*kills} == {"driver", "all", "one of them"}


@pytest.mark.slow
def test_a_second_driver_shares_the_work_of_the_first(tmp_path):
    root = make_checkout(tmp_path)
    with start(root) as first, start(root) as second:
        printed = [driver.communicate()[0] for driver in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0), printed
    assert sum(text.count("there already") for text in printed) == len(small_run.steps())
