"""The xArm6 with Allegro hand of ``assets/dexart/robot.xml``: what moves it, what it touches, its imagined points."""

from __future__ import annotations

import copy

import numpy as np

import mujoco  # isort: skip  # after mp_lib.sim.depth, which chooses what mujoco loads

ARM = tuple(f"arm_{k}" for k in range(1, 7))
FINGERS = ("index", "middle", "ring", "thumb")
HAND = tuple(f"{finger}_{k}" for finger in FINGERS for k in range(4))
# DexArt takes contact from these links (rl_env/base.py): of a finger all but the one at the palm, of the thumb two.
LINKS = ("proximal", "medial", "distal")
TOUCHING = {
    "palm": ("palm",),
    **{finger: tuple(f"{finger}_{link}" for link in LINKS) for finger in FINGERS[:3]},
    "thumb": ("thumb_medial", "thumb_distal"),
}
IMAGINED_LINKS = tuple(f"{finger}_{link}" for link in ("tip", "distal", "medial") for finger in FINGERS)
POINTS_A_LINK = 8
NUM_IMAGINED = POINTS_A_LINK * len(IMAGINED_LINKS)  # 96
# Limits (low, high) of the hand's joints in radians, published by Wonik; those of index, middle and ring are alike.
FINGER_LIMITS = ((-0.47, 0.47), (-0.196, 1.61), (-0.174, 1.709), (-0.227, 1.618))
THUMB_LIMITS = ((0.263, 1.396), (-0.105, 1.163), (-0.189, 1.644), (-0.162, 1.719))
HAND_LIMITS = np.array([*FINGER_LIMITS * 3, *THUMB_LIMITS])
DAMPING = 0.05  # of the inverse kinematics, in the Jacobian's units
LEAST_IMPULSE = 0.01  # Ns within one step of the simulator; less is no contact (DexArt's sim_env/base.py)


