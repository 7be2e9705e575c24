"""Adroit's four tasks under the protocol of DP3 (3D-Diffusion-Policy, env/adroit/adroit.py).

The simulation is gymnasium-robotics'; what DP3's fork of mj_envs has of its own is here: cameras, goal tests,
a pen that is opaque. DP3's crops (gym_util/mjpc_diffusion_wrapper.py) leave relocate out. Here it is seen from beyond
the table, 45 degrees down toward the forearm: so the hand does not hide the ball before it grasps it, and the goal
floats beside both. The crop takes the table away and leaves those three. The goal is a sphere of 0.07 m, which hides
the ball once that is inside; it counts as met within 0.1 m.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from mp_lib.interfaces import AS_USUAL, Start, look_up
from mp_lib.sim.cloud_env import WrappedEnv
from mp_lib.sim.cloud_maker import Crop
from mp_lib.sim.env import WiderDraws, checked_action

import mujoco  # isort: skip  # after mp_lib.sim.cloud_env, which chooses what mujoco loads
from gymnasium.utils import seeding  # isort: skip

with contextlib.redirect_stderr(io.StringIO()):  # it prints a notice on rewards, which nothing here uses
    from gymnasium_robotics.envs.adroit_hand.adroit_door import AdroitHandDoorEnv
    from gymnasium_robotics.envs.adroit_hand.adroit_hammer import AdroitHandHammerEnv
    from gymnasium_robotics.envs.adroit_hand.adroit_pen import AdroitHandPenEnv
    from gymnasium_robotics.envs.adroit_hand.adroit_relocate import AdroitHandRelocateEnv

CAMERA, IMAGE_SIZE = "vil_camera", 84
ACTION_REPEAT = 2  # simulator's steps of 0.01 s a policy step
REACH = 10.0  # metres; nothing is cropped but what lies low
DROPPED = 0.075  # metres above the table; a pen below has left the hand
UPSIDE_DOWN = (np.cos(1.57), 0, 0, np.sin(1.57))  # euler 0 0 3.14
FROM_BEHIND = (0.92388, 0.382683, 0, 0)  # 45 degrees down along y, as "vil_camera" is in all four models
IN_FRONT = (0, 0, 0.382683, 0.92388)  # the same, turned by 180 degrees about z
MIDDLE = (0.0, 0.0)  # of the table in all four models


def _door_is_open(env: AdroitHandDoorEnv) -> bool:
    return bool(env.data.joint("door_hinge").qpos[0] > 1.4)


def _nail_is_in(env: AdroitHandHammerEnv) -> bool:
    return bool(np.linalg.norm(env.data.site("S_target").xpos - env.data.site("nail_goal").xpos) < 0.010)


def _pen_is_parallel(env: AdroitHandPenEnv) -> bool:
    pen = (env.data.site("object_top").xpos - env.data.site("object_bottom").xpos) / env.pen_length
    target = (env.data.site("target_top").xpos - env.data.site("target_bottom").xpos) / env.tar_length
    return bool(pen @ target > 0.95)


def _pen_is_dropped(env: AdroitHandPenEnv) -> bool:
    return bool(env.data.body("Object").xpos[2] < DROPPED)


def _ball_is_near(env: AdroitHandRelocateEnv) -> bool:
    return bool(np.linalg.norm(env.data.body("Object").xpos - env.data.site("target").xpos) < 0.1)


@dataclass(frozen=True)
class Setting:
    """What DP3 does with one task.

    ``joints`` are those of wrist and fingers in qpos; the camera is at ``position`` with ``quaternion``; points are
    turned to stand upright and lifted by 1 m if ``upright``, and kept above ``floor``. ``opaque`` geoms are
    translucent in gymnasium-robotics. An episode in which ``lost`` has come true can meet its goal no more.
    """

    make: Callable
    action_dim: int
    joints: slice
    met: Callable[..., bool]
    position: tuple[float, float, float]
    quaternion: tuple[float, float, float, float]
    upright: bool
    floor: float
    opaque: tuple[str, ...] = ()
    lost: Callable[..., bool] = lambda env: False


SETTINGS: dict[str, Setting] = {
    name: Setting(*row)
    for name, row in {
        "hammer": (AdroitHandHammerEnv, 26, slice(2, -7), _nail_is_in, (0, 0, 1.1), UPSIDE_DOWN, True, -0.099),
        "door": (AdroitHandDoorEnv, 28, slice(4, -2), _door_is_open, (0, 0, 1.5), UPSIDE_DOWN, True, -0.499),
        "pen": (AdroitHandPenEnv, 24, slice(0, -6), _pen_is_parallel, (0, -0.8, 0.8), FROM_BEHIND, False, -0.79),
        "relocate": (AdroitHandRelocateEnv, 30, slice(6, -6), _ball_is_near, (0, 0.65, 0.75), IN_FRONT, False, -0.74),
    }.items()
}
SETTINGS["pen"] = replace(SETTINGS["pen"], opaque=("pen", "target"), lost=_pen_is_dropped)


class AdroitEnv(WrappedEnv):
    """One Adroit task; ``task`` is one of SETTINGS.

    The state (24,) is the angles of wrist and fingers in radians. An action (A,) is a target for each joint, -1 and 1
    being the ends of its actuator's range, held for two of the simulator's steps, 20 ms: of the arm (A - 24 joints, in
    metres or radians), then of the wrist (2) and the fingers (22), in radians. Wrist and fingers are drawn to the
    target, the arm to 2.5 times it, as its actuators in gymnasium-robotics push by 500 times the target and pull by 200
    times the joint's position. ``truth`` is gymnasium-robotics' observation. Clouds and pictures are seen by one
    camera.
    """

    def __init__(self, task: str, num_points: int = 512):
        self.task = task
        self.setting = look_up(SETTINGS, task, "Adroit task")
        self._env = self.setting.make()
        model = self._env.model
        _prepare_view(model, self.setting)
        crop = _crop(model, self.setting)
        super().__init__(model, self._env.data, CAMERA, IMAGE_SIZE, crop, num_points, f"adroit {task}")
        self._lost = False

    def reset(self, seed: int, start: Start = AS_USUAL) -> None:
        """Start the episode that belongs to ``seed`` (0 or above), the same one to the bit every time."""
        self._turn_camera(start.camera_turned)
        generator, _ = seeding.np_random(int(seed))
        self._env.np_random = WiderDraws(generator, start.object_shifted)
        self._observation, _ = self._env.reset()  # with a seed it would make a generator of its own
        self._lost = False

    def step(self, action: np.ndarray) -> bool:
        """Apply ``action`` (A,), clipped to [-1, 1], twice and return whether the goal is met after it.

        Raises a ValueError for a NaN or another shape, SimulationDiverged if the simulator cannot go on.
        """
        action = checked_action(action, self.setting.action_dim)
        with self._simulating(self.task):
            for _ in range(ACTION_REPEAT):
                self._observation, *_ = self._env.step(action)
                self._lost |= self.setting.lost(self._env)
        return self.setting.met(self._env) and not self._lost

    def close(self) -> None:
        """Free the renderer."""
        super().close()
        self._env.close()

    def _middle(self) -> tuple[float, float]:
        return MIDDLE

    def _hand(self) -> np.ndarray:
        return self._data.site("S_grasp").xpos  # before the palm, where a thing lies that is held

    def _state(self) -> np.ndarray:
        return self._data.qpos[self.setting.joints].astype(np.float32)


def _prepare_view(model: mujoco.MjModel, setting: Setting) -> None:
    # The models lack DP3's "top" and have "vil_camera" elsewhere; nothing else looks through that one, so it is moved.
    model.cam(CAMERA).pos, model.cam(CAMERA).quat = setting.position, setting.quaternion
    for name in setting.opaque:
        model.geom(name).rgba[3] = 1


def _crop(model: mujoco.MjModel, setting: Setting) -> Crop:
    """Build DP3's crop; its numbers hold in the frame that the following rotations lead to.

    A quirk of DP3: the points are turned by the rotation of camera 0 ("fixed"), not by that of the camera they
    were seen with, and not shifted.
    """
    half = np.sqrt(0.5)
    upright = np.array([[1, 0, 0], [0, half, half], [0, -half, half]]) if setting.upright else np.eye(3)
    fixed = model.cam_mat0[0].reshape(3, 3) @ np.diag([1, -1, -1])
    low, high = np.array([-REACH, -REACH, setting.floor]), np.full(3, REACH)
    return Crop(low, high, upright @ fixed, np.array([0, 0, 1.0 if setting.upright else 0.0]))
