"""Where things are in the world: points of clouds, the hand, and what a copy of the simulator does with it."""

import numpy as np
import pytest

from mp_lib.interfaces import Environment
from mp_lib.point_cloud import without_padding
from mp_lib.sim.depth import BACKEND, VISIBLE_GROUPS
from mp_lib.sim.rays import RayDepth
from mp_lib.sim.tasks import TASKS
from mp_lib.system.errors import InputError
from tests.conftest import ToyEnv
from tests.sim.test_suites import every_row, one_a_suite

import mujoco  # isort: skip

FORMS = {  # what makes depth images, from the environment's own camera
    "opengl": lambda camera, model: camera,
    "rays": lambda camera, model: RayDepth(model, camera.camera, camera.size),
}
MARKS = {"opengl": [pytest.mark.skipif(BACKEND != "opengl", reason="no OpenGL context can be created here")]}
every_form = pytest.mark.parametrize("form", [pytest.param(form, marks=MARKS.get(form, [])) for form in FORMS])
SEEDS = 20
POSITION = {"metaworld": slice(0, 3), "dexart": slice(28, 31)}  # of the hand in the state; Adroit's has angles alone


def advance(env, task, seed, steps):
    """Play the expert up to a step of the episode of ``seed``."""
    expert = TASKS[task].make_expert()
    env.reset(seed)
    for _ in range(steps):
        env.step(expert.act(env.truth()))


def seen_points(env):
    """The points (M, 3) of a cloud that the camera has seen."""
    cloud = env.observe().point_cloud
    return without_padding(cloud[: len(cloud) - env.num_imagined])


def follow(branch, actions):
    """Whether the goal is met and where the hand is after each of ``actions``."""
    return [(branch.step(action), *branch.hand()) for action in actions]


def gaps(env, points):
    """How far each of ``points`` (M, 3) of a cloud lies in the world from what a ray of its camera meets there."""
    model, data = env._model, env._data
    eye, met, found = data.cam(env._camera.camera).xpos, np.zeros(1, np.int32), []
    for place in env.to_world(points):
        ray = place - eye  # of its own length, so that 1 is the place
        share = mujoco.mj_ray(model, data, eye, ray, VISIBLE_GROUPS, 1, -1, met)
        found.append(abs(share - 1) * np.linalg.norm(ray) if share >= 0 else np.inf)
    return np.array(found)


@every_form
@every_row
def test_points_of_a_cloud_lie_in_the_world_where_rays_of_its_camera_meet_something(make_env, task, form):
    env = make_env(task, TASKS[task].num_points)
    camera, near = env._camera, []
    for seed in range(SEEDS):
        advance(env, task, seed, steps=seed)
        env._model.site_group[:] = len(VISIBLE_GROUPS) - 1  # hidden: no ray meets a site
        env._camera = FORMS[form](camera, env._model)
        points = seen_points(env)
        assert len(points) > 20
        near.append(gaps(env, points) < 0.01)
        env._camera = camera
    assert np.concatenate(near).mean() > 0.95


@every_row
def test_the_hand_is_where_the_cloud_and_the_state_have_it(make_env, task):
    env, row = make_env(task, TASKS[task].num_points), TASKS[task]
    advance(env, task, seed=1, steps=5)
    assert np.linalg.norm(env.to_world(seen_points(env)) - env.hand(), axis=1).min() < 0.1
    if row.suite in POSITION:
        np.testing.assert_allclose(env.observe().state[POSITION[row.suite]], env.hand(), rtol=1e-6)


