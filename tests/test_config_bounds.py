"""What no training and no policy could use is refused in one line, and what they can is taken."""

from dataclasses import fields, replace

import pytest
import torch

from mp_lib.config import CURVE_SEEDS, FINAL_SEEDS, PolicyConfig, TrainConfig, scale_config
from mp_lib.model.policy import build_denoiser
from mp_lib.presets import ATTENTION, METHODS, U_NETS
from mp_lib.system.errors import InputError

TASK = "metaworld_reach"


@pytest.mark.parametrize(
    "key", ["horizon", "n_obs_steps", "num_points", "width_divisor", "batch_size", "final_episodes"]
)
def test_counts_begin_at_one(key):
    with pytest.raises(ValueError, match=f"{key} 0 given; it must be at least 1"):
        scale_config("smoke", "toy", "dp3", **{key: 0})


@pytest.mark.parametrize("wrong", [{"num_steps": 0}, {"eval_every_epochs": 0}, {"num_demos": 0}, {"warmup_steps": -1}])
def test_other_counts_that_mean_nothing_are_refused(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} -?[01] given; it must be at least"):
        scale_config("smoke", "toy", "dp3", **wrong)


def test_warm_up_and_seed_may_be_zero():
    assert scale_config("smoke", "toy", "dp3", 0, warmup_steps=0).warmup_steps == 0


@pytest.mark.parametrize("key", ["task", "split"])
@pytest.mark.parametrize("value", ["", "a/b", "a b", "../a", "a\\b", "a\n"])
def test_what_would_make_no_file_name_is_refused(key, value):
    with pytest.raises(ValueError, match="it is part of a file name"):
        replace(scale_config("smoke", "toy", "dp3"), **{key: value})


@pytest.mark.parametrize("counts", [{"num_epochs": 3, "num_steps": 3}, {"num_epochs": None, "num_steps": None}])
def test_exactly_one_of_epochs_and_steps_counts(counts):
    with pytest.raises(ValueError, match="set exactly one"):
        scale_config("smoke", "toy", "dp3", **counts)


@pytest.mark.parametrize(("horizon", "n_obs_steps", "n_action_steps"), [(4, 2, 3), (16, 2, 8), (16, 1, 16), (8, 8, 1)])
def test_observed_and_executed_steps_may_fill_the_horizon(horizon, n_obs_steps, n_action_steps):
    given = {"horizon": horizon, "n_obs_steps": n_obs_steps, "n_action_steps": n_action_steps}
    assert PolicyConfig("dp3", 9, 4, **given).horizon == horizon


def test_a_horizon_that_cannot_be_halved_twice_is_refused():
    with pytest.raises(ValueError, match="horizon 10 given; it must be a multiple of 4"):
        PolicyConfig("dp3", 9, 4, horizon=10)


@pytest.mark.parametrize(("horizon", "n_obs_steps", "n_action_steps"), [(4, 2, 4), (16, 9, 9)])
def test_more_steps_than_the_horizon_has_are_refused(horizon, n_obs_steps, n_action_steps):
    with pytest.raises(ValueError, match="n_obs_steps - 1 \\+ n_action_steps must not exceed the horizon"):
        PolicyConfig("dp3", 9, 4, horizon=horizon, n_obs_steps=n_obs_steps, n_action_steps=n_action_steps)


