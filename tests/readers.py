"""Whatever this package reads from files, each with one that was written."""

import json
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import zarr
from safetensors.torch import save_file
from zarr.codecs import BloscCodec

from mp_lib.acting.exporting import export
from mp_lib.acting.exports import read_export
from mp_lib.acting.hub import export_hub
from mp_lib.acting.loading import load_weights
from mp_lib.config import PolicyConfig
from mp_lib.data.replay_buffer import ReplayBuffer
from mp_lib.learning.evaluation import stored_evaluation
from mp_lib.learning.folder import stored_result
from mp_lib.learning.journal import Journal
from mp_lib.learning.metrics import Metrics
from mp_lib.learning.run import train
from mp_lib.model.checkpoint import from_official, load_policy, load_tensors
from mp_lib.model.policy import build_policy
from mp_lib.model.weights import CHECKPOINT, SEEN
from mp_lib.sim.experts import NETWORK_ARRAYS, read_network
from mp_lib.study import tables
from mp_lib.study.rows import load_kept, load_runs
from mp_lib.study.runs import load_metrics
from mp_lib.system.files import write_arrays, write_atomically
from mp_lib.system.unpickle import read_pickled_tensors
from mp_lib.system.unpickle_policy import read_pickled_policy
from tests import ROOT
from tests.conftest import TOY
from tests.data.test_official_stores import make_official_store
from tests.learning.toy_run import CONFIG

SMALL = build_policy(PolicyConfig("simple_dp3", 3, 2, horizon=8, n_action_steps=4, down_dims=(16, 24)))


@dataclass
class Reader:
    """``read`` reads ``path``, a file or a folder; ``same`` says that whatever it gives must equal what was written.

    Otherwise the file has no checksum, and what it gives is only of the right kind.
    """

    path: Path
    read: object
    same: bool = True


def frames_of(path):
    buffer = ReplayBuffer.open(path)
    return {**buffer.read(), "ends": buffer.episode_ends}


def make_demonstrations(folder, toy_demos):
    shutil.copytree(toy_demos.path, folder / "toy.zarr")
    return Reader(folder / "toy.zarr", frames_of)


def make_official_demonstrations(folder, _):
    clouds = np.random.default_rng(1).normal(size=(150, 8, 6)).astype(np.float32)
    make_official_store(folder / "official.zarr", data__point_cloud=clouds)
    return Reader(folder / "official.zarr", frames_of, same=False)


def make_foreign_demonstrations(folder, zarr_format, chunks=100, **how):
    """A store of others; its numbers have no checksum of ours, so what is read is only of the right kind."""
    generator = np.random.default_rng(1)
    group = zarr.create_group(folder / "foreign.zarr", zarr_format=zarr_format)
    for key, shape in {"point_cloud": (8, 3), "state": (3,), "action": (2,)}.items():
        values = generator.normal(size=(150, *shape)).astype(np.float32)
        group.create_array(f"data/{key}", data=values, chunks=(chunks, *shape), **shards_of(how, shape))
    group.create_array("meta/episode_ends", data=np.array([60, 150]))
    return Reader(folder / "foreign.zarr", frames_of, same=False)


def shards_of(how, shape):
    """How an array is stored, with shards of two chunks for the frames of this shape."""
    return how | ({"shards": (100, *shape)} if how.pop("sharded", False) else {})


def make_zip(folder, _):
    reader = make_foreign_demonstrations(folder, 2)
    with zipfile.ZipFile(folder / "foreign.zarr.zip", "w") as archive:
        for path in sorted(reader.path.rglob("*")):
            archive.write(path, path.relative_to(reader.path))
    return Reader(folder / "foreign.zarr.zip", frames_of, same=False)


def make_bare_weights(folder, _):
    weights = {name: each.contiguous().clone() for name, each in SMALL.state_dict().items()}
    save_file(weights, folder / "bare.safetensors")
    return Reader(folder / "bare.safetensors", lambda path: from_official(path, "simple_dp3").state_dict(), same=False)


def make_official_policy(folder, _):
    config = {"horizon": 8, "n_action_steps": 4, "policy": {"n_groups": 8}, "best": np.float64(0.5), "all": np.ones(3)}
    torch.save({"cfg": config, "state_dicts": {"ema_model": SMALL.state_dict()}}, folder / "whole.ckpt")
    return Reader(folder / "whole.ckpt", lambda path: load_policy(path)[0].state_dict(), same=False)


def make_policy(folder, _):
    return Reader(folder / "policy.safetensors", lambda path: load_policy(path)[0].state_dict())


def make_export(folder, _):
    write_seen(folder)
    export(folder / "policy.safetensors", folder / "exported")

    def read(path):
        found = read_export(path)
        networks = [np.frombuffer(each, np.uint8) for each in found.networks]
        return {**found.arrays, **found.seen.arrays, "encoder": networks[0], "denoiser": networks[1]}

    return Reader(folder / "exported", read)


