"""Packages for LeRobot: what it finds them by, what they need, and that they do as our own training and rollouts.

LeRobot is not installed here; a few lines stand for what of it they use.
"""

import ast
import dataclasses
import importlib
import inspect
import re
import sys
import tomllib
from types import ModuleType

import gymnasium
import numpy as np
import pytest
import torch
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from mp_lib.config import TrainConfig
from mp_lib.data.windows import window_frames
from mp_lib.interfaces import SuccessRule
from mp_lib.learning.rollout import rollout
from mp_lib.model.checkpoint import load_policy, save_policy
from mp_lib.model.normalizer import Normalizer
from mp_lib.model.policy import build_policy
from mp_lib.sim.gym import TaskEnv
from mp_lib.sim.tasks import TASKS
from tests import ROOT
from tests.conftest import TOY, StaggeredEnv
from tests.lerobot import STANDS_FOR, feature
from tests.test_architecture import LONGEST, LONGEST_FUNCTION, imports
from tests.test_packaging import EXTRAS

FOLDERS = sorted(path.parent for path in (ROOT / "plugins").glob("*/pyproject.toml"))
SOURCES = sorted(path for folder in FOLDERS for path in folder.rglob("*.py"))
POLICY, ENV = "lerobot_policy_mamba_policy", "lerobot_env_mamba_policy"
NEEDS = {POLICY: set(), ENV: {"sim"}}  # of our extras
MODULES = {"lerobot", "torch", "numpy", "gymnasium", "mp_lib", POLICY, ENV}
KEYS = ("observation.pointcloud", "observation.state", "action")
every_package = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
every_module = pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)


def project(folder):
    return tomllib.loads((folder / "pyproject.toml").read_text())


def requirements(folder):
    return {each.name: each for each in map(Requirement, project(folder)["project"]["dependencies"])}


@every_package
def test_lerobot_finds_a_package_by_its_name(folder):
    """It imports what is installed as lerobot_policy_… or lerobot_env_…, under that very name."""
    facts = project(folder)
    assert facts["project"]["name"] == folder.name and folder.name in NEEDS
    assert facts["tool"]["setuptools"]["packages"] == [folder.name] and (folder / folder.name / "__init__.py").exists()
    assert re.match("lerobot_(policy|env)_", folder.name) and (folder / facts["project"]["readme"]).exists()


@every_package
def test_a_package_needs_lerobot_and_ours_with_what_it_says(folder):
    needed = requirements(folder)
    assert {*needed} == {"lerobot", "mp_lib"} and needed["mp_lib"].extras == NEEDS[folder.name] <= {*EXTRAS}
    assert needed["lerobot"].specifier.contains("0.6.1") and not needed["lerobot"].specifier.contains("0.7")


@every_package
def test_constraints_pin_what_both_need_within_what_they_allow(folder):
    pins = [Requirement(line) for line in (folder / "constraints.txt").read_text().splitlines()]
    assert all(re.fullmatch(r"==[\w.]+", str(pin.specifier)) for pin in pins)
    versions = {canonicalize_name(pin.name): str(pin.specifier)[2:] for pin in pins}
    ours = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [*ours["dependencies"], *(each for extra in NEEDS[folder.name] for each in EXTRAS[extra])]
    needed = [*map(Requirement, needed), requirements(folder)["lerobot"]]
    for each in needed:
        assert each.specifier.contains(versions[canonicalize_name(each.name)]), each


