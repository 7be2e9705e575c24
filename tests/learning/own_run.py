"""The toy task's demonstrations as somebody's own, of a task that nothing here simulates, and a training on them."""

from dataclasses import replace

from mp_lib.data.own_tasks import spec_of
from mp_lib.learning.run import train
from tests.exchange.layouts import write_store
from tests.learning.toy_run import CONFIG, FILES

KINDS = {"state": "velocity:1 position:1 velocity:1", "action": "position:1 gripper:1"}
OWN = replace(CONFIG, task="my_arm", num_demos=3)
OWN_FILES = [name for name in FILES if name != "rollout.mp4"]


def episodes_of(store):
    """The episodes of a store as dicts of arrays."""
    arrays, starts = store.read(), [0, *store.episode_ends]
    return [
        {key: values[start:end] for key, values in arrays.items()}
        for start, end in zip(starts, store.episode_ends, strict=False)
    ]


def own_store(path, demos, **attributes):
    """A store of the episodes of another, which says ``attributes`` and nothing of the simulator."""
    return write_store(path, episodes_of(demos), **attributes)


def train_own(store, folder, config=OWN, **how):
    """Train on a store of one's own."""
    return train(config, spec_of(config.task, store), store, folder, device="cpu", **how)
