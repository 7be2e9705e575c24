"""What is recorded depends on the seeds alone: not on processes, failures or interruptions."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest

from mp_lib.__main__ import main
from mp_lib.config import CURVE_SEEDS, scale_config
from mp_lib.data.recording import MOST_POINTS, collect, demonstrations_of
from mp_lib.data.replay_buffer import ReplayBuffer
from mp_lib.interfaces import Obs, SuccessRule, TaskSpec
from mp_lib.sim.env import SimulationDiverged
from mp_lib.sim.tasks import TASKS
from mp_lib.sim.trial import check_expert
from mp_lib.system import locks
from mp_lib.system.errors import InputError

FAILS, DIVERGES, NOT_FINITE = 1, 2, 3  # seeds that are no demonstrations; all others are


class ToyEnv:
    """Counts its steps; the state is (seed, step) and the goal is met from step 3 on."""

    depth_backend = "toy"

    def __init__(self, num_points, seconds=0.0, fatal=None, backend="toy"):
        self.num_points, self.seconds, self.fatal, self.depth_backend = num_points, seconds, fatal, backend

    def reset(self, seed):
        self.seed, self.steps, self.last_action = seed, 0, np.zeros(2, np.float32)

    def step(self, action):
        time.sleep(self.seconds)
        if self.seed == self.fatal:
            os._exit(1)
        if self.seed == DIVERGES:
            raise SimulationDiverged("far away")
        self.steps += 1
        return self.seed != FAILS and self.steps >= 3

    def observe(self):
        state = np.array([self.seed, self.steps], np.float32)
        cloud = np.random.default_rng([self.seed, self.steps]).normal(size=(self.num_points, 3))
        return Obs(cloud.astype(np.float32), state * (np.nan if self.seed == NOT_FINITE else 1))

    def truth(self):
        return {"seed": np.array(self.seed), "steps": np.array(self.steps)}

    def close(self):
        pass


class ToyExpert:
    def act(self, truth):
        return np.array([truth["seed"], truth["steps"]]) / 7


TOY = TaskSpec(
    name="toy",
    suite="toys",
    make_env=ToyEnv,
    make_expert=ToyExpert,
    expert_name="counting",
    state_dim=2,
    action_dim=2,
    num_points=8,
    max_steps=6,
    num_demos=4,
    min_success_steps=4,
    success_rule=SuccessRule("any step", any, stops=True),
)


def contents(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


def seeds(buffer: ReplayBuffer) -> list[int]:
    return [row["seed"] for row in buffer.attributes["episodes"]]


def test_failed_seeds_are_left_out_and_named(tmp_path, caplog):
    buffer = collect(TOY, 4, tmp_path / "a.zarr", jobs=1)
    assert seeds(buffer) == [0, 4, 5, 6]
    assert [row["failed_seeds"] for row in buffer.attributes["episodes"]] == [[], [1, 2, 3], [], []]
    assert [row["solved_seeds"] for row in buffer.attributes["episodes"]] == [[0], [3, 4], [5], [6]]
    for reason in ("goal was met in 0 steps, 4 are needed", "diverged: far away", "not finite: state"):
        assert reason in caplog.text


def test_each_frame_is_what_was_seen_before_its_action(tmp_path):
    frames = collect(TOY, 2, tmp_path / "a.zarr", jobs=1, num_points=16).read()
    expected = np.array([(seed, step) for seed in (0, 4) for step in range(6)], np.float32)
    np.testing.assert_array_equal(frames["state"], expected)
    np.testing.assert_allclose(frames["action"], expected / 7, rtol=1e-6)
    assert frames["point_cloud"].shape == (12, 16, 3)


def test_attributes_say_how_it_was_recorded(tmp_path):
    attributes = collect(TOY, 1, tmp_path / "a.zarr", jobs=1, first_seed=4).attributes
    assert (attributes["task"], attributes["expert"]) == ("toy", "counting")
    assert attributes["settings"] == {
        "first_seed": 4,
        "num_points": 8,
        "max_steps": 6,
        "min_success_steps": 4,
        "objects": "default",
        "revision": 1,
        "depth_backend": "toy",
    }
    assert {"mp_lib", "mujoco", "metaworld", "numpy", "zarr"} <= set(attributes["versions"])


@pytest.mark.parametrize("change", [{"revision": 2}, {"objects": "unseen"}])
def test_episodes_of_another_revision_or_of_other_objects_are_not_mixed(tmp_path, change):
    collect(TOY, 1, tmp_path / "a.zarr", jobs=1)
    with pytest.raises(ValueError, match=f"was recorded with {next(iter(change))}="):
        collect(replace(TOY, **change), 2, tmp_path / "a.zarr", jobs=1)


def test_processes_and_interruptions_change_no_byte(tmp_path):
    collect(TOY, 5, tmp_path / "alone", jobs=1)
    collect(TOY, 5, tmp_path / "together", jobs=2)
    for num_demos in (1, 3, 5):
        collect(TOY, num_demos, tmp_path / "resumed", jobs=1)
    assert len(contents(tmp_path / "alone")) > 8
    assert contents(tmp_path / "alone") == contents(tmp_path / "together") == contents(tmp_path / "resumed")


RECORD = """
import sys
sys.path.insert(0, sys.argv[2])
from tests.data.test_recording import TOY, ToyEnv, collect, partial, replace
if __name__ == "__main__":
    collect(replace(TOY, make_env=partial(ToyEnv, seconds=0.02)), 200, sys.argv[1], jobs=2)
