"""The choice between OpenGL and ray-casting for depth images; made before mujoco is imported."""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import subprocess
import sys
import warnings

from mp_lib.system.extras import require

CHOICES = ("opengl", "rays")
EGL_CUDA_DEVICE = 0x323A  # of the extension EGL_NV_device_cuda: a device's place in CUDA_VISIBLE_DEVICES
PROBE = "import mujoco; mujoco.Renderer(mujoco.MjModel.from_xml_string('<mujoco/>'), 8, 8).render()"


def prepare_opengl() -> str:
    """Decide once how depth images are made and prepare the environment variables for it: "opengl" or "rays".

    Without ``MP_DEPTH`` it is OpenGL if a context can be created and ray-casting if not. The answer is
    remembered in ``MP_DEPTH``, so that child processes need not ask again. On Linux it also sets
    ``MUJOCO_GL``, which mujoco reads when it is imported, unless the user has set it.

    Raises a ValueError if ``MP_DEPTH`` is neither, a MissingExtraError where mujoco is not installed.
    """
    require("sim", "mujoco")
    choice = os.environ.get("MP_DEPTH") or ("opengl" if _opengl_works() else "rays")
    if choice not in CHOICES:
        raise ValueError(
            f"MP_DEPTH is {choice!r}; set it to one of {', '.join(CHOICES)}, or unset it to let it be chosen"
        )
    os.environ["MP_DEPTH"] = choice
    if platform.system() == "Linux":
        _set_mujoco_gl(choice)
    return choice


def _set_mujoco_gl(choice: str) -> None:
    if choice == "opengl":
        os.environ.setdefault("MUJOCO_GL", "egl")
        return
    # With MUJOCO_GL=egl and no libEGL even `import mujoco` fails, so a value that does not work has to go.
    given = os.environ.get("MUJOCO_GL", "disable")
    if given != "disable" and "mujoco" not in sys.modules:
        warnings.warn(f"depth images come from ray-casting: MUJOCO_GL={given} is replaced by disable", stacklevel=3)
    os.environ["MUJOCO_GL"] = "disable"


def _opengl_works() -> bool:
    """Try to render in a process of its own, since a bad driver may end the process."""
    variables = dict(os.environ)
    if platform.system() == "Linux" and variables.setdefault("MUJOCO_GL", "egl") == "egl":
        try:
            ctypes.CDLL("libEGL.so.1")
        except OSError:
            return False
    try:
        probe = subprocess.run([sys.executable, "-c", PROBE], env=variables, capture_output=True, timeout=120)
    except subprocess.TimeoutExpired:
        return False
    return probe.returncode == 0


@functools.cache
def egl_device(gpu: int, visible: str | None) -> str:
    """MUJOCO_EGL_DEVICE_ID for the GPU at place ``gpu`` of CUDA_VISIBLE_DEVICES, which is ``visible``.

    EGL counts devices in an order of its own, whatever CUDA sees. Empty where EGL does not say which one it is, as
    Mesa, or MuJoCo does not render on it. Asked in a process of its own, as above.
    """
    asked = f"import os; from mp_lib.sim.backend import find_egl_device; found = find_egl_device({gpu}); "
    asked += f"os.environ['MUJOCO_EGL_DEVICE_ID'] = str(found); {PROBE}; print(found)"
    variables = os.environ | {"MUJOCO_GL": "egl"} | ({} if visible is None else {"CUDA_VISIBLE_DEVICES": visible})
    command = [sys.executable, "-c", asked]
    try:
        probe = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        return ""
    return probe.stdout.strip() if probe.returncode == 0 else ""


def find_egl_device(gpu: int) -> int:
    """The place among EGL's devices of the GPU that has place ``gpu`` among this process's CUDA devices.

    Raises a ValueError if none or several say so, an ImportError if EGL cannot be asked.
    """
    from mujoco.egl import egl_ext as egl

    number = ctypes.POINTER(ctypes.c_ssize_t)
    kind = ctypes.CFUNCTYPE(egl.EGLBoolean, egl.EGLDeviceEXT, egl.EGLint, number)
    ask, places = kind(egl.eglGetProcAddress("eglQueryDeviceAttribEXT")), []
    for device in egl.eglQueryDevicesEXT():
        place = ctypes.c_ssize_t(-1)
        places.append(place.value if ask(device, EGL_CUDA_DEVICE, ctypes.byref(place)) else None)
    if places.count(gpu) != 1:
        raise ValueError(f"EGL's devices have the places {places} among CUDA's; {gpu} is not once among them")
    return places.index(gpu)
