"""How long denoiser calls, action chunks and training steps take, and against what.

Every row is measured in turn with three references in the same process, so that the machine's drift hits all alike:
DP3 in eager PyTorch with ten denoising steps, which is what people run; DP3 in the row's own form, with as many steps;
and the official formulation of the row's method (loop scans, eager, the same structure; ``mp_lib.model.loops``). All
have the row's precision. Ratios are taken turn by turn; below 1 is faster.
"""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

from mp_lib.interfaces import look_up
from mp_lib.presets import METHODS
from mp_lib.system.errors import InputError

if TYPE_CHECKING:
    from mp_lib.timing.subjects import Subject

BATCHES = {"denoiser": 1, "chunk": 1, "train_step": 128, "training": 128, "encoder_step": 128, "decision": 1}
TURN_SECONDS = 0.2  # a turn repeats what is faster than this
ROW_SECONDS = 45  # slow calls get fewer turns than asked for, but three, so that a row ends in about this time
ARRAY_BYTES, READS = 2**29, 5  # what is read for the bandwidth: more than caches hold


@dataclass(frozen=True)
class Measurement:
    """One row: seconds of one call, their spread (slowest less fastest, over the median), and the ratios.

    ``ratio_to_dp3_eager`` is to DP3 in eager PyTorch with ten denoising steps, ``ratio_to_dp3_same`` to DP3 with this
    row's backend, precision and steps. ``bandwidth`` (GB/s) is the processor's with this row's threads;
    ``floor_seconds`` is how long the weights of the call take at that. What has a default was not noted at first.
    """

    method: str
    attention: str
    horizon: int
    backend: str
    batch: int
    threads: int
    what: str
    median_seconds: float
    spread: float
    ratio_to_dp3_eager: float
    ratio_to_official: float | None
    precision: str = "float32"
    num_inference_steps: int = 10
    stacked: int = 1
    ratio_to_dp3_same: float | None = None
    bandwidth: float | None = None
    floor_seconds: float | None = None


def benchmark(
    methods: list[str],
    horizons: list[int],
    what: str,
    *,
    attention: str = "paper",
    threads: int = 1,
    batch: int | None = None,
    backends: list[str] | None = None,
    turns: int = 7,
    device: str = "cpu",
    precision: str = "auto",
    num_inference_steps: int = 10,
) -> Iterator[Measurement]:
    """Measure each method and horizon under each backend that can do ``what`` here, at the paper's widths.

    ``what`` is "denoiser" (one call), "chunk" (encoder and all denoising steps), "train_step" (of the denoiser,
    optimiser included), "training" (a whole step, as trainings take it), "encoder_step" or "decision" (a chunk and a
    simulator). Raises a ValueError that lists the
    choices for an unknown name, or that says which horizons there can be.
    """
    import torch

    from mp_lib.system.device import choose_device
    from mp_lib.system.precision import use_precision
    from mp_lib.timing.subjects import Subject
    from mp_lib.timing.workloads import MAKERS, ONLY_WHEN_ASKED, usable

    if min(threads, turns, BATCHES.get(what, 1) if batch is None else batch) < 1:
        raise ValueError(f"threads {threads}, turns {turns}, batch {batch} given; each must be at least 1")
    chosen_device = choose_device(device)
    device = str(chosen_device)
    makers = look_up(MAKERS, what, "measurement")
    check_horizons(horizons)
    for method in methods:
        look_up(METHODS, method, "method")
    for name in backends or []:
        look_up(makers, name, "backend")
    usual = [name for name in makers if name != "official" and (what, name, device) not in ONLY_WHEN_ASKED]
    chosen = list(dict.fromkeys(["official", *(backends or [name for name in usual if usable(name, device)])]))
    precision = use_precision(precision, chosen_device)
    torch.set_num_threads(threads)
    for horizon, method in product(horizons, methods):
        subject = Subject(method, attention if METHODS[method].mixer else "", horizon, device, num_inference_steps)
        subject.config()  # refuses numbers of steps that cannot be
        yield from measure([subject], what, chosen, BATCHES[what] if batch is None else batch, turns, precision)


