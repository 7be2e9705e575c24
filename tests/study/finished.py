"""Finished runs that nobody has trained, for tests of what reads them, and what two runs are compared by."""

import json
from dataclasses import asdict

from mp_lib.config import FINAL_SEEDS, scale_config
from mp_lib.statistics import wilson_interval
from mp_lib.system.paths import run_path


def write_run(task, method, successes, seed=0, curve=(), scale="smoke", first_seed=FINAL_SEEDS, **changes):
    """A finished run that found these successes; returns its configuration."""
    config = scale_config(scale, task, method, seed, **changes)
    folder = run_path(config.name)
    folder.mkdir(parents=True, exist_ok=True)
    seeds = list(range(first_seed, first_seed + len(successes)))
    result = {
        "config": asdict(config),
        "demonstrations": {"expert": "somebody", "expert_rate": 0.5, "episodes": 2, "depth_backend": "opengl"},
        "curve": list(curve),
        "final": {"seeds": seeds, "successes": successes, "interval": wilson_interval(sum(successes), len(seeds))},
        "loss": 0.1,
        "parameters": 1000 * len(method),
        "seconds": {"train": 60.0, "evaluate": 1.0},
        "peak_memory_bytes": 2**20,
        "device": "cpu",
        "commit": "abc",
        "versions": {"python": "3"},
    }
    (folder / "result.json").write_text(json.dumps(result))
    rows = [{"step": 0, "loss": 1.0}, {"step": 7, "loss": 0.5}]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return config


def comparable(result: dict) -> dict:
    """What of a result.json does not depend on the clock and on what else the process holds in memory."""
    return {key: value for key, value in result.items() if key not in ("seconds", "peak_memory_bytes")}
