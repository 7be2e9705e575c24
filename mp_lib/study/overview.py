"""What there is to run, as tables: methods, tasks, scales, and what a scale leaves out."""

from __future__ import annotations

import pandas as pd

from mp_lib.config import scale_config
from mp_lib.interfaces import look_up
from mp_lib.presets import METHODS, SCALES, SUITES, Method, mixers_of
from mp_lib.sim.tasks import TASKS

ANY_TASK = next(iter(TASKS))
WORDS = {
    "num_points": "points of a cloud",
    "width_divisor": "widths of the U-Net divided by",
    "blocks_per_level": "blocks a level (empty: the method's)",
    "num_demos": "demonstrations (empty: the task's number)",
    "batch_size": "batch",
    "num_epochs": "epochs (empty: steps count)",
    "num_steps": "steps (empty: epochs count)",
    "learning_rate": "learning rate",
    "warmup_steps": "warm-up steps",
    "eval_every_epochs": "epochs between evaluations (empty: only at the end)",
    "eval_episodes": "episodes of such an evaluation",
    "final_episodes": "episodes of the final evaluation",
    "horizon": "horizon T",
    "n_obs_steps": "observed steps To",
    "n_action_steps": "executed steps Ta",
    "num_inference_steps": "denoising steps",
}


def mixing_of(method: Method) -> tuple[str, ...]:
    """What mixes the steps in its blocks, each before an MLP; none where a second convolution does."""
    return mixers_of(method.name, "paper") or ((method.core.replace("_", " "),) if method.core else ())


def methods_table() -> pd.DataFrame:
    """One row a method: its widths, blocks a level and what follows the first convolution in a block."""
    rows = [
        {
            "method": method.name,
            "label": method.label,
            "widths": ", ".join(map(str, method.down_dims)),
            "blocks a level": method.blocks_per_level,
            "after FiLM": ", ".join(f"{name} + MLP" for name in mixing_of(method)) or "convolution",
            "published as": method.published or "",
            "comparison": method.group,
        }
        for method in METHODS.values()
    ]
    return pd.DataFrame(rows)


def scales_table() -> pd.DataFrame:
    """One row a setting that any scale changes, one column a scale."""
    keys = [key for key in WORDS if any(key in changes for changes in SCALES.values())]
    columns = {scale: [setting(scale, key) for key in keys] for scale in SCALES}
    return pd.DataFrame({"setting": [WORDS[key] for key in keys], **columns})


def setting(scale: str, key: str) -> str:
    """A number of a scale as one reads it, and those of suites that differ, e.g. "1,600 (dexart: 3,200)"."""
    usual = getattr(scale_config(scale, ANY_TASK, "dp3"), key)
    others = {suite: getattr(scale_config(scale, suite, "dp3"), key) for suite in SUITES}
    told = "; ".join(f"{suite}: {cell(value)}" for suite, value in others.items() if value != usual)
    return cell(usual) + (f" ({told})" if told else "")


def cell(value) -> str:
    """A setting as one reads it; nothing for None."""
    return "" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:g}"


def tasks_table(per_line: int = 10) -> pd.DataFrame:
    """One row a suite: number of tasks, sizes, demonstrations of the paper, expert, names."""
    rows = []
    for suite in dict.fromkeys(spec.suite for spec in TASKS.values()):
        specs = [spec for spec in TASKS.values() if spec.suite == suite]
        first = specs[0]
        rows.append(
            {
                "suite": f"{suite}, re-created" if first.remark else suite,
                "tasks": len(specs),
                "state": spread_of(spec.state_dim for spec in specs),
                "action": spread_of(spec.action_dim for spec in specs),
                "steps": spread_of(spec.max_steps for spec in specs),
                "demonstrations": spread_of(spec.num_demos for spec in specs),
                "expert": ", ".join(first.with_expert(key).expert_name for key in ("default", *first.other_experts)),
                "success": f"goal met: {first.success_rule.name}",
                "examples": ", ".join(spec.name for spec in specs[:per_line:3]),
            }
        )
    return pd.DataFrame(rows)


def task_rows(suite: str = "") -> pd.DataFrame:
    """One row a task, of one suite if it is named: name, sizes of state and action, steps, demonstrations, experts."""
    suites = dict.fromkeys(spec.suite for spec in TASKS.values())
    if suite:
        look_up(suites, suite, "suite")
    rows = [
        {
            "task": spec.name,
            "state": spec.state_dim,
            "action": spec.action_dim,
            "steps": spec.max_steps,
            "demonstrations": spec.num_demos,
            "experts": ", ".join(("default", *spec.other_experts)),
        }
        for spec in TASKS.values()
        if suite in ("", spec.suite)
    ]
    return pd.DataFrame(rows)


def spread_of(values) -> str:
    """One number if all are alike, else lowest to highest."""
    values = sorted(set(values))
    return str(values[0]) if len(values) == 1 else f"{values[0]} to {values[-1]}"


def differences(scale: str) -> pd.DataFrame:
    """One row a number in which a scale differs from the paper's protocol: setting, paper, here; maybe none."""
    pairs = [(key, setting("paper", key), setting(scale, key)) for key in WORDS]
    rows = [(WORDS[key], paper, here) for key, paper, here in pairs if here != paper]
    return pd.DataFrame(rows, columns=["setting", "paper", scale if scale != "paper" else "here"])


def protocol(config: dict) -> str:
    """The numbers of a run on which its success depends most, in one line."""
    length = f"{config['num_steps']} steps" if config["num_steps"] else f"{config['num_epochs']} epochs"
    width = f"widths / {config['width_divisor']}" if config["width_divisor"] != 1 else "the paper's widths"
    return f"{width}, {config['num_points']} points, {length} of batch {config['batch_size']}"


def what_differs(scale: str) -> str:
    """One sentence on how a scale differs from the paper's protocol."""
    table = differences(scale)
    if table.empty:
        return "This scale uses the numbers of the published protocol (`mp_lib/config.py` names the source of each)."
    return (
        f"The scale `{scale}` differs from the paper's protocol in {len(table)} numbers, listed above. Its success "
        "rates compare methods under these smaller conditions; they do not reproduce the published rates."
    )
