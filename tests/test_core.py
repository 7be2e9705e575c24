"""The package from a wheel, with its core alone and away from its checkout: it acts, and says what it lacks."""

import os
import subprocess
import sys
from shutil import copy, copytree, ignore_patterns

import pytest
import torch

from mp_lib.config import PolicyConfig
from mp_lib.model.checkpoint import save_policy
from mp_lib.model.policy import build_policy
from tests import ROOT
from tests.conftest import TOY

pytestmark = [pytest.mark.network, pytest.mark.slow]  # pip gets torch

ACT = """
import sys, torch
from collections import namedtuple
from mp_lib.config import scale_config
from mp_lib.data.replay_buffer import ReplayBuffer
from mp_lib.data.windows import ActionWindows
from mp_lib.learning.metrics import Metrics
from mp_lib.learning.training import policy_config
from mp_lib.learning.trainer import Trainer
from mp_lib.model.backends import freeze
from mp_lib.model.checkpoint import load_policy
from mp_lib.system import paths

Sizes = namedtuple("Sizes", "state_dim action_dim state_kinds action_kinds")
store = ReplayBuffer.open("toy.zarr")
frames = store.read()
policy = freeze(load_policy("policy.safetensors")[0], "auto")
history = {key: torch.from_numpy(frames[key][None, :2]) for key in ("point_cloud", "state")}
actions = policy.act(history, torch.zeros(1, 16, 2))
config = scale_config("smoke", "toy", "dp3_mamba_v2", horizon=4, n_action_steps=3, num_points=8, width_divisor=8)
windows = ActionWindows(frames, store.episode_ends, horizon=4, n_obs_steps=2, n_action_steps=3)
trainer = Trainer(config, policy_config(config, Sizes(3, 2, "", "")), windows, torch.device("cpu"))
metrics = Metrics(paths.Path("metrics.jsonl"), 0, {})
metrics.write(0, loss=float(trainer.update()))
metrics.close()
assert "loss" in paths.Path("metrics.jsonl").read_text()
assert actions.shape == (1, 8, 2) and actions.isfinite().all()
assert paths.checkout() is None and paths.root() == paths.Path.cwd(), paths.root()
assert not {"mujoco", "pandas", "matplotlib", "scipy", "wandb", "papermill"} & set(sys.modules)
print(policy.backend, store.num_episodes)
"""
LACKING = {  # statement: the extra that has what it wants
    "import mp_lib; mp_lib.runs": "lab",
    "from mp_lib.drawing import plots": "lab",
    "from mp_lib.study import runs": "lab",
    "from mp_lib.sim.tasks import TASKS; TASKS['metaworld_reach'].make_env()": "sim",
}


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """The interpreter of an empty environment in which the package's wheel was installed without extras."""
    folder = tmp_path_factory.mktemp("core")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    copytree(ROOT / "mp_lib", folder / "source" / "mp_lib", ignore=ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        copy(ROOT / name, folder / "source")
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", str(folder), str(folder / "source")], check=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    (wheel,), python = folder.glob("*.whl"), folder / "venv" / "bin" / "python"
    constraints = ["--constraint", str(ROOT / "constraints.txt")]
    subprocess.run([python, *pip[1:], "install", *constraints, str(wheel)], check=True)
    return python


def run(python, *arguments, folder):
    """A call of that interpreter in a folder, with nothing of this checkout in its environment."""
    hidden = ("PYTHONPATH", "MP_ROOT", "PYTHONSAFEPATH")
    variables = {key: value for key, value in os.environ.items() if key not in hidden}
    return subprocess.run([python, *arguments], cwd=folder, env=variables, capture_output=True, text=True)


def test_the_core_reads_a_store_loads_a_policy_and_acts(python, tmp_path, toy_demos):
    (tmp_path / "toy.zarr").symlink_to(toy_demos.path)
    torch.manual_seed(0)
    config = PolicyConfig("dp3_mamba_v2", TOY.state_dim, TOY.action_dim, num_points=TOY.num_points, down_dims=(32, 64))
    policy = build_policy(config)
    policy.normalizer.fit({key: torch.from_numpy(values) for key, values in toy_demos.read().items()})
    save_policy(tmp_path / "policy.safetensors", policy)
    done = run(python, "-c", ACT, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["torch", str(toy_demos.num_episodes)]


@pytest.mark.parametrize("statement", LACKING)
def test_what_the_core_lacks_is_one_line_with_the_command_that_installs_it(python, tmp_path, statement):
    done = run(python, "-c", statement, folder=tmp_path)
    last = done.stderr.splitlines()[-1]
    assert "MissingExtraError" in last and f"python -m pip install -e '.[{LACKING[statement]}]'" in last


def test_the_command_is_installed_and_says_what_it_lacks(python, tmp_path):
    command = python.parent / "mp-lib"
    assert run(command, folder=tmp_path).stdout == run(python, "-m", "mp_lib", folder=tmp_path).stdout
    done = run(command, "info", folder=tmp_path)
    assert done.returncode == 0 and f"root (MP_ROOT): {tmp_path}" in done.stdout, done.stderr
    done = run(command, "keep", folder=tmp_path)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and ".[lab]" in done.stderr
