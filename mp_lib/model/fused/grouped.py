"""Functions of tensors with a leading axis over weights, so that one kernel serves all policies of a stack."""

from __future__ import annotations

import torch
from torch import Tensor


class Grouped(torch.autograd.Function):
    """A function whose tensors all begin with an axis G over weights; under ``torch.vmap`` it is called once for all.

    Callers without that axis give one of length 1 (``alone``).
    """

    @classmethod
    def vmap(cls, info, in_dims, *inputs):
        """Join the axis of vmap with G."""
        joined = [
            each if not isinstance(each, Tensor) else join(each, dim, info.batch_size)
            for each, dim in zip(inputs, in_dims, strict=True)
        ]
        outputs = cls.apply(*joined)
        several = isinstance(outputs, tuple)
        parted = tuple(each.unflatten(0, (info.batch_size, -1)) for each in (outputs if several else (outputs,)))
        return (parted, len(parted) * (0,)) if several else (parted[0], 0)


def join(tensor: Tensor, dim: int | None, size: int) -> Tensor:
    """The axis ``dim`` of vmap, of ``size``, and the first axis behind it as one."""
    moved = tensor.expand(size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
    return moved.flatten(0, 1)


def power(number: int) -> int:
    """The next power of two, at least 16."""
    return max(16, 1 << (number - 1).bit_length())


def even(*weights: Tensor | None) -> tuple[int, list[Tensor | None]]:
    """How far the weights of one group lie from those of the next, and ``weights`` (G, …), packed if not all agree."""
    given = [each for each in weights if each is not None]
    distances = {each.stride(0) for each in given}
    if (len(given[0]) == 1 or len(distances) == 1) and all(each[0].is_contiguous() for each in given):
        return max(distances), list(weights)
    width = max(each[0].numel() for each in given)
    packed = [None if each is None else each.new_empty(len(each), width)[:, : each[0].numel()] for each in weights]
    for place, each in zip(packed, weights, strict=True):
        if each is not None:
            place.copy_(each.flatten(1))
    return width, packed


def precision() -> str:
    """How Triton multiplies matrices: as PyTorch does it now."""
    return "tf32" if torch.backends.cuda.matmul.allow_tf32 else "ieee"


def warps(block: int) -> int:
    """Warps for rows of ``block`` numbers."""
    return min(8, max(1, block // 256))


def shares(groups: int, rows: int) -> tuple[int, int]:
    """Parts of a group's rows, about 264 in all, and the rows of each."""
    parts = max(1, min(rows, -(-264 // groups)))
    share = -(-rows // parts)
    return -(-rows // share), share


def even_rows(x: Tensor) -> Tensor:
    """x (…, D) with its rows whole and at one distance, as a part of a wider tensor has them; else a copy."""
    even = x.stride(-1) == 1 and all(
        x.stride(k) == x.stride(k + 1) * x.shape[k + 1] or x.shape[k] == 1 for k in range(x.dim() - 2)
    )
    return x if even and x.stride(-2) >= x.shape[-1] else x.contiguous()
