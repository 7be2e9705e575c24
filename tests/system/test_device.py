"""A device is one that is there and computes, or one line says what is there; stand-ins take the place of GPUs."""

import logging

import pytest
import torch

from mp_lib.system import device
from mp_lib.system.device import apart, choose_device, device_name, visible_gpus
from mp_lib.system.errors import InputError

NO_KERNEL = "CUDA error: no kernel image is available for execution on the device\nCUDA kernel errors might be ..."
TAKEN = [
    "CUDA out of memory. Tried to allocate 2.00 MiB",
    "CUDA error: all CUDA-capable devices are busy or unavailable",
]


@pytest.fixture
def gpus(monkeypatch):
    """GPUs by number, each with what torch says when something is computed on it; empty if that goes well."""

    current = []

    def there_are(*said):
        def ones(size, device):
            place = int(device.partition(":")[2] or 0)
            if said[place]:
                raise RuntimeError(said[place])
            return torch.zeros(size)

        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: len(said))
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda place: f"Model {place}")
        monkeypatch.setattr(torch.cuda, "set_device", current.append)
        monkeypatch.setattr(torch, "ones", ones)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

        return current

    return there_are


def test_auto_takes_a_gpu_that_computes(gpus, caplog):
    gpus("")
    assert choose_device("auto") == torch.device("cuda") and not caplog.text


def test_auto_takes_the_cpu_with_a_warning_where_the_kernels_do_not_fit(gpus, caplog):
    gpus(NO_KERNEL)
    with caplog.at_level(logging.WARNING):
        assert choose_device("auto") == torch.device("cpu")
    (said,) = caplog.messages
    assert "\n" not in said and "CPU" in said and "no kernel image" in said and "install a build for this GPU" in said


@pytest.mark.parametrize("name", ["cuda", "cuda:1"])
def test_a_gpu_that_was_asked_for_and_does_not_compute_is_one_line(name, gpus):
    gpus(NO_KERNEL, NO_KERNEL)
    with pytest.raises(InputError, match=f"'{name}' .*no kernel image.*install a build.*or choose cpu") as caught:
        choose_device(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("said", TAKEN)
@pytest.mark.parametrize("name", ["auto", "cuda"])
def test_a_gpu_that_others_use_is_no_reason_to_do_without(said, name, gpus):
    gpus(said)
    assert choose_device(name) == torch.device("cuda") and visible_gpus(name) == ["0"]


@pytest.mark.parametrize(("name", "count"), [("cuda:1", 1), ("cuda:3", 1), ("cuda:2", 2)])
def test_a_gpu_that_is_not_there_is_answered_with_those_that_are(name, count, gpus):
    current = gpus(*[""] * count)
    with pytest.raises(InputError, match=rf"'{name}'.*cuda:0 \(Model 0\).*cpu or auto") as caught:
        choose_device(name)
    assert f"cuda:{count - 1} (" in str(caught.value) and "\n" not in str(caught.value)
    assert choose_device(f"cuda:{count - 1}") == torch.device("cuda", count - 1) and current == [count - 1]


@pytest.mark.parametrize("name", ["tpu", "cuda:", "cuda:x", "cuda:-1", "cpu:0", "auto:1", "cuda:0:1", ""])
def test_an_unknown_name_is_answered_with_those_there_are(name):
    with pytest.raises(InputError, match="choose one of: auto, cpu, cuda, mps"):
        choose_device(name)


@pytest.mark.parametrize(("visible", "left"), [(None, ["0", "2"]), ("4,GPU-a,6", ["4", "6"])])
def test_steps_are_spread_over_gpus_that_compute(visible, left, gpus, monkeypatch, caplog):
    gpus("", NO_KERNEL, "")
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with caplog.at_level(logging.WARNING):
        assert visible_gpus("auto") == left
    (said,) = caplog.messages
    assert said.startswith(f"GPU {'GPU-a' if visible else '1'} is left out") and "\n" not in said


def process_number():
    import os

    return os.getpid()


def test_gpus_are_tried_in_another_process_so_that_this_one_holds_none(monkeypatch):
    here = process_number()
    assert apart(process_number) == here
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert apart(process_number) != here
    with pytest.raises(InputError, match="unknown device None"):
        choose_device(None)
    with pytest.raises(InputError, match="unknown device 'tpu'"):
        apart(device.choose_device, "tpu")


def test_devices_of_one_machine_have_names_of_their_own(gpus):
    """Episodes and evaluations of one are not taken for the other's."""
    gpus("")
    assert len({device_name(torch.device(kind)) for kind in ("cpu", "cuda", "mps")}) == 3
