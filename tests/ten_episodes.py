"""Recordings as somebody with a robot has them: a folder of .npz files, one an episode, that name no task."""

from pathlib import Path

import numpy as np

from mp_lib.data.recording import collect

KEYS = {"cloud": "point_cloud", "agent_pos": "state", "action": "action"}  # in a file, and what it is here


def write_episodes(folder: Path, task="metaworld_drawer-open", episodes=10, num_points=256) -> Path:
    """Record a simulated task and write what was seen and done, and nothing that says where it comes from."""
    store = collect(task, episodes, folder.with_name(f".{folder.name}.zarr"), num_points=num_points, jobs=1)
    frames, ends = store.read(), store.episode_ends.tolist()
    folder.mkdir(parents=True)
    for number, (start, stop) in enumerate(zip([0, *ends], ends, strict=False)):
        named = {name: frames[key][start:stop] for name, key in KEYS.items()}
        np.savez(folder / f"take_{number:02}.npz", **named)
    return folder