NOT_A_NUMBER = (float("nan"), float("inf"), True, "many", [3], {})
WRONG = {  # of every field values that no training could use
    "task": ("", "a/b", 5, None, ["toy"]),
    "method": ("mamba", 5, None),
    "scale": ("huge", 5, None),
    "seed": (-1, 0.5, None, *NOT_A_NUMBER),
    "recipe": (0, 9, 1.5, None, *NOT_A_NUMBER),
    "attention": ("", "none", True),
    "horizon": (0, 2, 10, 16.5, None, *NOT_A_NUMBER),
    "n_obs_steps": (0, 10, 1.5, *NOT_A_NUMBER),
    "n_action_steps": (0, 16, 20, *NOT_A_NUMBER),
    "num_points": (0, 63.5, None, *NOT_A_NUMBER),
    "width_divisor": (0, 3, 7, 128, *NOT_A_NUMBER),
    "blocks_per_level": (0, 1.5, *NOT_A_NUMBER),
    "num_train_steps": (0, 9, None, *NOT_A_NUMBER),
    "num_inference_steps": (0, 101, *NOT_A_NUMBER),
    "train_points": (0, 1.5, *NOT_A_NUMBER),
    "num_demos": (0, -1, 2.5, *NOT_A_NUMBER),
    "demo_episodes": ([], [-1], [0, 0], [0.5], ["a"], 0.5, "some", [True], [None]),
    "demo_seed": (-1, CURVE_SEEDS, 0.5, None, *NOT_A_NUMBER),
    "demonstrator": ("", "a b", 5),
    "split": ("relased", "", 5),
    "held_out": (-0.1, 1, 1.0, *NOT_A_NUMBER),
    "held_out_episodes": ([-1], [0.5], ["a"], 0.5, "some", [True], [None]),
    "actions": ("relativ", "", 5, None),
    "init": ("", "a/b", 5, None),
    "normalizer": ("kept", "loud", "", 5, None),
    "batch_size": (0, 1.5, None, *NOT_A_NUMBER),
    "num_epochs": (0, 1.5, *NOT_A_NUMBER),
    "num_steps": (0, 1.5, *NOT_A_NUMBER),
    "learning_rate": (-1, 0, None, "fast", float("nan"), float("inf"), True, [1e-4]),
    "betas": ([0.9], [0.9, 1.0], [-0.1, 0.9], [0.9, 0.9, 0.9], 0.9, None, [0.9, float("nan")], ["a", "b"]),
    "weight_decay": (-1e-6, None, *NOT_A_NUMBER),
    "warmup_steps": (-1, 0.5, None, *NOT_A_NUMBER),
    "start": ("loud", "", 5),
    "ema_power": (-0.5, None, *NOT_A_NUMBER),
    "ema_max": (-0.1, 1.1, None, *NOT_A_NUMBER),
    "eval_every_epochs": (0, 1.5, *NOT_A_NUMBER),
    "eval_episodes": (0, 1.5, None, *NOT_A_NUMBER),
    "final_episodes": (0, 1.5, None, *NOT_A_NUMBER),
}
COUNTS = [field.name for field in fields(TrainConfig) if field.type.startswith("int")]
TOO_MUCH = [  # as many as no machine has, or no run would end with
    *((key, 2**128 if key == "seed" else 10**30) for key in COUNTS),
    *(("horizon", 2**40), ("demo_episodes", [10**30]), ("weight_decay", 10**30), ("ema_power", 10**30)),
    *(("eval_episodes", FINAL_SEEDS - CURVE_SEEDS + 1), ("split", "y" * 5000), ("task", "a\n" * 5000)),
]


def test_every_field_has_values_that_are_wrong():
    assert [*WRONG] == [field.name for field in fields(TrainConfig)]


@pytest.mark.parametrize(
    ("key", "value"), [*((key, value) for key, values in WRONG.items() for value in values), *TOO_MUCH]
)
def test_what_no_training_could_use_is_refused_in_one_line_when_the_run_is_named(key, value):
    other = {"num_epochs": {"num_steps": None}, "num_steps": {"num_epochs": None}}.get(key, {})
    usual = scale_config("smoke", TASK, "dp3_mamba_hydra")
    with pytest.raises(InputError) as refused:
        replace(usual, **{key: value} | other)
    assert key in str(refused.value) and "\n" not in str(refused.value) and len(str(refused.value)) < 500


WRONG_POLICIES = [
    *(
        (field.name, value)
        for field in fields(PolicyConfig)
        if field.type.startswith("int")
        for value in (-1, 0, 10**30)
    ),
    *(("step_embed_dim", value) for value in (2, 3, 5)),
    *(("down_dims", value) for value in ([], [0, 8], [-8], [8 * 10**30])),
]


@pytest.mark.parametrize(("key", "value"), WRONG_POLICIES)
def test_what_no_policy_could_be_is_refused_in_one_line(key, value):
    with pytest.raises(InputError, match=rf"^{key} .* given; (it|those of dp3) must be [^\n]*$"):
        PolicyConfig(**{"method": "dp3", "state_dim": 9, "action_dim": 4, key: value})


@pytest.mark.parametrize(("method", "attention"), [(name, attention) for name in METHODS for attention in ATTENTION])
def test_the_widths_that_are_taken_are_those_of_which_a_network_can_be_built(method, attention):
    for divisor in (*range(1, 33), 64, 128):
        widths = [width // divisor for width in METHODS[method].down_dims]
        exact = not any(width % divisor for width in METHODS[method].down_dims)
        try:
            with torch.device("meta"):
                build_denoiser(method, 4, 8, widths, attention=attention)
            built = True
        except ValueError:
            built = False
        taken = accepts(lambda w=widths: PolicyConfig(method, 9, 4, attention, down_dims=w))
        assert taken == built
        named = accepts(lambda d=divisor: scale_config("quick", TASK, method, attention=attention, width_divisor=d))
        assert named == (built and exact) or method not in U_NETS  # whose width no scale divides


def accepts(make):
    try:
        return bool(make())
    except InputError:
        return False
