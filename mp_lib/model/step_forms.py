"""Forms of a training step: how it is run, not what it computes. Trainings and the benchmark take the same ones."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from mp_lib.interfaces import look_up
from mp_lib.model.backends import has_compiler
from mp_lib.system.errors import InputError

FORMS = {
    "auto": "cuda on a CUDA GPU, else torch",
    "torch": "plain PyTorch",
    "compiled": "the denoiser compiled: minutes before the first step, fewer launches a step",
    "cuda": "one CUDA graph a step, of one training or of several, with batch, optimiser and average in it",
}

# Whether a form can run on a device, and what it lacks where it cannot.
NEEDS: dict[str, tuple[Callable[[torch.device], bool], str]] = {
    "compiled": (
        lambda device: device.type != "cpu" or has_compiler(),
        "a C++ compiler (g++ or clang++), none was found; choose torch",
    ),
    "cuda": (lambda device: device.type == "cuda", "a CUDA GPU, the training is on {}; choose torch or compiled"),
}


def settle_form(form: str, device: torch.device) -> str:
    """The form that is meant on a device; an InputError for one that is none, or that steps there cannot have."""
    look_up(FORMS, form, "form")
    if form == "auto":
        return "cuda" if device.type == "cuda" else "torch"
    runs, lacking = NEEDS.get(form, (lambda device: True, ""))
    if not runs(device):
        raise InputError(f"form {form} needs {lacking.format(device)}")
    return form


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