"""


def test_a_killed_recording_leaves_no_process_and_goes_on(tmp_path):
    path, script = tmp_path / "a.zarr", tmp_path / "record.py"
    script.write_text(RECORD)
    command = [sys.executable, str(script), str(path), str(Path(__file__).parents[2])]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        wait_for(lambda: (path / "data/state/0.0").exists())
        children = psutil.Process(process.pid).children(recursive=True)
        os.kill(process.pid, signal.SIGKILL)
    assert len(children) >= 2
    assert not psutil.wait_procs(children, timeout=10)[1]
    kept = ReplayBuffer.open(path).num_episodes
    collect(TOY, kept + 3, path, jobs=1)
    collect(TOY, kept + 3, tmp_path / "whole", jobs=1)
    assert contents(path / "data") == contents(tmp_path / "whole" / "data")


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_process_that_dies_ends_in_one_line_and_what_was_recorded_is_kept(tmp_path):
    collect(TOY, 2, tmp_path / "a.zarr", jobs=1)
    deadly = replace(TOY, make_env=partial(ToyEnv, fatal=6))
    with pytest.raises(RuntimeError, match="died .* are kept in .*run again") as error:
        collect(deadly, 8, tmp_path / "a.zarr", jobs=2)
    assert "\n" not in str(error.value)
    assert seeds(ReplayBuffer.open(tmp_path / "a.zarr")) in ([0, 4], [0, 4, 5])
    assert seeds(collect(TOY, 8, tmp_path / "a.zarr", jobs=1)) == [0, *range(4, 11)]


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_an_expert_that_fails_too_often_ends_the_recording(tmp_path, jobs):
    hopeless = replace(TOY, min_success_steps=7)
    with pytest.raises(RuntimeError, match=r"counting succeeded in 0 of 40 episodes \(0%\)"):
        collect(hopeless, 2, tmp_path / "a.zarr", jobs=jobs)


def test_no_demonstration_is_recorded_on_a_seed_of_evaluations(tmp_path):
    hopeless = replace(TOY, min_success_steps=7)
    with pytest.raises(RuntimeError, match=r"0 of 2 episodes .* no seeds are left before those of evaluations"):
        collect(hopeless, 2, tmp_path / "a.zarr", first_seed=CURVE_SEEDS - 2, jobs=1)


def test_a_finished_recording_is_returned_without_an_environment(tmp_path):
    expected = collect(TOY, 2, tmp_path / "a.zarr", jobs=1).content_hash()
    without = replace(TOY, make_env=None)
    assert collect(without, 2, tmp_path / "a.zarr").content_hash() == expected


DIFFERENCES = {
    "num_points=8, 9": {"num_points": 9},
    "first_seed=0, 1": {"first_seed": 1},
    "max_steps=6, 7": {"task": replace(TOY, max_steps=7)},
    "min_success_steps=4, 3": {"task": replace(TOY, min_success_steps=3)},
    "task='toy', 'other'": {"task": replace(TOY, name="other")},
    "expert='counting', 'guessing'": {"task": replace(TOY, expert_name="guessing")},
    "depth_backend='toy', 'rays'": {"task": replace(TOY, make_env=partial(ToyEnv, backend="rays"))},
    "2 demonstrations, 1 were": {"num_demos": 1},
}


@pytest.mark.parametrize("difference", DIFFERENCES)
def test_a_recording_is_not_mixed_with_another(tmp_path, difference):
    collect(TOY, 2, tmp_path / "a.zarr", jobs=1)
    before = contents(tmp_path / "a.zarr")
    with pytest.raises(ValueError, match=difference):
        collect(**{"task": TOY, "num_demos": 3, "path": tmp_path / "a.zarr", "jobs": 1} | DIFFERENCES[difference])
    assert contents(tmp_path / "a.zarr") == before


def test_two_do_not_record_into_one_store(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "PATIENCE", 0.1)
    refused = pytest.raises(RuntimeError, match=f"a.zarr is in use by process {os.getpid()} on .*; wait for it")
    with locks.sole_user(tmp_path / "a.zarr.lock", "the store"), refused:
        collect(TOY, 1, tmp_path / "a.zarr", jobs=1)
    assert collect(TOY, 1, tmp_path / "a.zarr", jobs=1).num_episodes == 1


def test_a_place_that_cannot_be_written_is_found_before_anything_is_played(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="cannot write"):
        collect(replace(TOY, make_env=None), 1, tmp_path / "file" / "a.zarr", jobs=1)


WRONG = [
    *({"num_demos": 0}, {"num_demos": CURVE_SEEDS + 1}, {"num_demos": 10**30}, {"jobs": 0}, {"jobs": 10**30}),
    *({"num_points": 0}, {"num_points": 10**30}, {"first_seed": -1}, {"first_seed": 10**30}),
    *({"num_points": most + 1, "task": replace(TOY, suite=suite)} for suite, most in MOST_POINTS.items()),
]


@pytest.mark.parametrize("wrong", WRONG)
def test_numbers_that_mean_nothing_are_refused_before_anything_is_recorded(tmp_path, wrong):
    key, value = next(iter(wrong.items()))
    with pytest.raises(InputError, match=f"^{key} {value} given; .*at (least|most) [0-9]") as refused:
        collect(**{"task": TOY, "num_demos": 1, "path": tmp_path / "a.zarr"} | wrong)
    assert "\n" not in str(refused.value) and not [*tmp_path.iterdir()]


@pytest.mark.parametrize("task", ["metaworld_reach", "adroit_pen", "dexart_laptop"])
def test_more_points_than_our_camera_has_are_refused_for_recording_and_taken_from_a_store(task, empty_root):
    config, spec = scale_config("smoke", task, "dp3", num_points=20_000), TASKS[task]
    with pytest.raises(InputError, match=f"num_points 20000 given; clouds of {spec.suite} have at most .* as demos"):
        demonstrations_of(config)
    assert not [*empty_root.rglob("*.zarr*")]
    shapes = {"point_cloud": (20_000, 3), "state": (spec.state_dim,), "action": (spec.action_dim,)}
    stranger = ReplayBuffer.create(empty_root / "theirs.zarr", shapes, {})
    for _ in range(2):
        stranger.append({key: np.ones((3, *shape), np.float32) for key, shape in shapes.items()}, {})
    store = demonstrations_of(config, demos=str(stranger.path))
    assert store.read(config.num_points)["point_cloud"].shape == (6, 20_000, 3)


def test_an_unknown_task_is_refused(tmp_path):
    with pytest.raises(ValueError, match="unknown task 'nope'; choose one of"):
        collect("nope", 1, tmp_path / "a.zarr")


def test_an_expert_is_judged_by_the_rule_of_its_suite():
    result = check_expert(TOY, episodes=8)
    assert result["success_rate"] == 6 / 8  # nothing is looked at, so NOT_FINITE does not show
    assert result["interval"][0] < 6 / 8 < result["interval"][1]
    assert result["steps_per_second"] > 0
    never = replace(TOY, success_rule=SuccessRule("the first step", lambda flags: flags[0], stops=False))
    assert check_expert(never, episodes=8)["success_rate"] == 0


def test_the_command_prints_one_line_of_json(monkeypatch, capsys):
    monkeypatch.setitem(TASKS, "toy", TOY)
    assert main(["check", "toy", "--episodes", "5", "--json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    result = json.loads(lines[0])
    assert set(result) == {"task", "expert", "episodes", "success_rate", "interval", "steps_per_second"}
    assert (result["task"], result["expert"], result["episodes"]) == ("toy", "counting", 5)


@pytest.mark.parametrize("arguments", [["nope"], ["toy", "--episodes", "0"]])
def test_the_command_answers_a_mistake_with_one_line_and_status_2(monkeypatch, capsys, arguments):
    monkeypatch.setitem(TASKS, "toy", TOY)
    assert main(["check", *arguments, "--json"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
