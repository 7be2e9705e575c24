"""Whether operations are traced or run for several weights at once, where only torch's own may stand."""

from __future__ import annotations

import torch
from torch._C import _functorch


def under_vmap() -> bool:
    """Whether the caller runs for several weights at once."""
    return not torch.compiler.is_compiling() and _functorch.peek_interpreter_stack() is not None


def traced() -> bool:
    """Whether the caller is compiled, exported or under ``torch.func.vmap``: no native loop, no look at numbers."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing() or under_vmap()
