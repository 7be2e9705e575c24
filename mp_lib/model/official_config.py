"""The configuration in an official checkpoint, plain or OmegaConf's: looked up by path, nothing of it is run.

Paths are those of the release's config/dp3_mamba.yaml.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import PurePosixPath

from mp_lib.system.errors import InputError
from mp_lib.system.unpickle import Record

MOST_REFERENCES = 20  # that are followed from one to the next
SCHEDULER, ENCODER = "policy.noise_scheduler", "policy.pointcloud_encoder_cfg"
# What a policy is here, whatever it is trained on; a file that says otherwise is refused by that name.
FIXED = {
    f"{SCHEDULER}._target_": "diffusers.schedulers.scheduling_ddim.DDIMScheduler",
    f"{SCHEDULER}.prediction_type": "sample",
    f"{SCHEDULER}.beta_schedule": "squaredcos_cap_v2",
    f"{SCHEDULER}.clip_sample": True,
    f"{SCHEDULER}.set_alpha_to_one": True,
    f"{SCHEDULER}.steps_offset": 0,
    f"{SCHEDULER}.timestep_spacing": "leading",
    f"{SCHEDULER}.clip_sample_range": 1.0,
    f"{SCHEDULER}.thresholding": False,
    f"{SCHEDULER}.rescale_betas_zero_snr": False,
    f"{SCHEDULER}.trained_betas": None,
    "policy.obs_as_global_cond": True,
    "policy.condition_type": "film",
    "policy.use_down_condition": True,
    "policy.use_mid_condition": True,
    "policy.use_up_condition": True,
    "policy.use_pc_color": False,
    "policy.pointnet_type": "pointnet",
    "policy.n_groups": 8,
    "policy.kernel_size": 5,
    "policy.encoder_output_dim": 64,
    f"{ENCODER}.use_layernorm": True,
    f"{ENCODER}.final_norm": "layernorm",
    f"{ENCODER}.normal_channel": False,
}
POLICIES = ("DP3", "SimpleDP3")  # classes of policies, whatever module they lie in
# What differs from one policy to the next: our name, and where it may stand.
SETTINGS = {
    "horizon": ("policy.horizon", "horizon"),
    "n_obs_steps": ("policy.n_obs_steps", "n_obs_steps"),
    "n_action_steps": ("policy.n_action_steps", "n_action_steps"),
    "num_train_steps": (f"{SCHEDULER}.num_train_timesteps",),
    "num_inference_steps": ("policy.num_inference_steps",),
}
# What the weights say by their shapes: our name, and where a configuration may say it, too.
METAS = ("policy.shape_meta", "shape_meta", "task.shape_meta")
SIZES = {
    "state_dim": tuple(f"{meta}.obs.agent_pos.shape" for meta in METAS),
    "action_dim": tuple(f"{meta}.action.shape" for meta in METAS),  # of two hands (2, A): dp3.py takes their product
    "down_dims": ("policy.down_dims",),
    "step_embed_dim": ("policy.diffusion_step_embed_dim",),
}


def content_of(node):
    """What a node of OmegaConf's holds; anything else is what it is."""
    if isinstance(node, Record):
        return vars(node).get("_content", vars(node).get("_val"))
    return node


def find(config, path: str, references: int = MOST_REFERENCES):
    """The value at a path of a configuration, references such as ``${task.name}`` followed; None if it has none."""
    node, keys = content_of(config), path.split(".")
    for place, key in enumerate(keys):
        if isinstance(node, list) and key.isdigit() and int(key) < len(node):
            node = content_of(node[int(key)])
        elif isinstance(node, Mapping):
            node = content_of(node.get(key))
        else:
            return None
        reference = re.fullmatch(r"\$\{(\.*)([\w.]+)\}", node) if isinstance(node, str) else None
        if reference and references:
            above = keys[: place + 1 - len(reference[1])] if reference[1] else []
            return find(config, ".".join([*above, reference[2], *keys[place + 1 :]]), references - 1)
    return node


def settings_of(config) -> dict[str, int]:
    """What a configuration says of SETTINGS, and num_points; {} for None.

    Raises an InputError by name for what is not supported here, or is no whole number.
    """
    if config is None:
        return {}
    for path, supported in FIXED.items():
        found = find(config, path)
        if found is not None and (not isinstance(found, str | int | float) or found != supported):
            said = found if isinstance(found, str | int | float) else f"a {type(found).__name__}"
            raise InputError(f"its configuration says {path}: {said}, which is not supported; {supported} is")
    policy = find(config, "policy._target_")
    if isinstance(policy, str) and policy.split(".")[-1] not in POLICIES:
        raise InputError(f"its configuration says policy._target_: {policy}; {' and '.join(POLICIES)} are supported")
    said = {name: [find(config, path) for path in paths] for name, paths in SETTINGS.items()}
    said["num_points"] = [num_points_in(config)]
    settings = {name: next((each for each in found if each is not None), None) for name, found in said.items()}
    settings = {name: value for name, value in settings.items() if value is not None}
    for name, value in settings.items():
        if type(value) is not int or value < 1:
            raise InputError(f"its configuration says {name}: {value!r}; it must be a whole number from 1 on")
    if "num_train_steps" in settings:  # dp3.py: those of the training where there are no others
        settings.setdefault("num_inference_steps", settings["num_train_steps"])
    return settings


def refuse_other_sizes(config, found: Mapping) -> None:
    """Raise an InputError by name if a configuration says another of SIZES than ``found``, by our names."""
    for name, paths in SIZES.items():
        for path in paths:
            node = find(config, path)
            said = [content_of(each) for each in node] if isinstance(node, list) else [node]
            fits = not all(type(each) is int for each in said) or found[name] in (tuple(said), math.prod(said))
            if not fits:
                other = f"its weights {name} {found[name]}; one of them is another file's"
                raise InputError(f"its configuration says {path}: {said}, {other}")


def num_points_in(config):
    """The points of a cloud, those of DexArt on the robot with them (dp3.py's encoder puts them behind the others)."""
    for meta in METAS:
        seen, imagined = (find(config, f"{meta}.obs.{key}.shape.0") for key in ("point_cloud", "imagin_robot"))
        if seen is not None:
            return seen + imagined if type(seen) is type(imagined) is int else seen
    return None


def task_in(config) -> str | None:
    """The task that a configuration names: by its data set, which the suite's name stands before, or by itself."""
    path = find(config, "task.dataset.zarr_path")
    stem = PurePosixPath(path).stem.removesuffix("_expert") if isinstance(path, str) else None
    name = find(config, "task.name")
    return stem if stem and "_" in stem else name if isinstance(name, str) else stem
