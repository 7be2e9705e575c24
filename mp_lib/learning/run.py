"""Runs: demonstrations -> checkpoint, metrics, film and result, each in a folder that can be resumed."""

from __future__ import annotations

import contextlib
import gc
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch

from mp_lib.config import TrainConfig
from mp_lib.data.replay_buffer import ReplayBuffer
from mp_lib.interfaces import TaskSpec
from mp_lib.learning.fitting import Fit
from mp_lib.learning.folder import check_owner, is_finished, kept_policy, leftovers, lock_of
from mp_lib.learning.how import began_with, precision_of, settle
from mp_lib.learning.player import Player
from mp_lib.learning.result import How, RunResult
from mp_lib.learning.rollout import settle_jobs
from mp_lib.learning.simulators import Simulators
from mp_lib.learning.stages import Run
from mp_lib.learning.training import Training
from mp_lib.system.device import choose_device
from mp_lib.system.errors import at_least_one
from mp_lib.system.files import read_json, write_json
from mp_lib.system.locks import sole_user
from mp_lib.system.stopping import Stop

log = logging.getLogger(__name__)


def train(
    config: TrainConfig,
    spec: TaskSpec,
    store: ReplayBuffer,
    folder: Path,
    *,
    device: str = "auto",
    jobs: int | None = 1,
    form: str = "auto",
    precision: str = "auto",
    init: Path | None = None,
    save_every: int | None = None,
) -> RunResult:
    """Train and evaluate one run in ``folder`` and return its result, which result.json also holds.

    A folder with a finished result is read, one with a half-finished training is resumed, in the form and precision in
    which it began; one that was made with another configuration raises a ValueError, one that another process works in
    an InUseError, which is a RuntimeError. ``jobs`` processes simulate in evaluations (None: as ``settle_jobs`` says)
    and live until the run ends; ``form`` is one of ``mp_lib.model.step_forms.FORMS``, ``precision`` tf32 or float32 or
    auto, tf32 on a GPU that has it; ``init`` and ``save_every`` are as of ``Training``. Ctrl-C and SIGTERM end the step
    in hand, save, and raise KeyboardInterrupt.
    """
    at_least_one(save_every=save_every)
    training = Training(config, spec, store, folder, init, save_every)
    if failure := train_group([training], device=device, jobs=jobs, form=form, precision=precision).get(folder):
        raise failure
    return RunResult(**read_json(folder / "result.json"))


def train_group(
    trainings: Sequence[Training],
    *,
    device: str = "auto",
    jobs: int | None = 1,
    form: str = "auto",
    precision: str = "auto",
) -> dict[Path, Exception]:
    """Train and evaluate runs as ``train`` does, on a GPU those of one shape as one; returns what failed, by folder.

    Runs of one shape may differ in task, demonstrations, seed, and in all that is counted in steps. As many are stacked
    as memory holds. One that fails, or that another process works in, leaves the others alone.
    """
    at_least_one(jobs=jobs)
    failures: dict[Path, Exception] = {}
    unfinished = []
    for each in trainings:
        with kept(failures, each.folder):
            check_owner(each.folder, each.config, each.store)
            if not is_finished(each.folder):
                unfinished.append(each)
            elif each.save_every and not kept_policy(each.folder, each.save_every).exists():
                log.warning(
                    "%s is finished, so that save_every=%d keeps no policy of it any more; move it away to train anew",
                    *(each.folder, each.save_every),
                )
    if unfinished:  # errors now rather than when something was made
        chosen = choose_device(device)
        settle_jobs(jobs, chosen)
        settle(form, precision, chosen)
    with contextlib.ExitStack() as stack:
        for each in trainings:
            with kept(failures, each.folder):
                if each in unfinished or leftovers(each.folder):
                    stack.enter_context(claim(each.folder))
        due = [each for each in unfinished if each.folder not in failures and not is_finished(each.folder)]
        if due:
            with torch.random.fork_rng(), same_threads(), Stop() as stop:
                for how, part in parts(due, form, precision, chosen, failures):
                    with precision_of(how, chosen), Simulators(settle_jobs(jobs, chosen)) as simulators:
                        failures |= fit_in_memory(part, how, Player(chosen, how.backend, simulators), stop)
        for each in trainings:
            if is_finished(each.folder) and each.folder not in failures:
                for leftover in leftovers(each.folder):
                    leftover.unlink()
    return failures


@contextlib.contextmanager
def kept(failures: dict[Path, Exception], folder: Path) -> Iterator[None]:
    """Keep an error of the block as that of a folder, but that memory ended."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        failures[folder] = error


@contextlib.contextmanager
def claim(folder: Path) -> Iterator[None]:
    """Be the only one who works in a folder; drafts of writers that were killed are removed."""
    with sole_user(lock_of(folder), str(folder)):
        for draft in folder.glob(".*.partial*"):  # each may be as large as a save
            draft.unlink()
        yield


@contextlib.contextmanager
def same_threads() -> Iterator[None]:
    """Set the number of torch's threads back behind the block."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def parts(
    due: Sequence[Training], form: str, precision: str, device: torch.device, failures: dict[Path, Exception]
) -> list[tuple[How, list[Training]]]:
    """The trainings that are computed as one, and how; those whose store and task do not fit are failures."""
    found: dict[tuple, list[Training]] = {}
    for place, each in enumerate(due):
        with kept(failures, each.folder):
            how = settle(form, precision, device, began_with(each.folder))
            found.setdefault((how, each.shape() if how.form == "cuda" else place), []).append(each)
    return [(how, part) for (how, _), part in found.items()]


def fit_in_memory(part: Sequence[Training], how: How, player: Player, stop: Stop) -> dict[Path, Exception]:
    """Train runs of one shape together, or where memory ends one half after the other; what failed, by folder."""
    how, failures, runs = replace(how, group=len(part)), {}, []
    try:
        for each in part:
            with kept(failures, each.folder):
                runs.append(Run(each, how, player))
                write_json(each.folder / "config.json", asdict(each.config))
        if runs:
            Fit(runs, stop).complete()
        return failures | {run.folder: run.failure for run in runs if run.failure}
    except torch.OutOfMemoryError:
        if len(part) == 1:
            raise
    # Not in the handler, as the error holds all that was allocated.
    player.frozen = None
    runs.clear()
    gc.collect()
    torch.cuda.empty_cache()
    middle = len(part) // 2
    log.warning("memory ends below %d trainings together: %d, then %d", len(part), middle, len(part) - middle)
    rest = [[each for each in half if not is_finished(each.folder)] for half in (part[:middle], part[middle:])]
    for half in rest:
        failures |= fit_in_memory(half, how, player, stop) if half else {}
    return failures
