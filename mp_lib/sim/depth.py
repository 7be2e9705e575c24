"""The depth camera through OpenGL; its twin without is ``mp_lib.sim.rays``.

Both look through a camera of the model, with the first row of the image where the camera has its top, and
return the distance along the optical axis in metres, ``inf`` where nothing is hit. Both see what mujoco
shows by default: the geoms and sites of groups 0 to 2 whose alpha is not 0.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref

import numpy as np

from mp_lib.sim.backend import prepare_opengl

BACKEND = prepare_opengl()  # before mujoco is imported, which reads MUJOCO_GL

import mujoco  # noqa: E402

from mp_lib.interfaces import FINE, Picture  # noqa: E402

VISIBLE_GROUPS = np.array([1, 1, 1, 0, 0, 0], np.uint8)  # the default of mujoco.MjvOption
DEPTH_FLAGS = (mujoco.mjtRndFlag.mjRND_SEGMENT, mujoco.mjtRndFlag.mjRND_IDCOLOR)  # no light, textures or blending
COSTLY_FLAGS = (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION)


def focal_length(model: mujoco.MjModel, camera: str, size: int) -> float:
    """Return the focal length in pixels of ``camera`` for a picture that is ``size`` pixels high."""
    return size / 2 / np.tan(np.deg2rad(model.cam(camera).fovy[0]) / 2)


class OpenGLScreen:
    """An OpenGL context with the meshes and textures of one model; 0.3 to 1 s to create, so it is shared.

    It takes so many ``samples`` a pixel. It may be used with any model that has the same meshes and textures, as two
    environments of one task have. It belongs to the thread that made it, and is freed when the last holder lets it go.
    """

    _shared: weakref.WeakValueDictionary[tuple, OpenGLScreen] = weakref.WeakValueDictionary()

    @classmethod
    def shared(cls, model: mujoco.MjModel, key: str, samples: int = 0) -> OpenGLScreen:
        """Return the screen of this thread for ``key``, which names a set of meshes and textures."""
        place = (os.getpid(), threading.get_ident(), key, samples)
        screen = cls._shared.get(place)
        if screen is None:
            screen = cls._shared[place] = cls(model, samples)
        return screen

    def __init__(self, model: mujoco.MjModel, samples: int = 0):
        # Multisampling and shadow maps make up most of the cost of a software renderer.
        model.vis.quality.offsamples = samples
        model.vis.quality.shadowsize = 0
        held = model.vis.global_  # a picture has to fit into it
        held.offheight, held.offwidth = np.maximum((held.offheight, held.offwidth), FINE.shape)
        self._context = self._target = None
        try:
            self._context = _context_class()(model.vis.global_.offwidth, model.vis.global_.offheight)
            self._context.make_current()
            self._target = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        except Exception as error:  # each platform raises its own kind
            raise RuntimeError(f"no OpenGL context ({error}); unset MP_DEPTH or set MP_DEPTH=rays") from error
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._target)
        self._target.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR
        self._scene = mujoco.MjvScene(model, maxgeom=2000)
        self._option = mujoco.MjvOption()
        # At exit EGL ends before objects are deleted, and a context that is still alive then complains.
        atexit.register(lambda screen: screen() and screen().close(), weakref.ref(self))

    def close(self) -> None:
        """Free the context; may be called again."""
        if self._target is not None:
            self._context.make_current()
            self._target.free()
            self._context.free()
            self._target = None

    def __del__(self):
        self.close()

    def depth(self, model: mujoco.MjModel, data: mujoco.MjData, camera: str, size: int) -> np.ndarray:
        """Return the depth image (size, size) float64 in metres, ``inf`` where there is nothing."""
        rectangle = self._draw(model, data, camera, (size, size), DEPTH_FLAGS)
        buffer = np.empty((size, size), np.float32)
        mujoco.mjr_readPixels(None, buffer, rectangle, self._target)
        near, far = (plane * model.stat.extent for plane in (model.vis.map.znear, model.vis.map.zfar))
        nearness = buffer[::-1].astype(np.float64)  # 1 at the near plane, 0 at the far plane; rows from below
        return np.where(nearness > 0, near * far / (nearness * (far - near) + near), np.inf)

    def picture(self, model: mujoco.MjModel, data: mujoco.MjData, camera: str, how: Picture) -> np.ndarray:
        """Return a picture (H, W, 3) uint8."""
        rectangle = self._draw(model, data, camera, how.shape, (), culled=not how.whole)
        pixels = np.empty((*how.shape, 3), np.uint8)
        mujoco.mjr_readPixels(pixels, None, rectangle, self._target)
        return pixels[::-1]

    def _draw(self, model, data, camera, shape, flags, culled=True) -> mujoco.MjrRect:
        eye = mujoco.MjvCamera()
        eye.type, eye.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, model.cam(camera).id
        category = mujoco.mjtCatBit.mjCAT_ALL
        mujoco.mjv_updateScene(model, data, self._option, None, eye, category, self._scene)
        for flag in (*DEPTH_FLAGS, *COSTLY_FLAGS):
            self._scene.flags[flag] = flag in flags
        self._scene.flags[mujoco.mjtRndFlag.mjRND_CULL_FACE] = culled
        rectangle = mujoco.MjrRect(0, 0, shape[1], shape[0])
        self._context.make_current()
        mujoco.mjr_render(rectangle, self._scene, self._target)
        return rectangle


def _context_class():
    # mujoco.GLContext was chosen when mujoco was imported, which may have been before MUJOCO_GL was set.
    if os.environ.get("MUJOCO_GL") == "egl":
        from mujoco.egl import GLContext
    else:
        from mujoco.gl_context import GLContext
    return GLContext


class OpenGLDepth:
    """Depth through OpenGL; a screen is made at the first look."""

    def __init__(self, model: mujoco.MjModel, camera: str, size: int, key: str):
        self.model, self.camera, self.size, self.key = model, camera, size, key
        self._screens: dict[int, OpenGLScreen] = {}  # by samples a pixel

    def depth(self, data: mujoco.MjData) -> np.ndarray:
        """Return the depth image (size, size) in metres, ``inf`` where there is nothing."""
        return self._open().depth(self.model, data, self.camera, self.size)

    def picture(self, data: mujoco.MjData, how: Picture, camera: str | None = None) -> np.ndarray:
        """Return a picture (H, W, 3) uint8, by another camera of the model if one is given."""
        return self._open(how.samples).picture(self.model, data, camera or self.camera, how)

    def look_at(self, model: mujoco.MjModel) -> None:
        """Go on with another model, which has the same camera, meshes and textures."""
        self.model = model

    def close(self) -> None:
        """Let go of the screens; the next look makes a new one."""
        self._screens.clear()

    def _open(self, samples: int = 0) -> OpenGLScreen:
        if samples not in self._screens:
            self._screens[samples] = OpenGLScreen.shared(self.model, self.key, samples)
        return self._screens[samples]
