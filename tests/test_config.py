"""Configurations are whole, frozen and named after what they are."""

import json
import re
from dataclasses import FrozenInstanceError, asdict, fields, replace
from itertools import pairwise

import pytest

from mp_lib.config import STARTS, PolicyConfig, TrainConfig, prefix, scale_config
from mp_lib.model.mixers import MIXERS
from mp_lib.presets import ATTENTION, EARLIER, METHODS, SCALES, SPECIAL, SUITES, mixers_of, numbers_of, recipe_of
from mp_lib.system.errors import InputError

TASK = "metaworld_reach"
EVERY = [(scale, method) for scale in SCALES for method in METHODS]
CHANGES = {  # one other value of every field that is not given by position
    "attention": "released",
    "horizon": 32,
    "n_obs_steps": 3,
    "n_action_steps": 7,
    "num_points": 1024,
    "width_divisor": 2,
    "blocks_per_level": 3,
    "num_train_steps": 50,
    "num_inference_steps": 5,
    "train_points": 16,
    "num_demos": 7,
    "demo_episodes": (0, 3, 5),
    "demo_seed": 100,
    "demonstrator": "dapg",
    "split": "released",
    "held_out": 0.25,
    "held_out_episodes": (1, 4),
    "actions": "relative",
    "init": "0123456789ab",
    "normalizer": "kept",
    "batch_size": 33,
    "num_epochs": 17,
    "num_steps": 18,
    "learning_rate": 3e-5,
    "betas": (0.9, 0.99),
    "weight_decay": 0.0,
    "warmup_steps": 0,
    "start": "standardised",
    "ema_power": 0.5,
    "ema_max": 0.99,
    "eval_every_epochs": 3,
    "eval_episodes": 4,
    "final_episodes": 6,
}


TOGETHER = {"normalizer": {"init": "0123456789ab"}, "num_inference_steps": {"num_train_steps": 20}}


def changed(scale, key, value):
    """A run that differs from its scale in one number; of epochs and steps only one may be set."""
    other = {"num_epochs": "num_steps", "num_steps": "num_epochs"}.get(key)
    other = {other: None} if other else TOGETHER.get(key, {})
    if key == "start":  # the one that the scale does not have
        value = next(each for each in STARTS if each != SCALES[scale].get("start", "released"))
    return scale_config(scale, "toy", "dp3_mamba", **{key: value} | other)


def test_every_field_has_a_change_to_test():
    assert {*CHANGES, "task", "method", "scale", "seed", "recipe"} == {field.name for field in fields(TrainConfig)}


@pytest.mark.parametrize(("scale", "method"), EVERY)
def test_every_scale_and_method_survives_json(scale, method):
    config = scale_config(scale, "toy", method, 2)
    assert TrainConfig(**json.loads(json.dumps(asdict(config)))) == config
    policy = PolicyConfig(method, 9, 4)
    assert PolicyConfig(**json.loads(json.dumps(asdict(policy)))) == policy


@pytest.mark.parametrize("scale", SCALES)
def test_names_tell_all_configurations_apart_and_are_plain(scale):
    configs = [changed(scale, key, value) for key, value in CHANGES.items()]
    configs += [
        scale_config(scale, task, method, seed) for task in ("toy", "b") for method in METHODS for seed in (0, 1)
    ]
    configs += [scale_config(scale, "toy", "dp3", seed, horizon=32) for seed in (0, 1, 10)]
    configs += [scale_config(scale, "toy", "dp3", horizon=32, betas=betas) for betas in ((0.9, 0.9), (0.9, 0.99))]
    names = [config.name for config in configs]
    assert len({*names}) == len(names)
    assert all(re.fullmatch(r"[\w.,=-]+", name) and len(name) < 100 for name in names)


def test_a_usual_run_is_named_by_its_four_nouns():
    assert scale_config("paper", "metaworld_push", "dp3_mamba", 2).name == "paper-metaworld_push-dp3_mamba-seed2"
    assert scale_config("paper", "toy", "dp3", horizon=32).name == "paper-toy-dp3-seed0-horizon=32"


@pytest.mark.parametrize("make", [lambda: scale_config("smoke", "toy", "dp3"), lambda: PolicyConfig("dp3", 9, 4)])
def test_configurations_are_frozen(make):
    with pytest.raises(FrozenInstanceError):
        make().horizon = 8


