"""In which precision a GPU multiplies matrices of float32."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mp_lib.system.errors import InputError, shown

if TYPE_CHECKING:
    import torch

PRECISIONS = {"float32": False, "tf32": True}  # whether factors may be rounded to TF32's 10 bits
TF32_FROM = (8, 0)  # compute capability: Ampere; a T4 has 7.5


def settle_precision(name: str, device: torch.device) -> str:
    """The precision that is meant on a device: "auto" is its fastest.

    Raises an InputError if the name is unknown, or the device has no such precision.
    """
    import torch

    if name not in ("auto", *PRECISIONS):
        raise InputError(f"unknown precision {shown(name)}; choose one of: auto, {', '.join(PRECISIONS)}")
    has_tf32 = device.type == "cuda" and torch.cuda.get_device_capability(device) >= TF32_FROM
    if name == "tf32" and not has_tf32:
        needed = f"a CUDA GPU of compute capability {'.'.join(map(str, TF32_FROM))} or more"
        raise InputError(f"precision tf32 needs {needed}, which {device} is not; choose float32 or auto")
    return ("tf32" if has_tf32 else "float32") if name == "auto" else name


def use_precision(name: str, device: torch.device) -> str:
    """Let this process multiply in the precision that ``settle_precision`` gives, and return it."""
    import torch

    chosen = settle_precision(name, device)
    torch.backends.cuda.matmul.allow_tf32 = PRECISIONS[chosen]
    torch.backends.cudnn.allow_tf32 = PRECISIONS[chosen]
    return chosen
