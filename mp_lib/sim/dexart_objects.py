"""Laptops, faucets, toilets and buckets for the re-creation of DexArt, drawn by a seed and written as MJCF.

DexArt takes its objects from PartNet-Mobility, which cannot be shipped; these are ours, of boxes, capsules and
cylinders. Every kind has a body "object" with the frame of its front toward -x, and in it a joint "hinge" that carries
the body "part": lid, lever or handle. Instances 0 to ``seen`` - 1 are the seen ones, those that follow the unseen ones,
as many of each as DexArt has (task_setting.py); all are drawn from the same ranges.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

GRAVITY = 9.81
FIXED = 'contype="1" conaffinity="2"'  # meets the robot (2, 1), not other parts of the object
LOOSE = 'contype="5" conaffinity="2"'  # meets the table, too
SHOWN = 'contype="0" conaffinity="0" mass="0"'  # is only looked at
CERAMIC, SEAT, METAL = "0.95 0.95 0.93 1", "0.80 0.84 0.88 1", "0.62 0.62 0.65 1"


@dataclass(frozen=True)
class Kind:
    """A kind of object: the ranges that ``draw`` draws from, how an instance is written, how many there are.

    ``measures`` are ranges (low, high) in metres, kilograms and radians; ``friction`` is that of the hinge in Nm, of a
    lid in multiples of the torque of its weight. ``shapes`` and ``colours`` are chosen among.
    """

    write: Callable[[dict], str]
    measures: dict[str, tuple[float, float]]
    colours: tuple[str, ...]
    shapes: tuple[str, ...]
    seen: int
    unseen: int
    loose: bool = False  # whether the object can be taken away


def draw(kind: str, index: int) -> dict:
    """The numbers of an instance by name, and its "shape" and "colour"; the same for an index every time."""
    chosen = KINDS[kind]
    rng = np.random.default_rng([*kind.encode(), index])
    numbers = {name: float(rng.uniform(*bounds)) for name, bounds in chosen.measures.items()}
    return numbers | {"shape": str(rng.choice(chosen.shapes)), "colour": str(rng.choice(chosen.colours))}


def geom(kind: str, size: tuple, pos: tuple, rgba: str, more: str = FIXED, euler: tuple = (0, 0, 0)) -> str:
    """One geom."""
    words = [" ".join(f"{number:.5g}" for number in numbers) for numbers in (size, pos, euler)]
    return f'<geom type="{kind}" size="{words[0]}" pos="{words[1]}" euler="{words[2]}" rgba="{rgba}" {more}/>'


def rod(radius: float, start: tuple, end: tuple, rgba: str, more: str = FIXED, kind: str = "capsule") -> str:
    """A capsule or cylinder from point to point."""
    words = " ".join(f"{number:.5g}" for number in (*start, *end))
    return f'<geom type="{kind}" size="{radius:.5g}" fromto="{words}" rgba="{rgba}" {more}/>'


def chain(radius: float, points: list, rgba: str, more: str = FIXED) -> str:
    """Capsules from each point to the next."""
    return "".join(rod(radius, a, b, rgba, more) for a, b in itertools.pairwise(points))


def hinge(axis: str, low: float, high: float, friction: float, damping: float) -> str:
    """The joint of the part; it stops at ``low`` and ``high``."""
    # mujoco's friction creeps and its stops give way: less so with these.
    stiff = 'solimpfriction="0.99 0.999 0.001" solreflimit="0.008 1" armature="0.01"'
    resists = f'frictionloss="{friction:.5g}" damping="{damping:.5g}"'
    return f'<joint name="hinge" axis="{axis}" range="{low:.5g} {high:.5g}" {resists} {stiff}/>'


def lid_friction(numbers: dict) -> float:
    """Enough to hold a lid open at any angle."""
    return numbers["friction"] * numbers["mass"] * GRAVITY * numbers["length"] / 2


def laptop(n: dict) -> str:
    """A base with keyboard and touchpad, a lid with a screen."""
    length, width, base, lid = n["length"], n["width"], n["base"], n["lid"]
    dark, key = "0.10 0.10 0.12 1", "0.20 0.21 0.24 1"
    keys = "".join(
        geom("box", (0.036 * length, 0.43 * width, 0.001), (x * length, 0, base + 0.001), key, SHOWN)
        for x in (0.34, 0.25, 0.16, 0.07)
    )
    inside = (0.44 * length, 0.46 * width, 0.0008)
    return f"""
      {geom("box", (length / 2, width / 2, base / 2), (0, 0, base / 2), n["colour"])}
      {geom("box", (0.21 * length, 0.46 * width, 0.0006), (0.205 * length, 0, base), dark, SHOWN)}{keys}
      {geom("box", (0.13 * length, 0.15 * width, 0.0008), (-0.3 * length, 0, base), key, SHOWN)}
      <body name="part" pos="{length / 2:.5g} 0 {base + lid / 2 + 0.001:.5g}">
        {hinge("0 1 0", 0, n["goal"] + 0.01, lid_friction(n), 0.05)}
        {geom("box", (length / 2, width / 2, lid / 2), (-length / 2, 0, 0), n["colour"], f'{FIXED} mass="{n["mass"]}"')}
        {geom("box", inside, (-length / 2, 0, -lid / 2), dark, SHOWN)}
        {geom("box", (0.40 * length, 0.43 * width, 0.0012), (-length / 2, 0, -lid / 2), "0.25 0.45 0.75 1", SHOWN)}
        {geom("cylinder", (0.015, 0.0005), (-0.5 * length, 0, lid / 2), "0.9 0.9 0.9 1", SHOWN)}
      </body>
      {rod(0.006, (length / 2, -0.4 * width, base), (length / 2, 0.4 * width, base), dark, SHOWN)}"""


def toilet(n: dict) -> str:
    """A pedestal, a bowl with water, a seat on its rim, a tank with a button, and a lid on the seat."""
    length, width, height, lid = n["length"], n["width"], n["height"], n["lid"]
    front = width / 2  # radius of the round front
    middle = -length + front  # where it begins, from the hinge
    top, water = height - 0.02, "0.55 0.72 0.82 1"
    tank, roof = (n["tank"] / 2, 0.55 * width, 0.17), height + 0.33
    cover = (tank[0] + 0.008, tank[1] + 0.008, 0.012)
    ring = [(middle - front * np.sin(a), front * np.cos(a)) for a in np.linspace(0, np.pi, 10)]
    ring = [(-0.02, front), *ring, (-0.02, -front)]
    inset = 0.024  # from the middle of the rim's tubes to its outer edge
    ring = [(x + inset * (x < middle) * (middle - x) / front, y * (1 - inset / front)) for x, y in ring]
    rim = chain(0.022, [(*point, top - 0.022) for point in ring], CERAMIC)
    seat = chain(0.012, [(*point, height - 0.012) for point in ring], SEAT)
    plate = f'{FIXED} mass="{n["mass"] / 2}"'
    return f"""
      {geom("box", (0.36 * length, 0.30 * width, 0.22 * height), (-0.40 * length, 0, 0.22 * height), CERAMIC)}
      {geom("ellipsoid", (0.52 * length, 0.48 * width, 0.42 * height), (-0.5 * length, 0, top - height / 2), CERAMIC)}
      {geom("cylinder", (0.72 * front, 0.004), (middle, 0, top - 0.012), water, SHOWN)}
      {geom("box", ((length - front) / 2, 0.66 * front, 0.004), (middle / 2, 0, top - 0.013), water, SHOWN)}
      {rim}{seat}
      {geom("box", (0.05, 0.5 * width, 0.4 * height), (0.03, 0, 0.55 * height), CERAMIC)}
      {geom("box", tank, (0.045 + tank[0], 0, height + tank[2] - 0.02), CERAMIC)}
      {geom("box", cover, (0.045 + tank[0], 0, roof), CERAMIC)}
      {geom("cylinder", (0.02, 0.006), (0.045 + tank[0], 0, roof + 0.016), METAL, SHOWN)}
      <body name="part" pos="0 0 {height + lid / 2 + 0.001:.5g}">
        {hinge("0 1 0", 0, n["goal"] + 0.01, lid_friction(n), 0.08)}
        {geom("box", (-middle / 2, front, lid / 2), (middle / 2, 0, 0), n["colour"], plate)}
        {geom("cylinder", (front, lid / 2), (middle, 0, 0), n["colour"], plate)}
        {rod(0.012, (0, -0.7 * front, 0), (0, 0.7 * front, 0), METAL, SHOWN)}
      </body>"""


def faucet(n: dict) -> str:
    """A foot, a column, a spout that bends down, and on top a lever that turns about the upright."""
    height, reach, radius = n["height"], n["reach"], n["radius"]
    metal, turn = n["colour"], n["spout_turn"]
    way = np.array([np.cos(turn), np.sin(turn), 0])
    up, neck = np.array([0, 0, 1]), 0.55 * height
    arc = [way * (1 - np.cos(a)) / 2 + 0.35 * up * np.sin(a) for a in np.linspace(0, np.pi, 8)]
    arc = [neck * up + n["spout"] * point for point in arc]
    spout = chain(0.011, [*arc, arc[-1] - 0.03 * up], metal)
    return f"""
      {geom("cylinder", (0.045, 0.006), (0, 0, 0.006), metal)}
      {rod(0.022, (0, 0, 0.01), (0, 0, height - 0.035), metal, kind="cylinder")}{spout}
      <body name="part" pos="0 0 {height:.5g}" euler="0 0 {n["start"]:.5g}">
        {hinge("0 0 1", 0, n["stop"], n["friction"], 0.02)}
        {rod(0.024, (0, 0, -0.034), (0, 0, 0.012), metal, f'{FIXED} mass="0.1"', "cylinder")}
        {LEVERS[n["shape"]](reach, radius, metal)}
      </body>"""


LEVERS = {
    "bar": lambda reach, radius, rgba: (
        rod(radius, (0, 0, 0), (reach, 0, 0), rgba, f'{FIXED} mass="0.08"')
        + geom("sphere", (1.3 * radius,), (reach + radius, 0, 0), "0.75 0.2 0.2 1", f'{FIXED} mass="0.02"')
    ),
    "paddle": lambda reach, radius, rgba: (
        rod(0.8 * radius, (0, 0, 0), (0.4 * reach, 0, 0), rgba, f'{FIXED} mass="0.03"')
        + geom("box", (0.42 * reach, 0.7 * radius, 1.7 * radius), (0.72 * reach, 0, 0), rgba, f'{FIXED} mass="0.07"')
    ),
    "tapered": lambda reach, radius, rgba: (
        rod(1.1 * radius, (0, 0, 0), (0.55 * reach, 0, 0), rgba, f'{FIXED} mass="0.06"')
        + rod(0.85 * radius, (0.5 * reach, 0, 0), (1.12 * reach, 0, 0), rgba, f'{FIXED} mass="0.04"')
    ),
}


def bucket(n: dict) -> str:
    """A bottom, a wall of staves that widens, a rim, two ears, and a curved handle with a grip that swings."""
    height, top, bottom, staves = n["height"], n["top"], n["bottom"], 16
    slope = np.arctan2(top - bottom, height)
    middle, half = (top + bottom) / 2, 1.04 * top * np.tan(np.pi / staves)
    long = np.hypot(height, top - bottom) / 2
    places = np.arange(staves) * 2 * np.pi / staves
    share = f'{LOOSE} mass="{0.6 * n["mass"] / staves}"'
    wall = "".join(
        f'<body euler="0 0 {a:.5g}">'
        f"{geom('box', (0.0025, half, long), (middle, 0, height / 2), n['colour'], share, (0, slope, 0))}</body>"
        for a in places
    )
    spots = [(top * np.cos(a), top * np.sin(a), height) for a in places + np.pi / staves]
    rim = chain(0.005, [*spots, spots[0]], "0.75 0.75 0.76 1", SHOWN)
    wide, crest = top + 0.008, n["arch"] - 0.004
    bow = [(0, -wide * np.cos(a), n["arch"] * np.sin(a) ** 0.8) for a in np.linspace(0, np.pi, 13)]
    links = chain(0.006, bow, METAL, f'{FIXED} mass="0.006"')
    grip = rod(n["grip"], (0, -0.055, crest), (0, 0.055, crest), "0.15 0.15 0.16 1", f'{FIXED} mass="0.03"')
    return f"""
      {geom("cylinder", (bottom, 0.003), (0, 0, 0.003), n["colour"], f'{LOOSE} mass="{0.4 * n["mass"]}"')}{wall}{rim}
      {geom("sphere", (0.011,), (0, wide, height - 0.012), METAL, SHOWN)}
      {geom("sphere", (0.011,), (0, -wide, height - 0.012), METAL, SHOWN)}
      <body name="part" pos="0 0 {height - 0.012:.5g}">
        {hinge("0 -1 0", -n["left"], n["left"], n["friction"], 0.002)}
        {links}{grip}
      </body>"""


def ranges(text: str) -> dict[str, tuple[float, float]]:
    """Ranges by name, of "name low high" with commas between."""
    return {name: (float(low), float(high)) for name, low, high in map(str.split, text.split(","))}


STEELS = ("0.62 0.64 0.67 1", "0.35 0.37 0.41 1", "0.80 0.76 0.70 1", "0.42 0.49 0.58 1")
KINDS: dict[str, Kind] = {
    "laptop": Kind(
        write=laptop,
        measures=ranges(
            "length 0.21 0.25, width 0.28 0.36, base 0.014 0.022, lid 0.007 0.010, "
            "mass 0.25 0.40, goal 1.45 1.75, friction 1.3 2.5"
        ),
        colours=STEELS,
        shapes=("flat",),
        seen=11,
        unseen=6,
    ),
    "faucet": Kind(
        write=faucet,
        measures=ranges(
            "height 0.19 0.24, reach 0.105 0.14, radius 0.011 0.015, spout 0.10 0.15, "
            "spout_turn 1.0 2.0, start -2.6 -2.1, stop 1.65 2.0, friction 0.1 0.5"
        ),
        colours=("0.78 0.80 0.83 1", "0.80 0.66 0.38 1", "0.45 0.47 0.50 1"),
        shapes=("bar", "paddle", "tapered"),
        seen=11,
        unseen=7,
    ),
    "toilet": Kind(
        write=toilet,
        measures=ranges(
            "length 0.26 0.31, width 0.24 0.29, height 0.32 0.38, tank 0.11 0.15, "
            "mass 0.4 0.7, goal 1.40 1.60, friction 1.2 2.0, lid 0.014 0.018"
        ),
        colours=("0.97 0.97 0.96 1", "0.86 0.80 0.70 1", "0.70 0.80 0.86 1", "0.90 0.86 0.90 1"),
        shapes=("round",),
        seen=17,
        unseen=11,
    ),
    "bucket": Kind(
        write=bucket,
        measures=ranges(
            "height 0.20 0.25, top 0.115 0.14, bottom 0.085 0.105, arch 0.14 0.17, "
            "grip 0.010 0.014, mass 0.35 0.65, left 0.3 0.55, friction 0.002 0.01"
        ),
        colours=("0.20 0.45 0.72 1", "0.75 0.25 0.20 1", "0.25 0.58 0.35 1", "0.72 0.73 0.75 1", "0.88 0.70 0.22 1"),
        shapes=("round",),
        seen=11,
        unseen=8,
        loose=True,
    ),
}
