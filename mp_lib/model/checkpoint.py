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

from mp_lib.config import PolicyConfig
from mp_lib.interfaces import look_up
from mp_lib.model.hub_folder import check_config
from mp_lib.model.official import (
    NEVER_RUN,
    assumed,
    configuration_in,
    infer_config,
    infer_sizes,
    is_whole_policy,
    official_weights,
    separate,
)
from mp_lib.model.official_config import refuse_other_sizes, settings_of, task_in
from mp_lib.model.policy import DiffusionPolicy, build_denoiser, build_policy
from mp_lib.model.unet import UNet1D
from mp_lib.model.weights import HUB_WEIGHTS
from mp_lib.presets import METHODS, U_NETS
from mp_lib.system.errors import InputError, one_line
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
        raise InputError(f"{path}: there is no such checkpoint; give a .safetensors or .ckpt file") from None
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} cannot be read as a checkpoint ({error}); restore a copy") from error
    if "header" not in metadata:
        raise InputError(f"{path} is a safetensors file, but no checkpoint of this project: it has no header")
    header, written = {}, None
    with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):  # what damaged JSON leads to
        header = json.loads(metadata["header"])
        written = header.pop("checksum")
    if checksum(tensors, header) != written:
        raise InputError(f"{path} is damaged: it does not have the checksum that was written with it; restore a copy")
    return tensors, header


def save_policy(path: Path, policy: DiffusionPolicy, **facts) -> None:
    """Save weights, normaliser and configuration of a policy; ``facts`` (step, task, …) go into the header."""
    save_tensors(path, policy.state_dict(), {"policy": asdict(policy.config), **facts})


def load_policy(path: str | Path, method: str | None = None) -> tuple[DiffusionPolicy, dict]:
    """The policy saved at ``path``, in evaluation mode on the CPU, and the facts saved with it.

    Of ours, a file of ``save_policy``, or the folder for model hubs that holds one; of others, what ``from_official``
    reads, whose report are the facts, with the "task" if the file names one. Raises an InputError if the file is
    damaged, or is not of ``method`` where that is given.
    """
    path = Path(path)
    if path.is_dir():
        if not (path / HUB_WEIGHTS).is_file():
            raise InputError(f"{path} is a folder; give the file in it that holds the weights")
        path = path / HUB_WEIGHTS
    if not is_ours_at(path):
        if path.name == HUB_WEIGHTS:
            check_config(path, None)
        policy = from_official(path, method)
        if isinstance(policy, UNet1D):
            raise InputError(f"{path} holds the U-Net alone, which cannot act; give the weights of a whole policy")
        return policy, policy.import_report
    tensors, header = load_tensors(path)
    if path.name == HUB_WEIGHTS:
        check_config(path, header)
    if "policy" not in header:
        raise InputError(f"{path} holds no policy; give the path of a policy.safetensors")
    try:
        config = PolicyConfig(**header.pop("policy"))
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{path} was saved by another version of this project ({error}); use that version, "
            f"which its result.json tells (commit)"
        ) from error
    if method not in (None, config.method):
        raise InputError(
            f"{path} is a checkpoint of {config.method}, {method} was asked for; give that or another file"
        )
    try:
        with torch.device("meta"):  # shapes alone: no header can ask for more memory than its file has tensors
            fit_exactly(build_policy(config), tensors)
    except (ValueError, TypeError, RuntimeError, ArithmeticError) as error:
        raise InputError(f"{path} does not fit {config.method}: {str(error).splitlines()[0]}") from error
    policy = build_policy(config)
    policy.load_state_dict(tensors)
    return policy.eval(), header


