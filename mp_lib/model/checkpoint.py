"""Policies on disk: one safetensors file that is written beside and renamed, and checked when it is read.

Weights never come from a pickle. The file's header holds the policy's configuration and a checksum of
that and of all tensors; a readable copy of the header lies beside it as JSON.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from mp_lib.config import METHODS, PolicyConfig
from mp_lib.interfaces import look_up
from mp_lib.model.official import infer_config, infer_sizes, is_whole_policy, official_weights, separate
from mp_lib.model.policy import DiffusionPolicy, build_denoiser, build_policy
from mp_lib.model.unet import UNet1D
from mp_lib.system.files import write_atomically
from mp_lib.system.unpickle import read_pickled_tensors

log = logging.getLogger(__name__)


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
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} was saved by another version of this project ({error}); train again") from error
    if method not in (None, config.method):
        raise ValueError(
            f"{path} is a checkpoint of {config.method}, {method} was asked for; give that or another file"
        )
    try:
        with torch.device("meta"):  # shapes alone: no header can ask for more memory than its file has tensors
            fit_exactly(build_policy(config), tensors)
    except (ValueError, TypeError, RuntimeError, ArithmeticError) as error:
        raise ValueError(f"{path} does not fit {config.method}: {str(error).splitlines()[0]}") from error
    policy = build_policy(config)
    policy.load_state_dict(tensors)
    return policy.eval(), header


def from_official(source: str | Path | Mapping[str, Tensor], method: str) -> DiffusionPolicy | UNet1D:
    """The policy (or, from a bare U-Net's weights, the denoiser) of official weights, in evaluation mode.

    ``source`` is the path of an official ``.ckpt`` or a state dict of a policy, ``ConditionalUnet1D`` or
    ``ConditionalMambaUnet1D``. Sizes are inferred; attention is "released", as the weights were trained.
    Strict: every weight is used or named, with the reason, in the module's ``import_report``.

    Raises a ValueError that names the source if a weight is missing, left over or of another shape, if the
    method is unknown, or if the file holds more than tensors and plain values.
    """
    named = source if isinstance(source, (str, Path)) else "the state dict"
    payload = read_pickled_tensors(Path(source)) if isinstance(source, (str, Path)) else source
    look_up(METHODS, method, "method")
    try:
        weights = official_weights(payload)
        whole = is_whole_policy(weights)
        kept, left_out = separate(weights if whole else {f"model.{name}": tensor for name, tensor in weights.items()})
        if whole:
            module = build_policy(infer_config(kept, method))
        else:
            kept = {name.removeprefix("model."): tensor for name, tensor in kept.items()}
            left_out = {name.removeprefix("model."): reason for name, reason in left_out.items()}
            module = build_denoiser(method, **infer_sizes(kept, method), attention="released")
        fit_exactly(module, kept)
    except ValueError as error:
        raise ValueError(f"{named} was not taken as official weights of {method}: {error}") from error
    module.load_state_dict(kept)
    never_run = sum(weights[name].numel() for name, reason in left_out.items() if "never executes" in reason)
    module.import_report = {"loaded": len(kept), "left_out": left_out, "never_run_parameters": never_run}
    log.info(
        "%s: %d weights loaded; %d left out, %d parameters of them in attention that the release never runs: %s",
        *(named, len(kept), len(left_out), never_run, ", ".join(left_out) or "none"),
    )
    return module.eval()


def fit_exactly(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Raise a ValueError unless ``weights`` has just the names and shapes that the module has."""
    wanted = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    problems = [f"{name} is missing" for name in wanted.keys() - found.keys()]
    problems += [f"{name} is not known" for name in found.keys() - wanted.keys()]
    problems += [
        f"{name} has shape {found[name]} instead of {wanted[name]}"
        for name in wanted.keys() & found.keys()
        if wanted[name] != found[name]
    ]
    if problems:
        raise ValueError(f"{sorted(problems)[0]}" + (f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""))
