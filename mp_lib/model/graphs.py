"""A function of tensors as one CUDA graph: recorded once for each shape of its inputs, then one launch a call."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

WARM_UPS = 3  # calls before recording, in which libraries choose and allocate what they will use


def capture(function: Callable[[], Tensor]) -> tuple:
    """Record a function that reads and writes fixed places; (a graph to ``replay``, the tensor that it writes)."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # warm-up on another stream, as capturing asks for
        for _ in range(WARM_UPS):
            function()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = function()
    return graph, output


class Replay:
    """``function`` (tensors -> tensor), replayed. What it returns is overwritten by the next call.

    ``restore`` is called before recording and returns a function that is called after it, for a function that
    changes more than its output: recording and warming up call it.
    """

    def __init__(self, function: Callable[..., Tensor], restore: Callable[[], Callable[[], None]] | None = None):
        self.function, self.restore = function, restore
        self.records: dict[tuple, tuple] = {}

    def __call__(self, *inputs: Tensor) -> Tensor:
        shapes = tuple(each.shape for each in inputs)
        if shapes not in self.records:
            self.records[shapes] = self.record(inputs)
        graph, places, output = self.records[shapes]
        for place, value in zip(places, inputs, strict=True):
            place.copy_(value)
        graph.replay()
        return output

    def record(self, inputs: tuple[Tensor, ...]) -> tuple:
        """The graph for inputs of these shapes, the tensors it reads and the one it writes."""
        places = [value.clone() for value in inputs]
        finish = self.restore() if self.restore else None
        graph, output = capture(lambda: self.function(*places))
        if finish:
            finish()
        return graph, places, output
