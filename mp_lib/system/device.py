"""The device that computes: choice, name, memory."""

from __future__ import annotations

import logging
import os
import platform
import re
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch

from mp_lib.system.errors import InputError, shown

log = logging.getLogger(__name__)

TAKEN = "out of memory|busy or unavailable"  # what CUDA says of a GPU that others use, which is no reason to do without


def choose_device(name: str = "auto") -> torch.device:
    """The torch device of that name; "auto" is a CUDA GPU that computes, else the CPU.

    A GPU that does not compute is warned of. Raises an InputError if the name is unknown, there is no such device
    here, or it does not compute.
    """
    kind, _, number = str(name).partition(":")
    if not isinstance(name, str) or not re.fullmatch(r"auto|cpu|cuda(:\d+)?|mps", name):
        choices = "auto, cpu, cuda, mps (cuda:1 for the second GPU)"
        raise InputError(f"unknown device {shown(name)}; choose one of: {choices}")
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if kind == "auto":
        reason = refusal("cuda") if available["cuda"] else ""
        if reason:
            log.warning("the GPU is not used, and all is computed on the CPU: %s", reason)
        return torch.device("cuda" if available["cuda"] and not reason else "cpu")
    if not available[kind]:
        raise InputError(f"device {shown(name)} was asked for, but torch finds none here; choose cpu or auto")
    if number and int(number) >= (count := torch.cuda.device_count()):
        gpus = ", ".join(f"cuda:{index} ({torch.cuda.get_device_name(index)})" for index in range(count))
        raise InputError(f"device {name!r} was asked for, but torch sees {gpus} here; choose one of these, cpu or auto")
    if kind != "cpu" and (reason := refusal(name)):
        raise InputError(f"device {shown(name)} was asked for and cannot be used: {reason}; or choose cpu")
    if number:
        torch.cuda.set_device(int(number))  # where Triton launches kernels, and a graph is recorded
    return torch.device(name)


def refusal(name: str) -> str:
    """Why torch cannot compute on a GPU, and what to do, in one line; empty if it can, or the GPU is only taken."""
    try:
        (torch.ones(1, device=name) + 1).item()  # a kernel of torch's own, not of a library that fits more GPUs
    except RuntimeError as error:
        said = str(error).strip().splitlines()[0].rstrip(".;")
        if not re.search(TAKEN, said):
            return f"torch cannot add on {name} ({said}); install a build for this GPU, https://pytorch.org/get-started"
    return ""


def visible_gpus(name: str = "auto") -> list[str]:
    """The GPUs that steps on the device of that name may be spread over, as CUDA_VISIBLE_DEVICES names them.

    Those that compute, and a warning of each that does not. None for a device without CUDA, and none for one that is
    named by its number: that choice is the user's.
    """
    if name not in ("auto", "cuda"):
        return []
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = torch.cuda.device_count()
    names = [str(index) for index in range(count)] if named is None else named.split(",")[:count]
    reasons = {gpu: refusal(f"cuda:{place}") for place, gpu in enumerate(names)}
    for gpu, reason in reasons.items():
        if reason:
            log.warning("GPU %s is left out: %s", gpu, reason)
    return [gpu for gpu in names if not reasons[gpu]]


def apart(function: Callable, *arguments):
    """What a function returns or raises, called in a process of its own where there is CUDA.

    Who has tried a GPU holds some of its memory until it ends, and all of it in exclusive mode.
    """
    if not torch.cuda.is_available():
        return function(*arguments)
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def device_name(device: torch.device) -> str:
    """What people call the device: a GPU's model, or a processor's and its instruction set, and what else computes."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    name = f"{processor_model() or device.type} {platform.machine()}"
    return name if device.type == "cpu" else f"{name} ({device.type})"


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
    import resource  # not on Windows

    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
