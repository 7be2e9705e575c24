"""What the numbers of an action do is what TASKS says of them; DexArt's are measured in test_dexart."""

import re

import numpy as np
import pytest

from mp_lib.geometry.kinds import KINDS
from mp_lib.sim.tasks import ADROIT_TASKS, TASKS
from tests import ROOT

import mujoco  # isort: skip

every_metaworld = pytest.mark.parametrize("task", ["drawer-open", "assembly", "stick-push"])
ARM_SLIDES = {"hammer": 0, "door": 1, "pen": 0, "relocate": 3}  # joints of the arm that are in metres, the first ones


def test_every_task_says_what_its_actions_mean_as_the_documents_do():
    told = " ".join((ROOT / "docs" / "suites.md").read_text().split())
    for row in TASKS.values():
        assert re.search(r"\b1 (is|are) ", row.action_meaning) and row.action_meaning in told


@pytest.mark.parametrize("task", TASKS)
def test_the_kinds_of_an_actions_numbers_are_as_many_as_these(task):
    parts = [part.split(":") for part in TASKS[task].action_kinds.split()]
    assert {kind for kind, _ in parts} <= KINDS.keys()
    assert sum(int(count) for _, count in parts) == TASKS[task].action_dim


@every_metaworld
@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("share", [1, -0.5])
def test_metaworlds_hand_is_drawn_after_a_target_that_moves_by_a_centimetre(make_env, task, axis, share):
    env = make_env(f"metaworld_{task}")
    env.reset(0)
    target, action = env._data.mocap_pos[0].copy(), share * np.eye(4)[axis]
    for step in range(1, 6):
        env.step(action)
        np.testing.assert_allclose(env._data.mocap_pos[0] - target, 0.01 * step * action[:3], atol=1e-12)
    for _ in range(40):
        env.step(np.zeros(4))
    assert (env._data.mocap_pos[0] - target)[axis] == pytest.approx(0.05 * share)
    assert abs(env.hand() - env._data.mocap_pos[0])[axis] < 0.015


@every_metaworld
def test_metaworlds_fingers_are_closed_by_400_newtons(make_env, task):
    env = make_env(f"metaworld_{task}")
    opened, closed = [], []
    for effort in (-1, 0.5, 1):
        env.reset(0)
        env.step(np.array([0, 0, 0, effort]))
        np.testing.assert_allclose(env._data.actuator_force, [400 * effort, -400 * effort], atol=400 * 0.045)
        for _ in range(20):
            env.step(np.array([0, 0, 0, effort]))
        (opened if effort < 0 else closed).append(np.linalg.norm(np.subtract(*env.observe().state[3:].reshape(2, 3))))
    assert max(closed) < min(opened) - 0.02


@pytest.mark.parametrize("task", ADROIT_TASKS)
def test_adroits_actions_are_shares_of_the_ranges_of_actuators(make_env, task):
    env = make_env(f"adroit_{task}")
    low, high = env._model.actuator_ctrlrange.T
    for share in (-1, 0, 0.5, 1):
        env.reset(0)
        env.step(np.full(len(low), share))
        np.testing.assert_allclose(env._data.ctrl, (low + high) / 2 + share * (high - low) / 2, atol=1e-6)


@pytest.mark.parametrize("task", ADROIT_TASKS)
def test_adroits_hand_is_drawn_to_its_targets_and_the_arm_to_more(make_env, task):
    env = make_env(f"adroit_{task}")
    env.reset(0)
    env.step(np.full(TASKS[f"adroit_{task}"].action_dim, 0.2))
    model, data = env._model, env._data
    arm = TASKS[f"adroit_{task}"].action_dim - 24
    times = np.repeat([2.5, 1], [arm, 24])
    joints = model.actuator_trnid[:, 0]
    mujoco.mj_forward(model, data)
    stiffness = -model.actuator_biasprm[:, 1]
    force = stiffness * (times * data.ctrl - data.qpos[model.jnt_qposadr[joints]])
    low, high = model.actuator_forcerange.T
    force = np.where(model.actuator_forcelimited, np.clip(force, low, high), force)
    np.testing.assert_allclose(data.actuator_force, force, atol=1e-9)
    kinds = [mujoco.mjtJoint.mjJNT_SLIDE, mujoco.mjtJoint.mjJNT_HINGE]
    slides = ARM_SLIDES[task]
    np.testing.assert_array_equal(model.jnt_type[joints], np.repeat(kinds, [slides, len(joints) - slides]))
    names = [model.joint(joint).name for joint in joints[arm:]]
    assert [model.joint(k).name for k in range(model.njnt)][env.setting.joints] == names
