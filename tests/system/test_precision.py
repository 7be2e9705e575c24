"""Precision: both switches together, and none that a device does not have."""

import pytest
import torch

from mp_lib.system.errors import InputError
from mp_lib.system.precision import PRECISIONS, use_precision

SWITCHES = (torch.backends.cuda.matmul, torch.backends.cudnn)


@pytest.fixture(autouse=True)
def set_back():
    before = [each.allow_tf32 for each in SWITCHES]
    yield
    for switch, value in zip(SWITCHES, before, strict=True):
        switch.allow_tf32 = value


def stand_in(monkeypatch, capability):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    return torch.device("cuda")


@pytest.mark.parametrize("name", PRECISIONS)
def test_a_precision_sets_both_switches(name, monkeypatch):
    for capability in ((8, 0), (9, 0)):
        device = stand_in(monkeypatch, capability)
        assert use_precision(name, device) == name
        assert [each.allow_tf32 for each in SWITCHES] == [PRECISIONS[name]] * 2
    assert use_precision("auto", device) == "tf32"


@pytest.mark.parametrize("capability", [None, (7, 5)])
def test_a_device_without_tf32_computes_in_float32_and_says_so(capability, monkeypatch):
    device = torch.device("cpu") if capability is None else stand_in(monkeypatch, capability)
    assert use_precision("auto", device) == use_precision("float32", device) == "float32"
    assert not any(each.allow_tf32 for each in SWITCHES)
    with pytest.raises(InputError, match="8.0 or more, which .* is not; choose float32"):
        use_precision("tf32", device)
    with pytest.raises(InputError, match="'half'; choose one of: auto, float32, tf32"):
        use_precision("half", device)
