"""What one can call after ``import mp_lib``: found by any name, repeatable, shown in words, mistakes in one line."""

import hashlib
import json
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import mp_lib
from mp_lib import front
from mp_lib.acting.actor import Actor
from mp_lib.config import EXPLORING_SEEDS, FINAL_SEEDS
from mp_lib.insight.playing import Play
from mp_lib.insight.prediction import denoise, denoise_from
from mp_lib.learning import trainings
from mp_lib.learning.folder import lock_of
from mp_lib.learning.rollout import rollout
from mp_lib.model.weights import shipped
from mp_lib.presets import METHODS
from mp_lib.sim.tasks import TASKS
from mp_lib.study.designs import DEFAULT_TASK
from mp_lib.system.errors import InputError, Stopped
from mp_lib.system.files import write_json
from mp_lib.system.locks import sole_user
from mp_lib.system.paths import run_path
from tests import ROOT
from tests.insight.trained import TASK, write_trained


@pytest.fixture(autouse=True)
def own_root(monkeypatch, tmp_path):
    monkeypatch.setenv("MP_ROOT", str(tmp_path))


def test_the_package_offers_few_names_each_with_a_line():
    assert dir(mp_lib) == mp_lib.__all__ == sorted(mp_lib.__all__) and len(mp_lib.__all__) <= 13
    for name in mp_lib.__all__:
        assert getattr(mp_lib, name) is (Actor if name == "Actor" else getattr(front, name))
        assert "." in getattr(mp_lib, name).__doc__.splitlines()[0]
    with pytest.raises(AttributeError, match="it offers: play, ") as found:
        _ = mp_lib.plya
    assert found.value._render_traceback_() == [str(found.value)] and not hasattr(mp_lib, "plya")


def test_what_the_names_need_is_one_line_where_it_is_not_installed():
    code = "import sys; sys.modules['pandas'] = None; import mp_lib; mp_lib.runs"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    told = done.stderr.splitlines()[-1]
    assert "MissingExtraError: pandas is not installed" in told and "python -m pip install -e '.[lab]'" in told


def test_swapped_arguments_are_told_apart_before_anything_is_recorded():
    with pytest.raises(InputError, match=r"the task comes first: train\('metaworld_reach', 'simple_dp3'\)"):
        mp_lib.train("simple_dp3", "metaworld_reach")


def test_tables_name_all_methods_and_tasks():
    assert list(mp_lib.methods()["method"]) == [*METHODS]
    assert list(mp_lib.tasks()["task"]) == [*TASKS]
    assert {name.split("_")[0] for name in mp_lib.tasks("adroit")["task"]} == {"adroit"}
    with pytest.raises(InputError, match="unknown suite 'adriot'; choose one of: metaworld, adroit, dexart"):
        mp_lib.tasks("adriot")


def test_a_policy_is_found_by_method_run_folder_and_file():
    older, newer = write_trained(seed=0), write_trained(seed=1)
    os.utime(run_path(older) / "result.json", (1, 1))
    places = ("simple_dp3", "", newer, str(run_path(newer)), str(run_path(newer) / "policy.safetensors"))
    assert {mp_lib.load(place).name for place in places} == {newer}
    assert mp_lib.load("simple_dp3", seed=0).name == older
    shown = repr(mp_lib.load(older))
    for word in ("simple_dp3", TASK, "1 of 2 episodes", "scale smoke, seed 0", "point_cloud (2, 64, 3)", "8 of 16"):
        assert word in shown
        assert word in mp_lib.load(older)._repr_html_()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"name": "simple_dp4"}, "no run, folder or method 'simple_dp4'; did you mean 'simple_dp3'?"),
        (
            {"name": "simple_dp3", "seed": 5},
            "no finished run of method simple_dp3, seed 5 here; train it: ./run_all.sh",
        ),
        (
            {"name": "simple_dp3", "task": "drawer-open"},
            "unknown task 'drawer-open'; choose one of: metaworld_drawer-o",
        ),
        ({"name": 5}, 'name 5 given; it is str, such as "dp3_mamba"'),
        ({"name": TASK}, f'{TASK} is a task and no policy; give it as one: load(task="{TASK}")'),
        (
            {"name": "pocket-metaworld_drawer-open-pocket_mamba-seed9"},
            "runs with such names: pocket-metaworld_drawer-open",
        ),
        ({"name": "smoke-metaworld_drawer-open-simple_dp3-seed7"}, "runs with such names: smoke-metaworld_drawer-open"),
    ],
)
def test_what_cannot_be_found_is_one_line_that_helps(given, told):
    write_trained()
    with pytest.raises(InputError) as found:
        mp_lib.load(**given)
    assert told in str(found.value)
    assert found.value._render_traceback_() == [str(found.value)] and "\n" not in str(found.value)


