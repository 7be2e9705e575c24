"""A recording becomes a store of demonstrations: a draft that is renamed when it is whole."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mp_lib.config import PolicyConfig
from mp_lib.data.own_tasks import check_sizes, is_own
from mp_lib.data.replay_buffer import ReplayBuffer
from mp_lib.exchange.cameras import read_cameras, read_crop
from mp_lib.exchange.formats import open_recording
from mp_lib.exchange.keys import Keys
from mp_lib.exchange.reading import Recording
from mp_lib.exchange.shapes import rows
from mp_lib.exchange.survey import Survey, named, survey
from mp_lib.geometry.kinds import Layout
from mp_lib.point_cloud import sample_farthest, without_padding
from mp_lib.system.errors import InputError, is_count, shown
from mp_lib.system.folders import refuse_existing, whole_folder
from mp_lib.system.paths import from_home
from mp_lib.system.progress import track
from mp_lib.system.stopping import Stop

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")  # of a task, which names files
MOST_POINTS, MOST_FPS = 10**6, 10**4


@dataclass(frozen=True)
class Wishes:
    """What is to become of a recording; what is not given is found by usual names, or is what the files say.

    ``points`` a cloud, by default the usual number, or that of the largest stored cloud where it is fewer; ``task`` a
    name of the user's, by default the store's; ``fps`` frames a second; ``state_kinds`` and ``action_kinds`` as
    ``Layout`` reads them; ``cameras`` a file as of ``mp_lib.exchange.cameras``; ``crop`` two corners (low, high),
    metres; ``without`` names episodes that are left out.
    """

    format: str = ""
    points: int | None = None
    task: str = ""
    fps: float | None = None
    point_cloud: str = ""
    state: Sequence[str] = ()
    action: str = ""
    state_kinds: str = ""
    action_kinds: str = ""
    cameras: str | Path | None = None
    crop: Sequence[Sequence[float]] | None = None
    without: Sequence[str] = ()


@dataclass
class Conversion:
    """What was made: the store, and a line each on what was read, what was left out, and what one should know."""

    store: ReplayBuffer
    keys: Keys
    notes: list[str] = field(default_factory=list)


@dataclass
class Counts:
    """What was met in the clouds."""

    clouds: int = 0
    small: int = 0
    again: int = 0
    not_finite: int = 0

    def notes(self, points: int) -> Iterator[str]:
        """A line on each that was met."""
        if self.small:
            yield f"{self.small} of {self.clouds} clouds have fewer than {points} points and are filled up with zeros"
        if self.again:
            yield f"{self.again} of {self.clouds} clouds equal the one before: the camera may be slower than the robot"
        if self.not_finite:
            yield f"left out {self.not_finite} points that are not finite"


def convert(source: str | Path, demos: str | Path, wishes: Wishes | None = None) -> Conversion:
    """Write what lies at ``source`` as a store of demonstrations.

    Raises an InputError of one line for what is not read or does not fit, or where ``demos`` is taken, a
    MissingFileError where nothing is, a MissingExtraError where a package is missing; nothing is left behind then, nor
    when Ctrl-C or SIGTERM stops it.
    """
    wishes, target = wishes or Wishes(), from_home("demos", demos)
    check_wishes(wishes)
    refuse_existing(target)
    cameras, box = read_cameras(from_home("cameras", wishes.cameras)) if wishes.cameras else (None, None)
    box = read_crop("crop", wishes.crop) if wishes.crop is not None else box
    recording = open_recording(source, wishes.format)
    episodes = [name for name in recording.episodes if name not in wishes.without]
    if unknown := {*wishes.without} - {*recording.episodes}:
        raise InputError(f"{recording.path} has no episode {named([*unknown])}; there are: {named(recording.episodes)}")
    found = survey(recording, episodes, cameras, wishes.point_cloud, wishes.state, wishes.action)
    points = wishes.points or usual_points(found)
    tasks = [*dict.fromkeys(task for name in found.lengths for task in recording.tasks.get(name, ()))]
    task, remarks = task_of(tasks, wishes.task, target, found.sizes)
    found.notes += remarks
    attributes = {"task": task, "source": recording.path.name, **said(recording, found, wishes)}
    counts, made = Counts(), None
    count = track(sum(found.lengths.values()), f"import {recording.path.name}")
    with Stop() as stop, whole_folder(target) as path, count as bar:
        for name, length in found.lengths.items():
            clouds = sampled(recording, name, found, box, points, counts)
            frames = {key: np.zeros((length, size), np.float32) for key, size in found.sizes.items()}
            frames["point_cloud"] = np.zeros((length, points, 3), np.float32)
            for frame, cloud in enumerate(clouds):
                frames["point_cloud"][frame] = cloud
                bar.advance()
            for noun, keys in {"state": found.keys.state, "action": (found.keys.action,)}.items():
                np.concatenate([rows(recording, name, key, length) for key in keys], 1, out=frames[noun])
            shapes = {key: each.shape[1:] for key, each in frames.items()}
            with stop.hold():  # zarr's threads would go on writing into what is removed
                made = made or ReplayBuffer.create(path, shapes, attributes)
                made.append(frames, {"name": name})
    made.path = target
    notes = [*found.notes, *chosen_notes(wishes, points, attributes), *counts.notes(points)]
    return Conversion(made, found.keys, notes)


def usual_points(found: Survey) -> int:
    """How many points a cloud has where nobody says so: more than were stored would be zeros alone."""
    return min(PolicyConfig.num_points, found.most_stored or PolicyConfig.num_points)


def chosen_notes(wishes: Wishes, points: int, attributes: dict) -> Iterator[str]:
    """A line on what was chosen, or is not known, because nobody has given it."""
    if wishes.points is None and points != PolicyConfig.num_points:
        yield f"clouds have {points} points, since no stored one has more; --points takes another number"
    if is_own(attributes["task"]) and "action" not in attributes.get("kinds", {}):
        yield (
            "no kinds of the action are named, so an arm would be held by its last command, velocities and steps, too; "
            'name them by --action-kinds, such as "step:3 gripper:1"'
        )


def sampled(
    recording: Recording,
    episode: str,
    found: Survey,
    box: tuple[np.ndarray, np.ndarray] | None,
    points: int,
    counts: Counts,
) -> Iterator[np.ndarray]:
    """The cloud (N, 3) float32 of each frame of an episode; an InputError for one in which nothing is seen."""
    last = None
    for frame, cloud in enumerate(found.clouds.clouds(recording, episode, found.lengths[episode])):
        finite = np.isfinite(cloud).all(1)
        counts.not_finite += len(cloud) - int(finite.sum())
        cloud = without_padding(cloud[finite])
        kept = cloud[(box[0] <= cloud).all(1) & (cloud <= box[1]).all(1)] if box else cloud
        if not len(kept):
            why = f"the crop box leaves none of {len(cloud)} points" if len(cloud) else "nothing was seen"
            where = f"{recording.path}, episode {episode}, frame {frame}"
            raise InputError(f"{where} has no point ({why}); leave it out by --without {episode}, or change the box")
        chosen = sample_farthest(np.ascontiguousarray(kept, np.float32), points)
        counts.clouds += 1
        counts.small += len(kept) < points
        counts.again += last is not None and np.array_equal(chosen, last)
        last = chosen
        yield chosen


def said(recording: Recording, found: Survey, wishes: Wishes) -> dict:
    """What a store says about its numbers and its time: kinds and fps, where they are known."""
    given = {"state": wishes.state_kinds, "action": wishes.action_kinds}
    keys, kinds = {"state": found.keys.state, "action": (found.keys.action,)}, {}
    for noun, size in found.sizes.items():
        told = [recording.kinds.get(key, "") for key in keys[noun]]
        if text := given[noun] or (" ".join(told) if all(told) else ""):
            kinds[noun] = Layout.parse(text, size).text
    fps = wishes.fps or recording.fps
    return ({"kinds": kinds} if kinds else {}) | ({"fps": fps} if fps else {})


def task_of(tasks: Sequence[str], wished: str, target: Path, sizes: Mapping[str, int]) -> tuple[str, list[str]]:
    """The name of the task, and a line each on what one should know of it.

    It is what is wished, the first of ``tasks``, what the files say, where that is a name under which one can train, or
    the store's. ``sizes`` as of ``Survey``. An InputError for a name that cannot be.
    """
    said, notes = tasks[0] if tasks and NAME.fullmatch(tasks[0]) else "", []
    if said and not wished:
        try:
            check_sizes(said, sizes)
        except InputError as error:
            notes.append(f"the files call the task {said}, which is left out: {error}")
            said = ""
    task = wished or said or target.name.split(".")[0]
    if not NAME.fullmatch(task):
        raise InputError(f"task {shown(task)} given; it has letters, digits, - and _ alone, such as my_arm")
    try:
        check_sizes(task, sizes)
    except InputError as error:
        raise InputError(f"{error}; or give a name of your own as --task") from None
    if len(tasks) > 1:
        notes.append(f"episodes of {len(tasks)} tasks are together under the name {task}: {named(tasks)}")
    return task, notes


def check_wishes(wishes: Wishes) -> None:
    """Raise an InputError for numbers that cannot be."""
    if wishes.points is not None and not (is_count(wishes.points) and wishes.points <= MOST_POINTS):
        raise InputError(f"points {shown(wishes.points)} given; it is a whole number from 1 to {MOST_POINTS:,}")
    if wishes.fps is not None and not 0 < wishes.fps <= MOST_FPS:
        raise InputError(f"fps {shown(wishes.fps)} given; it is frames a second, more than 0 and at most {MOST_FPS:,}")
