"""Weights that people bring: read by their own configuration, or refused by what it says."""

import collections
import re
import sys
import types

import numpy as np
import pytest
import torch

from mp_lib.model.checkpoint import from_official, load_policy
from mp_lib.model.official_config import FIXED, find, settings_of, task_in
from mp_lib.system.errors import InputError
from tests.model.test_official import make_policy, narrow, official_state_dict, save_as_released


def released_config(**changed) -> dict:
    """A configuration as the release composes it, references unresolved; names with __ for a dot are changed."""
    config = {
        "task": {
            "name": "assembly",
            "shape_meta": {"obs": {"point_cloud": {"shape": [64, 3]}, "agent_pos": {"shape": [9]}}},
            "dataset": {"zarr_path": "data/metaworld_assembly_expert.zarr", "pad": "${eval:'${n_obs_steps}-1'}"},
        },
        "task_name": "${task.name}",
        "shape_meta": "${task.shape_meta}",
        "horizon": 4,
        "n_obs_steps": 2,
        "n_action_steps": 4,
        "policy": {
            "horizon": "${horizon}",
            "n_obs_steps": "${n_obs_steps}",
            "n_action_steps": "${n_action_steps}",
            "shape_meta": "${shape_meta}",
            "num_inference_steps": 10,
            "n_groups": 8,
            "noise_scheduler": {
                "_target_": "diffusers.schedulers.scheduling_ddim.DDIMScheduler",
                "num_train_timesteps": 100,
                "prediction_type": "sample",
                "beta_schedule": "squaredcos_cap_v2",
            },
        },
    }
    for path, value in changed.items():
        *above, last = path.split("__")
        place = config
        for key in above:
            place = place.setdefault(key, {})
        place[last] = value
    return config


@pytest.fixture
def omegaconf(monkeypatch):
    """A function that makes a configuration of objects which pickle as OmegaConf's 2.1 to 2.4 do."""
    modules = {name: types.ModuleType(f"omegaconf.{name}") for name in ("dictconfig", "listconfig", "nodes", "base")}

    def kind(module, name):
        made = type(name, (), {"__module__": f"omegaconf.{module}"})
        setattr(modules[module], name, made)
        return made

    dictionary, sequence = kind("dictconfig", "DictConfig"), kind("listconfig", "ListConfig")
    leaf, metadata = kind("nodes", "AnyNode"), kind("base", "ContainerMetadata")
    monkeypatch.setitem(sys.modules, "omegaconf", types.ModuleType("omegaconf"))
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, f"omegaconf.{name}", module)

    def node(value, parent=None):
        made = {dict: dictionary, list: sequence}.get(type(value), leaf)()
        made._metadata, made._parent = metadata(), parent
        made._metadata.resolver_cache = collections.defaultdict(dict)
        if isinstance(value, dict):
            made._content = {key: node(each, made) for key, each in value.items()}
        elif isinstance(value, list):
            made._content = [node(each, made) for each in value]
        else:
            made._val = value
        return made

    return node


@pytest.mark.parametrize("as_objects", [False, True], ids=["plain", "OmegaConf"])
@pytest.mark.parametrize("protocol", [2, 5])
def test_lengths_and_steps_are_those_of_the_files_own_configuration(as_objects, protocol, omegaconf, tmp_path):
    config = released_config(horizon=16, n_action_steps=6, policy__num_inference_steps=100)
    config = omegaconf(config) if as_objects else config
    weights = collections.OrderedDict(official_state_dict(make_policy("dp3_mamba")))
    torch.save({"cfg": config, "state_dicts": {"ema_model": weights}}, tmp_path / "x.ckpt", pickle_protocol=protocol)
    policy, facts = load_policy(tmp_path / "x.ckpt")
    found = policy.config
    assert (found.horizon, found.n_obs_steps, found.n_action_steps) == (16, 2, 6)
    assert (found.num_points, found.num_inference_steps, len(policy.ddim.steps)) == (64, 100, 100)
    assert facts["task"] == "metaworld_assembly" and facts["assumed"] == {}


def test_executed_are_as_many_steps_as_there_are():
    """The release's own numbers: of horizon 4 with 2 observed, the slice of 4 executed steps has 3."""
    policy = from_official({"cfg": released_config(), "state_dicts": {"model": weights_of("dp3_mamba_v2")}})
    assert (policy.config.horizon, policy.config.n_action_steps) == (4, 3)
    history = {"point_cloud": np.ones((1, 2, 64, 3)), "state": np.ones((1, 2, 9))}
    assert policy.act(history).shape == (1, 3, 4)


def weights_of(method, n_obs_steps=2):
    weights = official_state_dict(make_policy(method))
    if n_obs_steps != 2:  # every block's condition is an embedding and 128 numbers an observed step
        for name, each in weights.items():
            if name.endswith("cond_encoder.1.weight"):
                weights[name] = torch.zeros(each.shape[0], each.shape[1] + 128 * (n_obs_steps - 2))
    return weights


def test_three_observed_steps_are_read_and_must_agree_with_the_weights():
    weights = weights_of("dp3_mamba", 3)
    config = released_config(horizon=8, n_obs_steps=3, n_action_steps=6)
    found = from_official({"cfg": config, "state_dicts": {"model": weights}}).config
    assert (found.horizon, found.n_obs_steps, found.n_action_steps) == (8, 3, 6)
    with pytest.raises(InputError, match="its configuration says n_obs_steps: 2, its weights 3"):
        from_official({"cfg": released_config(), "state_dicts": {"model": weights}})
    assert from_official(weights).config.horizon == 8  # nobody says; a multiple of 4 that three observed steps fit


