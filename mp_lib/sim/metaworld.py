"""MetaWorld's 50 tasks under the protocol of DP3 (3D-Diffusion-Policy, env/metaworld/metaworld_wrapper.py)."""

from __future__ import annotations

import sys

import numpy as np

from mp_lib.interfaces import AS_USUAL, Start, look_up
from mp_lib.sim.cloud_env import WrappedEnv
from mp_lib.sim.cloud_maker import Crop
from mp_lib.sim.env import WiderDraws, checked_action

import mujoco  # isort: skip  # after mp_lib.sim.cloud_env, which chooses what mujoco loads
from metaworld.env_dict import ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE  # isort: skip

CAMERA, CAMERA_POSITION, IMAGE_SIZE = "corner2", (0.6, 0.295, 0.8), 128
NEAR_PLANE, FAR_PLANE = 0.1, 1.5  # in units of the model's extent
CROP_LOW, CROP_HIGH = np.array([-0.5, -1.5, -0.795]), np.array([1.0, -0.4, 100.0])
ACTION_DIM = 4
MIDDLE = (0.0, 0.7)  # of the box in which MetaWorld's hand may move


class MetaWorldEnv(WrappedEnv):
    """One MetaWorld task; ``task`` is MetaWorld's name without version, such as "stick-push".

    The state (9,) is the positions of the end effector, the right and the left finger in the world in metres. The first
    three numbers of an action (4,) move the hand's target along the world's x, y, z, by 1 cm for 1, within the box that
    MetaWorld allows; the hand is drawn after it and lags some steps of 12.5 ms behind. The fourth is the force that
    closes each finger: 400 N for 1, less 400 N for each metre that the finger has come. ``truth`` is MetaWorld's
    observation (39,). Clouds and pictures are seen by one camera, which hangs upside down.
    """

    picture_turned = True

    def __init__(self, task: str, num_points: int = 512):
        make = look_up(ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE, f"{task}-v3-goal-observable", "MetaWorld environment")
        self._env = make()
        self._env._freeze_rand_vec = False
        self._env.seeded_rand_vec = True
        self._env.max_path_length = sys.maxsize  # how long an episode lasts is for the caller to say
        model = self._env.model
        _prepare_view(model)
        super().__init__(model, self._env.data, CAMERA, IMAGE_SIZE, _crop(model), num_points, f"metaworld {task}")

    def reset(self, seed: int, start: Start = AS_USUAL) -> None:
        """Start the episode that belongs to ``seed`` (0 or above), the same one to the bit every time."""
        self._turn_camera(start.camera_turned)
        self._env.seed(int(seed))
        # Of x, y, z of what is placed, and of the goal where that is, too: a height would sink things into the table.
        level = np.resize([1, 1, 0], self._env._random_reset_space.low.size)
        self._env.np_random = WiderDraws(self._env.np_random, start.object_shifted * level)
        self._env.reset()
        # MetaWorld moves bodies in the model last, and that shows in positions only after a forward pass.
        mujoco.mj_forward(self._model, self._data)
        self._env._prev_obs = self._env._get_curr_obs_combined_no_goal()
        self._observation = self._env._get_obs()

    def step(self, action: np.ndarray) -> bool:
        """Apply ``action`` (4,), clipped to [-1, 1], and return whether the goal is met after it.

        Raises a ValueError for a NaN or another shape, SimulationDiverged if the simulator cannot go on.
        """
        action = checked_action(action, ACTION_DIM)
        with self._simulating(self._env.task_name):
            self._observation, _, _, _, info = self._env.step(action)
        return bool(info["success"] > 0)

    def _middle(self) -> tuple[float, float]:
        return MIDDLE

    def _hand(self) -> np.ndarray:
        return self._data.body("hand").xpos

    def _state(self) -> np.ndarray:
        fingers = [self._data.site(f"{side}EndEffector").xpos for side in ("right", "left")]
        return np.concatenate([self._data.body("hand").xpos, *fingers]).astype(np.float32)


def _prepare_view(model: mujoco.MjModel) -> None:
    model.cam(CAMERA).pos = CAMERA_POSITION
    model.vis.map.znear, model.vis.map.zfar = NEAR_PLANE, FAR_PLANE
    # DP3's fork of MetaWorld has no wall around the table; alpha 0 hides it, and it still holds objects back.
    # The tables with a hole have no wall: id -1, which no geom has.
    wall = model.geom_bodyid == mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_BODY, "RetainingWall")
    model.geom_rgba[wall, 3] = 0
    model.geom_matid[wall] = -1  # whose colour would count for mujoco's rays, which then meet it all the same


def _crop(model: mujoco.MjModel) -> Crop:
    """Build DP3's crop; its numbers hold in the frame that the following rotations lead to.

    A quirk of DP3: the points are turned by the rotation of camera 0 ("topview"), not by that of the camera
    they were seen with, and not shifted.
    """
    x, y = np.deg2rad(61.4), np.deg2rad(-7)
    about_x = np.array([[1, 0, 0], [0, np.cos(x), np.sin(x)], [0, -np.sin(x), np.cos(x)]])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    topview = model.cam_mat0[0].reshape(3, 3) @ np.diag([1, -1, -1])
    return Crop(CROP_LOW, CROP_HIGH, about_x @ about_y @ topview, np.zeros(3))
