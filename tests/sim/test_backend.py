"""MuJoCo renders on the GPU that computes, which EGL counts in its own order; a stand-in takes the place of EGL."""

import ctypes
import sys
from types import ModuleType

import pytest

from mp_lib.sim import backend


@pytest.fixture
def egl(monkeypatch):
    """EGL with devices by their places among CUDA's; None for one that is no CUDA device, such as Mesa's."""
    pytest.importorskip("mujoco")

    def there_are(*places):
        def ask(device, attribute, number):
            assert attribute == backend.EGL_CUDA_DEVICE
            if (place := places[device - 1]) is None:
                return 0
            number[0] = place
            return 1

        kind = ctypes.CFUNCTYPE(ctypes.c_uint, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(ctypes.c_ssize_t))
        called = kind(ask)
        module = ModuleType("mujoco.egl.egl_ext")
        module.EGLBoolean, module.EGLDeviceEXT, module.EGLint = ctypes.c_uint, ctypes.c_void_p, ctypes.c_int
        module.eglGetProcAddress = lambda name: ctypes.cast(called, ctypes.c_void_p).value
        module.eglQueryDevicesEXT = lambda: [*range(1, len(places) + 1)]
        package = ModuleType("mujoco.egl")
        package.egl_ext = module
        monkeypatch.setitem(sys.modules, "mujoco.egl", package)
        monkeypatch.setitem(sys.modules, "mujoco.egl.egl_ext", module)

    return there_are


@pytest.mark.parametrize(
    ("places", "gpu", "expected"),
    [([0], 0, 0), ([2, 0, 1, None], 0, 1), ([2, 0, 1, None], 2, 0), ([None, None, 0], 0, 2)],
)
def test_a_gpu_is_found_by_its_place_among_cudas(places, gpu, expected, egl):
    egl(*places)
    assert backend.find_egl_device(gpu) == expected


@pytest.mark.parametrize(("places", "gpu"), [([None], 0), ([0, 1], 2), ([0, 0], 0), ([], 0)])
def test_a_gpu_that_egl_does_not_tell_from_others_is_not_guessed(places, gpu, egl):
    egl(*places)
    with pytest.raises(ValueError, match=f"{gpu} is not once among them"):
        backend.find_egl_device(gpu)


def test_where_egl_does_not_say_nothing_is_set():
    backend.egl_device.cache_clear()
    assert backend.egl_device(77, None) == ""  # asks the EGL of this machine, if there is one
