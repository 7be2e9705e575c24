"""Which of an episode's keys are the cloud, the state and the action: given by name, or by the names that are usual."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mp_lib.exchange.cameras import Cameras
from mp_lib.exchange.reading import Entry, Recording
from mp_lib.system.errors import InputError

# Each in the order of preference; a state may be joined of several keys. Names are those of LeRobot (observation.),
# robomimic and robosuite (obs/robot0_), ManiSkill (obs/agent/, obs/pointcloud/xyzw), ACT (observations/) and DP3.
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
NUMBERS = ("episode_index", "episode_id", "episode")  # of a frame's episode, which is one in a file
MOST_SHOWN = 20  # keys in a message


@dataclass(frozen=True)
class Keys:
    """The keys that are read of every episode: ``clouds`` is a cloud's, or those of depth images.

    ``fixed`` are those that need not have as many frames as the episode, of cameras.
    """

    clouds: tuple[str, ...]
    state: tuple[str, ...]
    action: str
    fixed: tuple[str, ...] = ()

    @property
    def observed(self) -> tuple[str, ...]:
        """What is observed in every frame."""
        return (*self.clouds, *self.state)

    @property
    def all(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.observed, self.action, *self.fixed)


def choose(
    where: str,
    entries: Mapping[str, Entry],
    point_cloud: str = "",
    state: Sequence[str] = (),
    action: str = "",
    cameras: Cameras | None = None,
) -> Keys:
    """The keys by what is given, else by the usual names that are there; with ``cameras``, clouds are made of theirs.

    An InputError names at once all that is not there, and what is.
    """
    if several := [key for key in SEVERAL if key in entries]:
        raise InputError(f"{where} has {several[0]}, so one array holds several episodes; save one episode a file")
    cloud = point_cloud or next((key for key in CLOUDS if key in entries), "")
    clouds = cameras.keys if cameras else (cloud,) if cloud else ()
    chosen_state = tuple(state) or next((keys for keys in STATES if {*keys} <= {*entries}), ())
    chosen_action = action or next((key for key in ACTIONS if key in entries), "")
    found = {"point-cloud": clouds, "state": chosen_state, "action": chosen_action}
    unknown = [f"a usual name of the {noun} (give --{noun})" for noun, keys in found.items() if not keys]
    keys = Keys(clouds, chosen_state, chosen_action, cameras.fixed if cameras else ())
    absent = [key for key in keys.all if key and key not in entries]
    if unknown or absent:
        raise InputError(f"{where} lacks {', '.join([*absent, *unknown])}; there are: {listing(entries)}")
    return keys


def check_single(where: str, recording: Recording, episode: str, entries: Mapping[str, Entry], length: int) -> None:
    """Raise an InputError if frames are numbered by episodes of which there are several."""
    for key in NUMBERS:
        told = key in entries and entries[key].shape == (length,) and not entries[key].fault
        if told and len({*recording.read(episode, key, 0, length).tolist()}) > 1:
            raise InputError(f"{where} has several numbers in {key}; save one episode a file")


def faults(entries: Mapping[str, Entry], keys: Keys) -> str:
    """Which of the keys are not in an episode, and which cannot be read; "" if all is well."""
    absent = [key for key in keys.all if key not in entries]
    broken = [f"{key} {entries[key].fault}" for key in keys.all if key in entries and entries[key].fault]
    lacking = [f"lacks {', '.join(absent)}; there are: {listing(entries)}"] if absent else []
    return "; ".join([*lacking, *broken])


def listing(entries: Mapping[str, Entry]) -> str:
    """Keys with their shapes, in one line."""
    shown = [f"{key} {entry}" for key, entry in entries.items()]
    more = f" and {len(shown) - MOST_SHOWN} more" if len(shown) > MOST_SHOWN else ""
    return f"{', '.join(shown[:MOST_SHOWN])}{more}" if shown else "none"