def test_what_has_to_be_assumed_is_said(caplog):
    policy = from_official(weights_of("simple_dp3"))
    assumed = policy.import_report["assumed"]
    assert assumed == {name: getattr(policy.config, name) for name in assumed}
    assert {"horizon", "n_action_steps", "num_points", "num_inference_steps"} <= assumed.keys()
    (said,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "does not say all; as released, these are assumed: " in said
    assert all(f"{name} {value}" in said for name, value in assumed.items())


@pytest.mark.parametrize("path", FIXED)
def test_what_is_not_supported_is_refused_by_name(path, tmp_path):
    config = released_config(**{path.replace(".", "__"): "another"})
    save_as_released(tmp_path / "x.ckpt", make_policy("simple_dp3"), cfg=config)
    with pytest.raises(InputError, match=rf"x.ckpt.*configuration says {path}: another.*{FIXED[path]} is"):
        load_policy(tmp_path / "x.ckpt")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"horizon": 10}, "horizon 10 given; it must be a multiple of 4"),
        ({"n_action_steps": 0}, "n_action_steps: 0; it must be a whole number"),
        ({"policy__horizon": 16.5}, "horizon: 16.5; it must be a whole number"),
        ({"policy__num_inference_steps": 200}, "num_inference_steps 200 given; it must be 1 to 100"),
        ({"policy__noise_scheduler__prediction_type": "epsilon"}, "prediction_type: epsilon, which is not supported"),
    ],
)
def test_numbers_that_cannot_be_are_refused(changed, said):
    with pytest.raises(InputError, match=said):
        from_official({"cfg": released_config(**changed), "state_dicts": {"model": weights_of("simple_dp3")}})


SIMPLE = weights_of("simple_dp3")


@pytest.mark.parametrize("meta", ["task__shape_meta", "shape_meta", "policy__shape_meta"])
@pytest.mark.parametrize("as_objects", [False, True], ids=["plain", "OmegaConf"])
@pytest.mark.parametrize(("key", "shape"), [("obs__agent_pos", [7]), ("action", [7]), ("action", [2, 3])])
def test_sizes_that_the_weights_have_not_are_refused_by_name(meta, as_objects, key, shape, omegaconf, tmp_path):
    config = released_config()
    config["shape_meta"] = config["policy"]["shape_meta"] = None  # so that one place alone speaks
    *above, last = f"{meta}__{key}__shape".split("__")
    place = config
    for name in above:
        place[name] = place.get(name) or {}
        place = place[name]
    place[last] = shape
    config = omegaconf(config) if as_objects else config
    path = f"{meta}__{key}__shape".replace("__", ".")
    said = rf"says {path}: {re.escape(str(shape))}, its weights (state_dim 9|action_dim 4); one of them"
    torch.save({"cfg": config, "model": SIMPLE}, tmp_path / "x.ckpt")
    with pytest.raises(InputError, match=said):
        load_policy(tmp_path / "x.ckpt")


def test_sizes_that_the_weights_have_are_read_however_they_are_written():
    """Two hands have an action of shape (2, A / 2) in dp3.py."""
    fine = {"policy__down_dims": list(narrow("simple_dp3")), "policy__diffusion_step_embed_dim": 128}
    fine |= {"policy__kernel_size": 5, "policy__encoder_output_dim": 64, "task__shape_meta__action": {"shape": [2, 2]}}
    fine |= {"policy__noise_scheduler__trained_betas": None}
    weights = {"state_dicts": {"model": weights_of("simple_dp3")}}
    assert from_official(weights | {"cfg": released_config(**fine)}).config.action_dim == 4
    for name, value in (("down_dims", [8, 8, 8]), ("diffusion_step_embed_dim", 64)):
        with pytest.raises(InputError, match=f"says policy.{name}: .*, its weights"):
            from_official(weights | {"cfg": released_config(**fine | {f"policy__{name}": value})})
    fine["task__shape_meta__obs__point_cloud"] = {"shape": [64.5, 3]}
    with pytest.raises(InputError, match="says num_points: 64.5; it must be a whole number"):
        from_official(weights | {"cfg": released_config(**fine)})


def test_betas_of_its_own_are_refused(omegaconf, tmp_path):
    config = omegaconf(released_config(policy__noise_scheduler__trained_betas=[0.1] * 100))
    torch.save({"cfg": config, "model": SIMPLE}, tmp_path / "x.ckpt")
    with pytest.raises(InputError, match=r"trained_betas: a list, which is not supported; None is"):
        load_policy(tmp_path / "x.ckpt")


def test_references_are_followed_and_end():
    config = released_config(a="${b}", b="${a}", near={"x": "${.y}", "y": 3, "deep": {"z": "${..y}"}})
    assert (find(config, "shape_meta.obs.agent_pos.shape.0"), find(config, "task_name")) == (9, "assembly")
    assert (find(config, "near.x"), find(config, "near.deep.z")) == (3, 3)
    assert find(config, "a") in ("${a}", "${b}") and find(config, "policy.nothing.at.all") is None
    assert settings_of(None) == {} and settings_of({}) == {}
    dexart = released_config(task__shape_meta__obs__imagin_robot={"shape": [96, 7]})
    assert settings_of(dexart)["num_points"] == 160
    for name, path in (
        ("adroit_hammer", "data/adroit_hammer_expert.zarr"),
        ("adroit_hammer", None),
        ("x", "pour.zarr"),
    ):
        assert task_in(released_config(task__name=name, task__dataset={"zarr_path": path})) == name
    assert task_in(None) is None