def make_hub(folder, _):
    write_seen(folder)
    export_hub(folder / "policy.safetensors", folder / "hub")

    def read(path):
        policy, _, seen = load_weights(path / "model.safetensors")
        return policy.state_dict() | seen.arrays

    return Reader(folder / "hub", read)


def write_seen(folder):
    """What the toy policy has seen."""
    ranges = {"state_low": 3, "state_high": 3, "action_low": 2, "action_high": 2, "cloud_low": 3}
    write_arrays(folder / SEEN, {name: np.arange(size, dtype=np.float32) for name, size in ranges.items()})


def make_training(folder, _):
    shutil.copy(folder / "policy.safetensors", folder / "training.safetensors")
    return Reader(folder / "training.safetensors", lambda path: load_tensors(path)[0])


def make_official_weights(folder, _):
    torch.save({"state_dicts": {"model": {"a": torch.randn(50), "b": torch.arange(9)}}}, folder / "official.ckpt")
    # Not the same: a zip's directory, which no sum covers, holds names and the pickle may be cut to one that is whole.
    return Reader(folder / "official.ckpt", read_pickled_tensors, same=False)


def make_pickled_policy(folder, _):
    # An object of mjrl, as Python 2 writes it, with a number and a list.
    (folder / "policy.pickle").write_bytes(
        b"ccopy_reg\n_reconstructor\n(cmjrl.policies\nMLP\nc__builtin__\nobject\nNtR(dS'n'\nI128\nsS'sizes'\n(lI32\naI32\nasb."
    )
    return Reader(folder / "policy.pickle", lambda path: read_pickled_policy(path.read_bytes(), str(path)), same=False)


def make_expert(folder, _):
    generator = np.random.default_rng(0)
    write_arrays(folder / "expert.npz", {name: generator.normal(size=40) for name in NETWORK_ARRAYS})
    return Reader(folder / "expert.npz", read_network.__wrapped__)


def make_result(folder, toy_demos):
    def read(path):
        return train(CONFIG, TOY, toy_demos, path.parent, device="cpu")

    return Reader(folder / "result.json", read, same=False)


def make_listed_result(folder, _):
    return Reader(folder / "result.json", lambda path: load_runs(path.parents[1]), same=False)


def make_stored_result(folder, _):
    return Reader(folder / "result.json", lambda path: stored_result(path.with_name(CHECKPOINT)), same=False)


def make_evaluation(folder, _):
    found = {"seeds": [1, 2], "successes": [0, 1], "film": "../elsewhere.mp4"}
    write_atomically(folder / "evaluation.json", json.dumps(found).encode())
    (folder / "evaluation.mp4").write_bytes(b"film")
    return Reader(folder / "evaluation.json", lambda path: stored_evaluation(path, {}), same=False)


def make_journal(folder, _):
    Journal(folder / "episodes", {"a": 1}).add(0, [{"seed": 1}, {"seed": 2}], [])
    return Reader(folder / "episodes", lambda path: Journal(path, {"a": 1}).recall(0, [1, 2]), same=False)


def make_metrics(folder, _):
    return Reader(folder / "metrics.jsonl", lambda path: Metrics(path, 15, {}).close(), same=False)


def make_curves(folder, _):
    def read(path):
        return load_metrics(load_runs(path.parents[1]).assign(folder=path.parent))

    return Reader(folder / "metrics.jsonl", read, same=False)


def make_published(folder, _):
    shutil.copytree(ROOT / "data" / "paper", folder / "data" / "paper")
    return Reader(folder / "data" / "paper" / "published.csv", lambda _: tables.load_published(), same=False)


def make_kept_runs(folder, _):
    (folder / "data" / "results").mkdir(parents=True)
    shutil.copy(ROOT / "data" / "results" / "runs.csv", folder / "data" / "results" / "runs.csv")
    return Reader(folder / "data" / "results" / "runs.csv", lambda _: load_kept(), same=False)


MAKERS = {
    "demonstrations": make_demonstrations,
    "official_demonstrations": make_official_demonstrations,
    "format_2": lambda folder, _: make_foreign_demonstrations(folder, 2),
    "format_3": lambda folder, _: make_foreign_demonstrations(folder, 3),
    "format_3_sharded": lambda folder, _: make_foreign_demonstrations(folder, 3, 50, sharded=True),
    "format_3_blosc": lambda folder, _: make_foreign_demonstrations(
        folder, 3, 50, sharded=True, compressors=[BloscCodec()]
    ),
    "zip": make_zip,
    "bare_weights": make_bare_weights,
    "official_policy": make_official_policy,
    "policy": make_policy,
    "training": make_training,
    "export": make_export,
    "hub": make_hub,
    "official_weights": make_official_weights,
    "pickled_policy": make_pickled_policy,
    "expert": make_expert,
    "result": make_result,
    "listed_result": make_listed_result,
    "stored_result": make_stored_result,
    "evaluation": make_evaluation,
    "journal": make_journal,
    "metrics": make_metrics,
    "curves": make_curves,
    "published": make_published,
    "kept_runs": make_kept_runs,
}
