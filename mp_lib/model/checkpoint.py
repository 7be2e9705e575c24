"""Policies on disk: one safetensors file that is written beside and renamed, and checked when it is read.

Weights never come from a pickle. The file's header holds the policy's configuration and a checksum of
that and of all tensors; a readable copy of the header lies beside it as JSON.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mp_lib.config import PolicyConfig
from mp_lib.files import write_atomically
from mp_lib.model.policy import DiffusionPolicy, build_policy


def checksum(tensors: dict[str, Tensor], header: dict) -> str:
    """A digest of the header and of names, types, shapes and bytes of all tensors, in the order of their names."""
    digest = hashlib.blake2b(json.dumps(header, sort_keys=True).encode(), digest_size=16)
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def save_tensors(path: Path, tensors: dict[str, Tensor], header: dict) -> None:
    """Write tensors and a header (anything JSON can hold) to ``path``, and the header to ``path``.json."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    header = json.loads(json.dumps(header))  # tuples become lists, as they will be when read
    text = json.dumps(header | {"checksum": checksum(tensors, header)}, indent=1)
    write_atomically(path, save(tensors, metadata={"header": text}))
    write_atomically(path.with_suffix(".json"), text.encode())


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict]:
    """Tensors and header of a file that ``save_tensors`` wrote; raise a ValueError if it is damaged or another's."""
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such checkpoint; give the path of a .safetensors file") from None
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} cannot be read as a checkpoint ({error}); train again or restore a copy") from error
    if "header" not in metadata:
        raise ValueError(f"{path} is a safetensors file, but no checkpoint of this project: it has no header")
    header, written = {}, None
    with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):  # what damaged JSON leads to
        header = json.loads(metadata["header"])
        written = header.pop("checksum")
    if checksum(tensors, header) != written:
        raise ValueError(f"{path} is damaged: it does not have the checksum that was written with it; restore a copy")
    return tensors, header


def save_policy(path: Path, policy: DiffusionPolicy, **facts) -> None:
    """Save weights, normaliser and configuration of a policy; ``facts`` (step, task, …) go into the header."""
    save_tensors(path, policy.state_dict(), {"policy": asdict(policy.config), **facts})


def load_policy(path: str | Path, method: str | None = None) -> tuple[DiffusionPolicy, dict]:
    """The policy saved at ``path``, in evaluation mode on the CPU, and the facts saved with it.

    Raises a ValueError if the file is damaged, or if it is not of ``method`` where that is given.
    """
    path = Path(path)
    tensors, header = load_tensors(path)
    if "policy" not in header:
        raise ValueError(f"{path} holds no policy; give the path of a policy.safetensors")
    try:
        config = PolicyConfig(**header.pop("policy"))
    except TypeError as error:
        raise ValueError(f"{path} was saved by another version of this project ({error}); train again") from error
    if method not in (None, config.method):
        raise ValueError(
            f"{path} is a checkpoint of {config.method}, {method} was asked for; give that or another file"
        )
    policy = build_policy(config)
    try:
        policy.load_state_dict(tensors)
    except RuntimeError as error:
        raise ValueError(f"{path} does not fit {config.method}: {str(error).splitlines()[1].strip()}") from error
    return policy.eval(), header