def test_an_episode_is_the_rollouts_and_repeats():
    policy = mp_lib.load(write_trained())
    played = mp_lib.play(policy, 80_001, film=False)
    (rolled,) = rollout(policy.policy, policy.spec, [80_001])
    assert (played.success, played.steps) == (rolled.success, rolled.steps)
    again = mp_lib.play(policy.name, 80_001, film=False)
    assert [each.step for each in played.moments] == list(range(0, played.steps, 8))
    for one, other in zip(played.moments, again.moments, strict=True):
        assert np.array_equal(one.chunk, other.chunk)
        assert np.array_equal(one.history[-1].point_cloud, other.history[-1].point_cloud)
    assert "environment seed 80001: fails after 200 steps" in repr(played) and "final" not in repr(played)


def test_a_film_is_shown_and_saved_and_seeds_of_the_final_tables_are_told(monkeypatch, tmp_path):
    policy = mp_lib.load(write_trained())
    monkeypatch.setattr(type(policy.spec), "max_steps", 16, raising=False)
    object.__setattr__(policy.spec, "max_steps", 16)
    played = mp_lib.play(policy, FINAL_SEEDS)
    assert len(played.film) == played.steps + 1 == 17
    assert "<video" in played._repr_html_() and "base64" in played._repr_html_()
    assert played.save(tmp_path / "film.mp4").stat().st_size > 1000
    assert f"a seed of the final tables; those for exploring begin at {EXPLORING_SEEDS}" in repr(played)


def test_predictions_are_of_the_noise_and_leave_the_episode_alone():
    policy = mp_lib.load(write_trained())
    with Play(policy, 80_000) as stage:
        moments = stage.moments()
        first = next(moments)
        chunks = mp_lib.predict(policy, first.history, samples=3)
        assert chunks.shape == (3, 16, 4) and chunks.dtype == np.float32
        second = next(moments)
    with Play(policy, 80_000) as stage:
        moments = stage.moments()
        assert np.array_equal(next(moments).chunk, first.chunk) and np.array_equal(next(moments).chunk, second.chunk)
    np.testing.assert_allclose(mp_lib.predict(policy, first.history, samples=2), chunks[:2], atol=1e-5)
    assert not np.allclose(chunks[0], chunks[1]) and not np.allclose(
        mp_lib.predict(policy, first.history, 1, noise_seed=1)[0], chunks[0]
    )
    path = denoise(policy.policy, first.history, 3, num_inference_steps=4)
    assert path.shape == (5, 3, 16, 4)
    assert np.array_equal(denoise_from(policy.policy, first.history, first.noise[None])[-1, 0], first.chunk)
    one = mp_lib.predict(policy, first.history[-1], 1)
    np.testing.assert_allclose(one, mp_lib.predict(policy, [first.history[-1]] * 2, 1), atol=1e-6)


def test_a_path_starts_at_the_hand_in_the_world():
    policy = mp_lib.load(write_trained())
    env = policy.environment(80_000)
    path = mp_lib.predicted_path(policy, env, samples=2)
    assert path.shape == (2, 15, 3) and np.abs(path[:, 0] - env.hand()).max() < 0.05
    assert np.array_equal(path, mp_lib.predicted_path(policy.name, env, [env.observe()], samples=2))


