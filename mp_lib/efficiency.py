"""What a method costs: parameters, multiply-adds, latency."""

from __future__ import annotations

import statistics
import time
from collections.abc import Hashable, Sequence

import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

from mp_lib.config import ATTENTION, METHODS, PolicyConfig, scale_config
from mp_lib.demos import find_task
from mp_lib.device import choose_device, device_name
from mp_lib.model.policy import DiffusionPolicy, build_denoiser, build_policy
from mp_lib.sentences import count, join
from mp_lib.train import policy_config

WITHOUT = {"released": " without attention"}


def count_parameters(module: torch.nn.Module) -> int:
    """The number of weights of a module."""
    return sum(each.numel() for each in module.parameters())


def sketch_denoiser(method: str, attention: str, action_dim: int = 26, cond_dim: int = 256) -> torch.nn.Module:
    """The denoiser of a method at the paper's widths on the meta device: shapes without memory."""
    with torch.device("meta"):
        return build_denoiser(method, action_dim, cond_dim, attention=attention or "paper").eval()


def carried_parameters(method: str, action_dim: int = 26, cond_dim: int = 256) -> int:
    """The parameters that the official denoiser of a method carries, its never executed attention included."""
    return count_parameters(sketch_denoiser(method, "paper", action_dim, cond_dim))


def count_multiply_adds(method: str, attention: str, horizon: int, action_dim: int = 26, cond_dim: int = 256) -> int:
    """Multiply-adds of matrix products and convolutions in one denoiser call at batch 1 and the paper's widths."""
    denoiser = sketch_denoiser(method, attention, action_dim, cond_dim)
    with FlopCounterMode(display=False) as counter, torch.no_grad(), torch.device("meta"):
        denoiser(torch.zeros(1, horizon, action_dim), torch.zeros(1, dtype=torch.long), torch.zeros(1, cond_dim))
    return counter.get_total_flops() // 2


def example_history(policy: DiffusionPolicy, batch: int) -> dict[str, torch.Tensor]:
    """Random observations of the policy's shapes."""
    config = policy.config
    return {
        "point_cloud": torch.rand(batch, config.n_obs_steps, config.num_points, 3),
        "state": torch.rand(batch, config.n_obs_steps, config.state_dim),
    }


def measure_chunks(configs: dict[Hashable, PolicyConfig], batch: int = 1, rounds: int = 5) -> pd.DataFrame:
    """Seconds for one action chunk (encoder and all denoising steps) of each policy, measured in turn.

    Columns: name, median_seconds, fastest, slowest. Interleaving lets the machine's drift hit all alike.
    """
    policies = {name: build_policy(config).eval() for name, config in configs.items()}
    seconds: dict[Hashable, list[float]] = {name: [] for name in policies}
    for turn in range(rounds + 1):
        for name, policy in policies.items():
            history = example_history(policy, batch)
            noise = torch.randn(batch, policy.config.horizon, policy.config.action_dim)
            began = time.perf_counter()
            policy.act(history, noise)
            if turn:  # the first one warms up
                seconds[name].append(time.perf_counter() - began)
    rows = [(name, statistics.median(each), min(each), max(each)) for name, each in seconds.items()]
    return pd.DataFrame(rows, columns=["name", "median_seconds", "fastest", "slowest"])


def kinds() -> list[tuple[str, str]]:
    """Every method with the attentions it can have: paper and released, or "" where it has none."""
    return [
        (name, attention) for name, method in METHODS.items() for attention in (ATTENTION if method.mixer else ("",))
    ]


def cost_table(horizon: int = 16, action_dim: int = 26, cond_dim: int = 256) -> pd.DataFrame:
    """One row a method and attention: parameters carried and run, multiply-adds of a denoiser call; shares of DP3's."""
    rows = [
        {
            "method": name,
            "label": METHODS[name].label,
            "attention": attention,
            "parameters": carried_parameters(name, action_dim, cond_dim),
            "parameters_that_run": count_parameters(sketch_denoiser(name, attention, action_dim, cond_dim)),
            "multiply_adds": count_multiply_adds(name, attention, horizon, action_dim, cond_dim),
        }
        for name, attention in kinds()
    ]
    table = pd.DataFrame(rows)
    reference = table.set_index("method").loc["dp3"]
    for column in ("parameters", "parameters_that_run", "multiply_adds"):
        table[f"{column}_share"] = table[column] / reference[column]
    return table


