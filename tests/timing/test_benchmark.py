"""The benchmark: nothing but JSON lines, the keys that are promised, ratios that are ratios."""

import json
import math

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from mp_lib.__main__ import main
from mp_lib.commands.policies import WHAT
from mp_lib.config import PolicyConfig
from mp_lib.model.policy import build_policy
from mp_lib.presets import METHODS
from mp_lib.timing import benchmark, floors, workloads
from mp_lib.timing.subjects import ACTION_DIM, STATE_DIM, Subject, inputs_of
from tests.conftest import small_widths

KEYS = {
    *("method", "attention", "horizon", "backend", "batch", "threads", "what"),
    *("median_seconds", "spread", "ratio_to_dp3_eager", "ratio_to_dp3_same", "ratio_to_official"),
    *("precision", "num_inference_steps", "stacked", "bandwidth", "floor_seconds"),
}


@pytest.fixture(autouse=True)
def small_policies(monkeypatch):
    def make_small(subject):
        widths = small_widths(subject.method)[:2]
        sizes = {"horizon": subject.horizon, "n_action_steps": 3, "down_dims": widths}
        sizes |= {"num_inference_steps": subject.num_inference_steps, "attention": subject.attention or "paper"}
        torch.manual_seed(0)
        return build_policy(PolicyConfig(subject.method, STATE_DIM, ACTION_DIM, **sizes)).to(subject.device)

    monkeypatch.setattr(Subject, "policy", make_small)
    monkeypatch.setattr(benchmark, "TURN_SECONDS", 0.0)
    monkeypatch.setattr(benchmark, "ARRAY_BYTES", 2**20)
    bandwidth = benchmark.bandwidth
    bandwidth.cache_clear()
    threads = torch.get_num_threads()
    yield
    bandwidth.cache_clear()
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
        assert (row["ratio_to_dp3_same"] == row["ratio_to_dp3_eager"]) == (row["backend"] == "official")
        assert (row["precision"], row["num_inference_steps"], row["stacked"]) == ("float32", 10, 1)
        assert row["bandwidth"] > 0 and row["floor_seconds"] > 0


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
        (["--precision", "half"], "auto, float32, tf32"),
        (["--precision", "tf32"], "compute capability 8.0"),
        (["--num-inference-steps", "0"], "num_inference_steps 0 given"),
        (["--minutes", "8"], "--minutes was given, which is for --table"),
        (["--only", "dp3"], "--only was given, which is for --table"),
        (["--table", "--what", "chunk"], "--what was given, which is not for the whole table; --only"),
        (["--table", "--methods", "dp3"], "--methods was given, which is not for the whole table; --only"),
        (["--table", "--only", "dp4"], "choose one of: dp3, simple_dp3, denoiser, chunk"),
        (["--table", "--minutes", "0"], "minutes 0 given; give more than 0"),
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
    floors.weight_traffic(subject, 1)()
    encoders = [policy.model.diffusion_step_encoder, *(b.cond_encoder for b in policy.model.conditioned_blocks())]
    made_once = sum(each.numel() for encoder in encoders for each in encoder.parameters())
    assert sum(read) == sum(each.numel() for each in policy.model.parameters()) - made_once


@pytest.mark.parametrize("method", METHODS)
def test_matrix_products_multiply_what_the_layers_do(method, monkeypatch):
    subject, counted = Subject(method, "released", 16), []
    policy = subject.policy().eval()
    multiply = floors.matrix_products(subject, 2)
    monkeypatch.setattr(torch, "mm", lambda left, right: counted.append(left.numel() * right.shape[1]))
    multiply()
    given = inputs_of(policy, 2)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        modulation = policy.step_table()[:1] + policy.model.cond_modulation(given["cond"])
        before = counter.get_total_flops()
        policy.model.denoise(given["noise"], modulation)
    multiply_adds = (counter.get_total_flops() - before) // 2
    row = METHODS[method]
    if row.mixer or row.core not in (None, "identity"):  # mixing of the steps by products comes on top
        assert 0.5 * multiply_adds < sum(counted) <= multiply_adds
    else:
        assert sum(counted) == multiply_adds


