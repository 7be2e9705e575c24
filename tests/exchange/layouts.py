"""Episodes, and how each layout of files that is imported would hold them."""

import json

import numpy as np

from mp_lib.data.replay_buffer import ReplayBuffer
from mp_lib.exchange.conversion import Wishes, convert
from mp_lib.exchange.lerobot_export import export

POINTS = 6
CLOUD, STATE, ACTION = "point_cloud", "state", "action"


def made_up(lengths=(5, 3, 4), seed=0):
    """Episodes of random numbers as dicts of point_cloud (L, 6, 3), state (L, 4), action (L, 2), float32."""
    generator = np.random.default_rng(seed)
    shapes = {CLOUD: (POINTS, 3), STATE: (4,), ACTION: (2,)}
    return [
        {key: generator.normal(size=(length, *shape)).astype(np.float32) for key, shape in shapes.items()}
        for length in lengths
    ]


def write_npz(folder, episodes):
    folder.mkdir(parents=True)
    for number, episode in enumerate(episodes):
        np.savez_compressed(folder / f"ep{number}.npz", **episode)
    return folder


def write_hdf5(folder, episodes):
    import h5py

    folder.mkdir(parents=True)
    for number, episode in enumerate(episodes):
        with h5py.File(folder / f"ep{number}.h5", "w") as file:
            for key, values in episode.items():
                file.create_dataset(
                    key, data=values, fletcher32=True, chunks=(2, *values.shape[1:]), maxshape=(None, *values.shape[1:])
                )
    return folder


def write_robomimic(folder, episodes):
    import h5py

    folder.mkdir(parents=True)
    with h5py.File(folder / "demo.hdf5", "w") as file:
        for number, episode in enumerate(episodes):
            group = file.create_group(f"data/demo_{number}")
            group.attrs["num_samples"] = len(episode[ACTION])
            group["obs/point_cloud"], group["obs/state"] = episode[CLOUD], episode[STATE]
            group["actions"], group["dones"] = episode[ACTION], np.zeros(len(episode[ACTION]))
        file["mask/train"] = np.arange(2)
    return folder / "demo.hdf5"


def write_maniskill(folder, episodes):
    """Behind the last action there is one more observation; a cloud's fourth number is 0 where nothing was seen."""
    import h5py

    folder.mkdir(parents=True)
    with h5py.File(folder / "trajectory.h5", "w") as file:
        for number, episode in enumerate(episodes):
            group = file.create_group(f"traj_{number}")
            cloud, state = (np.concatenate([episode[key], episode[key][-1:]]) for key in (CLOUD, STATE))
            seen = np.concatenate([cloud, np.ones((*cloud.shape[:2], 1))], axis=2)
            group["obs/pointcloud/xyzw"] = np.concatenate([seen, seen * [9, 9, 9, 0]], axis=1)
            group["obs/agent/qpos"], group["obs/agent/qvel"] = state[:, :3], state[:, 3:]
            group["actions"] = episode[ACTION]
    return folder / "trajectory.h5"


def write_store(path, episodes, **attributes):
    """A store of ours, as it is recorded."""
    shapes = {key: values.shape[1:] for key, values in episodes[0].items()}
    store = ReplayBuffer.create(path, shapes, {"task": "my_arm", **attributes})
    for episode in episodes:
        store.append(episode, {})
    return store


def write_lerobot(folder, episodes):
    store = write_store(folder.with_name(f"{folder.name}.store"), episodes)
    return export(store.path, folder, 25)


LAYOUTS = {
    "npz": write_npz,
    "hdf5": write_hdf5,
    "robomimic": write_robomimic,
    "maniskill": write_maniskill,
    "lerobot": write_lerobot,
}


def frames_of(source, store, **wishes):
    """The frames of what is imported, and the ends of the episodes."""
    made = convert(source, store, Wishes(**{"points": POINTS, **wishes})).store
    return {**made.read(), "ends": made.episode_ends}


def joined(episodes):
    """All frames of episodes, as a store has them."""
    ends = np.cumsum([len(episode[ACTION]) for episode in episodes])
    return {key: np.concatenate([each[key] for each in episodes]) for key in episodes[0]} | {"ends": ends}


def same(found, expected):
    """Whether frames are equal to the bit."""
    return found.keys() == expected.keys() and all(np.array_equal(found[key], expected[key]) for key in expected)


def write_json(path, content):
    path.write_text(json.dumps(content))
    return path