def latency_table(scale: str, horizon: int, rounds: int = 3, task: str = "metaworld_drawer-open") -> pd.DataFrame:
    """One row a method and attention: seconds for an action chunk at batch 1 and a scale's widths, and DP3's share.

    A horizon of 4 executes 3 actions of a chunk, as the release does, and 16 executes 8, as DP3 does.
    """
    spec = find_task(task)
    actions = {"horizon": horizon, "n_action_steps": 3 if horizon == 4 else horizon // 2}
    configs = {
        (name, attention): policy_config(
            scale_config(scale, task, name, attention=attention or "paper", **actions), spec
        )
        for name, attention in kinds()
    }
    with torch.random.fork_rng():
        table = measure_chunks(configs, rounds=rounds)
    table[["method", "attention"]] = table.pop("name").tolist()
    reference = table.set_index("method").loc["dp3", "median_seconds"]
    return table.assign(share=table["median_seconds"] / reference, horizon=horizon)


def relative_costs(counted: dict[int, pd.DataFrame], timed: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Costs as ``plots.costs`` draws them: method, attention, quantity, value, share of DP3's, text.

    ``counted`` is a ``cost_table`` a horizon, ``timed`` are ``latency_table``s.
    """
    first = next(iter(counted.values()))
    frames = [cost_rows(first, "parameters, that run", "parameters_that_run", 1e-6, "{:.1f} M")]
    for horizon, table in counted.items():
        frames.append(cost_rows(table, f"multiply-adds, T = {horizon}", "multiply_adds", 1e-6, "{:.0f} M"))
    for table in timed:
        quantity = f"latency, T = {table['horizon'].iloc[0]}"
        table = table.rename(columns={"share": "median_seconds_share"})
        frames.append(cost_rows(table, quantity, "median_seconds", 1e3, "{:.0f} ms"))
    return pd.concat(frames, ignore_index=True)


def cost_rows(table: pd.DataFrame, quantity: str, column: str, unit: float, text: str) -> pd.DataFrame:
    """The rows of one quantity."""
    values = unit * table[column]
    rows = table[["method", "attention"]].assign(quantity=quantity, value=values, share=table[f"{column}_share"])
    return rows.assign(text=[text.format(value) for value in values])


def reading_table(costs: pd.DataFrame) -> pd.DataFrame:
    """``cost_table`` as a reader wants it: millions, and percent of DP3."""
    return pd.DataFrame(
        {
            "method": costs["label"],
            "attention": costs["attention"].replace({"paper": "yes", "released": "no"}),
            "parameters carried (M)": costs["parameters"] / 1e6,
            "that run (M)": costs["parameters_that_run"] / 1e6,
            "saved against DP3 (%)": 100 * (1 - costs["parameters_share"]),
            "multiply-adds (M)": costs["multiply_adds"] / 1e6,
            "saved against DP3 (%) ": 100 * (1 - costs["multiply_adds_share"]),
        }
    )


def latency_text(scale: str, timed: Sequence[pd.DataFrame]) -> str:
    """How many methods answer faster than DP3 at a scale's widths and which do not, a sentence a horizon."""
    machine = f"{device_name(choose_device('cpu'))} with {count(torch.get_num_threads(), 'thread')}"
    said = [f"Measured on {machine}, at the widths of the scale `{scale}`."]
    for table in timed:
        others = table[table["method"] != "dp3"]
        slow = [
            f"{METHODS[row.method].label}{WITHOUT.get(row.attention, '')} ({row.share:.2f})"
            for row in others[others["share"] >= 1].itertuples()
        ]
        said.append(
            f"Horizon {table['horizon'].iloc[0]}: DP3 takes "
            f"{1e3 * table.set_index('method').loc['dp3', 'median_seconds']:.0f} ms, and "
            f"{len(others) - len(slow)} of {len(others)} others take less"
            + (f"; not faster, as shares of DP3's time: {join(slow)}." if slow else ".")
        )
    return " ".join(said)