@pytest.mark.parametrize("what", ["denoiser", "chunk"])
def test_official_formulation_computes_what_the_fast_one_does(what):
    subject = Subject("dp3_mamba_hydra", "paper", 16)
    made = {name: workloads.MAKERS[what][name](subject, 2)() for name in ("official", "torch")}
    if what == "denoiser":  # that of the first diffusion step, which the other has as its last
        policy = subject.policy().eval()
        given = inputs_of(policy, 2)
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
    given = inputs_of(policy, 64)
    with torch.no_grad():
        return floors.product_shapes(policy.model, lambda: policy.model(given["noise"], given["step"], given["cond"]))


@pytest.mark.parametrize("method", METHODS)
def test_products_are_the_same_where_fused_kernels_call_no_layer(method, monkeypatch):
    counted = {"cpu": [], "meta": []}
    for device, shapes in counted.items():  # the meta device takes the forms of a GPU
        multiply = floors.matrix_products(Subject(method, "paper", 16, device), 2)
        with monkeypatch.context() as patched:
            patched.setattr(torch, "mm", lambda left, right, shapes=shapes: shapes.append((left.shape, right.shape)))
            multiply()
    assert sorted(counted["cpu"]) == sorted(counted["meta"])


@pytest.mark.parametrize("steps", [10, 2])
def test_ratios_are_to_eager_dp3_with_ten_steps_and_to_dp3_in_the_same_form(steps, monkeypatch):
    seconds = {  # by method, form and steps
        ("dp3", "official", 10): 8.0,
        ("dp3", "official", 2): 4.0,
        ("dp3", "torch", steps): 2.0,
        ("dp3_mamba", "torch", steps): 1.0,
        ("dp3_mamba", "official", steps): 5.0,
    }
    chunks = {
        form: lambda subject, batch, form=form: (subject.method, form, subject.num_inference_steps)
        for form in ("official", "torch")
    }
    monkeypatch.setitem(workloads.MAKERS, "chunk", chunks)
    monkeypatch.setattr(benchmark, "take_turns", lambda calls, turns: {k: [seconds[c]] * 3 for k, c in calls.items()})
    subject = Subject("dp3_mamba", "paper", 16, num_inference_steps=steps)
    rows = list(benchmark.measure([subject], "chunk", ["official", "torch"], 1, 3, "float32"))
    assert [row.ratio_to_dp3_eager for row in rows] == [5 / 8, 1 / 8]
    assert [row.ratio_to_dp3_same for row in rows] == [5 / seconds["dp3", "official", steps], 1 / 2]
    assert [row.ratio_to_official for row in rows] == [1, 1 / 5]


def test_methods_are_measured_in_turn_with_one_reference():
    subjects = [Subject(method, "released" * (method != "dp3"), 4) for method in ("dp3", "dp3_mamba")]
    rows = list(benchmark.measure(subjects, "denoiser", ["torch"], 1, 3, "float32"))
    assert [(row.method, row.ratio_to_official) for row in rows] == [("dp3", None), ("dp3_mamba", None)]
    assert [row.ratio_to_dp3_same == 1 for row in rows] == [True, False]


def test_a_floor_is_the_weights_of_a_call_at_the_bandwidth(monkeypatch):
    monkeypatch.setattr(benchmark, "bandwidth", lambda device, threads: 2.0)
    [row] = benchmark.measure([Subject("simple_dp3", "", 4)], "denoiser", ["torch"], 1, 3, "float32")
    model = Subject("simple_dp3", "", 4).sketch().model
    assert row.floor_seconds == 4 * sum(each.numel() for each in floors.denoiser_weights(model)) / 2e9


@pytest.mark.parametrize("method", METHODS)
def test_a_chunk_reads_a_call_s_weights_in_each_step(method):
    one, two, ten = (Subject(method, "paper", 16, num_inference_steps=steps).sketch() for steps in (1, 2, 10))
    read = {what: floors.bytes_read(ten, what) for what in workloads.MAKERS}
    assert {*read} == {*workloads.MAKERS} and min(read.values()) > 0
    assert floors.bytes_read(two, "chunk") - floors.bytes_read(one, "chunk") == read["denoiser"]
    assert read["chunk"] - floors.bytes_read(one, "chunk") == 9 * read["denoiser"]
    assert read["denoiser"] < 4 * sum(each.numel() for each in ten.model.parameters())


def test_names_of_measurements_are_those_of_the_workloads():
    assert set(WHAT) == set(benchmark.BATCHES) == set(workloads.MAKERS)