@one_a_suite
def test_a_clouds_way_to_the_world_needs_no_episode_and_takes_any_stack(make_env, task):
    cloud = np.random.default_rng(0).normal(size=(2, 3, 5, 3)).astype(np.float32)
    env = make_env(task)
    before = env.to_world(cloud)
    advance(env, task, seed=4, steps=2)
    np.testing.assert_array_equal(env.to_world(cloud), before)
    np.testing.assert_allclose(before[1, 2], env.to_world(cloud[1, 2]), atol=1e-12)
    assert before.dtype == np.float64
    # A turn, and a shear by half a pixel: what is near in the cloud is near in the world.
    apart, here = (np.linalg.norm(np.diff(points, axis=-2), axis=-1) for points in (cloud, before))
    np.testing.assert_allclose(here, apart, rtol=0.02)


def test_clouds_of_dexart_are_in_the_worlds_frame(make_env):
    points = np.random.default_rng(0).normal(size=(50, 3))
    np.testing.assert_allclose(make_env("dexart_laptop").to_world(points), points, atol=1e-6)


@one_a_suite
@pytest.mark.parametrize("shape", [(), (4,), (5, 6)])
def test_points_with_colours_are_refused(make_env, task, shape):
    with pytest.raises(InputError, match="give x, y, z of each"):
        make_env(task).to_world(np.zeros(shape))


@every_row
def test_a_branch_goes_where_the_simulation_goes_to_the_bit_and_changes_nothing_of_it(make_env, task):
    env, size = make_env(task), TASKS[task].action_dim
    advance(env, task, seed=2, steps=15)
    actions = np.random.default_rng(0).uniform(-1, 1, (3, 8, size))

    here = env.observe(), env.hand(), env.truth()
    first, second, again = (follow(env.branch(), actions[k]) for k in (0, 1, 0))
    assert first == again != second
    for was, now in zip(here[2].values(), env.truth().values(), strict=True):
        np.testing.assert_array_equal(now, was)
    np.testing.assert_array_equal(env.hand(), here[1])
    np.testing.assert_array_equal(env.observe().point_cloud, here[0].point_cloud)
    np.testing.assert_array_equal(env.observe().state, here[0].state)
    branch = env.branch()
    assert follow(env, actions[0]) == first  # also after a branch was left behind
    assert follow(branch, actions[1]) == second


@one_a_suite
def test_a_branch_that_is_kept_can_be_followed_again_whatever_comes_after(make_env, task):
    env, size = make_env(task), TASKS[task].action_dim
    advance(env, task, seed=2, steps=15)
    actions = np.random.default_rng(0).uniform(-1, 1, (8, size))
    kept, first = env.branch(), follow(env.branch(), actions)
    follow(env, actions[::-1])
    env.close()
    assert follow(kept.branch(), actions) == first == follow(kept.branch(), actions)


@one_a_suite
def test_the_eye_is_where_the_camera_of_the_clouds_is(make_env, task):
    env = make_env(task)
    advance(env, task, seed=1, steps=5)
    np.testing.assert_allclose(env.eye(), env._data.cam(env._camera.camera).xpos)


@one_a_suite
def test_what_needs_an_episode_says_so(make_env, task):
    for call in (make_env(task).hand, make_env(task).branch):
        with pytest.raises(RuntimeError, match="reset"):
            call()


@pytest.mark.parametrize("task", [*{row.suite: name for name, row in TASKS.items()}.values(), "toy"])
def test_environments_have_all_that_is_asked_of_one(make_env, task):
    env = ToyEnv(8) if task == "toy" else make_env(task)
    asked = {name for name in vars(Environment) if not name.startswith("_")} | {*Environment.__annotations__}
    assert {"to_world", "eye", "hand", "branch", "depth_backend"} <= asked
    assert all(hasattr(env, name) for name in asked)


@one_a_suite
def test_a_state_tells_where_the_hand_is_in_the_cloud(task):
    if not TASKS[task].hand_in_cloud:
        pytest.skip("states have angles alone")
    env = TASKS[task].make_env(num_points=64)
    for steps in (0, 40):
        advance(env, task, 0, steps)
        place = np.array(TASKS[task].hand_in_cloud) @ [*env.observe().state, 1]
        assert np.linalg.norm(env.to_world(place) - env.hand()) < 0.05
    env.close()