@pytest.mark.parametrize(
    ("given", "told"),
    [({"samples": 0}, "samples 0"), ({"noise_seed": -1}, "seed"), ({"num_inference_steps": 200}, "200")],
)
def test_what_cannot_be_predicted_is_refused(given, told):
    policy = mp_lib.load(write_trained())
    with Play(policy, 80_000) as stage:
        obs = next(stage.moments()).history
    with pytest.raises(ValueError, match=told):
        mp_lib.predict(policy, obs, **given)
    with pytest.raises(InputError, match="obs is no observation; give an Obs"):
        mp_lib.predict(policy, {"state": 1})


def test_two_policies_are_compared_on_the_same_seeds():
    names = [write_trained(seed=seed) for seed in (0, 1)]
    found = mp_lib.compare(*names, episodes=2, films=False)
    assert found.first_seed == EXPLORING_SEEDS and found.difference.value == 0
    assert all(name in repr(found) for name in names) and "these two trainings alone" in found._repr_html_()
    other = write_trained(task="metaworld_reach")
    with pytest.raises(InputError, match=f"acts in {TASK}, .* in metaworld_reach; give two of one task"):
        mp_lib.compare(names[0], other)
    with pytest.raises(InputError, match="unknown argument 'bogus'; choose one of: num_inference_steps, jobs, device"):
        mp_lib.compare(*names, bogus=1)
    few = mp_lib.load(names[0], num_inference_steps=2)
    again = mp_lib.compare(names[0], few, episodes=2, films=False)
    assert [line.split(":")[0] for line in again.lines()[:2]] == [f"{names[0]}, {steps} steps" for steps in (10, 2)]


@pytest.mark.parametrize(("how", "films"), [({"jobs": 1}, 2), ({"num_inference_steps": 2}, 0)])
def test_films_are_of_what_was_counted(how, films):
    names = [write_trained(seed=seed) for seed in (0, 1)]
    assert len(mp_lib.compare(*names, episodes=1, **how).films) == films


@pytest.mark.parametrize("given", [{"scale": "smoke"}, {"seed": 0}])
def test_scale_and_seed_choose_among_a_methods_runs_alone(given):
    name = write_trained()
    assert mp_lib.load("simple_dp3", **given).name == name
    with pytest.raises(InputError, match=f"{[*given][0]} .* is for a method"):
        mp_lib.load(name, **given)
    assert mp_lib.load("simple_dp3", seed="0").name == name


def test_a_policy_is_no_path_to_go_on_from():
    with pytest.raises(InputError, match=r"init .* given; it is a path.*policy\.checkpoint"):
        mp_lib.train(TASK, "dp3", "smoke", init=mp_lib.load(write_trained()))


def test_what_a_folder_of_others_holds_is_no_run():
    write_json(run_path("foreign") / "config.json", {"type": "diffusion"})
    assert mp_lib.runs().empty


def test_runs_are_listed_newest_first_with_those_that_have_not_ended():
    for seed in (0, 1):
        os.utime(run_path(write_trained(seed=seed)) / "result.json", (9 - seed, 9 - seed))
    begun = run_path("begun")
    write_json(begun / "config.json", {"task": TASK, "method": "dp3", "scale": "smoke", "seed": 3, "num_steps": 8})
    (begun / "metrics.jsonl").write_text('{"step": 3, "loss": 0.5}\n')
    table = mp_lib.runs()
    assert list(table["seed"]) == [3, 0, 1] and list(table["state"]) == ["stopped, step 4", "finished", "finished"]
    assert table["success, % (95 % interval)"].iloc[1] == "50 (9 to 91)"
    with sole_user(lock_of(begun), "it"):
        assert mp_lib.runs()["state"].iloc[0] == "training, step 4"


