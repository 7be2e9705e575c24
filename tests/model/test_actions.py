"""What a policy of relative actions executes is told of the state at "now" again, whoever runs its networks."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mp_lib.config import ACTIONS, PolicyConfig
from mp_lib.geometry.kinds import Layout
from mp_lib.geometry.relative import Relative, relative_of
from mp_lib.model.actions import executed, relative_in, robot_dim
from mp_lib.model.backends import run_eagerly
from mp_lib.model.policy import build_policy
from mp_lib.system.errors import InputError

STATE, ACTION = "position:3 quaternion:4 angle:1", "position:3 rotation_vector:3 angle:1 gripper:1"
RELATIVE = Relative(Layout.parse(STATE), Layout.parse(ACTION))
CONFIG = PolicyConfig(
    "simple_dp3",
    8,
    RELATIVE.size,
    horizon=4,
    n_action_steps=3,
    num_points=8,
    down_dims=(32, 32),
    actions="relative",
    state_kinds=STATE,
    action_kinds=ACTION,
)


def states(*shape):
    """States (..., 8) whose quaternions are units."""
    found = np.random.default_rng(0).normal(size=(*shape, 8)).astype(np.float32)
    found[..., 3:7] /= np.linalg.norm(found[..., 3:7], axis=-1, keepdims=True)
    return torch.from_numpy(found)


def make_policy(config=CONFIG):
    torch.manual_seed(0)
    policy = build_policy(config).eval()
    data = {"point_cloud": torch.randn(50, 3), "state": states(50), "action": torch.randn(50, config.action_dim)}
    policy.normalizer.fit(data)
    return policy


def test_every_kind_of_actions_is_known_and_only_relative_ones_need_kinds():
    assert relative_of("absolute", "", "") is None and {"absolute", "relative"} == {*ACTIONS}
    for kinds in (("", ""), (STATE, ""), ("", ACTION)):
        with pytest.raises(
            InputError, match="do not say what their numbers are; import them with kinds: --state-kinds"
        ):
            relative_of("relative", *kinds)
    with pytest.raises(InputError, match="unknown kind of actions 'other'; choose one of: absolute, relative"):
        replace(CONFIG, actions="other")


def test_a_robot_executes_other_numbers_than_a_network_predicts():
    assert CONFIG.action_dim == 3 + 6 + 1 + 1 and robot_dim(CONFIG) == 8 == Layout.parse(ACTION).size
    assert robot_dim(replace(CONFIG, actions="absolute")) == CONFIG.action_dim
    assert relative_in(replace(CONFIG, actions="absolute")) is None


@pytest.mark.parametrize("run", [lambda policy: policy, run_eagerly], ids=["plain", "frozen"])
def test_a_policy_executes_what_its_network_says_at_the_last_state(run):
    policy = run(make_policy())
    history = {"point_cloud": torch.randn(5, 2, 8, 3), "state": states(5, 2)}
    noise = torch.randn(5, 4, CONFIG.action_dim)
    told = policy.decide(history, noise)
    expected = RELATIVE.decode(told.numpy(), history["state"][:, -1].numpy())
    assert torch.equal(policy.predict(history, noise), torch.from_numpy(expected))
    assert torch.equal(policy.act(history, noise), torch.from_numpy(expected[:, 1:4]))
    assert policy.act(history, noise).shape == (5, 3, 8)


def test_absolute_chunks_stay_as_they_are():
    chunk = torch.randn(2, 4, 11)
    assert executed(replace(CONFIG, actions="absolute"), chunk, states(2)) is chunk
