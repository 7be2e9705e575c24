"""DexArt's four tasks (arXiv 2305.05706), re-created in MuJoCo under the protocol that DP3 uses.

DexArt simulates in SAPIEN with objects of PartNet-Mobility. Here everything but the protocol is our own: robot
(``dexart_robot``), objects (``dexart_objects``) and scenes (``dexart_scene``). Actions, state, rate, horizon, camera,
crops, imagined points and goal tests are DexArt's (Kami-code/dexart-release, dexart/env/rl_env); of DP3's copy, which
lowers three of the goals, they differ as the table of docs/suites.md says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mp_lib.interfaces import AS_USUAL, Start, look_up
from mp_lib.point_cloud import sample_farthest, without_padding
from mp_lib.sim.cloud_env import CloudEnv
from mp_lib.sim.cloud_maker import Crop
from mp_lib.sim.dexart_robot import NUM_IMAGINED, TOUCHING, Robot
from mp_lib.sim.dexart_scene import CAMERA, HOME, PICTURE_CAMERA, PLACES, compile_scene, draw_scene
from mp_lib.sim.env import checked_action

import mujoco  # isort: skip  # after mp_lib.sim.cloud_env, which chooses what mujoco loads

IMAGE_SIZE, ACTION_DIM, HORIZON = 84, 22, 250
SUBSTEPS = 10  # of 4 ms: 25 actions a second
SPLITS = ("seen", "unseen")
FULL_CLOUD = 1024 + NUM_IMAGINED


@dataclass(frozen=True)
class Goal:
    """How a task is judged.

    ``start`` is the hinge's angle at the beginning; ``progress`` is 0 there and 1 at the goal, but for the faucet it is
    the angle. It has to exceed ``needed``, the object to have risen by more than ``lifted`` metres, and, if ``held``,
    the palm and at least two fingers have to press on the part.
    """

    start: Callable[[dict], float]
    progress: Callable[[dict, float], float]
    needed: float
    held: bool = True
    lifted: float = -np.inf


def _opened(start: float) -> Callable[[dict, float], float]:
    return lambda numbers, angle: 1 - abs(angle - numbers["goal"]) / (numbers["goal"] - start)


GOALS: dict[str, Goal] = {
    "laptop": Goal(start=lambda numbers: 0.2, progress=_opened(0.2), needed=0.95),
    "toilet": Goal(start=lambda numbers: 0.25, progress=_opened(0.25), needed=0.95),
    "faucet": Goal(start=lambda numbers: 0.0, progress=lambda numbers, angle: abs(angle), needed=1.5),
    "bucket": Goal(
        start=lambda numbers: numbers["left"],
        progress=lambda numbers, angle: 1 - abs(angle) / numbers["left"],
        needed=0.7,
        held=False,
        lifted=0.25,
    ),
}


class DexArtEnv(CloudEnv):
    """One task of DexArt, re-created; ``task`` is one of GOALS, ``instances`` "seen" or "unseen".

    The state (32,) is the angles of arm and hand (22), the palm's velocity (3), angular velocity (3) and position (3),
    and the share of the episode that is over; with a ``state_dim`` of 33 there is before the last how far up the palm
    faces, as for DexArt's bucket. An action (22,) in [-1, 1] is the palm's velocity (m/s) and angular velocity (rad/s)
    along the world's axes for 40 ms, and a target for each joint of the hand in its range. Of a cloud of 1120 points
    the last 96 lie on the hand, where kinematics puts them; a smaller cloud is farthest points of those 1120. Clouds
    are in the world's frame, and seen by DexArt's camera; pictures are taken by another one, of our own.
    """

    picture_camera = PICTURE_CAMERA
    pixel_place = 0.5  # SAPIEN gives the exact position of what a pixel's centre shows
    num_imagined = NUM_IMAGINED

    def __init__(self, task: str, num_points: int = FULL_CLOUD, state_dim: int = 32, instances: str = "seen"):
        self._faces_up = look_up({32: False, 33: True}, state_dim, "size of DexArt's state")
        self.task, self.instances = task, look_up({split: split for split in SPLITS}, instances, "set of instances")
        self.goal, self.place = look_up(GOALS, task, "DexArt task"), PLACES[task]
        if num_points < 1:
            raise ValueError(f"num_points is {num_points}; a cloud needs at least one point")
        self.num_points = num_points
        self.scene = draw_scene(task, instances, 0)
        model = compile_scene(self.scene)
        low, high, eye = (np.array(numbers) for numbers in (self.place.low, self.place.high, self.place.camera))
        crop = Crop(low, high, _camera_rotation(model), eye)
        seen = max(num_points, FULL_CLOUD) - NUM_IMAGINED
        super().__init__(model, mujoco.MjData(model), CAMERA, IMAGE_SIZE, crop, seen, "dexart")

    def reset(self, seed: int, start: Start = AS_USUAL) -> None:
        """Start the episode that belongs to ``seed`` (0 or above), the same one to the bit every time."""
        self.scene = draw_scene(self.task, self.instances, int(seed), 1 + start.object_shifted / 100)
        model = compile_scene(self.scene)
        self._look_at(model, mujoco.MjData(model))
        self._turn_camera(start.camera_turned)
        self.robot = Robot(model, self._data)
        self.robot.start(HOME)
        self._data.joint("hinge").qpos = self.goal.start(self.scene.numbers)
        mujoco.mj_forward(model, self._data)
        self._rest = self._data.body("object").xpos[2]
        self._steps, self._touches = 0, set()
        self._observation = self._see()

    def step(self, action: np.ndarray) -> bool:
        """Apply ``action`` (22,), clipped to [-1, 1], and return whether the goal is met after it.

        Raises a ValueError for a NaN or another shape, SimulationDiverged if the simulator cannot go on.
        """
        action = checked_action(action, ACTION_DIM)
        with self._simulating(self.task):
            self.robot.command(action, SUBSTEPS * self._model.opt.timestep)
            mujoco.mj_step(self._model, self._data, SUBSTEPS)
            mujoco.mj_forward(self._model, self._data)
        self._steps += 1
        self._touches = self.robot.touches()
        self._observation = self._see()
        return self.met()

    def truth(self) -> dict[str, np.ndarray]:
        """What experts see: palm, hand, object and hinge, what touches, and the instance's measures."""
        self._require_episode()
        return {name: value.copy() for name, value in self._observation.items()}

    def progress(self) -> float:
        """How far the part has come: 1 at the goal; for the faucet the angle in radians."""
        return self.goal.progress(self.scene.numbers, float(self._data.joint("hinge").qpos[0]))

    def lifted(self) -> float:
        """How far the object has risen in metres."""
        return float(self._data.body("object").xpos[2] - self._rest)

    def met(self) -> bool:
        """DexArt's test of success, ``is_eval_done``."""
        held = not self.goal.held or ("palm" in self._touches and len(self._touches) >= 3)
        return bool(self.progress() > self.goal.needed and self.lifted() > self.goal.lifted and held)

    def _see(self) -> dict[str, np.ndarray]:
        measures = {name: value for name, value in self.scene.numbers.items() if isinstance(value, float)}
        seen = {
            "angles": self.robot.angles(),
            "palm_position": self.robot.palm_position(),
            "palm_rotation": self.robot.palm_rotation(),
            "object_position": self._data.body("object").xpos,
            "object_rotation": self._data.body("object").xmat.reshape(3, 3),
            "part_position": self._data.body("part").xpos,
            "part_rotation": self._data.body("part").xmat.reshape(3, 3),
            "hinge": self._data.joint("hinge").qpos[0],
            "progress": self.progress(),
            "lifted": self.lifted(),
            "touches": [part in self._touches for part in TOUCHING],
            "steps": self._steps,
        }
        return {name: np.array(value, np.float64) for name, value in (seen | measures).items()}

    def _simulate_on(self, data: mujoco.MjData) -> None:
        super()._simulate_on(data)
        self.robot = self.robot.within(data)

    def _middle(self) -> tuple[float, float]:
        return self.place.position

    def _hand(self) -> np.ndarray:
        return self.robot.palm_position()

    def _state(self) -> np.ndarray:
        palm = [self.robot.palm_velocity(), self.robot.palm_position()]
        up = self.robot.palm_rotation()[2, :1] if self._faces_up else []
        return np.concatenate([self.robot.angles(), *palm, up, [self._steps / HORIZON]]).astype(np.float32)

    def _complete(self, cloud: np.ndarray) -> np.ndarray:
        imagined = self.robot.imagined_points()
        if len(cloud) + len(imagined) == self.num_points:
            return np.concatenate([cloud, imagined])
        return sample_farthest(np.concatenate([without_padding(cloud), imagined]), self.num_points)


def _camera_rotation(model: mujoco.MjModel) -> np.ndarray:
    """The rotation from the camera's frame (x right, y down, z forward) to the world's."""
    return model.cam_mat0[model.cam(CAMERA).id].reshape(3, 3) @ np.diag([1, -1, -1])
