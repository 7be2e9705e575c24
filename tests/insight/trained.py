"""A policy with fresh weights in the folder of a finished run."""

import torch

from mp_lib.model.checkpoint import save_policy
from mp_lib.model.policy import build_policy
from mp_lib.model.weights import CHECKPOINT
from mp_lib.sim.tasks import TASKS
from mp_lib.system.paths import run_path
from tests.study.finished import write_run

TASK = "metaworld_drawer-open"


def write_trained(method="simple_dp3", task=TASK, seed=0, **changes):
    """Returns the run's name."""
    config = write_run(task, method, [1, 0], seed=seed, **changes)
    spec = TASKS[task]
    torch.manual_seed(seed)
    policy = build_policy(config.policy(spec.state_dim, spec.action_dim)).eval()
    save_policy(run_path(config.name) / CHECKPOINT, policy, task=task)
    return config.name
