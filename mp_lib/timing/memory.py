"""The memory of calls, as measured, and of trainings, as computed: how many of them fit a card."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import torch

from mp_lib.model.policy import DiffusionPolicy
from mp_lib.presets import METHODS
from mp_lib.system.precision import use_precision
from mp_lib.timing.subjects import Subject
from mp_lib.timing.workloads import MAKERS

COPIES = 5  # of the weights in a training: themselves, their average, the gradient, AdamW's two moments
CARDS = (8, 16, 24)  # gigabytes
TAKEN = 10**9  # bytes of a card that CUDA and its libraries take


def peak_megabytes(subject: Subject, what: str, backend: str, batch: int, threads: int, precision: str) -> float | None:
    """Megabytes that a call needs beside what was held before its policy was made; None where nobody tells.

    On a GPU the most that tensors take, those of recording a graph included; elsewhere the most that a process of its
    own holds meanwhile.
    """
    asked = (replace(subject), what, backend, batch, threads, precision)
    if subject.device.startswith("cuda"):
        return measure_tensors(*asked)
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(measure_process, *asked).result()


def measure_tensors(subject, what, backend, batch, threads, precision) -> float:
    """``peak_megabytes`` on a GPU."""
    held = torch.cuda.memory_allocated(subject.device)
    torch.cuda.reset_peak_memory_stats(subject.device)
    call = MAKERS[what][backend](subject, batch)
    for _ in range(2):  # the optimiser makes its moments in the first
        call()
    return round((torch.cuda.max_memory_allocated(subject.device) - held) / 1e6, 1)


def measure_process(subject, what, backend, batch, threads, precision) -> float | None:
    """``peak_megabytes`` in a process that does nothing else."""
    torch.set_num_threads(threads)
    use_precision(precision, torch.device(subject.device))
    held = memory_of_process("VmRSS")
    call = MAKERS[what][backend](subject, batch)
    call()
    if held is None:
        return None
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak, which exporting has raised
    call()
    return round((memory_of_process("VmHWM") - held) / 1e6, 1)


def memory_of_process(name: str) -> int | None:
    """Bytes by a name of /proc/self/status; None where there is no such file."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def training_bytes(policy: DiffusionPolicy, batch: int = 128) -> tuple[int, int]:
    """Bytes of a training's weights and of what a step keeps for its gradient, in eager PyTorch; a sketch is enough.

    An estimate for GPUs. Kept are tensors that PyTorch saves during ``policy.loss``, each storage once, without the
    weights. A sketch takes the forms that GPUs take (all points and samples, where a CPU leaves out what gets no
    gradient); fused kernels keep less, and what exists only during an operation comes on top.
    """
    config, device = policy.config, policy.device
    shapes = {
        "point_cloud": (config.n_obs_steps, config.num_points, 3),
        "state": (config.n_obs_steps, config.state_dim),
        "actions": (config.horizon, config.action_dim),
    }
    weights = {each.untyped_storage()._cdata for each in policy.parameters()}
    kept: dict = {}

    def keep(saved: torch.Tensor) -> torch.Tensor:
        storage = saved.untyped_storage()
        kept[storage._cdata] = storage  # held, so that no later one has its address
        return saved

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda saved: saved):
        loss = policy.train().loss({name: torch.rand(batch, *each, device=device) for name, each in shapes.items()})
    del loss
    activations = sum(storage.nbytes() for address, storage in kept.items() if address not in weights)
    return COPIES * sum(each.nbytes for each in policy.parameters()), activations


def what_fits(horizon: int = 16, batch: int = 128, cards: Sequence[int] = CARDS) -> list[dict]:
    """A row a method, in the paper's structure and widths: gigabytes of a training, and how many fit each card."""
    rows = []
    for method in METHODS:
        weights, activations = training_bytes(Subject(method, "", horizon).sketch(), batch)
        fitting = {f"{card} GB": (card * 10**9 - TAKEN) // (weights + activations) for card in cards}
        rows.append({"method": method, "weights": weights / 1e9, "activations": activations / 1e9} | fitting)
    return rows
