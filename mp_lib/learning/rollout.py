"""Rollouts: a policy in a task, several episodes side by side with one batched policy call."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from mp_lib.interfaces import Obs, TaskSpec
from mp_lib.learning.journal import Journal
from mp_lib.learning.simulators import Episode, RemoteTables, Simulators, Table
from mp_lib.model.backends import FrozenPolicy
from mp_lib.model.noise import chunk_noise
from mp_lib.model.policy import DiffusionPolicy
from mp_lib.system.errors import at_least_one
from mp_lib.system.progress import track
from mp_lib.system.workers import check_main, usable_cores


class Group(NamedTuple):
    """Episodes that share policy calls: how many, and whether a call has as many rows when some have ended, too."""

    size: int
    padded: bool


# Constants: rounding depends on the size of a batch, so results would otherwise depend on the number of processes.
GROUPS = {"cpu": Group(25, padded=False)}  # by type of device; an episode takes a quarter less time than of 10
# Of one size, so that one CUDA graph serves all calls; 20 is the paper's number of episodes of an evaluation.
ON_A_GPU = Group(20, padded=True)
ROW = ("seed", "success", "steps")  # of an episode in a journal


def group_on(device: torch.device) -> Group:
    """The group of episodes that a policy on this device plays side by side."""
    return GROUPS.get(device.type, ON_A_GPU)


def settle_jobs(jobs: int | None, device: torch.device) -> int:
    """How many processes simulate for a policy on ``device``; None is one a core, on a CPU one a thread of torch's.

    An InputError if that is no number of processes, or this script cannot start any.
    """
    at_least_one(jobs=jobs)
    if jobs is None:
        # On a CPU the cores are shared with the policy, and with other steps, by torch's threads.
        most = torch.get_num_threads() if device.type == "cpu" else usable_cores()
        jobs = min(group_on(device).size, most)
    if jobs > 1:
        check_main()
    return jobs


def rollout(
    policy: DiffusionPolicy | FrozenPolicy,
    spec: TaskSpec,
    seeds: Sequence[int],
    *,
    jobs: int | None = 1,
    simulators: Simulators | None = None,
    films: int = 0,
    journal: Journal | None = None,
) -> list[Episode]:
    """Play one episode a seed and return them in order; the first ``films`` of them are filmed.

    Repeatable: noise comes from the episode's seed and the call (``mp_lib.model.noise``), and the number of processes
    that simulate (``jobs``; 1 is this process, None as ``settle_jobs`` says) changes nothing. They end with the call,
    but for those of ``simulators``, which are used instead if given. Which episodes are played together changes no more
    than the rounding of a batched policy call. The policy is put into evaluation mode and runs on the device it is on;
    ``mp_lib.model.backends.freeze`` makes one that runs under another backend.
    An InputError is raised before anything is played if ``jobs`` is below 1, or a script that has no
    ``if __name__ == "__main__":`` around the call asks for more than 1.
    Episodes in ``journal`` are not played again, and those of each group are added to it, with the film of the first.
    """
    mine = contextlib.nullcontext(simulators) if simulators else Simulators(settle_jobs(jobs, policy.device))
    policy.eval()
    arguments, size = (spec, policy.config.num_points, policy.config.n_obs_steps), group_on(policy.device).size
    with mine as owner, owner.tables(*arguments) as tables, track(len(seeds), f"roll out {spec.name}") as progress:
        episodes: list[Episode | None] = [None] * len(seeds)
        for first in range(0, len(seeds), size):
            members = seeds[first : first + size]
            if journal and (rows := journal.recall(first, members)):
                episodes[first : first + size] = [Episode(**row) for row in rows]
                progress.advance(len(rows))
                continue
            group = [(seed, first + index < films) for index, seed in enumerate(members)]
            for index, episode in play_group(policy, tables, group):
                episodes[first + index] = episode
                progress.advance()
            if journal:
                ended = episodes[first : first + size]
                journal.add(first, [{key: getattr(each, key) for key in ROW} for each in ended], ended[0].film)
    return episodes


def play_group(policy: DiffusionPolicy | FrozenPolicy, tables: Table | RemoteTables, group: list[tuple[int, bool]]):
    """Yield (place in the group, episode) as episodes end; each round is one policy call for all that still run."""
    config, (size, padded) = policy.config, group_on(policy.device)
    shape, turn = (config.horizon, config.action_dim), 0
    answers = tables.call("start", group)
    while running := [index for index, answer in enumerate(answers) if isinstance(answer, list)]:
        rest = (size - len(running)) * padded  # rows that repeat the last one
        histories = [answers[index] for index in running]
        drawn = [torch.from_numpy(chunk_noise(group[index][0], turn, shape)) for index in running]
        batch = batch_of(histories + rest * histories[-1:], policy)
        chunks = policy.act(batch, torch.stack(drawn + rest * drawn[-1:]).to(policy.device)).cpu().numpy()
        actions: list = [None] * len(group)
        for index, chunk in zip(running, chunks[: len(running)], strict=True):
            actions[index] = chunk
        answers, turn = tables.call("play", actions), turn + 1
        yield from ((index, answer) for index, answer in enumerate(answers) if isinstance(answer, Episode))


def batch_of(histories: list[list[Obs]], policy: DiffusionPolicy | FrozenPolicy) -> dict[str, torch.Tensor]:
    """Histories of To observations as a batch: point_cloud (B, To, N, 3), state (B, To, S)."""
    return {
        key: torch.from_numpy(np.stack([[getattr(obs, key) for obs in history] for history in histories])).to(
            policy.device
        )
        for key in ("point_cloud", "state")
    }