@every_module
def test_modules_are_short_and_say_what_they_are(path):
    text = path.read_text()
    tree = ast.parse(text)
    assert len(text.splitlines()) <= LONGEST and ast.get_docstring(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < LONGEST_FUNCTION and (
                node.name[:2] == "__" or ast.get_docstring(node)
            )
    assert "print(" not in text


@every_module
def test_modules_import_what_is_there_and_no_more(path):
    names = {*imports(path)}
    assert {name.split(".")[0] for name in names} <= MODULES | sys.stdlib_module_names
    assert not (path.parent.name == POLICY and any(name.startswith("mp_lib.sim") for name in names))
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("mp_lib"):
            module = importlib.import_module(node.module)
            assert all(hasattr(module, alias.name) for alias in node.names), ast.unparse(node)


@pytest.fixture
def package(monkeypatch):
    """Import a module of one of the packages, beside what stands for LeRobot."""
    for name, names in STANDS_FOR.items():
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
        vars(sys.modules[name]).update(names)
    for folder in FOLDERS:
        monkeypatch.syspath_prepend(folder)
    yield importlib.import_module
    for name in [name for name in sys.modules if name.startswith((POLICY, ENV))]:
        del sys.modules[name]


def config_of(package, sizes=TOY, **numbers):
    shapes = feature(sizes.num_points, 3), feature(sizes.state_dim)
    return package(POLICY).MambaConfig(
        input_features=dict(zip(KEYS, shapes, strict=False)),
        output_features={"action": feature(sizes.action_dim)},
        **numbers,
    )


def policy_of(package, stats=None, **numbers):
    return package(f"{POLICY}.modeling_mamba_policy").MambaPolicy(config_of(package, **numbers), dataset_stats=stats)


SMALL = {"horizon": 4, "n_action_steps": 3, "method": "simple_dp3", "down_dims": (8, 16, 24)}


def test_lerobot_finds_policy_and_processors_by_the_configurations_name(package):
    config = package(POLICY).MambaConfig
    prefix, kind = config.__name__.removesuffix("Config"), config.type
    place, name = config.__module__.split(".configuration_")
    policy = getattr(package(f"{place}.modeling_{name}"), f"{prefix}Policy")
    assert (policy.name, policy.config_class) == (kind, config) and config.__name__ == f"{prefix}Config"
    make = getattr(package(f"{place}.processor_{name}"), f"make_{kind}_pre_post_processors")
    assert [*inspect.signature(make).parameters] == ["config", "dataset_stats"]
    kinds = [each.kind for each in inspect.signature(policy.predict_action_chunk).parameters.values()]
    assert inspect.Parameter.VAR_KEYWORD in kinds
    for method in ("forward", "select_action", "get_optim_params", "reset", "update"):
        assert callable(getattr(policy, method))


def test_numbers_reach_the_policy_as_they_are(package):
    config = config_of(package)
    assert {*config.normalization_mapping.values()} == {"IDENTITY"}
    assert {"STATE", "ACTION"} <= {*config.normalization_mapping}


@pytest.mark.parametrize(("horizon", "seen", "executed"), [(16, 2, 8), (4, 2, 3), (8, 1, 8), (8, 3, 2)])
def test_windows_are_ours(package, horizon, seen, executed):
    config = config_of(package, horizon=horizon, n_obs_steps=seen, n_action_steps=executed)
    length = 20
    now = np.arange(length - config.drop_n_last_frames)[:, None]
    theirs = np.clip(now + config.action_delta_indices, 0, length - 1)  # LeRobot repeats the ends
    lengths = {"horizon": horizon, "n_obs_steps": seen, "n_action_steps": executed}
    np.testing.assert_array_equal(theirs, window_frames(np.array([length]), **lengths))
    assert config.observation_delta_indices == config.action_delta_indices[:seen]


def test_the_normaliser_is_that_of_our_training(package, toy_demos):
    data = {key: torch.from_numpy(values) for key, values in toy_demos.read().items()}
    ours = Normalizer({key: values.shape[-1] for key, values in data.items()})
    ours.fit(data)
    named = dict(zip(("point_cloud", "state", "action"), KEYS, strict=True))
    stats = {named[key]: {"min": values.amin(0).numpy(), "max": values.amax(0).numpy()} for key, values in data.items()}
    policy = policy_of(package, stats, **SMALL)
    for name, values in ours.state_dict().items():
        torch.testing.assert_close(policy.policy.normalizer.state_dict()[name], values, rtol=0, atol=0)
        torch.testing.assert_close(policy.average.normalizer.state_dict()[name], values, rtol=0, atol=0)


def test_training_moves_the_weights_and_then_the_average(package):
    torch.manual_seed(0)
    policy = policy_of(package, **SMALL).train()
    assert not policy.average.training and policy.policy.training
    batch = {KEYS[0]: torch.randn(5, 2, 8, 3), KEYS[1]: torch.randn(5, 2, 3), "action": torch.randn(5, 4, 2)}
    optimizer = torch.optim.AdamW(policy.get_optim_params(), 1e-2)
    before = torch.nn.utils.parameters_to_vector(policy.average.parameters())
    for _ in range(4):
        loss, _ = policy.forward(batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        policy.update()
    now, average = (torch.nn.utils.parameters_to_vector(each.parameters()) for each in (policy.policy, policy.average))
    assert 0 < torch.dist(now, average) < torch.dist(now, before) and int(policy.steps) == 4
    twin = policy_of(package, **SMALL)
    twin.load_state_dict(policy.state_dict())
    assert torch.equal(torch.nn.utils.parameters_to_vector(twin.average.parameters()), average)


def play(policy, seeds):
    """Episodes side by side as LeRobot plays them, all to the end of the last; (success, steps) each."""
    envs = [TaskEnv(TOY) for _ in seeds]
    frames = [env.reset(seed=seed)[0] for env, seed in zip(envs, seeds, strict=True)]
    ended: list = [None] * len(seeds)
    policy.reset()
    while None in ended:
        keys = {KEYS[0]: "point_cloud", KEYS[1]: "agent_pos"}
        batch = {key: torch.from_numpy(np.stack([frame[own] for frame in frames])) for key, own in keys.items()}
        for index, action in enumerate(policy.select_action(batch).numpy()):
            frames[index], _, terminated, truncated, info = envs[index].step(action)
            if ended[index] is None and (terminated or truncated):
                ended[index] = info["is_success"], envs[index].unwrapped._env.position, len(envs[index]._flags)
    return ended


def test_episodes_are_those_of_our_rollouts(package, finished):
    folder, _ = finished
    policy, _ = load_policy(folder / "policy.safetensors")
    plugged = policy_of(package, weights=str(folder), noise_seed=70)
    assert plugged.config.weights == "" and plugged.config.policy_config() == policy.config
    ours = rollout(policy, TOY, range(70, 76), films=6)
    theirs = [*play(plugged, [70, 71, 72]), *play(plugged, [73, 74, 75])]
    assert [(episode.success, episode.steps) for episode in ours] == [(success, steps) for success, _, steps in theirs]
    last = [np.frombuffer(episode.film[-1].flat[:8].tobytes(), np.float64)[0] for episode in ours]
    np.testing.assert_allclose([position for _, position, _ in theirs], last, atol=1e-5)


def kept_policy(folder, **numbers):
    """A file of weights as a run of today has it: with kinds of its numbers."""
    config = TrainConfig("toy", "simple_dp3", "smoke", num_points=TOY.num_points)
    config = config.policy(TOY.state_dim, TOY.action_dim, state_kinds="joint:3", action_kinds="step:1 gripper:1")
    config = dataclasses.replace(config, **numbers)
    save_policy(folder / "policy.safetensors", build_policy(config))
    return config


def test_kinds_of_a_run_are_those_of_the_policy_and_are_saved(package, tmp_path):
    kept = kept_policy(tmp_path)
    config = policy_of(package, weights=str(tmp_path)).config
    assert config.policy_config() == kept and config.weights == ""
    saved = dataclasses.asdict(config)  # what LeRobot writes beside the weights, and begins with again
    assert saved["action_kinds"] == "step:1 gripper:1" and saved["state_kinds"] == "joint:3"
    assert package(POLICY).MambaConfig(**vars(config)).policy_config() == kept


def test_windows_have_the_lengths_of_the_weights(package, tmp_path):
    kept_policy(tmp_path, horizon=8, n_action_steps=2, n_obs_steps=3)
    config = config_of(package, weights=str(tmp_path))
    assert config.observation_delta_indices == [-2, -1, 0] and config.action_delta_indices == [*range(-2, 6)]
    assert policy_of(package, weights=str(tmp_path)).config.action_delta_indices == config.action_delta_indices


def test_relative_actions_are_refused_in_a_line(package, tmp_path):
    kept_policy(tmp_path, actions="relative")
    for given in ({"weights": str(tmp_path)}, {"actions": "relative"}):
        with pytest.raises(ValueError, match=r"^relative actions given; .* absolute ones alone$"):
            policy_of(package, **given)


def test_a_frame_alone_is_enough_to_act(package):
    policy = policy_of(package, **SMALL)
    frame = {KEYS[0]: torch.randn(8, 3), KEYS[1]: torch.randn(3)}  # as a robot of LeRobot gives it
    noise = torch.randn(1, 4, 2)
    chunk = policy.predict_action_chunk(frame, noise=noise, inference_delay=2)
    assert chunk.shape == (1, 3, 2)
    actions = [policy.select_action(frame, noise=noise) for _ in range(3)]
    torch.testing.assert_close(torch.stack(actions, 1), chunk)
    policy.reset()
    assert not policy.seen and not policy.planned


def test_what_does_not_fit_is_named(package, finished):
    config = package(POLICY).MambaConfig
    for count, clouds in ((0, {}), (2, {"a": feature(8, 3), "b": feature(9, 3)})):
        wrong = config(input_features={KEYS[1]: feature(3)} | clouds, output_features={"action": feature(2)})
        with pytest.raises(ValueError, match=rf"{count} inputs have the shape of a cloud \(N, 3\)"):
            wrong.validate_features()
    with pytest.raises(ValueError, match="action is missing"):
        config(input_features={KEYS[1]: feature(3)}).validate_features()
    with pytest.raises(ValueError, match="is a policy of"):
        policy_of(package, sizes=dataclasses.replace(TOY, action_dim=5), weights=str(finished[0]))


def test_an_environment_has_the_features_that_it_shows(package):
    config = package(ENV).MambaPolicyEnv(task="metaworld_reach", num_points=64)
    assert config.type == "mamba_policy" and config.features_map["agent_pos"] == "observation.state"
    (env,) = config.create_envs(2)["mamba_policy"].values()
    seen, _ = env.reset(seed=[3, 4], options={"new_rollout": True})
    for key in ("point_cloud", "agent_pos"):
        assert seen[key].shape == (2, *config.features[key].shape)
    assert env.single_action_space.shape == config.features["action"].shape
    assert env.call("_max_episode_steps") == (TASKS["metaworld_reach"].max_steps,) * 2
    assert env.call("task") == env.call("task_description") == ("metaworld_reach",) * 2
    assert env.call("render")[0].ndim == 3
    env.close()
    (names,), _ = config.get_env_processors()
    assert (
        names == {"observation.point_cloud": config.features_map["point_cloud"]} == {"observation.point_cloud": KEYS[0]}
    )


def test_a_success_is_told_at_the_end_alone(package):
    task = object.__new__(package(f"{ENV}.task").LeRobotTask)
    rule = SuccessRule("met in the second step, told of all", lambda flags: len(flags) > 1, stops=False)
    gymnasium.Wrapper.__init__(task, TaskEnv(dataclasses.replace(TOY, make_env=StaggeredEnv, success_rule=rule)))
    task.reset(seed=0, options={"new_rollout": True})
    told = [task.step(np.zeros(2, np.float32))[-1]["is_success"] for _ in range(TOY.max_steps)]
    assert told == [False] * (TOY.max_steps - 1) + [True]
