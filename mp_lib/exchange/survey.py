"""What all episodes of a recording have, looked at before anything of it is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mp_lib.exchange.cameras import Cameras
from mp_lib.exchange.keys import CLOUDS, Keys, check_single, choose, faults, listing
from mp_lib.exchange.reading import Entry, Recording
from mp_lib.exchange.shapes import StoredClouds, row_size
from mp_lib.system.errors import InputError

MOST_NAMED = 5  # episodes in a message


@dataclass
class Survey:
    """Which keys are read, where clouds come from, and how many frames each episode has.

    ``sizes`` are the numbers of a state and of an action, ``most_stored`` the points of the largest stored cloud, 0
    where clouds are made of depth images, ``notes`` a line each on what is left out.
    """

    keys: Keys
    clouds: StoredClouds | Cameras
    sizes: dict[str, int] = field(default_factory=dict)
    lengths: dict[str, int] = field(default_factory=dict)
    most_stored: int = 0
    notes: list[str] = field(default_factory=list)


def survey(
    recording: Recording,
    names: Sequence[str],
    cameras: Cameras | None,
    point_cloud: str = "",
    state: Sequence[str] = (),
    action: str = "",
) -> Survey:
    """Look at the entries of the episodes of these names.

    An InputError names at once all keys that are missing, and the first episode of which something does not fit.
    """
    if not names:
        raise InputError(f"{recording.path} holds no episode; give a recording with one at least")
    entries = recording.entries(names[0])
    stored = point_cloud or any(key in entries for key in CLOUDS)
    if cameras is None and not stored and {*Cameras.usual().keys} <= {*entries}:
        cameras = Cameras.usual()
    keys = choose(f"{recording.path}, episode {names[0]},", entries, point_cloud, state, action, cameras)
    clouds = cameras or StoredClouds(*keys.clouds)
    found = Survey(keys, clouds)
    lacking: dict[str, list[str]] = {}
    empty, last = [], 0
    for name in names:
        entries, where = recording.entries(name), f"{recording.path}, episode {name}"
        if fault := faults(entries, keys):
            lacking.setdefault(fault, []).append(name)
            continue
        length, more = length_of(where, entries, keys)
        last += more
        if not length:
            empty.append(name)
            continue
        check_single(where, recording, name, entries, length)
        sizes = sizes_of(where, entries, keys)
        found.sizes = found.sizes or sizes
        if sizes != found.sizes:
            raise InputError(f"{where} has {sizes} numbers, the first episode {found.sizes}; leave one of them out")
        shapes = {key: entries[key].shape for key in clouds.keys}
        clouds.check(where, shapes)
        found.most_stored = max(found.most_stored, clouds.stored(shapes))
        found.lengths[name] = length
    if lacking:
        each = [f"{named(names)}: {fault}" for fault, names in lacking.items()]
        raise InputError(f"{recording.path}, {'; '.join(each)}; take them out by --without")
    if not found.lengths:
        raise InputError(f"{recording.path} has {len(names)} episodes, all without a frame; nothing was read")
    found.notes = [
        *([f"left out {len(empty)} empty: {named(empty)}"] if empty else []),
        *([f"left out the last observation of {last} episodes, which no action follows"] if last else []),
        *unused(recording.entries(names[0]), keys),
    ]
    return found


def sizes_of(where: str, entries: Mapping[str, Entry], keys: Keys) -> dict[str, int]:
    """How many numbers state and action have."""
    rows = {"state": keys.state, "action": (keys.action,)}
    return {noun: sum(row_size(where, key, entries[key].shape) for key in each) for noun, each in rows.items()}


def length_of(where: str, entries: Mapping[str, Entry], keys: Keys) -> tuple[int, bool]:
    """The number of frames, and whether there is one observation more, as behind ManiSkill's last action."""
    shapes = {key: entries[key].shape for key in keys.all}
    if flat := [key for key, shape in shapes.items() if not shape]:
        raise InputError(f"{where}: {', '.join(flat)} is a single number; give a row of numbers")
    length = shapes[keys.action][0]
    observed = {shapes[key][0] for key in keys.observed}
    if observed not in ({length}, {length + 1}):
        shown = ", ".join(f"{key} {shapes[key][0]}" for key in (*keys.observed, keys.action))
        raise InputError(f"{where} has other numbers of frames ({shown}); leave it out by --without, or cut its arrays")
    return length, observed == {length + 1} and length > 0


def unused(entries: Mapping[str, Entry], keys: Keys) -> list[str]:
    """A line on what is there and not read; none if that is nothing."""
    rest = {key: entry for key, entry in entries.items() if key not in keys.all}
    return [f"not read: {listing(rest)}"] if rest else []


def named(names: Sequence[str]) -> str:
    """Episodes by name, the first of many."""
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"{', '.join(names[:MOST_NAMED])}{more}"
