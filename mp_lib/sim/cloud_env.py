"""What the environments of all suites do alike: look through one camera of a MuJoCo model and tell what is there."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator

import numpy as np

from mp_lib.interfaces import USUAL, Branch, Obs, Picture
from mp_lib.point_cloud import draw_cloud
from mp_lib.sim.cloud_maker import CloudMaker, Crop
from mp_lib.sim.depth import BACKEND, OpenGLDepth, focal_length
from mp_lib.sim.env import SimulationDiverged, on_data
from mp_lib.sim.rays import RayDepth
from mp_lib.system.errors import InputError

import mujoco  # isort: skip  # after mp_lib.sim.depth, which chooses what mujoco loads

SMALLEST = 256  # pixels of a drawn cloud's side
# mujoco does not raise: it warns, sets the state back to the model's and goes on as if nothing had happened.
DIVERGED = (mujoco.mjtWarning.mjWARN_BADQPOS, mujoco.mjtWarning.mjWARN_BADQVEL, mujoco.mjtWarning.mjWARN_BADQACC)


class CloudEnv:
    """An environment whose policy sees a cloud from one camera, which is fixed to the world.

    A suite adds ``reset``, ``step``, ``_middle`` (x and y in the world of the workspace's middle), ``_state`` and
    ``_hand``, extends ``_simulate_on``, and keeps its simulator's own observation in ``_observation``, None before the
    first episode. A step may replace what the environment holds, and changes nothing of it in place but ``_data``. Use
    an environment only in the thread that first looked through it.
    """

    depth_backend = BACKEND
    picture_turned = False  # whether the camera hangs upside down
    picture_camera: str | None = None  # what pictures are taken with; None: the camera of the cloud
    pixel_place = 0.0  # where in a pixel its point is taken: 0 is its upper left corner, 0.5 its centre
    num_imagined = 0  # points of a whole cloud that no camera has seen

    def __init__(self, model, data, camera: str, image_size: int, crop: Crop, num_points: int, key: str):
        """Look at ``model`` through ``camera``; ``key`` names the model's meshes and textures."""
        self._model, self._data = model, data
        focal = focal_length(model, camera, image_size)
        self._maker = CloudMaker(image_size, focal, crop, num_points, self.pixel_place)
        self._place = model.cam(camera).pos.copy(), model.cam(camera).quat.copy()
        self._eye, self._axes = _pose(model, camera)
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

    def to_world(self, points: np.ndarray) -> np.ndarray:
        """Return where in the world the camera saw ``points`` (..., 3) of clouds of this task; float64, in metres.

        It is the same for all episodes. Padding was seen nowhere: leave it out first, by
        ``mp_lib.point_cloud.without_padding``. Raises an InputError for points that have more than x, y, z.
        """
        points = np.asarray(points, np.float64)
        if points.shape[-1:] != (3,):
            raise InputError(f"points have the shape {points.shape}; give x, y, z of each, (..., 3)")
        return self._maker.in_camera(points) @ self._axes.T + self._eye

    def eye(self) -> np.ndarray:
        """Return where in the world the camera of the clouds is (3,), float64, in metres."""
        return self._eye.copy()

    def hand(self) -> np.ndarray:
        """Return where the hand is in the world (3,), float64, in metres."""
        self._require_episode()
        return self._hand().copy()

    def branch(self) -> Branch:
        """Return the simulation as it is now, once more: what is done there does not show here, nor the other way.

        The same actions lead both through the same states to the bit. It takes about half a millisecond, draws nothing,
        and holds until the next ``reset``, which changes the model that both share.
        """
        self._require_episode()
        twin = copy.copy(self)
        twin._simulate_on(copy.copy(self._data))  # whole: forces, contacts, what the solver starts from
        return Branch(twin.step, twin.hand, twin.branch)

    def truth(self) -> dict[str, np.ndarray]:
        """Return {"observation": float64}, the simulator's own observation with the goal in it."""
        self._require_episode()
        return {"observation": self._observation.copy()}

    def render(self, picture: Picture = USUAL) -> np.ndarray:
        """Return a picture (H, W, 3) uint8 by ``picture_camera``; of the cloud where there is no OpenGL."""
        self._require_episode()
        if BACKEND != "opengl":
            return draw_cloud(self.observe().point_cloud, size=max(SMALLEST, picture.shape[0]))
        pixels = self._camera.picture(self._data, picture, self.picture_camera)
        return np.ascontiguousarray(pixels[::-1, ::-1] if self.picture_turned else pixels)

    def close(self) -> None:
        """Free the renderer."""
        self._camera.close()

    def _simulate_on(self, data: mujoco.MjData) -> None:
        """Go on with other data of the same model."""
        self._data = data

    def _look_at(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        """Go on with another model, which has the same camera, meshes and textures."""
        self._model, self._data = model, data
        self._camera.look_at(model)

    def _turn_camera(self, degrees: float) -> None:
        """Put the camera where it stood at first, and ``degrees`` further round; a forward pass has to follow.

        What leads from depth to the cloud stays as it is: the camera was moved, and nobody has calibrated it again.
        """
        position, quaternion = (each.copy() for each in self._place)
        if degrees:  # else to the bit where it stood
            turn, middle = np.empty(4), np.array([*self._middle(), 0])
            mujoco.mju_axisAngle2Quat(turn, (0, 0, 1), np.deg2rad(degrees))
            mujoco.mju_rotVecQuat(position, position - middle, turn)
            mujoco.mju_mulQuat(quaternion, turn, quaternion.copy())
            position += middle
        camera = self._model.cam(self._camera.camera)
        camera.pos, camera.quat = position, quaternion

    def _complete(self, cloud: np.ndarray) -> np.ndarray:
        """Return the sampled cloud with whatever a suite adds to it."""
        return cloud

    def _require_episode(self) -> None:
        if self._observation is None:
            raise RuntimeError("no episode has been started; call reset(seed) first")

    @contextlib.contextmanager
    def _simulating(self, name: str) -> Iterator[None]:
        """A block that steps an episode; raises SimulationDiverged if the simulator cannot go on."""
        self._require_episode()
        try:
            yield
        except mujoco.FatalError as error:
            raise SimulationDiverged(f"{name}: {error}") from error
        self._require_numbers(name)

    def _require_numbers(self, name: str) -> None:
        """Raise SimulationDiverged if the simulator has warned of numbers that mean nothing."""
        if any(self._data.warning[kind].number for kind in DIVERGED):
            raise SimulationDiverged(f"{name}: positions, velocities or accelerations are huge or NaN")


def _pose(model: mujoco.MjModel, camera: str) -> tuple[np.ndarray, np.ndarray]:
    """Return position (3,) and axes (3, 3) in the world of a camera; its x right, y down, z forward as columns."""
    eye, axes = model.cam(camera), np.empty(9)
    assert eye.bodyid == 0 and eye.mode == mujoco.mjtCamLight.mjCAMLIGHT_FIXED, f"{camera} moves"
    mujoco.mju_quat2Mat(axes, eye.quat)
    return eye.pos.copy(), axes.reshape(3, 3) * [1, -1, -1]  # mujoco's cameras have y up


class WrappedEnv(CloudEnv):
    """One in which ``_env``, a gymnasium environment of another package, simulates."""

    def _simulate_on(self, data: mujoco.MjData) -> None:
        super()._simulate_on(data)
        self._env = on_data(self._env, data)
