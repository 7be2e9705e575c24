"""The benchmark: nothing but JSON lines, the keys that are promised, ratios that are ratios."""

import json

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from mp_lib import benchmark, workloads
from mp_lib.config import METHODS, PolicyConfig
from mp_lib.model.policy import build_policy

KEYS = {
    *("method", "attention", "horizon", "backend", "batch", "threads", "what"),
    *("median_seconds", "spread", "ratio_to_dp3_eager", "ratio_to_official"),
}


@pytest.fixture(autouse=True)
def small_policies(monkeypatch):
    def make_small(method, attention, horizon, device):
        widths = tuple(width // 4 for width in METHODS[method].down_dims[:2])
        sizes = {"horizon": horizon, "n_action_steps": 3, "down_dims": widths}
        return build_policy(PolicyConfig(method, 9, 4, attention=attention, **sizes))

    monkeypatch.setattr(benchmark, "make_policy", make_small)
    monkeypatch.setattr(benchmark, "TURN_SECONDS", 0.0)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("what", workloads.MAKERS)
def test_every_measurement_gives_a_row_a_backend(what, capsys):
    arguments = ["--methods", "dp3_mamba_v2", "--horizons", "4", "16", "--what", what, "--backends", "torch"]
    assert benchmark.main([*arguments, "--turns", "3", "--batch", "2", "--attention", "released", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert all(set(row) == KEYS for row in rows)
    assert [(row["horizon"], row["backend"]) for row in rows] == [
        (horizon, name) for horizon in (4, 16) for name in ("official", "torch")
    ]
    for row in rows:
        assert row["median_seconds"] > 0
        assert row["ratio_to_dp3_eager"] > 0
        assert (row["ratio_to_official"] == 1) == (row["backend"] == "official")


@pytest.mark.parametrize(
    ("arguments", "listed"),
    [
        (["--methods", "mamba"], "dp3_mamba_hydra"),
        (["--what", "everything"], "train_step"),
        (["--attention", "none"], "released"),
        (["--backends", "tensorrt"], "onnx"),
        (["--threads", "0"], "at least 1"),
        (["--device", "tpu"], "cuda"),
    ],
)
def test_unknown_names_end_in_one_line(arguments, listed, capsys):
    assert benchmark.main([*arguments, "--json"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.strip().splitlines()) == 1
    assert listed in printed.err


def test_weight_traffic_reads_each_weight_of_a_call_once(monkeypatch):
    policy, read = benchmark.make_policy("dp3_mamba_v2", "released", 4, "cpu"), []
    monkeypatch.setattr(torch, "sum", lambda weight: read.append(weight.numel()))
    workloads.weight_traffic(policy, 1)()
    encoders = [policy.model.diffusion_step_encoder, *(b.cond_encoder for b in policy.model.conditioned_blocks())]
    made_once = sum(each.numel() for encoder in encoders for each in encoder.parameters())
    assert sum(read) == sum(each.numel() for each in policy.model.parameters()) - made_once


@pytest.mark.parametrize("method", METHODS)
def test_matrix_products_multiply_what_the_layers_do(method, monkeypatch):
    policy, counted = benchmark.make_policy(method, "released", 16, "cpu"), []
    multiply = workloads.matrix_products(policy, 2)
    monkeypatch.setattr(torch, "mm", lambda left, right: counted.append(left.numel() * right.shape[1]))
    multiply()
    given = workloads.inputs_of(policy, 2)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        modulation = policy.step_table()[:1] + policy.model.cond_modulation(given["cond"])
        before = counter.get_total_flops()
        policy.model.denoise(given["noise"], modulation)
    multiply_adds = (counter.get_total_flops() - before) // 2
    if METHODS[method].mixer:  # mixing of the steps by products comes on top
        assert 0.5 * multiply_adds < sum(counted) <= multiply_adds
    else:
        assert sum(counted) == multiply_adds


def test_official_formulation_computes_what_the_fast_one_does():
    policy = benchmark.make_policy("dp3_mamba_hydra", "paper", 16, "cpu").eval()
    torch.manual_seed(3)
    given = workloads.inputs_of(policy, 2)
    fast = policy.predict(given["history"], given["noise"])
    torch.manual_seed(3)
    act, seen = workloads.official_chunk(policy, 2), []
    unnormalize = policy.normalizer.unnormalize
    policy.normalizer.unnormalize = lambda key, x: seen.append(unnormalize(key, x))
    act()
    torch.testing.assert_close(seen[0], fast, rtol=0, atol=1e-4)
