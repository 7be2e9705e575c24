"""What the environments of all suites do alike: look through one camera of a MuJoCo model and tell what is there."""

from __future__ import annotations

import numpy as np

from mp_lib.interfaces import Obs
from mp_lib.point_cloud import draw_cloud
from mp_lib.sim.cloud_maker import CloudMaker, Crop
from mp_lib.sim.depth import BACKEND, OpenGLDepth, focal_length
from mp_lib.sim.env import SimulationDiverged
from mp_lib.sim.rays import RayDepth

import mujoco  # isort: skip  # after mp_lib.sim.depth, which chooses what mujoco loads

# mujoco does not raise: it warns, sets the state back to the model's and goes on as if nothing had happened.
DIVERGED = (mujoco.mjtWarning.mjWARN_BADQPOS, mujoco.mjtWarning.mjWARN_BADQVEL, mujoco.mjtWarning.mjWARN_BADQACC)


class CloudEnv:
    """An environment whose policy sees a cloud from one camera; a suite adds ``reset``, ``step`` and ``_state``.

    A suite keeps its simulator's own observation in ``_observation``, None before the first episode. Use an
    environment only in the thread that first looked through it.
    """

    depth_backend = BACKEND
    picture_shape = (240, 320)  # H, W in pixels
    picture_turned = False  # whether the camera hangs upside down
    picture_camera: str | None = None  # what pictures are taken with; None: the camera of the cloud
    pixel_place = 0.0  # where in a pixel its point is taken: 0 is its upper left corner, 0.5 its centre
    num_imagined = 0  # points of a whole cloud that no camera has seen

    def __init__(self, model, data, camera: str, image_size: int, crop: Crop, num_points: int, key: str):
        """Look at ``model`` through ``camera``; ``key`` names the model's meshes and textures."""
        self._model, self._data = model, data
        focal = focal_length(model, camera, image_size)
        self._maker = CloudMaker(image_size, focal, crop, num_points, self.pixel_place)
        if BACKEND == "opengl":
            self._camera = OpenGLDepth(model, camera, image_size, key)
        else:
            self._camera = RayDepth(model, camera, image_size)
        self._observation = None

    def observe(self) -> Obs:
        """Look: cloud (num_points, 3) in metres in the frame of the suite's crop, and state (S,)."""
        self._require_episode()
        return Obs(self._complete(self._maker.cloud(self._camera.depth(self._data))), self._state())

    def cloud_stages(self) -> dict[str, np.ndarray]:
        """Look, and keep what leads to the cloud: all points "seen", those "cropped", those "sampled", (M, 3) each."""
        self._require_episode()
        depth = self._camera.depth(self._data)
        seen, cropped, sampled = self._maker.points(depth), self._maker.cropped(depth), self._maker.cloud(depth)
        return {"seen": seen, "cropped": cropped, "sampled": self._complete(sampled)}

    def truth(self) -> dict[str, np.ndarray]:
        """Return {"observation": float64}, the simulator's own observation with the goal in it."""
        self._require_episode()
        return {"observation": self._observation.copy()}

    def render(self) -> np.ndarray:
        """Return a picture (H, W, 3) uint8 by ``picture_camera``; of the cloud where there is no OpenGL."""
        self._require_episode()
        if BACKEND != "opengl":
            return draw_cloud(self.observe().point_cloud)
        picture = self._camera.picture(self._data, self.picture_shape, self.picture_camera)
        return np.ascontiguousarray(picture[::-1, ::-1] if self.picture_turned else picture)

    def close(self) -> None:
        """Free the renderer."""
        self._camera.close()

    def _look_at(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        """Go on with another model, which has the same camera, meshes and textures."""
        self._model, self._data = model, data
        self._camera.look_at(model)

    def _complete(self, cloud: np.ndarray) -> np.ndarray:
        """Return the sampled cloud with whatever a suite adds to it."""
        return cloud

    def _require_episode(self) -> None:
        if self._observation is None:
            raise RuntimeError("no episode has been started; call reset(seed) first")

    def _require_numbers(self, name: str) -> None:
        """Raise SimulationDiverged if the simulator has warned of numbers that mean nothing."""
        if any(self._data.warning[kind].number for kind in DIVERGED):
            raise SimulationDiverged(f"{name}: positions, velocities or accelerations are huge or NaN")
