"""Replayed functions, on a CPU with a stand-in for CUDA graphs: the same numbers as without."""

import pytest
import torch

from mp_lib.model import graphs
from mp_lib.model.graphs import Replay
from tests.learning.test_trainer import make_trainer


class Recorded:
    """Does again what was recorded, and writes where the recording wrote."""

    def __init__(self, function, output):
        self.function, self.output = function, output

    def replay(self):
        self.output.copy_(self.function().detach())


@pytest.fixture
def captures(monkeypatch):
    """Recording as on a GPU: it calls the function several times, and what it returns lies in a fixed place."""
    noted = []

    def capture(function):
        noted.append(function)
        for _ in range(graphs.WARM_UPS):
            function()
        output = function().detach().clone()
        return Recorded(function, output), output

    monkeypatch.setattr(graphs, "capture", capture)
    return noted


def test_every_shape_is_recorded_once_and_inputs_are_copied(captures):
    double = Replay(lambda x: 2 * x)
    for size in (3, 4, 3, 3):
        x = torch.randn(size)
        assert torch.equal(double(x), 2 * x)
        x.zero_()
    assert len(captures) == 2


def test_nothing_is_replayed_while_a_graph_is_recorded(monkeypatch):
    noted = []

    class Noting:
        def replay(self):
            noted.append(graphs.RECORDING.locked())

    monkeypatch.setattr(graphs, "capture", lambda function: (Noting(), function()))
    Replay(lambda x: 2 * x)(torch.ones(1))
    assert noted == [True] and not graphs.RECORDING.locked()


def test_memory_that_ends_is_told_by_whoever_finds_it():
    try:
        try:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB")
        finally:
            raise RuntimeError("CUDA error: operation failed due to a previous error during capture")
    except RuntimeError as error:
        assert graphs.memory_ended(error)
    for said in ("CUDA error: out of memory", "Triton Error [CUDA]: out of memory", "CUBLAS_STATUS_ALLOC_FAILED when"):
        assert graphs.memory_ended(RuntimeError(said))
    assert not graphs.memory_ended(RuntimeError("CUDA error: an illegal memory access was encountered"))


@pytest.mark.slow
def test_compiled_training_follows_the_eager_one():
    trainers = [make_trainer("dp3_mamba", form=form) for form in ("torch", "compiled")]
    losses = [[float(trainer.update()) for _ in range(3)] for trainer in trainers]
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)  # other random numbers are drawn for what is dropped


def test_a_form_that_cannot_run_here_is_refused():
    with pytest.raises(ValueError, match="auto, torch, compiled, cuda"):
        make_trainer(form="fastest")
    with pytest.raises(ValueError, match="CUDA GPU.*choose torch or compiled"):
        make_trainer(form="cuda")
