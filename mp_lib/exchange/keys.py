"""Which of an episode's keys are the cloud, the state and the action: given by name, or by the names that are usual."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mp_lib.exchange.reading import Entry
from mp_lib.system.errors import InputError

# Each in the order of preference; a state may be joined of several keys. Names are those of LeRobot ("observation."),
# robomimic and robosuite ("obs/robot0_"), ManiSkill ("obs/agent/", "obs/pointcloud/xyzw"), ACT ("observations/") and DP3.
CLOUDS = (
    *("point_cloud", "pointcloud", "observation.pointcloud", "observation.point_cloud", "obs/point_cloud"),
    *("obs/pointcloud", "obs/pointcloud/xyzw", "observations/point_cloud", "observations/pointcloud"),
)
STATES = (
    *(("state",), ("agent_pos",), ("observation.state",), ("obs/state",), ("obs/agent_pos",)),
    ("obs/robot0_eef_pos", "obs/robot0_eef_quat", "obs/robot0_gripper_qpos"),
    ("obs/robot0_eef_pos",),
    *(("obs/agent/qpos", "obs/agent/qvel"), ("obs/agent/qpos",), ("observations/qpos",), ("observations/state",)),
    ("qpos",),
)
ACTIONS = ("action", "actions")
SEVERAL = ("episode_ends", "meta/episode_ends")  # what only files with several episodes in one array have
MOST_SHOWN = 20  # keys in a message


@dataclass(frozen=True)
class Keys:
    """The keys that are read of every episode; those of depth images and cameras are in ``others``.

    ``point_cloud`` is "" where clouds are made of depth images.
    """

    point_cloud: str
    state: tuple[str, ...]
    action: str
    others: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        """All of them."""
        return (*([self.point_cloud] if self.point_cloud else ()), *self.state, self.action, *self.others)

    @property
    def observed(self) -> tuple[str, ...]:
        """All but the action."""
        return tuple(key for key in self.all if key != self.action)


def choose(
    where: str,
    entries: Mapping[str, Entry],
    point_cloud: str = "",
    state: Sequence[str] = (),
    action: str = "",
    depth: Sequence[str] = (),
) -> Keys:
    """The keys by what is given, else by the usual names that are there.

    ``depth`` are keys from which clouds are made instead. An InputError names at once all that is not there, and what
    is.
    """
    if several := [key for key in SEVERAL if key in entries]:
        raise InputError(f"{where}: {several[0]} says that one array holds several episodes; save one episode a file")
    chosen_cloud = "" if depth else point_cloud or next((key for key in CLOUDS if key in entries), "")
    chosen_state = tuple(state) or next((keys for keys in STATES if {*keys} <= {*entries}), ())
    chosen_action = action or next((key for key in ACTIONS if key in entries), "")
    found = {"--point-cloud": chosen_cloud or depth, "--state": chosen_state, "--action": chosen_action}
    unknown = [f"no usual name of {option[2:]} (give {option})" for option, keys in found.items() if not keys]
    keys = Keys(chosen_cloud, chosen_state, chosen_action, tuple(depth))
    absent = [key for key in keys.all if key and key not in entries]
    if unknown or absent:
        lacking = ", ".join([*absent, *unknown])
        raise InputError(f"{where} lacks {lacking}; there are: {listing(entries)}")
    check(where, entries, keys)
    return keys


def check(where: str, entries: Mapping[str, Entry], keys: Keys) -> None:
    """Raise an InputError that names at once all of the keys that are not in an episode, or cannot be read."""
    if absent := [key for key in keys.all if key not in entries]:
        raise InputError(f"{where} lacks {', '.join(absent)}; there are: {listing(entries)}")
    if faults := [f"{key} {entries[key].fault}" for key in keys.all if entries[key].fault]:
        raise InputError(f"{where}: {'; '.join(faults)}")


def listing(entries: Mapping[str, Entry]) -> str:
    """Keys with their shapes, in one line."""
    shown = [f"{key} {entry}" for key, entry in entries.items()]
    more = f" and {len(shown) - MOST_SHOWN} more" if len(shown) > MOST_SHOWN else ""
    return f"{', '.join(shown[:MOST_SHOWN])}{more}" if shown else "none"
