"""Exported policies: a folder that ONNX Runtime and NumPy run, written whole and checked when it is read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mp_lib.acting.facts import PolicyFacts, read_facts
from mp_lib.acting.seen import Seen, read_seen, seen_by
from mp_lib.model.denoising import coefficients, inference_steps
from mp_lib.model.weights import SEEN
from mp_lib.system.errors import InputError
from mp_lib.system.files import read_arrays, read_json

NETWORKS, ARRAYS, FACTS = ("encoder.onnx", "denoiser.onnx"), "arrays.npz", "policy.json"
FILES = (*NETWORKS, ARRAYS, FACTS)
KIND = "mp_lib onnx 1"  # raised when what is written is read otherwise
LONGEST_TABLE = 1000  # training steps; beyond, the table has rows of the policy's own denoising steps alone


@dataclass(frozen=True, eq=False)
class Exported:
    """What an exported folder holds.

    ``arrays``: ``table`` (rows, F), what a denoising step adds to the denoiser's modulation, of the training ``steps``
    (rows,); ``alphas`` (num_train_steps,), the cumulative products of 1 - beta; a scale and an offset of point_cloud,
    state and action, as ``mp_lib.model.normalizer`` has them. ``networks`` are encoder and denoiser in ONNX.
    """

    folder: Path
    facts: PolicyFacts
    seen: Seen
    arrays: dict[str, np.ndarray]
    networks: tuple[bytes, bytes]

    def with_steps(self, num_inference_steps: int | None) -> Exported:
        """The same with another number of denoising steps, if one is given."""
        if num_inference_steps is None:
            return self
        return replace(self, facts=replace(self.facts, num_inference_steps=num_inference_steps))

    def steps(self) -> Iterator[tuple[tuple[float, float, float], np.ndarray]]:
        """Of each denoising step the coefficients of its update, and what it adds to the modulation (1, F).

        An InputError if the table has no row for one.
        """
        facts, alphas, known = self.facts, self.arrays["alphas"], self.arrays["steps"].tolist()
        stride = facts.num_train_steps // facts.num_inference_steps
        for step in inference_steps(facts.num_train_steps, facts.num_inference_steps):
            if step not in known:
                raise InputError(
                    f"num_inference_steps {facts.num_inference_steps} given, but {self.folder} has no row for training "
                    f"step {step}; choose the number that it was exported with"
                )
            previous = float(alphas[step - stride]) if step >= stride else 1.0
            yield coefficients(float(alphas[step]), previous), self.arrays["table"][None, known.index(step)]


def is_exported(folder: Path) -> bool:
    """Whether a folder is meant as an exported policy; ``read_export`` says what is wrong with it."""
    return any((folder / name).is_file() for name in NETWORKS)


def digest(content: bytes) -> str:
    """What policy.json has of each other file: BLAKE2b of its bytes, 16 bytes long."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def read_export(folder: Path) -> Exported:
    """What an exported folder holds; other files in it are left alone.

    Raises an InputError in one line if a file is missing, damaged, or does not fit the others.
    """
    if missing := [name for name in FILES if not (folder / name).is_file()]:
        raise InputError(f"{folder}: {', '.join(missing)} missing in this export; export the run anew")
    found = read_json(folder / FACTS)
    if found.get("kind") != KIND:
        raise InputError(f"{folder / FACTS} is none of an export of this version ({KIND}); export the run anew")
    written = found.pop("checksum", None)
    if checksum(found) != written:
        raise InputError(f"{folder / FACTS} is damaged or was edited: its checksum differs; export the run anew")
    facts, files = read_facts(found.get("facts")), found.get("files")
    if not isinstance(files, dict) or not {*NETWORKS, ARRAYS} <= {*files} <= {*NETWORKS, ARRAYS, SEEN}:
        raise InputError(f"{folder / FACTS} does not name the files of an export; export the run anew")
    content = {name: read_whole(folder / name, wanted) for name, wanted in files.items()}
    arrays = read_arrays(folder / ARRAYS)
    check_arrays(folder / ARRAYS, arrays, facts)
    seen = read_seen(folder / SEEN, facts) if SEEN in files else seen_by(arrays, facts)
    return Exported(folder, facts, seen, arrays, tuple(content[name] for name in NETWORKS))


def checksum(found: dict) -> str:
    """The digest of all else that policy.json holds, in one order."""
    return digest(json.dumps(found, sort_keys=True).encode())


def read_whole(path: Path, wanted: str) -> bytes:
    """The bytes of a file; an InputError unless they have the digest that was written with them."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path} is missing in this export; export the run anew") from None
    if digest(content) != wanted:
        raise InputError(f"{path} is damaged: its checksum differs; export the run anew, or restore a copy")
    return content


def check_arrays(path: Path, arrays: dict[str, np.ndarray], facts: PolicyFacts) -> None:
    """Raise an InputError unless there are all arrays, of the sizes that the facts tell."""
    rows, steps = len(arrays.get("table", ())), facts.num_train_steps
    wanted = {"steps": (rows,), "alphas": (steps,), "table": arrays.get("table", np.zeros(0)).shape[:1] + (-1,)}
    for key, size in {"point_cloud": 3, "state": facts.state_dim, "action": facts.action_dim}.items():
        wanted |= {f"{key}_scale": (size,), f"{key}_offset": (size,)}
    for name, shape in wanted.items():
        found = arrays.get(name)
        fits = found is not None and found.ndim == len(shape) and found.dtype.kind in "fi"
        if not fits or any(want not in (-1, have) for want, have in zip(shape, found.shape, strict=True)):
            raise InputError(f"{path}: {name} does not fit the policy's sizes; export the run anew")
