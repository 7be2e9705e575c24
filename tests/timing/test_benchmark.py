"""The benchmark: nothing but JSON lines, the keys that are promised, ratios that are ratios."""

import json
import math

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from mp_lib.__main__ import main
from mp_lib.commands import WHAT
from mp_lib.config import METHODS, PolicyConfig
from mp_lib.model.policy import build_policy
from mp_lib.timing import benchmark, workloads
from mp_lib.timing.workloads import Subject

KEYS = {
    *("method", "attention", "horizon", "backend", "batch", "threads", "what"),
    *("median_seconds", "spread", "ratio_to_dp3_eager", "ratio_to_official"),
}


@pytest.fixture(autouse=True)
def small_policies(monkeypatch):
    def make_small(subject):
        widths = tuple(width // 4 for width in METHODS[subject.method].down_dims[:2])
        sizes = {"horizon": subject.horizon, "n_action_steps": 3, "down_dims": widths}
        torch.manual_seed(0)
        return build_policy(PolicyConfig(subject.method, 9, 4, attention=subject.attention or "paper", **sizes))

    monkeypatch.setattr(Subject, "policy", make_small)
    monkeypatch.setattr(benchmark, "TURN_SECONDS", 0.0)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("what", workloads.MAKERS)
def test_every_measurement_gives_a_row_a_backend(what, capsys):
    arguments = ["--methods", "dp3_mamba_v2", "--horizons", "4", "16", "--what", what, "--backends", "torch"]
    assert main(["benchmark", *arguments, "--turns", "3", "--batch", "2", "--attention", "released", "--json"]) == 0
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
        (["--horizons", "16", "5"], "horizons [16, 5] given; give one or more multiples of 4"),
        (["--horizons", "0"], "horizons [0] given; give one or more multiples of 4"),
    ],
)
def test_what_cannot_be_measured_ends_in_one_line(arguments, listed, capsys):
    assert main(["benchmark", *arguments, "--json"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.strip().splitlines()) == 1
    assert listed in printed.err


def test_weight_traffic_reads_each_weight_of_a_call_once(monkeypatch):
    subject, read = Subject("dp3_mamba_v2", "released", 4), []
    policy = subject.policy()
    monkeypatch.setattr(torch, "sum", lambda weight: read.append(weight.numel()))
    workloads.weight_traffic(subject, 1)()
    encoders = [policy.model.diffusion_step_encoder, *(b.cond_encoder for b in policy.model.conditioned_blocks())]
    made_once = sum(each.numel() for encoder in encoders for each in encoder.parameters())
    assert sum(read) == sum(each.numel() for each in policy.model.parameters()) - made_once


@pytest.mark.parametrize("method", METHODS)
def test_matrix_products_multiply_what_the_layers_do(method, monkeypatch):
    subject, counted = Subject(method, "released", 16), []
    policy = subject.policy().eval()
    multiply = workloads.matrix_products(subject, 2)
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


@pytest.mark.parametrize("what", ["denoiser", "chunk"])
def test_official_formulation_computes_what_the_fast_one_does(what):
    subject = Subject("dp3_mamba_hydra", "paper", 16)
    made = {name: workloads.MAKERS[what][name](subject, 2)() for name in ("official", "torch")}
    if what == "denoiser":  # that of the first diffusion step, which the other has as its last
        policy = subject.policy().eval()
        given = workloads.inputs_of(policy, 2)
        with torch.no_grad():
            modulation = subject.frozen("torch").table[-1] + policy.model.cond_modulation(given["cond"])
            made["torch"] = policy.model.denoise(given["noise"], modulation)[:1]
        made["official"] = made["official"][:1]
    torch.testing.assert_close(made["official"], made["torch"], rtol=0, atol=1e-4)


def test_products_of_a_training_step_are_those_of_the_samples_that_are_kept():
    whole, kept = (sum(map(math.prod, shapes)) for shapes in (products_of("eval"), products_of("train")))
    assert 0.6 * whole < kept < 0.95 * whole


def products_of(mode):
    policy = getattr(Subject("dp3_mamba_v2", "paper", 16).policy(), mode)()
    given = workloads.inputs_of(policy, 64)
    with torch.no_grad():
        return workloads.product_shapes(
            policy.model, lambda: policy.model(given["noise"], given["step"], given["cond"])
        )


def test_methods_are_measured_in_turn_with_one_reference():
    subjects = [Subject(method, "released", 4) for method in ("dp3", "dp3_mamba")]
    rows = list(benchmark.measure(subjects, "denoiser", ["torch"], batch=1, turns=3))
    assert [(row.method, row.ratio_to_official) for row in rows] == [("dp3", None), ("dp3_mamba", None)]


def test_names_of_measurements_are_those_of_the_workloads():
    assert set(WHAT) == set(benchmark.BATCHES) == set(workloads.MAKERS)