class Robot:
    """The robot within one model and its data."""

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData):
        self.model, self.data = model, data
        self.palm = model.body("palm").id
        self.joints = np.array([model.joint(name).qposadr[0] for name in (*ARM, *HAND)])
        self.speeds = np.array([model.joint(name).dofadr[0] for name in (*ARM, *HAND)])
        gain, bias = model.actuator("arm_1").gainprm[0], model.actuator("arm_1").biasprm
        self._lead = -bias[2] / gain  # seconds by which the arm's target runs ahead, so that damping does not brake it
        self._part = model.body("part").id
        self._place = {model.body(link).id: name for name, links in TOUCHING.items() for link in links}
        self._jacobian = np.zeros((6, model.nv))
        self._surfaces = [_surface(model, link) for link in IMAGINED_LINKS]
        self._samples = _samples(model, self._surfaces)

    def within(self, data: mujoco.MjData) -> Robot:
        """The same robot in other data of its model."""
        twin = copy.copy(self)
        twin.data = data
        return twin

    def start(self, posture: tuple[float, ...]) -> None:
        """Put the arm into ``posture`` (6,), the fingers straight, and let the actuators hold both."""
        self.data.qpos[self.joints] = np.concatenate([posture, np.clip(0, *HAND_LIMITS.T)])
        self.data.ctrl[:] = self.data.qpos[self.joints]

    def command(self, action: np.ndarray, seconds: float) -> None:
        """Set the actuators for the next ``seconds``.

        ``action`` (22,): linear (m/s) and angular (rad/s) velocity of the palm along the world's axes, and a target for
        every joint of the hand in [-1, 1] of its range. As in DexArt, the arm's speeds follow from the Jacobian by
        damped least squares, and its targets from the angles as they are now.
        """
        mujoco.mj_jacBody(self.model, self.data, self._jacobian[:3], self._jacobian[3:], self.palm)
        jacobian = self._jacobian[:, self.speeds[:6]]
        damped = jacobian @ jacobian.T + DAMPING**2 * np.eye(6)
        speeds = np.clip(jacobian.T @ np.linalg.solve(damped, action[:6].astype(float)), -np.pi, np.pi)
        self.data.ctrl[:6] = self.data.qpos[self.joints[:6]] + speeds * (seconds + self._lead)
        low, high = HAND_LIMITS.T
        self.data.ctrl[6:] = low + (action[6:] + 1) / 2 * (high - low)

    def angles(self) -> np.ndarray:
        """Angles of arm and hand (22,) in radians."""
        return self.data.qpos[self.joints]

    def palm_position(self) -> np.ndarray:
        """Where the fingers leave the palm (3,), the origin of its frame."""
        return self.data.xpos[self.palm]

    def palm_rotation(self) -> np.ndarray:
        """Axes of the palm (3, 3) as columns: out of the palm, to the index finger, along the fingers."""
        return self.data.xmat[self.palm].reshape(3, 3)

    def palm_velocity(self) -> np.ndarray:
        """Linear and angular velocity of the palm's frame (6,) along the world's axes."""
        velocity = np.zeros(6)
        mujoco.mj_objectVelocity(self.model, self.data, mujoco.mjtObj.mjOBJ_XBODY, self.palm, velocity, 0)
        return np.concatenate([velocity[3:], velocity[:3]])

    def touches(self) -> set[str]:
        """Which of palm and fingers press on the object's part."""
        impulses: dict[int, float] = {}
        force = np.zeros(6)
        for k, contact in enumerate(self.data.contact[: self.data.ncon]):
            bodies = self.model.geom_bodyid[contact.geom]
            if self._part not in bodies:
                continue
            other = int(bodies[0] if bodies[1] == self._part else bodies[1])
            mujoco.mj_contactForce(self.model, self.data, k, force)
            impulses[other] = impulses.get(other, 0) + np.abs(force[:3]).sum() * self.model.opt.timestep
        pressing = (body for body, impulse in impulses.items() if impulse >= LEAST_IMPULSE)
        return {self._place[body] for body in pressing if body in self._place}

    def imagined_points(self) -> np.ndarray:
        """Points on the hand (96, 3) float32, eight a link in the order of IMAGINED_LINKS, placed by kinematics."""
        places, axes = self.data.geom_xpos[self._surfaces], self.data.geom_xmat[self._surfaces].reshape(-1, 3, 3)
        points = np.einsum("l x y, l p y -> l p x", axes, self._samples) + places[:, None]
        return points.reshape(NUM_IMAGINED, 3).astype(np.float32)


def _surface(model: mujoco.MjModel, link: str) -> int:
    """The geom of one of IMAGINED_LINKS; a tip is the second geom of its finger's last link."""
    finger, part = link.split("_")
    first = model.body(f"{finger}_{'distal' if part == 'tip' else part}").geomadr[0]
    return int(first) + (part == "tip")


def _sample_box(half: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Points (P, 3) spread evenly over a box's faces."""
    areas = np.prod(half) / half
    axes = rng.choice(3, POINTS_A_LINK, p=areas / areas.sum())
    points = rng.uniform(-half, half, (POINTS_A_LINK, 3))
    points[np.arange(POINTS_A_LINK), axes] = half[axes] * rng.choice([-1, 1], POINTS_A_LINK)
    return points


def _sample_capsule(size: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Points (P, 3) spread evenly over a capsule: on a sphere, too, equal heights have equal areas."""
    radius, half = size[:2]
    height = rng.uniform(-half - radius, half + radius, POINTS_A_LINK)
    distance = np.sqrt(radius**2 - np.maximum(np.abs(height) - half, 0) ** 2)
    turn = rng.uniform(0, 2 * np.pi, POINTS_A_LINK)
    return np.stack([distance * np.cos(turn), distance * np.sin(turn), height], axis=1)


SAMPLERS = {mujoco.mjtGeom.mjGEOM_BOX: _sample_box, mujoco.mjtGeom.mjGEOM_CAPSULE: _sample_capsule}


def _samples(model: mujoco.MjModel, geoms: list[int]) -> np.ndarray:
    """Points (L, P, 3) on geoms, each in its own frame; the same ones in every model."""
    rng = np.random.default_rng(0)
    return np.stack([SAMPLERS[model.geom_type[geom]](model.geom_size[geom], rng) for geom in geoms])