@pytest.mark.parametrize(
    ("make", "noun", "choices"),
    [
        (lambda: scale_config("tiny", "toy", "dp3"), "scale 'tiny'", SCALES),
        (lambda: scale_config("smoke", "toy", "mamba"), "method 'mamba'", METHODS),
        (lambda: scale_config("smoke", "toy", "dp3", attention="no"), "attention 'no'", ATTENTION),
        (lambda: PolicyConfig("mamba", 9, 4), "method 'mamba'", METHODS),
        (lambda: PolicyConfig("dp3", 9, 4, attention="no"), "attention 'no'", ATTENTION),
        (lambda: mixers_of("dp3", "no"), "attention 'no'", ATTENTION),
    ],
)
def test_what_is_unknown_lists_the_choices(make, noun, choices):
    with pytest.raises(ValueError, match=f"unknown {noun}; choose one of: ") as refused:
        make()
    assert {*str(refused.value).partition("one of: ")[2].split(", ")} == {*choices}


def test_an_unknown_parameter_lists_the_known_ones():
    with pytest.raises(ValueError, match="unknown parameter 'lr'; choose one of: .*learning_rate"):
        scale_config("smoke", "toy", "dp3", lr=1e-3)
    with pytest.raises(TypeError):
        TrainConfig("toy", "dp3", "smoke", lr=1e-3)


def test_attention_is_no_choice_of_methods_without_mixers():
    plain, mixed = (scale_config("quick", "toy", name, attention="released") for name in ("dp3", "dp3_mamba"))
    assert plain == scale_config("quick", "toy", "dp3")
    assert mixed != scale_config("quick", "toy", "dp3_mamba")


def test_widths_and_depth_are_the_methods_own_unless_given():
    assert all(PolicyConfig(name, 9, 4).blocks_per_level == row.blocks_per_level for name, row in METHODS.items())
    assert PolicyConfig("dp3", 9, 4, blocks_per_level=3).blocks_per_level == 3
    assert all(PolicyConfig(method, 9, 4).down_dims == METHODS[method].down_dims for method in METHODS)
    assert PolicyConfig("dp3", 9, 4, down_dims=[8, 16, 24]).down_dims == (8, 16, 24)
    assert scale_config("smoke", "toy", "dp3").down_dims == (128, 256, 512)


def test_methods_are_what_the_mixers_are_there_for():
    assert {row.mixer for row in METHODS.values()} - {None} == {*MIXERS} - {"attention"}
    assert all(name == row.name and all(a <= b for a, b in pairwise(row.down_dims)) for name, row in METHODS.items())
    for method, row in METHODS.items():
        assert mixers_of(method, "paper") == ((row.mixer, "attention") if row.mixer else ())
        assert mixers_of(method, "released") == ((row.mixer,) if row.mixer else ())


def test_the_paper_scale_is_the_published_protocol():
    config = scale_config("paper", "toy", "dp3_mamba")
    assert (config.batch_size, config.num_epochs, config.learning_rate, config.warmup_steps) == (128, 3000, 1e-4, 500)
    assert (config.betas, config.weight_decay) == ((0.95, 0.999), 1e-6)
    assert (config.ema_power, config.ema_max) == (0.75, 0.9999)
    assert (config.eval_every_epochs, config.eval_episodes) == (200, 20)
    policy = PolicyConfig("dp3_mamba", 9, 4)
    assert (policy.num_train_steps, policy.num_inference_steps, policy.step_embed_dim) == (100, 10, 128)


@pytest.mark.parametrize("scale", SCALES)
def test_a_suites_numbers_give_way_to_the_scales_and_these_to_what_is_special_to_both(scale):
    plain, other = scale_config(scale, "toy", "dp3"), scale_config(scale, "dexart_laptop", "dp3")
    special = SPECIAL.get((scale, recipe_of(scale), "dexart"), {})
    for key in ("num_points", "num_steps", "batch_size"):
        wanted = special.get(key, SCALES[scale].get(key, SUITES["dexart"].get(key, getattr(plain, key))))
        assert getattr(other, key) == wanted


def test_every_special_number_belongs_to_a_scale_and_a_suite():
    recipes = {(scale, recipe_of(scale)) for scale in SCALES} | {*EARLIER}
    assert {key[:2] for key in SPECIAL} <= recipes and {suite for *_, suite in SPECIAL} <= {"dexart", "adroit"}


RECIPES = [*((scale, recipe_of(scale)) for scale in SCALES), *EARLIER]


@pytest.mark.parametrize(("scale", "recipe"), RECIPES)
def test_a_recipe_of_a_scale_is_named_and_its_numbers_stay(scale, recipe):
    config = scale_config(scale, TASK, "dp3", recipe=recipe)
    assert config.recipe == recipe and config.name.startswith(f"{scale}{recipe if recipe > 1 else ''}-{TASK}")
    assert len(config.name.split("-")) == 4 + TASK.count("-")
    assert all(getattr(config, key) == value for key, value in numbers_of(scale, TASK, recipe).items())
    longer = replace(config, horizon=32)
    assert longer.name == f"{config.name}-horizon=32"


