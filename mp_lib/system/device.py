"""The device that computes: choice, name, memory."""

from __future__ import annotations

import os
import platform
import resource
import sys
from pathlib import Path

import torch

DEVICES = ("auto", "cpu", "cuda", "mps")


def choose_device(name: str = "auto") -> torch.device:
    """The torch device of that name; "auto" is a CUDA GPU if there is one, else the CPU.

    Raises a ValueError if the name is unknown or there is no such device here.
    """
    kind = name.split(":")[0]
    if kind not in DEVICES:
        raise ValueError(f"unknown device {name!r}; choose one of: {', '.join(DEVICES)} (cuda:1 for the second GPU)")
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if kind == "auto":
        return torch.device("cuda" if available["cuda"] else "cpu")
    if not available[kind]:
        raise ValueError(f"device {name!r} was asked for, but torch finds none here; choose cpu or auto")
    return torch.device(name)


def visible_gpus(name: str = "auto") -> list[str]:
    """The GPUs that steps on the device of that name may be spread over, as CUDA_VISIBLE_DEVICES names them.

    None for a device without CUDA, and none for one that is named by its number: that choice is the user's.
    """
    if name not in ("auto", "cuda"):
        return []
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = torch.cuda.device_count()
    return [str(index) for index in range(count)] if named is None else named.split(",")[:count]


def device_name(device: torch.device) -> str:
    """What people call the device: a GPU's model, or a processor's and its instruction set."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{processor_model() or device.type} {platform.machine()}"


def processor_model() -> str:
    """The processor's model as the system tells it; empty where it does not."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")


def peak_memory(device: torch.device) -> int:
    """Bytes: the most that tensors took on a GPU, the most that this process took elsewhere."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
