"""What holds for the tasks of every suite: for a sample of MetaWorld's by default, or for one task a suite."""

import hashlib
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from mp_lib.data.recording import MOST_POINTS
from mp_lib.interfaces import FINE, USUAL
from mp_lib.sim.depth import BACKEND
from mp_lib.sim.env import SimulationDiverged
from mp_lib.sim.rays import RayDepth
from mp_lib.sim.tasks import TASKS

needs_opengl = pytest.mark.skipif(BACKEND != "opengl", reason="no OpenGL context can be created on this machine")

SAMPLE = {"metaworld_drawer-open", "metaworld_assembly", "metaworld_stick-push"}
SAMPLE |= {name for name, row in TASKS.items() if row.suite != "metaworld"}
MARKS = [pytest.mark.every_task, pytest.mark.slow]
every_row = pytest.mark.parametrize("task", [pytest.param(name, marks=MARKS * (name not in SAMPLE)) for name in TASKS])
one_a_suite = pytest.mark.parametrize("task", {row.suite: name for name, row in TASKS.items()}.values())


def play(env, task, seed, steps):
    """Play the expert for some steps; return all that was seen, concatenated."""
    expert, trace = TASKS[task].make_expert(), []
    env.reset(seed)
    for k in range(steps):
        met = env.step(expert.act(env.truth()))
        trace += [np.ravel(values) for values in env.truth().values()] + [[met]]
        if k in (0, steps - 1):
            obs = env.observe()
            trace += [obs.point_cloud.ravel(), obs.state]
    return np.concatenate(trace)


@every_row
def test_a_seed_fixes_the_episode_to_the_bit(make_env, task):
    env = make_env(task)
    first = play(env, task, 5, 8)
    assert not np.array_equal(play(env, task, 6, 30)[: len(first)], first)
    np.testing.assert_array_equal(play(env, task, 5, 8), first)
    other = make_env(task)
    play(other, task, 7, 12)
    np.testing.assert_array_equal(play(other, task, 5, 8), first)


