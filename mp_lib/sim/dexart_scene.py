"""Where DexArt's tasks take place: table or ground, pedestal, object, camera; one MuJoCo model an instance and a pose.

The world's frame is that of the robot's foot, as that of DexArt's clouds. Heights and cameras are DexArt's
(rl_env/*_env.py, task_setting.py), moved from its world to the robot; where objects stand is ours, since
DexArt's own places belong to its objects.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

import numpy as np

from mp_lib.sim.dexart_objects import KINDS, SHOWN, draw, geom

import mujoco  # isort: skip  # after mp_lib.sim.depth, which chooses what mujoco loads

CAMERA, PICTURE_CAMERA = "instance_1", "picture"
FIELD_OF_VIEW = 69.4  # degrees; DexArt's
TABLE = (0.65, 0.65, 0.025)  # half edges in metres; DexArt's
ROOM = 2.05  # metres from the robot to the walls, beyond all crops


@dataclass(frozen=True)
class Place:
    """Where a task takes place.

    ``ground`` is the height of the table's top, 0 or below the robot's foot; an object stands at ``position`` (x, y),
    moved by up to ``shift`` (x, y) metres and turned by up to ``turn`` radians, all uniformly, both ways. The camera is
    at ``camera`` and looks along ``toward``; a point of the cloud is kept strictly between ``low`` and ``high``.
    """

    ground: float
    position: tuple[float, float]
    shift: tuple[float, float]
    turn: float
    camera: tuple[float, float, float]
    toward: tuple[float, float, float]
    low: tuple[float, float, float]
    high: tuple[float, float, float]


HOME = (0.0, -1.062, -0.147, np.pi, 0.362, np.pi)  # palm upright, 0.27 m ahead, facing away, fingers down
PLACES: dict[str, Place] = {
    "laptop": Place(
        ground=0.0,
        position=(0.54, 0.0),
        shift=(0.05, 0.05),
        turn=np.pi / 4,
        camera=(0.5, 1.0, 0.5),
        toward=(0, -1, 0),
        low=(0.1, -1.0, 0.0048),
        high=(1.0, 2.0, 0.6),
    ),
    "faucet": Place(
        ground=0.0,
        position=(0.54, 0.05),
        shift=(0.05, 0.05),
        turn=np.pi / 3,
        camera=(0.2, 0.6, 0.4),
        toward=(0.16, -0.7, -0.35),
        low=(0.1, -1.0, 0.0048),
        high=(2.0, 1.0, 0.4),
    ),
    "toilet": Place(
        ground=-0.4,
        position=(0.72, 0.0),
        shift=(0.08, 0.10),
        turn=np.pi / 4,
        camera=(0.5, 1.0, 0.1),
        toward=(0, -1, 0),
        low=(0.1, -2.0, -0.3),
        high=(2.0, 2.0, 0.8),
    ),
    "bucket": Place(
        ground=-0.3,
        position=(0.50, 0.0),
        shift=(0.075, 0.15),
        turn=3 * np.pi / 8,
        camera=(0.5, 1.0, 0.2),
        toward=(0, -1, 0),
        low=(0.1, -2.0, -0.29),
        high=(2.0, 2.0, 0.4),
    ),
}


@dataclass(frozen=True)
class Scene:
    """One episode's beginning: the numbers of the instance, where it stands and how it is turned about the upright."""

    kind: str
    index: int
    numbers: dict
    position: tuple[float, float, float]
    yaw: float


def draw_scene(kind: str, instances: str, seed: int, farther: float = 1.0) -> Scene:
    """The scene that belongs to ``seed``, with one of the "seen" or "unseen" instances, moved ``farther`` as far."""
    place, chosen, rng = PLACES[kind], KINDS[kind], np.random.default_rng([*kind.encode(), seed])
    first, count = {"seen": (0, chosen.seen), "unseen": (chosen.seen, chosen.unseen)}[instances]
    index = first + int(rng.integers(count))
    x, y = np.array(place.position) + rng.uniform(-1, 1, 2) * place.shift * farther
    yaw = float(rng.uniform(-1, 1) * place.turn)
    return Scene(kind, index, draw(kind, index), (float(x), float(y), place.ground), yaw)


def compile_scene(scene: Scene) -> mujoco.MjModel:
    """The model of a scene; some milliseconds, since there is not one mesh."""
    robot = (files("mp_lib.sim") / "assets" / "dexart" / "robot.xml").read_bytes()
    return mujoco.MjModel.from_xml_string(scene_xml(scene), {"robot.xml": robot})


def scene_xml(scene: Scene) -> str:
    """The model of a scene as MJCF."""
    place = PLACES[scene.kind]
    ground, (x, y, z) = place.ground, scene.position
    loose = "<freejoint/>" if KINDS[scene.kind].loose else ""
    eye, from_above = " ".join(map(str, place.camera)), (0.37, -1.05, -0.47)
    return f"""
<mujoco model="DexArt's {scene.kind}, re-created">
  <include file="robot.xml"/>
  <option timestep="0.004" integrator="implicitfast" cone="elliptic" impratio="5"/>
  <size memory="8M"/>
  <statistic extent="1" center="0.5 0 0"/>
  <visual>
    <map znear="0.1" zfar="5"/>
    <headlight ambient="0.35 0.35 0.35" diffuse="0.35 0.35 0.35" specular="0.1 0.1 0.1"/>
    <global offwidth="1280" offheight="960"/>
  </visual>
  <worldbody>
    <light pos="0.2 1.5 2.5" dir="0.1 -0.6 -1" diffuse="0.5 0.5 0.5" directional="true"/>
    <camera name="{CAMERA}" pos="{eye}" xyaxes="{_axes(place.toward)}" fovy="{FIELD_OF_VIEW}"/>
    <camera name="{PICTURE_CAMERA}" pos="0 1.05 {0.62 + ground / 2}" xyaxes="{_axes(from_above)}" fovy="44"/>
    <geom name="table" type="box" size="{TABLE[0]} {TABLE[1]} {TABLE[2]}" pos="0.5 0 {ground - TABLE[2]}"
          rgba="0.72 0.58 0.44 1" contype="1" conaffinity="6"/>
    {geom("box", (ROOM, ROOM, 0.02), (0, 0, ground - 0.6), "0.55 0.57 0.60 1", SHOWN)}
    {geom("box", (ROOM, 0.02, 2), (0, -ROOM, ground + 1.4), "0.83 0.86 0.88 1", SHOWN)}
    {geom("box", (0.02, ROOM, 2), (ROOM, 0, ground + 1.4), "0.88 0.89 0.89 1", SHOWN)}
    {_pedestal(ground)}
    <body name="object" pos="{x:.6g} {y:.6g} {z:.6g}" euler="0 0 {scene.yaw:.6g}">{loose}
      {KINDS[scene.kind].write(scene.numbers)}
    </body>
  </worldbody>
</mujoco>"""


def _pedestal(ground: float) -> str:
    # DexArt's box under a robot that stands higher than the table; 2 mm thinner, since crops begin at its front.
    if ground == 0:
        return ""
    return f"""<geom type="box" size="0.098 0.2 {-ground / 2}" pos="0 0 {ground / 2}" rgba="0.3 0.3 0.32 1"
          contype="1" conaffinity="2"/>"""


def _axes(toward: tuple[float, float, float]) -> str:
    """The camera's right and up, level, for a camera that looks along ``toward``."""
    right = np.cross(toward, (0, 0, 1))
    up = np.cross(right, toward)
    return " ".join(f"{number:.6g}" for axis in (right, up) for number in axis / np.linalg.norm(axis))
