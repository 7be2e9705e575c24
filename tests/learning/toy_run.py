"""A training of the toy task that takes a second, and ways to stop it or to run it in another process."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from mp_lib.config import scale_config
from mp_lib.learning.trainer import Trainer

CONFIG = scale_config(
    "smoke",
    "toy",
    "simple_dp3",
    horizon=4,
    n_action_steps=3,
    num_points=8,
    width_divisor=16,
    num_steps=25,
    batch_size=8,
)
FILES = ["config.json", "metrics.jsonl", "policy.json", "policy.safetensors", "result.json", "rollout.mp4", "seen.npz"]


def rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def stop_at(monkeypatch, step, error=KeyboardInterrupt):
    """Let ``Trainer.update`` raise before that step."""
    update = Trainer.update

    def stopping(trainer):
        if trainer.step == step:
            raise error
        return update(trainer)

    monkeypatch.setattr(Trainer, "update", stopping)


def kill_at(step):
    """Let this process be killed before that step."""
    update = Trainer.update

    def killing(trainer):
        if trainer.step == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return update(trainer)

    Trainer.update = killing


RUN = """
import os, sys
from pathlib import Path
from types import SimpleNamespace
environment = dict(os.environ)
from mp_lib.learning import fitting
from mp_lib.learning import run as module
from mp_lib.data.replay_buffer import ReplayBuffer
from tests.conftest import TOY
from tests.learning.toy_run import CONFIG, kill_at
os.environ.pop("WANDB_MODE")  # set by tests.conftest
os.environ.update(environment)
kill_at(int(os.environ.get("KILL_AT", -1)))
fitting.SAVE_SECONDS, fitting.SAVE_SHARE = -1.0, float("inf")
module.train(CONFIG, TOY, ReplayBuffer.open(sys.argv[1]), Path(sys.argv[2]), device="cpu")
"""


def run_elsewhere(*arguments, **variables):
    """Start the run in another process, with these environment variables; None unsets one."""
    changes = {"PYTHONPATH": str(Path(__file__).parents[2])} | variables
    environment = {key: value for key, value in (os.environ | changes).items() if value is not None}
    return subprocess.Popen(
        [sys.executable, "-c", RUN, *map(str, arguments)],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