def is_ours_at(path: Path) -> bool:
    """Whether a file is to be read as one of ours: safetensors with our header, or our suffix but no safetensors.

    Others may call something a header, too. Two of our words tell ours: what damages one leaves the other, and where
    the header's own name is damaged both are there.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            told = metadata.get("header", "")
            words = [[word in text for word in ('"checksum"', '"policy"')] for text in metadata.values()]
            return '"checksum"' in told or '"policy"' in told or any(map(all, words))
    except (SafetensorError, OSError):
        return path.suffix == ".safetensors"


def read_weights(path: Path):
    """What a file of others holds: tensors by name in safetensors, else whatever ``torch.save`` wrote."""
    try:
        with safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError):
        return read_pickled_tensors(path)


def from_official(source: str | Path | Mapping[str, Tensor], method: str | None = None) -> DiffusionPolicy | UNet1D:
    """The policy (or, from a bare U-Net's weights, the denoiser) of official weights, in evaluation mode.

    ``source`` is the path of an official ``.ckpt`` or of weights by name in safetensors, or a state dict, of a policy,
    ``ConditionalUnet1D`` or ``ConditionalMambaUnet1D``. The method is told by names and shapes where it is not given,
    lengths and numbers of steps by the file's own configuration; attention is "released", as the weights were trained.
    Strict: every weight is used or named, with the reason, in the module's ``import_report``, as is what was assumed.

    Raises an InputError that names the source if a weight is missing, left over or of another shape, if the
    method is unknown, if the configuration asks for what is not supported here, or if the file holds more than tensors
    and plain values.
    """
    named = source if isinstance(source, (str, Path)) else "the state dict"
    payload = read_weights(Path(source)) if isinstance(source, (str, Path)) else source
    if method is not None:
        look_up(METHODS, method, "method")
    try:
        config, weights = configuration_in(payload), official_weights(payload)
        settings = settings_of(config)
        kept, left_out = separate(weights)
        chosen = method or nearest_method(kept, settings)
        with torch.device("meta"):  # shapes alone: no file can ask for more memory than it has tensors
            fit_exactly(blank(kept, chosen, settings), kept)
        module = blank(kept, chosen, settings)
        if isinstance(module, DiffusionPolicy):
            refuse_other_sizes(config, vars(module.config))
    except KeyError as error:
        raise InputError(f"{named} was not taken as official weights: {error} is missing") from error
    except (ValueError, IndexError, TypeError, AttributeError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{named} was not taken as official weights of {method or 'any method'}: {reason}") from error
    module.load_state_dict(kept)
    never_run = sum(weights[name].numel() for name, reason in left_out.items() if reason is NEVER_RUN)
    module.import_report = {"loaded": len(kept), "left_out": left_out, "never_run_parameters": never_run}
    named = one_line(named)
    log.info(
        "%s: %d weights loaded; %d left out, %d parameters of them in attention that the release never runs: %s",
        *(named, len(kept), len(left_out), never_run, ", ".join(left_out) or "none"),
    )
    if isinstance(module, DiffusionPolicy):
        module.import_report |= {"assumed": assumed(module.config, settings), "task": task_in(config)}
        if guessed := [f"{name} {value}" for name, value in module.import_report["assumed"].items()]:
            log.warning("%s does not say all; as released, these are assumed: %s", named, ", ".join(guessed))
    return module.eval()


def blank(weights: Mapping[str, Tensor], method: str, settings: Mapping[str, int]) -> DiffusionPolicy | UNet1D:
    """The policy, or the denoiser, that weights under our names belong to, with fresh weights."""
    if is_whole_policy(weights):
        return build_policy(infer_config(weights, method, settings))
    return build_denoiser(method, **infer_sizes(weights), attention="released")


def nearest_method(weights: Mapping[str, Tensor], settings: Mapping[str, int]) -> str:
    """The method that names and shapes of weights fit, or fit best; of two that they fit, that of their widths."""
    sizes = infer_sizes({name.removeprefix("model."): each for name, each in weights.items()})
    found, last = {}, None
    for method in U_NETS:
        try:
            with torch.device("meta"):
                module = blank(weights, method, settings)
        except ValueError as error:  # a mixer may not be had at these widths
            last = error
            continue
        found[method] = len(misfits(module, weights)), sizes["down_dims"] != METHODS[method].down_dims
        if found[method] == (0, False):
            return method
    if not found:
        raise last
    return min(found, key=found.get)


def misfits(module: nn.Module, weights: Mapping[str, Tensor]) -> list[str]:
    """In what ``weights`` differ from the names and shapes that the module has."""
    wanted = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    problems = [f"{name} is missing" for name in wanted.keys() - found.keys()]
    problems += [f"{name} is not known" for name in found.keys() - wanted.keys()]
    problems += [
        f"{name} has shape {found[name]} instead of {wanted[name]}"
        for name in wanted.keys() & found.keys()
        if wanted[name] != found[name]
    ]
    return sorted(problems)


def fit_exactly(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Raise an InputError unless ``weights`` has just the names and shapes that the module has."""
    if problems := misfits(module, weights):
        raise InputError(problems[0] + (f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""))
