"""Weights into an exported folder: two networks in ONNX, the numbers around them, and what all of these mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from mp_lib.acting.exports import ARRAYS, FACTS, KIND, LONGEST_TABLE, NETWORKS, checksum, digest
from mp_lib.acting.facts import PolicyFacts
from mp_lib.acting.loading import load_weights, normalizer_of, untold
from mp_lib.acting.seen import Seen
from mp_lib.model.backends import Condition, Denoise, export_onnx
from mp_lib.model.policy import DiffusionPolicy
from mp_lib.model.weights import SEEN, seen_path
from mp_lib.system.extras import require
from mp_lib.system.files import write_arrays, write_atomically, write_json
from mp_lib.system.folders import whole_folder

HOW = (
    "modulation = table[row of the training step] + encoder(point_cloud, state). Start with actions = noise, drawn "
    "from the standard normal distribution. For t = stride * (num_inference_steps - 1), ..., stride, 0, where stride = "
    "num_train_steps // num_inference_steps: x0 = denoiser(actions, modulation); k = sqrt((1 - p) / (1 - a)), where "
    "a = alphas[t] and p = alphas[t - stride], or 1 at t = 0; actions = k * actions - k * sqrt(a) * x0 + sqrt(p) * "
    "clip(x0, -1, 1). In the end actions = (actions - action_offset) / action_scale, and action_offset where "
    "action_scale is 0. Observed steps are the n_obs_steps last ones, the last of them now; execute n_action_steps of "
    "the chunk from index n_obs_steps - 1 on. The encoder normalises by itself."
)


def export(
    checkpoint: Path, folder: Path, told: Callable[[str], Mapping[str, str]] = untold, replace_old: bool = False
) -> None:
    """Write a file of weights as an exported folder; ``told`` as of ``loading.load_weights``.

    Raises an InputError if the folder exists, unless the old one is to be replaced, an error of ``load_weights``, or a
    MissingExtraError; an OSError that names what cannot be written. Nothing half-written is left.
    """
    require("deploy")
    with whole_folder(folder, replace_old) as draft:
        policy, facts, seen = load_weights(checkpoint, told)
        write_export(policy, facts, seen if seen_path(checkpoint).exists() else None, draft)


def write_export(policy: DiffusionPolicy, facts: PolicyFacts, seen: Seen | None, folder: Path) -> None:
    """Write the files of an export into a folder."""
    parts = export_parts(policy)
    arrays = step_arrays(policy) | normalizer_of(policy)
    write_arrays(folder / ARRAYS, arrays)
    for name, content in zip(NETWORKS, parts, strict=True):
        write_atomically(folder / name, content)
    if seen:
        write_arrays(folder / SEEN, seen.arrays)
    files = {path.name: digest(path.read_bytes()) for path in sorted(folder.iterdir())}
    found = described(facts, arrays["table"].shape[1]) | {"files": files}
    write_json(folder / FACTS, found | {"checksum": checksum(found)})


def export_parts(policy: DiffusionPolicy) -> tuple[bytes, bytes]:
    """Encoder and denoiser in ONNX, for batches of any size."""
    config = policy.config
    with torch.no_grad():
        cloud = torch.zeros(1, config.n_obs_steps, config.num_points, 3)
        seen = cloud, torch.zeros(1, config.n_obs_steps, config.state_dim)
        chunk = torch.zeros(1, config.horizon, config.action_dim), policy.step_table()[:1]
        return export_onnx(Condition(policy), seen), export_onnx(Denoise(policy), chunk)


@torch.no_grad()
def step_arrays(policy: DiffusionPolicy) -> dict[str, np.ndarray]:
    """What depends on the denoising step alone, as ``exports.Exported`` has it."""
    total = policy.config.num_train_steps
    steps = torch.arange(total) if total <= LONGEST_TABLE else torch.tensor(policy.ddim.steps)
    table = policy.model.step_modulation(steps)
    return {"table": table.numpy(), "steps": steps.numpy(), "alphas": policy.ddim.alphas.numpy()}


def described(facts: PolicyFacts, modulation: int) -> dict:
    """What policy.json says to whoever runs the networks: facts, shapes and units, and how they are put together."""
    cloud = "metres in the frame of the training clouds; (0, 0, 0) is padding"
    observed, predicted = facts.n_obs_steps, [facts.horizon, facts.action_dim]
    units = {
        "point_cloud": {"shape": [observed, facts.num_points, 3], "unit": cloud},
        "state": {"shape": [observed, facts.state_dim], "unit": facts.state_kinds or "as in the demonstrations"},
        "noise": {"shape": predicted, "unit": "standard normal"},
        "actions": {"shape": predicted, "unit": meaning_of_actions(facts)},
        "executed": {"from": observed - 1, "steps": facts.n_action_steps, "size": facts.robot_dim},
    }
    networks = {
        NETWORKS[0]: {"inputs": ["point_cloud", "state"], "output": ["batch", modulation]},
        NETWORKS[1]: {"inputs": ["actions", "modulation"], "output": ["batch", *predicted]},
    }
    return {"kind": KIND, "facts": asdict(facts), "units": units, "networks": networks, "how": HOW}


def meaning_of_actions(facts: PolicyFacts) -> str:
    """What the numbers are that the networks predict, in words."""
    if not facts.relative:
        return facts.meaning
    how = "mp_lib.geometry.relative, orientations as six numbers"
    return f"relative to the last observed state ({facts.state_kinds}), by {how}; undone they are: {facts.meaning}"
