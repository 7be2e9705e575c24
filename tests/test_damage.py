"""Damaged files: every reader gives what was written, or one line that names the file, and nothing else happens."""

import json
import random
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr
from safetensors.torch import save_file
from zarr.codecs import BloscCodec

from mp_lib.acting.exporting import export
from mp_lib.acting.exports import read_export
from mp_lib.acting.hub import export_hub
from mp_lib.acting.loading import load_weights
from mp_lib.config import PolicyConfig
from mp_lib.data.recording import collect
from mp_lib.data.replay_buffer import ReplayBuffer
from mp_lib.learning.evaluation import stored_evaluation
from mp_lib.learning.film import write_film
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

FILES = 200  # damaged files a reader
SMALL = build_policy(PolicyConfig("simple_dp3", 3, 2, horizon=8, n_action_steps=4, down_dims=(16, 24)))


def flip(content: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1 << chance.randrange(8)]) + content[place + 1 :]


def cut(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.randrange(len(content))]


def blank(content: bytes, chance: random.Random) -> bytes:
    start, length = chance.randrange(len(content)), chance.randrange(1, 513)
    return content[:start] + bytes(len(content[start : start + length])) + content[start + length :]


def scatter(content: bytes, chance: random.Random) -> bytes:
    start, length = chance.randrange(len(content)), chance.randrange(1, 65)
    return content[:start] + chance.randbytes(length) + content[start + length :]


def drop(content: bytes, chance: random.Random) -> bytes:
    start, length = chance.randrange(len(content)), chance.randrange(1, 65)
    return content[:start] + content[start + length :]


DAMAGES = (flip, cut, blank, scatter, drop)


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


def equal(first, second) -> bool:
    """Whether two answers of a reader hold the same arrays or tensors by name."""
    as_arrays = [{name: np.asarray(value) for name, value in each.items()} for each in (first, second)]
    return as_arrays[0].keys() == as_arrays[1].keys() and all(
        np.array_equal(value, as_arrays[1][name]) for name, value in as_arrays[0].items()
    )


def damaged(reader, number, chance):
    """Damage a file of what is read; the file and its content before."""
    files = sorted(path for path in reader.path.rglob("*") if path.is_file()) or [reader.path]
    file = chance.choice(files)
    content = file.read_bytes()
    file.write_bytes(DAMAGES[number % len(DAMAGES)](content, chance))
    return file, content


@pytest.mark.slow
@pytest.mark.parametrize("name", MAKERS)
def test_a_reader_gives_what_was_written_or_names_the_file(name, finished, tmp_path, toy_demos, monkeypatch):
    monkeypatch.setenv("MP_ROOT", str(tmp_path / CONFIG.name))
    folder = tmp_path / CONFIG.name
    shutil.copytree(finished[0], folder)
    reader, chance = MAKERS[name](folder, toy_demos), random.Random(name)
    expected, refused = reader.read(reader.path), 0
    for number in range(FILES):
        file, content = damaged(reader, number, chance)
        try:
            found = reader.read(reader.path)
        except ValueError as error:
            refused += 1
            assert reader.path.name in str(error) or folder.name in str(error), error
            assert len(str(error).strip().splitlines()) == 1, error
        else:
            assert not reader.same or equal(found, expected), f"file {number}, {file.name}"
        file.write_bytes(content)
    assert refused or not reader.same
    if reader.same:
        assert equal(reader.read(reader.path), expected)


def test_recording_goes_on_behind_what_a_killed_writer_left(tmp_path, toy_demos):
    """Frames behind the last whole episode are dropped with a message, and recorded again."""
    store = tmp_path / "toy.zarr"
    shutil.copytree(toy_demos.path, store)
    attributes = json.loads((store / ".zattrs").read_text())
    attributes["episodes"].pop()
    (store / ".zattrs").write_text(json.dumps(attributes))
    assert equal(frames_of(collect(TOY, 3, store, jobs=1).path), frames_of(toy_demos.path))


SMALL_DISK = """
import resource, sys
from pathlib import Path
import numpy as np
from mp_lib.learning import fitting, run as module
from mp_lib.data.replay_buffer import ReplayBuffer
from mp_lib.data.recording import collect
from mp_lib.learning.film import write_film
from tests.conftest import TOY
from tests.learning.toy_run import CONFIG
fitting.SAVE_SECONDS, fitting.SAVE_SHARE = -1.0, float("inf")
path, size = Path(sys.argv[1]), int(sys.argv[2])
"""
LIMIT = "resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))\n"


def on_a_small_disk(path, size, before, then):
    """The last line of a process in which no file grows beyond ``size`` bytes: to one process a full disk."""
    code = f"{SMALL_DISK}{before}\n{LIMIT}{then}\n"
    command = [sys.executable, "-c", code, str(path), str(size)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1, done.stderr
    return done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize("size", [10, 3_000, 100_000])
def test_a_run_on_a_full_disk_ends_in_one_line_and_goes_on_when_there_is_room(finished, tmp_path, toy_demos, size):
    """At 10 bytes not even config.json fits, at 3000 no training, and at 100000 what is saved is kept."""
    folder = tmp_path / "run"
    before = f"demos = ReplayBuffer.open({str(toy_demos.path)!r})"
    said = on_a_small_disk(folder, size, before, "module.train(CONFIG, TOY, demos, path, device='cpu')")
    assert re.fullmatch(
        r"OSError: .*cannot write .*/run/.*; choose a folder that may be written and has space left", said
    )
    assert not (folder / "result.json").exists() and not list(folder.glob(".*partial*"))
    result = train(CONFIG, TOY, toy_demos, folder, device="cpu")
    assert result.final == json.loads((finished[0] / "result.json").read_text())["final"]
    assert (folder / "policy.safetensors").read_bytes() == (finished[0] / "policy.safetensors").read_bytes()


def test_recording_on_a_full_disk_keeps_whole_episodes(tmp_path):
    expected = frames_of(collect(TOY, 12, tmp_path / "whole.zarr", jobs=1).path)
    said = on_a_small_disk(tmp_path / "toy.zarr", 2_500, "", "collect(TOY, 12, path, jobs=1)")
    assert re.fullmatch(r"OSError: .*cannot write .*toy.zarr: .*; choose a folder .*", said)
    assert 0 < ReplayBuffer.open(tmp_path / "toy.zarr").num_episodes < 12
    assert equal(frames_of(collect(TOY, 12, tmp_path / "toy.zarr", jobs=1).path), expected)


def test_half_a_film_is_no_film(tmp_path):
    noise = "noise = list(np.random.default_rng(0).integers(0, 255, (60, 128, 128, 3), dtype=np.uint8))"
    write_film(tmp_path / "film.mp4", [np.zeros((32, 32, 3), np.uint8)] * 3)
    film = (tmp_path / "film.mp4").read_bytes()
    said = on_a_small_disk(tmp_path / "film.mp4", 20_000, noise, "write_film(path, noise)")
    assert re.fullmatch(r"OSError: .*cannot write .*film.mp4: .*", said)
    assert (tmp_path / "film.mp4").read_bytes() == film and len(list(tmp_path.iterdir())) == 1