def test_a_run_of_somebody_else_is_watched_to_its_end(capsys):
    name = write_trained()
    folder = run_path(name)
    write_json(folder / "config.json", {"num_steps": 8})
    (folder / "rollout.mp4").touch()
    mp_lib.live(name)
    assert "8/8" in capsys.readouterr().err
    (folder / "result.json").unlink()
    with pytest.raises(InputError, match="nobody trains .*, which has come to step 8"):
        mp_lib.live(name)
    with sole_user(lock_of(folder), "it"):
        ended = threading.Timer(1.5, (folder / "result.json").touch)
        ended.start()
        began = time.monotonic()
        mp_lib.live(folder)
        assert time.monotonic() - began > 1
    with pytest.raises(InputError, match="near: smoke"):
        mp_lib.live(name[:-1] + "9")


def test_a_policy_is_trained_stopped_and_trained_on(monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    numbers = {"scale": "smoke", "num_steps": 4, "final_episodes": 1}
    with monkeypatch.context() as patched:
        patched.setattr("mp_lib.learning.stages.Run.end", stop)
        with pytest.raises(Stopped, match="Stopped at step 4 of 4, saved; run it again to go on"):
            mp_lib.train(TASK, "simple_dp3", **numbers)
    assert mp_lib.runs()["state"].iloc[0].startswith("stopped, step 4")
    policy = mp_lib.train(TASK, "simple_dp3", **numbers)
    assert policy.method == "simple_dp3" and "num_steps=4" in mp_lib.runs()["run"].iloc[0]


def test_what_cannot_be_trained_is_refused_before_anything_is_recorded(monkeypatch):
    monkeypatch.setattr(trainings, "demonstrations_of", None)
    with pytest.raises(
        InputError, match="unknown parameter 'num_stepz'; choose one of: num_steps, .*num_epochs, .*num_demos"
    ):
        mp_lib.train(TASK, "simple_dp3", num_stepz=4)
    with pytest.raises(InputError, match="jobs 0 given; it must be at least 1"):
        mp_lib.train(TASK, "simple_dp3", jobs=0)


def test_demonstrations_that_are_not_there_are_told_in_one_line(tmp_path):
    for call in (lambda **given: mp_lib.train(TASK, "simple_dp3", "smoke", **given), mp_lib.view):
        with pytest.raises(InputError, match="no demonstrations at .*nowhere") as found:
            call(demos=str(tmp_path / "nowhere"))
        assert found.value._render_traceback_() == [str(found.value)]


def test_where_nothing_was_trained_there_are_the_policies_that_come_with_the_project():
    policy = mp_lib.load()
    assert policy.checkpoint == shipped()[0] and policy.task == DEFAULT_TASK
    assert mp_lib.load("pocket_mamba").checkpoint == policy.checkpoint
    with pytest.raises(InputError, match="no finished run of method pocket_mamba, seed 7 here"):
        mp_lib.load("pocket_mamba", seed=7)
    own = write_trained("pocket_mamba")
    assert mp_lib.load("pocket_mamba").name == own


@pytest.mark.parametrize(("method", "scale"), [("simple_dp3", "quick"), ("pocket_mamba", "pocket")])
def test_a_method_is_trained_at_its_own_scale_where_none_is_given(method, scale, monkeypatch):
    asked = []
    monkeypatch.setattr(trainings, "complete", lambda config, *_: asked.append(config.scale))
    trainings.train(TASK, method, "", 0, "", "", "", {}, {})
    trainings.train(TASK, method, "smoke", 0, "", "", "", {}, {})
    assert asked == [scale, "smoke"]


def test_three_policies_come_with_the_project_each_small_and_on_the_card():
    card = (ROOT / "data/policies/README.md").read_text()
    assert len({mp_lib.load(str(checkpoint)).task for checkpoint in shipped()}) == len(shipped()) == 3
    for checkpoint in shipped():
        assert checkpoint.stat().st_size <= 2 * 10**6
        result = json.loads(checkpoint.with_name("result.json").read_text())
        successes = result["final"]["successes"]
        digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
        for said in (checkpoint.parent.name, digest, f"{sum(successes)} of {len(successes)}", result["commit"]):
            assert said in card, f"the card does not say {said}"
        assert mp_lib.load(checkpoint.parent.name).checkpoint == checkpoint