@one_a_suite
def test_a_seed_fixes_the_episode_across_processes(make_env, task):
    code = (
        "import hashlib; from tests.sim.test_suites import *;"
        f"print(hashlib.sha256(play(TASKS['{task}'].make_env(num_points=512), '{task}', 3, 8).tobytes()).hexdigest())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    here = play(make_env(task), task, 3, 8)
    assert run.stdout.split()[-1] == hashlib.sha256(here.tobytes()).hexdigest()


@one_a_suite
def test_environments_that_share_a_screen_do_not_see_each_other(make_env, task):
    alone = make_env(task)
    alone.reset(1)
    expected = alone.observe().point_cloud
    alone.close()
    pair = [make_env(task), make_env(task)]
    for env, seed in zip(pair, (1, 2), strict=True):
        env.reset(seed)
    clouds = [env.observe().point_cloud for env in pair]
    np.testing.assert_array_equal(pair[0].observe().point_cloud, expected)
    assert not np.array_equal(*clouds)


@every_row
def test_observations_have_their_shapes(make_env, task):
    row = TASKS[task]
    env = make_env(task, row.num_points)
    env.reset(0)
    obs = env.observe()
    assert obs.point_cloud.shape == (row.num_points, 3) and obs.point_cloud.dtype == np.float32
    assert obs.state.shape == (row.state_dim,) and obs.state.dtype == np.float32
    stages = env.cloud_stages()
    assert len(stages["seen"]) > len(stages["cropped"]) > 250
    np.testing.assert_array_equal(stages["sampled"], obs.point_cloud)


@every_row
def test_too_few_points_are_padded_with_zeros(make_env, task):
    env = make_env(task, num_points=8192)
    env.reset(0)
    cloud = env.observe().point_cloud
    padding = np.all(cloud == 0, axis=1)
    real = len(env.cloud_stages()["cropped"]) + env.num_imagined
    assert cloud.shape == (8192, 3) and padding.sum() == 8192 - real > 0


@needs_opengl
@every_row
def test_opengl_and_rays_agree(make_env, task):
    env = make_env(task)
    play(env, task, 3, 20)
    by_opengl = env._camera.depth(env._data)
    by_rays = RayDepth(env._model, env._camera.camera, env._camera.size).depth(env._data)
    by_rays[by_rays >= env._model.vis.map.zfar * env._model.stat.extent] = np.inf
    seen = np.isfinite(by_opengl) & np.isfinite(by_rays)
    error = np.abs(by_opengl[seen] - by_rays[seen])
    assert np.median(error) < 1e-5
    # At the edges of things a pixel may go either way; of small images more pixels are at an edge.
    different = (error > 0.01).sum() + (np.isfinite(by_opengl) != np.isfinite(by_rays)).sum()
    assert different < 0.001 * by_opengl.size * (128 / env._camera.size)


@one_a_suite
def test_actions_are_clipped(make_env, task):
    env, states = make_env(task), []
    for scale in (1, 50):
        env.reset(0)
        env.step(scale * np.resize([1.0, -1], TASKS[task].action_dim))
        states.append(env.observe().state)
    np.testing.assert_array_equal(*states)


@one_a_suite
def test_bad_actions_are_refused(make_env, task):
    env, size = make_env(task), TASKS[task].action_dim
    env.reset(0)
    wrong = {"NaN": np.full(size, np.nan), f"shape .{size - 1},.*{size}": np.zeros(size - 1), "shape": np.array(0.0)}
    for message, action in wrong.items():
        with pytest.raises(ValueError, match=message):
            env.step(action)


@one_a_suite
def test_a_step_without_an_episode_is_refused(make_env, task):
    env = make_env(task)
    with pytest.raises(RuntimeError, match="reset"):
        env.step(np.zeros(TASKS[task].action_dim))


@one_a_suite
def test_divergence_is_an_error_and_a_reset_mends_it(make_env, tmp_path, monkeypatch, task):
    monkeypatch.chdir(tmp_path)  # mujoco writes a log there
    env = make_env(task)
    first = play(env, task, 1, 4)
    env._data.qvel[0] = np.nan
    with pytest.raises(SimulationDiverged):
        env.step(np.zeros(TASKS[task].action_dim))
    np.testing.assert_array_equal(play(env, task, 1, 4), first)


@one_a_suite
def test_rays_alone_are_enough_for_everything(task):
    code = (
        f"from mp_lib.sim.tasks import TASKS; env = TASKS['{task}'].make_env(num_points=512); env.reset(0);"
        "obs = env.observe(); picture = env.render(); env.close();"
        "print(env.depth_backend, obs.point_cloud.shape, picture.dtype, picture.ndim, (picture < 255).mean() > 0.02)"
    )
    variables = {**os.environ, "MP_DEPTH": "rays", "MUJOCO_GL": "disable"}
    run = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "rays (512, 3) uint8 3 True"


def test_the_most_points_of_a_suite_are_what_its_camera_sees():
    from mp_lib.sim import adroit, dexart, metaworld

    pixels = {"metaworld": metaworld.IMAGE_SIZE**2, "adroit": adroit.IMAGE_SIZE**2, "dexart": dexart.IMAGE_SIZE**2}
    assert pixels | {"dexart": pixels["dexart"] + dexart.NUM_IMAGINED} == MOST_POINTS


@one_a_suite
def test_a_fine_picture_changes_neither_clouds_nor_usual_pictures(make_env, task):
    env = make_env(task)
    env.reset(3)
    cloud, usual = env.observe().point_cloud, env.render()
    fine = env.render(FINE)
    assert fine.shape[0] == FINE.shape[0] and fine.dtype == np.uint8
    np.testing.assert_array_equal(env.observe().point_cloud, cloud)
    np.testing.assert_array_equal(env.render(), usual)
    if BACKEND == "opengl":
        assert fine.shape == (*FINE.shape, 3) and usual.shape == (*USUAL.shape, 3)


def specks(picture):
    """Pixels that are not red amid pixels that are, as the robot is."""
    red = picture[..., 0] > 1.8 * picture[..., 1]
    height, width = red.shape[0] - 2, red.shape[1] - 2
    around = sum(red[i : i + height, j : j + width] for i in range(3) for j in range(3) if (i, j) != (1, 1))
    return int((~red[1:-1, 1:-1] & (around >= 6)).sum())


@needs_opengl
def test_a_robot_has_fewer_specks_where_faces_seen_from_behind_are_drawn(make_env):
    env = make_env("metaworld_drawer-open")
    env.reset(3)
    assert specks(env.render(FINE)) < specks(env.render(replace(FINE, whole=False))) / 2
