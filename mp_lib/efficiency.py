"""What a method costs: parameters, multiply-adds, latency."""

from __future__ import annotations

import statistics
import time

import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

from mp_lib.config import METHODS, PolicyConfig
from mp_lib.model.policy import DiffusionPolicy, build_denoiser, build_policy


def count_parameters(module: torch.nn.Module) -> int:
    """The number of weights of a module."""
    return sum(each.numel() for each in module.parameters())


def carried_parameters(method: str, action_dim: int, cond_dim: int) -> int:
    """The parameters that the official denoiser of a method carries, its never executed attention included."""
    return count_parameters(build_denoiser(method, action_dim, cond_dim, attention="paper"))


def count_multiply_adds(method: str, attention: str, horizon: int, action_dim: int = 26, cond_dim: int = 256) -> int:
    """Multiply-adds of matrix products and convolutions in one denoiser call at batch 1 and the paper's widths."""
    denoiser = build_denoiser(method, action_dim, cond_dim, attention=attention).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        denoiser(torch.zeros(1, horizon, action_dim), torch.zeros(1, dtype=torch.long), torch.zeros(1, cond_dim))
    return counter.get_total_flops() // 2


def example_history(policy: DiffusionPolicy, batch: int) -> dict[str, torch.Tensor]:
    """Random observations of the policy's shapes."""
    config = policy.config
    return {
        "point_cloud": torch.rand(batch, config.n_obs_steps, config.num_points, 3),
        "state": torch.rand(batch, config.n_obs_steps, config.state_dim),
    }


def measure_chunks(configs: dict[str, PolicyConfig], batch: int = 1, rounds: int = 5) -> pd.DataFrame:
    """Seconds for one action chunk (encoder and all denoising steps) of each policy, measured in turn.

    Columns: name, median_seconds, fastest, slowest. Interleaving lets the machine's drift hit all alike.
    """
    policies = {name: build_policy(config).eval() for name, config in configs.items()}
    seconds: dict[str, list[float]] = {name: [] for name in policies}
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


def cost_table(horizon: int = 16, action_dim: int = 26, cond_dim: int = 256) -> pd.DataFrame:
    """One row a method and attention: parameters carried and run, multiply-adds of a denoiser call; shares of DP3's."""
    rows = []
    for name, method in METHODS.items():
        for attention in ("paper", "released") if method.mixer else ("",):
            denoiser = build_denoiser(name, action_dim, cond_dim, attention=attention or "paper")
            rows.append(
                {
                    "method": name,
                    "label": method.label,
                    "attention": attention,
                    "parameters": carried_parameters(name, action_dim, cond_dim),
                    "parameters_that_run": count_parameters(denoiser),
                    "multiply_adds": count_multiply_adds(name, attention or "paper", horizon, action_dim, cond_dim),
                }
            )
    table = pd.DataFrame(rows)
    reference = table.set_index("method").loc["dp3"]
    for column in ("parameters", "parameters_that_run", "multiply_adds"):
        table[f"{column}_share"] = table[column] / reference[column]
    return table
