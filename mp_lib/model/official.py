"""Weights of the official repositories: their names, what of them runs, and the policy that they make.

Official means SageCao1125/Mamba-Policy (4dc5b4f) and YanjieZe/3D-Diffusion-Policy. Our modules carry the
official parameter names, so a translation is a matter of prefixes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from mp_lib.config import PolicyConfig
from mp_lib.presets import METHODS
from mp_lib.system.errors import InputError
from mp_lib.system.unpickle import SAVE_WEIGHTS, Array

OBSERVATION_FEATURES = 128  # a step: 64 of the cloud, 64 of the state

NEVER_RUN = "attention that the release never executes (conditional_unet1d.py:445)"
# What an official policy carries and our forward pass has no use for, with the reason.
UNUSED = {
    r"(.*\.)?blocks\.2\..*": NEVER_RUN,
    r"obs_encoder\.extractor\.decoder\..*": "decoder of the auto-encoder loss, used in training alone",
    r"normalizer\.params_dict\.\w+\.input_stats\.\w+": "statistics that scale and offset were computed from",
    r"normalizer\.params_dict\.(?!(action|agent_pos|point_cloud)\.)\w+\.(scale|offset)": "normaliser of another input",
    r"(.*\.)?_dummy_variable": "placeholder without a value",
}
WRAPPERS = ("module", "_orig_mod")  # parts of names that DataParallel and torch.compile add
LIGHTNING = "pytorch-lightning_version"
MARK = "diffusion_step_encoder.3.weight"  # every U-Net has it once
NORMALIZER_KEYS = {"action": "action", "agent_pos": "state", "point_cloud": "point_cloud"}


def official_weights(payload) -> dict[str, Tensor]:
    """The state dict in what a checkpoint file holds, the averaged policy's if there is one, under official names.

    Raises an InputError if there is none, or more than one that may be meant.
    """
    weights = state_dict_in(payload)
    if not isinstance(weights, Mapping) or not weights:
        raise InputError(f"it holds no weights by name but a {type(weights).__name__}; {SAVE_WEIGHTS}")
    names = {unwrapped(name): name for name in weights}
    if twice := [str(name) for name in weights if names[unwrapped(name)] is not name]:
        raise InputError(f"it has {twice[0]} and {names[unwrapped(twice[0])]}, which are one weight; give one of them")
    found = {
        unwrapped(name): torch.from_numpy(each.values) if isinstance(each, Array) else each
        for name, each in weights.items()
    }
    if foreign := [str(name) for name, each in found.items() if not isinstance(each, Tensor)]:
        raise InputError(
            f"it holds neither state_dicts/ema_model nor state_dicts/model, nor tensors by name, but {foreign[0]}; "
            f"{SAVE_WEIGHTS}"
        )
    broken = [name for name, each in found.items() if each.is_floating_point() and not bool(torch.isfinite(each).all())]
    kinds = [name for name, each in found.items() if each.numel() and not each.is_floating_point()]
    if broken or kinds:
        raise InputError(
            f"{(broken or kinds)[0]} holds {'what is not finite' if broken else found[kinds[0]].dtype}; give weights"
        )
    return without_prefix(found)


def state_dict_in(payload):
    """The state dict that is meant in what a checkpoint file holds: the release's, or the only one with a U-Net."""
    if not isinstance(payload, Mapping):
        return payload
    if LIGHTNING in payload:
        held = payload.get("state_dict")
        before = (prefixes(map(unwrapped, held)) if isinstance(held, Mapping) else []) or ["model."]
        old = "torch.load(old, map_location='cpu')['state_dict']"
        raise InputError(f"it is a file of Lightning's; with torch: {saving(before[0], old)}")
    inner = payload["state_dicts"] if isinstance(payload.get("state_dicts"), Mapping) else payload
    if inner is not payload and (released := inner.get("ema_model") or inner.get("model")):
        return released
    held = [key for key, each in inner.items() if isinstance(each, Mapping) and prefixes(map(unwrapped, each))]
    if len(held) > 1:
        place = ("" if inner is payload else "['state_dicts']") + f"[{held[-1]!r}]"
        raise InputError(
            f"it holds weights as {' and '.join(map(str, held))}; choose, with torch: "
            f"torch.save(torch.load(old, map_location='cpu'){place}, new)"
        )
    return inner[held[0]] if held else payload


def prefixes(names: Iterable[str]) -> list[str]:
    """What stands before the official names of each policy, or U-Net alone, among weights' names."""
    names = [*names]
    found = [name.removesuffix(MARK) for name in names if name.endswith(MARK)]
    wholes = [each.removesuffix("model.") for each in found]
    return [
        whole if any(name.startswith(f"{whole}obs_encoder.") for name in names) else each
        for whole, each in zip(wholes, found, strict=True)
    ]


