"""Folders for model hubs: weights, config.json, and a README.md whose front matter hubs read. Nothing is uploaded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from mp_lib.acting.facts import PolicyFacts
from mp_lib.acting.loading import load_weights, untold
from mp_lib.model.checkpoint import is_ours_at, load_tensors, save_policy
from mp_lib.model.hub_folder import CONFIG, LIBRARY, config_of
from mp_lib.model.weights import HUB_WEIGHTS, SEEN, seen_path
from mp_lib.presets import METHODS, kind_name
from mp_lib.statistics import wilson_interval
from mp_lib.system.errors import one_line
from mp_lib.system.files import write_atomically, write_json
from mp_lib.system.folders import whole_folder
from mp_lib.system.provenance import file_hash

README = "README.md"
TAGS = ("robotics", "imitation-learning", "diffusion-policy", "point-cloud")
NO_RATE = "These are errors on episodes that were held out, in the actions' own units. They are no success rate."


def export_hub(
    checkpoint: Path,
    folder: Path,
    result: Mapping | None = None,
    told: Callable[[str], Mapping[str, str]] = untold,
    remarks: Sequence[str] = (),
) -> None:
    """Write a file of weights as a folder for model hubs, which ``load`` reads; no pickle is in it.

    ``result`` is what its run has found (result.json), ``told`` as of ``loading.load_weights``, ``remarks`` what has
    to stand beside its success rate. Raises an InputError if the folder exists, and errors of ``load_weights``; an
    OSError that names what cannot be written. Nothing half-written is left.
    """
    with whole_folder(folder) as draft:
        policy, facts, _ = load_weights(checkpoint, told)
        weights = draft / HUB_WEIGHTS
        if is_ours_at(checkpoint):
            shutil.copyfile(checkpoint, weights)
        else:
            save_policy(weights, policy, task=facts.task, origin=one_line(checkpoint.name))
            weights.with_suffix(".json").unlink()  # config.json says the same
        if seen_path(checkpoint).exists():
            shutil.copyfile(seen_path(checkpoint), draft / SEEN)
        files = {name: file_hash(draft / name) for name in (SEEN,) if (draft / name).exists()}
        write_json(draft / CONFIG, config_of(load_tensors(weights)[1], files))
        parameters = sum(each.numel() for each in policy.parameters())
        card = model_card(facts, asdict(policy.config), parameters, result or {}, remarks)
        write_atomically(draft / README, card.encode())


def model_card(
    facts: PolicyFacts, config: Mapping, parameters: int, result: Mapping, remarks: Sequence[str] = ()
) -> str:
    """README.md of a policy: front matter, what it is, how good, how to use it."""
    name = facts.name or facts.method
    metrics = metrics_of(result)
    lines = ["---", *front_matter(front(name, facts, result, metrics)), "---", "", f"# {one_line(name)}", ""]
    lines += [
        f"{kind_name(facts.method, config['attention'])} ({facts.method}), a diffusion policy on point clouds with "
        f"{parameters:,} parameters, trained on {one_line(facts.task or 'a task that its file does not name')}.",
        *["", "## How good", "", *map(said, metrics)],
        *([] if metrics else ["Nothing was measured of it."]),
        *(["", NO_RATE] if "held_out" in result and not result.get("final") else []),
        *[f"\n{one_line(remark)}" for remark in remarks],
        *["", "## What it takes and gives", "", "| | shape | what |", "|---|---|---|"],
        *(f"| {key} | {shape} | {one_line(what)} |" for key, shape, what in shapes(facts)),
        *["", "## Use", "", "```python", "import mp_lib", "", 'policy = mp_lib.load("path of this folder")', "```", ""],
        f"`{HUB_WEIGHTS}` holds weights, normaliser and configuration with a checksum; `{CONFIG}` repeats the latter. "
        "The licence is that of the software; demonstrations and simulators come under their own.",
    ]
    return "\n".join(lines) + "\n"


def said(metric: Mapping) -> str:
    """A measured number in a line."""
    return f"- {metric['type'].replace('_', ' ')} {metric['value']:.4g}: {metric['name']}"


def shapes(facts: PolicyFacts) -> list[tuple[str, str, str]]:
    """Rows of what the policy takes and gives."""
    now = facts.n_obs_steps
    relative = "; predicted relative to the state" if facts.relative else ""
    executed = f"{facts.n_action_steps} of them are executed, from index {now - 1} on"
    return [
        ("point_cloud", f"({now}, {facts.num_points}, 3)", "metres in the frame of the training clouds"),
        ("state", f"({now}, {facts.state_dim})", facts.state_kinds or "as in the demonstrations"),
        ("actions", f"({facts.horizon}, {facts.robot_dim})", f"{facts.meaning}{relative}; {executed}"),
    ]


def front(name: str, facts: PolicyFacts, result: Mapping, metrics: list[dict]) -> dict:
    """The front matter's keys, as hubs name them (https://huggingface.co/docs/hub/model-cards)."""
    task, demonstrations = facts.task or "unknown", result.get("demonstrations") or {}
    row = METHODS.get(facts.method)
    is_mamba = row is not None and (row.mixer is not None or row.core == "state_space")
    of = f"{demonstrations['episodes']} demonstrations" if "episodes" in demonstrations else "demonstrations"
    results = {
        "task": {"type": "robotics", "name": task},
        "dataset": {"type": task, "name": f"{of} of {task}"},
        "metrics": metrics,
    }
    index = {"model-index": [{"name": name, "results": [results]}]} if metrics else {}
    return {
        "license": "mit",
        "library_name": LIBRARY,
        "pipeline_tag": "robotics",
        "tags": [*TAGS, *(["mamba"] if is_mamba else [])],
        "datasets": [task],
        **index,
    }


def metrics_of(result: Mapping) -> list[dict]:
    """The measured numbers of a run: its success rate, or the errors on episodes held out.

    A success rate says its episodes, seeds and interval, and that it is of one training.
    """
    final = result.get("final")
    if final:
        successes, seeds = final["successes"], final["seeds"]
        low, high = wilson_interval(sum(successes), len(seeds))
        training = result.get("config", {}).get("seed")
        name = (
            f"{sum(successes)} of {len(seeds)} episodes succeed, on environment seeds {min(seeds)} to {max(seeds)}; "
            f"95 % interval {low:.3f} to {high:.3f}, of one training (seed {training}), from which others differ"
        )
        rate = sum(successes) / len(seeds)
        detail = {"episodes": len(seeds), "seeds": list(seeds), "interval": [low, high], "training_seed": training}
        return [{"type": "success_rate", "name": name, "value": rate, "args": detail}]
    held = result.get("held_out") or {}
    name = "mean error of executed actions on episodes held out, as a share of their range; no success rate"
    return [{"type": f"held_out_{key}", "name": name, "value": share} for key, share in held.get("share", {}).items()]


def front_matter(keys: Mapping) -> list[str]:
    """Lines of YAML; each value is written as JSON, which YAML reads, so that nothing in a name can break out of it."""
    return [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in keys.items()]
