"""Getting the public policies of others that can serve as experts.

Nothing here needs them; ``--expert dapg`` asks for them. Each is checked against its SHA-256, read without running
anything in it, and kept as plain arrays in data/experts.
"""

from __future__ import annotations

import hashlib
import http.client
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mp_lib.interfaces import look_up
from mp_lib.system.files import read_arrays, write_arrays
from mp_lib.system.paths import experts_path
from mp_lib.system.unpickle import Record
from mp_lib.system.unpickle_policy import read_pickled_policy

SECONDS = 30  # without an answer
LARGEST = 10_000_000  # bytes


@dataclass(frozen=True)
class Source:
    """A pickled policy of mjrl: its name below the base address, and the SHA-256 of its bytes."""

    name: str
    sha256: str


# github.com/aravindr93/hand_dapg (Apache-2.0), the policies of Rajeswaran et al., arXiv 1709.10087.
BASES = {
    "adroit": "https://raw.githubusercontent.com/aravindr93/hand_dapg/9a1de23df6574e1b94e1da742e3326eb1f61c013/dapg/policies"
}
SOURCES = {
    "adroit": {
        "adroit_door": Source("door-v0.pickle", "288dd2131b905e40852d9eb032595bb9b3aa90b0502e9341e6b0e128b803478f"),
        "adroit_hammer": Source("hammer-v0.pickle", "14c6b603af09acf87247f8b45d58f9671790d8e4ca0c48c8db5e1f7c98126ef4"),
        "adroit_pen": Source("pen-v0.pickle", "061dba4907a76b83139ae5a8d0809faa9774dd028d12ce869036b620bd728740"),
        "adroit_relocate": Source(
            "relocate-v0.pickle", "41432c3125c97a8eb101d5d482f062b1f9bb72239a3abccae7428ef0e66413fc"
        ),
    }
}


def fetch(task: str, source: Source, base: str) -> Path:
    """Return the arrays of a task's policy, an .npz; download them first unless they are there and from this source.

    What is there is replaced only by what was downloaded whole, has the right SHA-256 and could be read. Raises
    OSError if there is no answer, ValueError if the answer is not what it should be.
    """
    path = experts_path() / f"{task}.npz"
    if not is_from(source, path):
        content = download(f"{base}/{source.name}")
        found = hashlib.sha256(content).hexdigest()
        if found != source.sha256:
            raise ValueError(
                f"{base}/{source.name} has the SHA-256 {found}, {source.sha256} is expected; "
                "nothing was changed; try again, or look at what that address answers"
            )
        policy = read_pickled_policy(content, source.name)
        write_arrays(path, network_arrays(policy, source.name) | {"sha256": np.array(source.sha256)})
    return path


def is_from(source: Source, path: Path) -> bool:
    """Whether an .npz is whole and was made from that source."""
    try:
        return str(read_arrays(path).get("sha256")) == source.sha256
    except (OSError, ValueError):  # missing or damaged
        return False


def download(address: str) -> bytes:
    """What an address answers; an OSError that names the address if there is no whole answer."""
    try:
        with urllib.request.urlopen(address, timeout=SECONDS) as answer:
            content = answer.read(LARGEST + 1)
    except (OSError, http.client.HTTPException) as error:
        reason = str(error) or type(error).__name__
        raise OSError(f"{address} was not fetched: {reason}; check the network and run this again") from error
    if len(content) > LARGEST:
        raise ValueError(f"{address} answers with more than {LARGEST} bytes; that is no policy")
    return content


def network_arrays(policy: Record, name: str) -> dict[str, np.ndarray]:
    """What ``mp_lib.sim.experts.NetworkExpert`` reads, of an mjrl MLP; a ValueError if it is built otherwise."""
    try:
        network = policy.model
        layers = list(linear_layers(network))
        found = {f"w{k}": layer["weight"] for k, layer in enumerate(layers)}
        found |= {f"b{k}": layer["bias"] for k, layer in enumerate(layers)}
        found |= {key: getattr(network, key) for key in ("in_shift", "in_scale", "out_shift", "out_scale")}
        arrays = {key: tensor.numpy() for key, tensor in found.items()}
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{name} is no network of mjrl: {error}") from error
    if len(layers) != 3:
        raise ValueError(f"{name} has {len(layers)} layers; two hidden ones and one for the action are expected")
    return arrays


def linear_layers(module: Record) -> Iterator[dict]:
    """The weight and bias of every layer within a module of torch, in order."""
    if module._parameters:
        yield module._parameters
    for inner in module._modules.values():
        yield from linear_layers(inner)


def fetch_suite(suite: str, base: str | None = None) -> Iterator[tuple[str, Path]]:
    """Fetch all policies of a suite, by default from where they are published; yields (task, path) of each.

    Raises a ValueError that lists the choices for an unknown suite, and what ``fetch`` raises.
    """
    for task, source in look_up(SOURCES, suite, "suite").items():
        yield task, fetch(task, source, base or BASES[suite])