def check_horizons(horizons: Sequence[int]) -> None:
    """Raise an InputError for no horizon, or for one at which not every method's U-Net can be called."""
    multiple = max(2 ** (len(method.down_dims) - 1) for method in METHODS.values())
    if not horizons or any(horizon < 1 or horizon % multiple for horizon in horizons):
        raise InputError(f"horizons {list(horizons)} given; give one or more multiples of {multiple}, such as [4, 16]")


def measure(
    subjects: list[Subject], what: str, backends: list[str], batch: int, turns: int, precision: str
) -> Iterator[Measurement]:
    """A row a subject and backend, all measured in turn with both references; the subjects differ in method alone.

    Where "official" is not among the backends, there is nothing to compare with and that ratio is None. ``precision``
    is what ``use_precision`` has set.
    """
    import torch

    from mp_lib.timing.floors import bytes_read
    from mp_lib.timing.subjects import Subject
    from mp_lib.timing.workloads import MAKERS

    first, threads = subjects[0], torch.get_num_threads()
    eager = Subject("dp3", "", first.horizon, first.device)
    same = next((each for each in subjects if each.method == "dp3"), replace(first, method="dp3", attention=""))
    if (same.num_inference_steps, same.stacked) == (eager.num_inference_steps, eager.stacked):
        eager = same  # built once, since it takes gigabytes
    wanted = dict.fromkeys([(eager, "official"), *product([same, *subjects], backends)])
    seconds = take_turns({(each, name): MAKERS[what][name](each, batch) for each, name in wanted}, turns)
    read = bandwidth(first.device, threads)
    for subject, name in product(subjects, backends):
        taken, official = seconds[subject, name], seconds[subject, "official"] if "official" in backends else None
        yield Measurement(
            *(subject.method, subject.attention, subject.horizon, name, batch, threads, what),
            *(statistics.median(taken), spread_of(taken), median_ratio(taken, seconds[eager, "official"])),
            median_ratio(taken, official) if official else None,
            *(precision, subject.num_inference_steps, subject.stacked, median_ratio(taken, seconds[same, name])),
            *(read, bytes_read(subject.sketch(), what) / (1e9 * read)),
        )


@functools.cache  # once for each number of threads
def bandwidth(device: str, threads: int) -> float:
    """GB/s at which torch's ``threads`` threads, or a GPU, read an array; the fastest of READS."""
    import torch

    array = torch.ones(ARRAY_BYTES // 4, device=device)
    array.sum()
    return ARRAY_BYTES / 1e9 / min(timed(array.sum, 1) for _ in range(READS))


def take_turns(calls: dict[Hashable, Callable[[], object]], turns: int) -> dict[Hashable, list[float]]:
    """Seconds of one call, by name: every turn measures all calls, one after the other."""
    repeats, first = {}, {}
    for name, call in calls.items():
        call()  # warm up, compile, export
        first[name] = timed(call, 1)
        repeats[name] = max(1, round(TURN_SECONDS / first[name]))
    turns = min(turns, max(3, int(ROW_SECONDS * len(calls) / 6 / sum(first.values()))))
    seconds: dict[Hashable, list[float]] = {name: [] for name in calls}
    for _ in range(turns):
        for name, call in calls.items():
            seconds[name].append(timed(call, repeats[name]))
    return seconds


def timed(call: Callable[[], None], repeats: int) -> float:
    """Mean seconds of a call."""
    import torch

    wait = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None
    wait()
    began = time.perf_counter()
    for _ in range(repeats):
        call()
    wait()
    return (time.perf_counter() - began) / repeats


def spread_of(values: list[float]) -> float:
    """Slowest less fastest, as a share of the median."""
    return (max(values) - min(values)) / statistics.median(values)


def median_ratio(values: list[float], references: list[float]) -> float:
    """The median of the turns' ratios."""
    return statistics.median(value / reference for value, reference in zip(values, references, strict=True))
