"""Cores, memory and GPUs are shared without being told: one run a GPU, more only if asked for."""

from collections import Counter
from types import SimpleNamespace

import pytest
import torch

from mp_lib.pipeline.runner import Runner
from mp_lib.system import device, workers
from mp_lib.system.locks import sole_user
from tests.pipeline.test_steps import make_step, notebook_root  # noqa: F401 (a fixture)

GIB = 2**30


def claimed(steps, jobs, gpus):
    """The GPU that each step gets that is started at once."""
    found, running = {}, []

    class Execution:
        def __init__(self, step, locks, variables):
            self.step, self.seconds = step, 0
            found[step.name] = variables.get("CUDA_VISIBLE_DEVICES")
            running.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mp_lib.pipeline.runner.Execution", Execution)
        Runner(steps, jobs, gpus).start_ready()
    for execution in running:
        execution.release()
    return found


def trainings(root, count):
    return [make_step(root, f"training{number}", kind="training") for number in range(count)]


def test_each_gpu_gets_one_training_and_no_other_step_gets_one(notebook_root):  # noqa: F811
    steps = [*trainings(notebook_root, 3), make_step(notebook_root, "page")]
    found = claimed(steps, jobs=4, gpus=["0", "GPU-7", "2"])
    assert found == {"training0": "0", "training1": "GPU-7", "training2": "2", "page": None}


@pytest.mark.parametrize(("jobs", "shares"), [(1, [1]), (2, [1, 1]), (3, [2, 1]), (5, [3, 2]), (6, [3, 3])])
def test_more_jobs_than_gpus_share_them_evenly(notebook_root, jobs, shares):  # noqa: F811
    found = claimed(trainings(notebook_root, 6), jobs, ["0", "1"])
    assert sorted(Counter(found.values()).values(), reverse=True) == shares


def test_gpus_that_another_process_uses_are_left_to_it(notebook_root, monkeypatch):  # noqa: F811
    monkeypatch.setattr("socket.gethostname", lambda: "host")
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    with sole_user(notebook_root / "data" / "steps" / ".gpu-host-0-0.lock", "it"):
        assert claimed(trainings(notebook_root, 2), 2, ["0", "1"]) == {"training0": "1"}
    assert claimed(trainings(notebook_root, 2), 2, ["0", "1"]) == {"training0": "0", "training1": "1"}


def test_a_training_without_a_gpu_is_told_of_none(notebook_root):  # noqa: F811
    assert claimed(trainings(notebook_root, 1), 1, []) == {"training0": None}


def variables_of(step, gpus, monkeypatch, **own):
    """The variables of a step that is started where EGL says 90 for the first GPU, and which GPUs it was asked for."""
    asked = []
    monkeypatch.setattr("mp_lib.pipeline.runner.egl_device", lambda *gpu: (asked.append(gpu), f"9{gpu[0]}")[1])
    for name in ("CUDA_VISIBLE_DEVICES", "MUJOCO_EGL_DEVICE_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    found = []

    class Execution:
        def __init__(self, step, locks, variables):
            found.append(variables)
            self.step, self.seconds = step, 0

    monkeypatch.setattr("mp_lib.pipeline.runner.Execution", Execution)
    runner = Runner([step], 1, gpus)
    runner.start_ready()
    runner.running[0].release()
    return found[0], asked


@pytest.mark.parametrize(
    ("kind", "chosen", "gpus", "visible", "asked"),
    [
        ("training", "auto", ["2"], None, [(0, "2")]),
        ("training", "cuda", ["GPU-7"], "GPU-7", [(0, "GPU-7")]),
        ("training", "cuda:1", [], None, [(1, None)]),
        ("page", "cuda:1", [], "5,6", [(1, "5,6")]),
        ("page", "auto", ["5", "6"], "5,6", [(0, "5,6")]),
        ("training", "auto", [], None, []),
        ("training", "cpu", [], None, []),
        ("recording", None, ["0"], None, []),
    ],
)
def test_a_step_renders_on_the_gpu_on_which_it_computes(
    kind,
    chosen,
    gpus,
    visible,
    asked,
    notebook_root,  # noqa: F811
    monkeypatch,
):
    step = make_step(notebook_root, kind=kind, parameters={"device": chosen} if chosen else {})
    own = {"CUDA_VISIBLE_DEVICES": visible} if visible else {}
    variables, found = variables_of(step, gpus, monkeypatch, **own)
    assert found == asked
    assert variables.get("MUJOCO_EGL_DEVICE_ID") == (f"9{asked[0][0]}" if asked else None)


def test_where_to_render_is_the_users_choice_first(notebook_root, monkeypatch):  # noqa: F811
    step = make_step(notebook_root, kind="training", parameters={"device": "auto"})
    variables, asked = variables_of(step, ["2"], monkeypatch, MUJOCO_EGL_DEVICE_ID="4")
    assert "MUJOCO_EGL_DEVICE_ID" not in variables and not asked  # that of the environment is left as it is


@pytest.mark.parametrize(
    ("cores", "memory", "gpus", "expected"),
    [(2, 16, 0, 2), (4, 16, 0, 4), (8, 64, 0, 4), (64, 256, 0, 32), (64, 16, 0, 8), (2, 1, 0, 1), (16, 128, 3, 3)],
)
def test_jobs_follow_gpus_or_cores_and_memory(monkeypatch, cores, memory, gpus, expected):
    monkeypatch.setattr(workers, "usable_cores", lambda: cores)
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(total=memory * GIB))
    assert workers.default_jobs(gpus) == expected


@pytest.mark.parametrize(
    ("name", "visible", "count", "expected"),
    [
        ("auto", None, 2, ["0", "1"]),
        ("cuda", "3,GPU-a", 2, ["3", "GPU-a"]),
        ("auto", "", 0, []),
        ("cpu", None, 2, []),
        ("cuda:1", None, 2, []),
    ],
)
def test_gpus_are_those_that_may_be_used(monkeypatch, name, visible, count, expected):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(device, "refusal", lambda name: "")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert device.visible_gpus(name) == expected
