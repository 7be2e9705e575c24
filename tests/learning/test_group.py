"""Stacked trainings are the separate ones: the same losses and weights, whatever else is in the group."""

import pytest
import torch

from mp_lib.geometry.kinds import Layout
from mp_lib.geometry.relative import Relative
from mp_lib.learning.group import Group, stepper
from mp_lib.model import graphs
from mp_lib.model.step_forms import NEEDS
from mp_lib.presets import METHODS
from tests.learning.own_run import KINDS
from tests.learning.test_trainer import differences, everything, make_trainer, make_windows

# Without a GPU all but the graph runs on the CPU.
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
STEPS = 6  # more than an epoch, whose last batch is smaller


class Recorded:
    """Does again what was recorded, and writes where the recording wrote."""

    def __init__(self, function, output):
        self.function, self.output = function, output

    def replay(self):
        self.output.copy_(self.function())


def capture(function, rehearse, generators):
    """A stand-in for recording, which runs nothing but the rehearsal."""
    rehearse()
    return (recorded := Recorded(function, torch.zeros(2))), recorded.output


@pytest.fixture(autouse=True)
def form_of_groups(monkeypatch):
    monkeypatch.setitem(NEEDS, "cuda", (lambda device: True, ""))


def grouped(*given, **changes):
    return make_trainer(*given, device=DEVICE, form="cuda", **changes)


def train(trainers, steps=STEPS):
    """The losses (steps, K) of trainings as one group."""
    group = Group(trainers)
    return torch.stack([group.update().clone() for _ in range(steps)])


def relative_windows():
    return make_windows(relative=Relative(*(Layout.parse(KINDS[key]) for key in ("state", "action"))))


def close(first, second):
    """All weights together: where a gradient is nearly zero, AdamW makes much of its rounding."""
    first, second = everything(first), everything(second)
    assert first.keys() == second.keys()
    for prefix in ("policy.", "average.", "optimizer."):
        names = [name for name in first if name.startswith(prefix)]
        apart, whole = (torch.cat([each[name].flatten() for name in names]) for each in (first, second))
        assert (apart - whole).norm() < 6e-5 * whole.norm()  # 2.3e-5 measured; a wrong batch or rate gives 1e-2


@pytest.mark.parametrize("method", METHODS)
def test_a_group_trains_each_run_as_alone(method):
    def runs():
        # They differ in weights, batches and noise, in all that changes by step, and in length.
        other, third = {"learning_rate": 3e-4, "warmup_steps": 4}, {"num_steps": 30, "ema_max": 0.5}
        return [grouped(method), grouped(method, seed=1, **other), grouped(method, seed=2, **third)]

    together, apart = runs(), runs()
    losses = train(together)
    alone = torch.cat([train([trainer]) for trainer in apart], dim=1)
    torch.testing.assert_close(losses, alone, rtol=1e-5, atol=1e-6)
    for first, second in zip(together, apart, strict=True):
        assert first.step == second.step == STEPS
        close(first, second)


@pytest.mark.parametrize("method", METHODS)
def test_a_group_of_one_trains_as_the_plain_trainer(method):
    plain, one = make_trainer(method, device=DEVICE), grouped(method)
    steps = plain.steps_per_epoch - 1  # the smaller batch at its end is drawn otherwise
    expected = torch.stack([plain.update() for _ in range(steps)])
    torch.testing.assert_close(train([one], steps)[:, 0], expected, rtol=1e-5, atol=1e-6)
    close(one, plain)


def test_points_are_drawn_as_alone():
    """Each of a group draws its own; a training that takes all points draws none."""
    few = {"train_points": 5}
    plain, one = make_trainer("simple_dp3", device=DEVICE, **few), grouped("simple_dp3", **few)
    steps = plain.steps_per_epoch - 1
    expected = torch.stack([plain.update() for _ in range(steps)])
    torch.testing.assert_close(train([one], steps)[:, 0], expected, rtol=1e-5, atol=1e-6)
    pair = [grouped("simple_dp3", seed=seed, **few) for seed in (0, 1)]
    together = train(pair, steps)
    torch.testing.assert_close(together[:, 0], expected, rtol=1e-5, atol=1e-6)
    alone = train([grouped("simple_dp3", seed=1, **few)], steps)
    torch.testing.assert_close(together[:, 1:], alone, rtol=1e-5, atol=1e-6)
    whole = make_trainer("simple_dp3", device=DEVICE)
    assert not torch.equal(torch.stack([whole.update() for _ in range(steps)]), expected)


def test_relative_actions_are_drawn_as_alone():
    """Their rows are those of the windows, which are more than the frames."""
    plain, one = (make_trainer(device=DEVICE, form=form, windows=relative_windows()) for form in ("torch", "cuda"))
    assert not plain.windows.places.equal(plain.windows.frames)
    steps = plain.steps_per_epoch - 1
    expected = torch.stack([plain.update() for _ in range(steps)])
    torch.testing.assert_close(train([one], steps)[:, 0], expected, rtol=1e-5, atol=1e-6)
    close(one, plain)


def test_recording_changes_nothing_and_what_is_replayed_trains(monkeypatch):
    eager, recorded = ([grouped("dp3_mamba_v2", seed=seed) for seed in (0, 1)] for _ in range(2))
    before = [everything(trainer) for trainer in recorded]
    group = Group(recorded)
    with monkeypatch.context() as patch:
        if DEVICE.type == "cpu":
            patch.setattr(graphs, "capture", capture)
        group.take = group.record()
    for trainer, weights in zip(recorded, before, strict=True):
        now = everything(trainer)
        assert not differences({name: now[name] for name in weights}, weights)
        assert not any(value.any() for name, value in now.items() if name not in weights)  # an optimiser at its start
    losses = torch.stack([group.update().clone() for _ in range(STEPS)])
    torch.testing.assert_close(losses, train(eager), rtol=1e-5, atol=1e-6)
    for first, second in zip(recorded, eager, strict=True):
        close(first, second)


@pytest.mark.parametrize("others", [(), (1,), (1, 2)])
def test_a_group_goes_on_from_what_each_run_has_saved(tmp_path, others):
    """To the bit in a group of as many, as their number decides the rounding."""
    whole, halves, resumed = ([grouped(seed=seed) for seed in (0, *others)] for _ in range(3))
    expected = train(whole)
    train(halves, 3)
    for place, (half, again) in enumerate(zip(halves, resumed, strict=True)):
        half.save(tmp_path / f"{place}.safetensors")
        again.resume(tmp_path / f"{place}.safetensors")
    assert train(resumed, STEPS - 3).equal(expected[3:])
    for first, second in zip(resumed, whole, strict=True):
        assert not differences(everything(first), everything(second))


def test_runs_at_different_steps_share_a_group_and_leave_it():
    alone, first, second = grouped(), grouped(), grouped(seed=1)
    train([alone], 5)
    train([first], 2)
    train([first, second], 2)
    train([first], 1)
    assert (first.step, second.step) == (5, 2)
    close(first, alone)


def test_runs_of_different_shapes_share_no_group():
    with pytest.raises(AssertionError, match="2 shapes"):
        Group([grouped(), grouped(batch_size=4)])


def test_the_form_says_who_takes_the_steps():
    assert isinstance(stepper([grouped()]).__self__, Group)
    plain, twin = make_trainer(), make_trainer()
    assert stepper([plain])().tolist() == [float(twin.update())]