def test_every_recipe_from_the_first_to_todays_is_known_and_no_other():
    for scale in SCALES:
        known = [recipe for name, recipe in RECIPES if name == scale]
        assert sorted(known) == [*range(1, recipe_of(scale) + 1)] and prefix(scale) == prefix(scale, max(known))
        allowed = ", ".join(map(str, sorted(known)))
        with pytest.raises(InputError, match=f"recipe {max(known) + 1} of {scale} given; it has: {allowed}"):
            scale_config(scale, TASK, "dp3", recipe=max(known) + 1)


@pytest.mark.parametrize("wrong", [[], {}, None, 5])
def test_a_scale_that_is_no_name_is_answered_with_the_choices(wrong):
    with pytest.raises(InputError, match="unknown scale .*; choose one of: smoke, quick, pocket, standard, paper$"):
        scale_config(wrong, TASK, "dp3")


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("key", CHANGES)
def test_one_run_has_one_name_however_its_numbers_were_written(scale, key):
    meant = changed(scale, key, CHANGES[key])
    forms = [str(CHANGES[key]), json.loads(json.dumps(CHANGES[key]))]
    forms += [float(CHANGES[key])] if isinstance(CHANGES[key], int) else []
    for form in forms:
        found = changed(scale, key, form)
        assert found == meant and found.name == meant.name and repr(found) == repr(meant)


NAMES = (  # what the code of commit 634cf6c called runs of these changes, behind scale, task, method and seed
    ({"ema_power": 1}, "-ema_power=1"),
    ({"ema_power": 1.0}, "-ema_power=1.0"),
    ({"ema_max": 1}, "-ema_max=1"),
    ({"betas": [0, 0.9]}, "-betas=0,0.9"),
    ({"betas": (0.0, 0.9)}, "-betas=0.0,0.9"),
    ({"betas": [0.95, 0.999]}, ""),
    ({"weight_decay": 0.0}, "-weight_decay=0.0"),
    ({"weight_decay": 1}, "-weight_decay=1"),
    ({"weight_decay": 1e-7}, "-weight_decay=1e-07"),
    ({"learning_rate": 1}, "-learning_rate=1"),
    ({"learning_rate": 0.0001}, "-learning_rate=0.0001"),
    ({"horizon": 32, "ema_power": 1, "betas": [0, 0]}, "-betas=0,0-ema_power=1-horizon=32"),
    ({"num_epochs": 3, "num_steps": None}, "-num_epochs=3-num_steps=None"),
    ({"num_points": 256.0}, ""),
    ({"split": "released", "num_demos": 3, "warmup_steps": 0}, "-num_demos=3-split=released-warmup_steps=0"),
    ({"attention": "released", "blocks_per_level": 2}, "-attention=released-blocks_per_level=2"),
)


@pytest.mark.parametrize(("changes", "behind"), NAMES)
def test_runs_are_named_as_ever_so_that_those_that_are_finished_are_found(changes, behind):
    config = scale_config("quick", TASK, "dp3_mamba", recipe=1, **changes)
    assert config.name == f"quick-{TASK}-dp3_mamba-seed0{behind}"
    assert TrainConfig(**json.loads(json.dumps(asdict(config)))).name == config.name  # as its result.json tells it


def test_zero_has_one_sign_and_equal_numbers_are_one_run():
    for zeros, name in (((0.0, -0.0, "0.0", "-0.0"), "0.0"), ((0, -0, "0", "-0"), "0")):
        named = {scale_config("smoke", TASK, "dp3", weight_decay=zero).name for zero in zeros}
        assert named == {f"smoke-{TASK}-dp3-seed0-weight_decay={name}"}
    assert scale_config("quick", TASK, "dp3", horizon=16.0, betas=[0.95, 0.999]) == scale_config("quick", TASK, "dp3")


@pytest.mark.parametrize("key", ["num_epochs", "num_steps", "demo_episodes"])
@pytest.mark.parametrize("scale", SCALES)
def test_of_two_ways_to_say_how_much_the_one_that_is_given_counts(scale, key):
    other = {"num_epochs": "num_steps", "num_steps": "num_epochs", "demo_episodes": "num_demos"}[key]
    found = scale_config(scale, TASK, "dp3", **{key: CHANGES[key]})
    assert getattr(found, key) == CHANGES[key] and getattr(found, other) is None
    assert found == scale_config(scale, TASK, "dp3", **{key: CHANGES[key], other: None})


def test_a_name_fits_a_file_system_and_still_tells_runs_apart():
    many = [
        scale_config("quick", "dexart_laptop", "dp3_mamba_hydra", demo_episodes=range(first, first + 75))
        for first in (0, 1)
    ]
    assert len({config.name for config in many}) == 2 and all(len(config.name) < 150 for config in many)
    assert scale_config("quick", "dexart_laptop", "dp3", demo_episodes=[0, 3]).name.endswith("demo_episodes=0,3")