def without_prefix(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights by official names, if all of them stand behind one prefix; an InputError if some do not."""
    before = prefixes(weights)
    if before in ([], [""]):
        return weights
    beside = [name for name in weights if not name.startswith(before[0])]
    if beside or len(before) > 1:
        raise InputError(
            f"it has weights behind {' and '.join(map(repr, before))}{f', and {beside[0]}' if beside else ''}; choose, "
            f"with torch, weights being that state dict: {saving(max(before, key=len), 'weights')}"
        )
    return {name.removeprefix(before[0]): each for name, each in weights.items()}


def saving(prefix: str, weights: str) -> str:
    """The line of code that saves those of some weights that stand behind a prefix, without it."""
    return (
        f"torch.save({{name.removeprefix({prefix!r}): each for name, each in {weights}.items() "
        f"if name.startswith({prefix!r})}}, new)"
    )


def unwrapped(name: str) -> str:
    """A weight's name without those parts that wrappers add."""
    return ".".join(part for part in str(name).split(".") if part not in WRAPPERS)


def configuration_in(payload):
    """The configuration in what a checkpoint file holds; None if it has none."""
    return payload.get("cfg", payload.get("config")) if isinstance(payload, Mapping) else None


def is_ours(weights: Mapping[str, Tensor]) -> bool:
    """Whether a policy's weights were saved by this package, and so run as they are, attention with them."""
    return "normalizer.action_scale" in weights


def is_whole_policy(weights: Mapping[str, Tensor]) -> bool:
    """Whether a state dict is that of a policy, not of its U-Net alone."""
    return any(name.startswith("obs_encoder.") for name in weights)


def separate(weights: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Weights of a policy under our names, and the reason for each official name that is left out."""
    kept, left_out = {}, {}
    unused = {} if is_ours(weights) else UNUSED
    for name, tensor in weights.items():
        reason = next((reason for pattern, reason in unused.items() if re.fullmatch(pattern, name)), None)
        if reason:
            left_out[name] = reason
            continue
        kept[translate(name)] = tensor
    # A cloud with colours has six scales; the policy sees the first three (dp3.py, use_pc_color false).
    for name in ("normalizer.point_cloud_scale", "normalizer.point_cloud_offset"):
        if name in kept:
            kept[name] = kept[name][:3]
    return kept, left_out


def translate(name: str) -> str:
    """Our name of an official weight."""
    found = re.fullmatch(r"normalizer\.params_dict\.(\w+)\.(scale|offset)", name)
    return f"normalizer.{NORMALIZER_KEYS[found[1]]}_{found[2]}" if found else name


def infer_sizes(unet: Mapping[str, Tensor]) -> dict:
    """Action size, condition size, widths and embedding size of an official U-Net, read off its weights.

    Raises an InputError if the names are not those of a U-Net.
    """
    try:
        levels = sorted({int(name.split(".")[1]) for name in unet if name.startswith("down_modules.")})
        convolutions = [unet[f"down_modules.{level}.0.blocks.0.block.0.weight"] for level in levels]
        step_embed_dim = unet["diffusion_step_encoder.3.weight"].shape[0]
        return {
            "action_dim": convolutions[0].shape[1],
            "cond_dim": unet["down_modules.0.0.cond_encoder.1.weight"].shape[1] - step_embed_dim,
            "down_dims": tuple(weight.shape[0] for weight in convolutions),
            "step_embed_dim": step_embed_dim,
        }
    except (KeyError, IndexError) as error:
        raise InputError(f"it is no state dict of an official U-Net or policy: {error} is missing") from error


def infer_config(weights: Mapping[str, Tensor], method: str, settings: Mapping[str, int]) -> PolicyConfig:
    """The configuration of an official policy under our names of its weights; ``settings`` are what its file says.

    Horizon and executed steps are in no weight. Where the file says nothing they are the release's 4 and 3 for Mamba
    Policy, DP3's 16 and 8 else; two observed steps give both, more observed steps lengthen the horizon to fit. More
    executed steps than a horizon has behind the observed ones are as many as it has, which is how the release's
    slice runs: 4, 2 and 4 are 4, 2 and 3.
    """
    sizes = infer_sizes({name.removeprefix("model."): tensor for name, tensor in weights.items()})
    n_obs_steps = sizes.pop("cond_dim") // OBSERVATION_FEATURES
    if settings.get("n_obs_steps", n_obs_steps) != n_obs_steps:
        raise InputError(f"its configuration says n_obs_steps: {settings['n_obs_steps']}, its weights {n_obs_steps}")
    horizon, n_action_steps = (4, 3) if METHODS[method].mixer else (16, 8)
    if n_obs_steps > 2:
        horizon, n_action_steps = 2 * n_obs_steps, n_obs_steps
        horizon += -horizon % 2 ** (len(sizes["down_dims"]) - 1)
    lengths = {"horizon": horizon, "n_action_steps": n_action_steps, "n_obs_steps": n_obs_steps} | settings
    lengths["n_action_steps"] = min(lengths["n_action_steps"], lengths["horizon"] - n_obs_steps + 1)
    attention = "paper" if is_ours(weights) and any(".blocks.2." in name for name in weights) else "released"
    state_dim = weights["obs_encoder.state_mlp.0.weight"].shape[1]
    return PolicyConfig(method, state_dim=state_dim, attention=attention, **lengths, **sizes)


def assumed(config: PolicyConfig, settings: Mapping[str, int]) -> dict[str, int]:
    """What of a configuration neither weights nor the file's own configuration say."""
    names = ("horizon", "n_action_steps", "num_points", "num_train_steps", "num_inference_steps")
    return {name: getattr(config, name) for name in names if name not in settings}
