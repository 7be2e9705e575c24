"""Forms of a training step: how it is run, not what it computes. Trainings and the benchmark take the same ones."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mp_lib.interfaces import look_up
from mp_lib.model.backends import has_compiler
from mp_lib.model.graphs import Replay
from mp_lib.system.errors import InputError

Step = Callable[..., Tensor]  # tensors of a batch -> loss; changes weights and optimiser
Remember = Callable[[], Callable[[], None]]  # notes these, and returns what sets them back


def eager(step: Step, denoiser: nn.Module, remember: Remember | None = None) -> Step:
    """Plain PyTorch."""
    return step


def compiled(step: Step, denoiser: nn.Module, remember: Remember | None = None) -> Step:
    """The denoiser compiled: minutes before the first step, fewer launches a step.

    Not the encoder, of which a CPU computes another number of points at each step. An InputError on a CPU without a
    C++ compiler.
    """
    check_form("compiled", next(denoiser.parameters()).device)
    denoiser.compile(dynamic=False)
    return step


def replayed(step: Step, denoiser: nn.Module, remember: Remember | None = None) -> Step:
    """Loss, gradient and optimiser as one CUDA graph: one launch a step. An InputError where there is no CUDA GPU."""
    check_form("cuda", next(denoiser.parameters()).device)
    return Replay(step, remember)


FORMS: dict[str, Callable[[Step, nn.Module, Remember | None], Step]] = {
    "torch": eager,
    "compiled": compiled,
    "cuda": replayed,
}


# Whether a form can run on a device, and what it lacks where it cannot.
NEEDS: dict[str, tuple[Callable[[torch.device], bool], str]] = {
    "compiled": (
        lambda device: device.type != "cpu" or has_compiler(),
        "a C++ compiler (g++ or clang++), none was found; choose torch",
    ),
    "cuda": (lambda device: device.type == "cuda", "a CUDA GPU, the training is on {}; choose torch or compiled"),
}


def check_form(form: str, device: torch.device) -> None:
    """Raise an InputError for a form that is none, or that training steps on this device cannot have."""
    look_up(FORMS, form, "form")
    runs, lacking = NEEDS.get(form, (lambda device: True, ""))
    if not runs(device):
        raise InputError(f"form {form} needs {lacking.format(device)}")


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
