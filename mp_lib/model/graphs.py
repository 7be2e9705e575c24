"""A function of tensors as one CUDA graph: recorded once for each shape of its inputs, then one launch a call."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

# One at a time: a training's thread and that of its evaluation share a GPU. Nor is anything replayed or drawn then, as
# up to PyTorch 2.11 a generator knows of one recording only, and the default one is part of every graph.
RECORDING = threading.Lock()
WARM_UPS = 3  # calls before recording, in which libraries choose and allocate what they will use


def capture(
    function: Callable[[], Tensor],
    rehearse: Callable[[], object] | None = None,
    generators: Sequence[torch.Generator] = (),
) -> tuple:
    """Record a function that reads and writes fixed places; (a graph to ``replay``, the tensor that it writes).

    Before that ``rehearse`` is called, by default the function itself, which is to warm up all that it uses.
    ``generators`` are those that it draws from: at each replay they give what their seed says then. Raises a
    torch.OutOfMemoryError whoever of torch, CUDA, cuBLAS and Triton has found that memory ends.
    """
    try:
        with RECORDING, torch.cuda.stream(torch.cuda.current_stream()):  # which is set back where recording fails
            return record(function, rehearse or function, generators)
    except RuntimeError as error:
        if memory_ended(error):
            raise torch.OutOfMemoryError(str(error)) from error
        raise


def record(function: Callable[[], Tensor], rehearse: Callable[[], object], generators: Sequence) -> tuple:
    """``capture``, while nobody else does so."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # warm-up on another stream, as capturing asks for
        for _ in range(WARM_UPS):
            rehearse()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    for generator in generators:
        graph.register_generator_state(generator)
    own = torch.cuda.Stream()  # what cuBLAS works in belongs to thread and stream, and graphs may run side by side
    with torch.cuda.graph(graph, stream=own, capture_error_mode="thread_local"):  # others may use the GPU meanwhile
        output = function()
    return graph, output


def memory_ended(error: BaseException | None) -> bool:
    """Whether memory has ended, which CUDA, cuBLAS and Triton say in words of their own, or on the way to ``error``."""
    if error is None:
        return False
    return bool(re.search("out of memory|ALLOC_FAILED", str(error))) or memory_ended(error.__context__)


def replay(graph: torch.cuda.CUDAGraph) -> None:
    """Launch a graph, when none is being recorded."""
    with RECORDING:
        graph.replay()


class Replay:
    """``function`` (tensors -> tensor), replayed. What it returns is overwritten by the next call."""

    def __init__(self, function: Callable[..., Tensor]):
        self.function = function
        self.records: dict[tuple, tuple] = {}

    def __call__(self, *inputs: Tensor) -> Tensor:
        shapes = tuple(each.shape for each in inputs)
        if shapes not in self.records:
            self.records[shapes] = self.record(inputs)
        graph, places, output = self.records[shapes]
        for place, value in zip(places, inputs, strict=True):
            place.copy_(value)
        replay(graph)
        return output

    def record(self, inputs: tuple[Tensor, ...]) -> tuple:
        """The graph for inputs of these shapes, the tensors it reads and the one it writes."""
        places = [value.clone() for value in inputs]
        graph, output = capture(lambda: self.function(*places))
        return graph, places, output
