"""Forms of a training step: how it is run, not what it computes. Trainings and the benchmark take the same ones."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mp_lib.model.backends import has_compiler
from mp_lib.model.graphs import Replay

Step = Callable[..., Tensor]  # tensors of a batch -> loss; changes weights and optimiser
Remember = Callable[[], Callable[[], None]]  # notes these, and returns what sets them back


def eager(step: Step, denoiser: nn.Module, remember: Remember | None = None) -> Step:
    """Plain PyTorch."""
    return step


def compiled(step: Step, denoiser: nn.Module, remember: Remember | None = None) -> Step:
    """The denoiser compiled: minutes before the first step, fewer launches a step.

    Not the encoder, of which a CPU computes another number of points at each step. A ValueError on a CPU without a
    C++ compiler.
    """
    if next(denoiser.parameters()).device.type == "cpu" and not has_compiler():
        raise ValueError("form compiled needs a C++ compiler (g++ or clang++), none was found; choose torch")
    denoiser.compile(dynamic=False)
    return step


def replayed(step: Step, denoiser: nn.Module, remember: Remember | None = None) -> Step:
    """Loss, gradient and optimiser as one CUDA graph: one launch a step. A ValueError where there is no CUDA GPU."""
    device = next(denoiser.parameters()).device
    if device.type != "cuda":
        raise ValueError(f"form cuda needs a CUDA GPU, the training is on {device}; choose torch or compiled")
    return Replay(step, remember)


FORMS: dict[str, Callable[[Step, nn.Module, Remember | None], Step]] = {
    "torch": eager,
    "compiled": compiled,
    "cuda": replayed,
}


def make_optimizer(module: nn.Module, form: str, learning_rate: float, **settings) -> torch.optim.AdamW:
    """AdamW as fast as a device has it, which a graph can hold if ``form`` is cuda."""
    device, recorded = next(module.parameters()).device, form == "cuda"
    return torch.optim.AdamW(
        module.parameters(),
        lr=torch.tensor(learning_rate, device=device) if recorded else learning_rate,  # a tensor can change in a graph
        fused=device.type in ("cpu", "cuda"),
        capturable=recorded and device.type == "cuda",
        **settings,
    )
