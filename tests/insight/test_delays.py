"""Without delay an actor's episodes are those of rollouts; late chunks hold the arm or skip actions, exactly."""

from dataclasses import replace

import numpy as np
import pytest

from mp_lib.__main__ import main
from mp_lib.acting.engine import TorchEngine
from mp_lib.acting.facts import facts_of
from mp_lib.config import EXPLORING_SEEDS
from mp_lib.insight import delays
from mp_lib.insight.delays import DELAYS, Latecomer, cases, keep_delays, played
from mp_lib.learning.journal import Journal
from mp_lib.learning.rollout import rollout
from mp_lib.learning.simulators import Seat
from mp_lib.model.weights import find_checkpoint
from mp_lib.sim.tasks import TASKS
from mp_lib.study.acting_rows import AHEAD, IN_TURN, ROLLOUT, Delays, read_rows
from mp_lib.system.errors import InputError
from tests.acting.fake import FakeEngine
from tests.conftest import TOY, StaggeredEnv, ToyEnv
from tests.insight.toy_policy import long_toy, toy_policy
from tests.insight.trained import TASK, write_trained

STAGGERED = replace(TOY, make_env=StaggeredEnv)
SEEDS = range(EXPLORING_SEEDS, EXPLORING_SEEDS + 6)


class Told(ToyEnv):
    """Writes down what it is told; its state's first number is the step."""

    log = []

    def reset(self, seed, start=None):
        super().reset(seed)
        self.log.clear()

    def step(self, action):
        self.log.append(action.tolist())
        return super().step(action)


def commands(schedule, delay, kinds="", steps=12, **facts):
    """What the arm is told in an episode by an engine whose action for step t is (10 steps seen + t - seen, call)."""
    spec = replace(long_toy(steps), make_env=Told)
    usual = {"state_dim": 3, "num_points": 8, "n_action_steps": 4, "horizon": 12}
    Latecomer(FakeEngine(kinds, **usual | facts), spec, schedule, delay).play(0)
    return [tuple(action) for action in Told.log]


def told(start, of, call, count=4):
    return [(10 * of + start + number, call) for number in range(count)]


@pytest.mark.parametrize("spec", [TOY, STAGGERED, long_toy(9), long_toy(13)], ids=["toy", "staggered", "9", "13"])
def test_without_delay_the_episodes_are_those_of_rollouts(spec):
    policy = toy_policy(spec=spec)
    player = Latecomer(TorchEngine(policy.policy, facts_of(policy.config, {}, "")), spec, IN_TURN, 0)
    expected = rollout(policy.policy, spec, SEEDS)
    assert [player.play(seed) for seed in SEEDS] == expected
    assert len({episode.steps for episode in expected}) > 1 or spec is not STAGGERED


def test_in_turn_the_arm_holds_and_the_chunk_is_executed_from_its_beginning():
    first, second = told(0, 0, 0), told(0, 4, 1)
    assert commands(IN_TURN, 0, steps=8) == first + second
    assert commands(IN_TURN, 2, steps=10) == first + first[-1:] * 2 + second


def test_to_hold_is_zero_for_steps_and_the_last_command_for_grippers():
    assert commands(IN_TURN, 2, "step:1 gripper:1", steps=6)[4:] == [(0, 0), (0, 0)]
    assert commands(IN_TURN, 2, "position:1 gripper:1", steps=6)[4:] == [(3, 0), (3, 0)]


@pytest.mark.parametrize("delay", [1, 2, 4])
def test_ahead_a_chunk_is_of_what_was_seen_before_and_its_first_actions_are_skipped(delay):
    """So that the action of every step is the one that a chunk had for that step."""
    found = commands(AHEAD, delay)
    asked = [0, 4 - delay, 8 - delay]
    assert found == [row for call, seen in enumerate(asked) for row in told(4 * call - seen, seen, call)]


@pytest.mark.parametrize(("schedule", "delay"), cases(DELAYS)[1:])
def test_what_is_not_looked_at_changes_nothing(schedule, delay, monkeypatch):
    """An actor that is given every observation commands the same."""
    policy = toy_policy(spec=long_toy(30), horizon=12)
    spec = replace(long_toy(30), make_env=Told)

    def everything():
        player = Latecomer(TorchEngine(policy.policy, facts_of(policy.config, {}, "")), spec, schedule, delay)
        player.play(3)
        return np.array(Told.log)

    sparing, looks = everything(), []

    def play(self, actions):
        for action in actions:
            self.flags.append(self.env.step(action))
            if len(self.flags) == self.spec.max_steps:
                return delays.Episode(self.seed, False, len(self.flags))
            self.history.append(self.env.observe())
            looks.append(1)
        return list(self.history)

    monkeypatch.setattr(Seat, "play", play)
    np.testing.assert_array_equal(everything(), sparing)
    assert looks


def test_a_delay_that_a_chunk_has_no_actions_for_is_refused():
    with pytest.raises(InputError, match="delay 4 given; a chunk of this policy can be up to 3 steps late"):
        commands(IN_TURN, 4, horizon=8)


class Killed(Exception):
    pass


def test_episodes_that_were_played_are_not_played_again(tmp_path, monkeypatch):
    policy, seeds = toy_policy(spec=STAGGERED), []
    player = Latecomer(TorchEngine(policy.policy, facts_of(policy.config, {}, "")), STAGGERED, AHEAD, 1)
    whole, play = [player.play(seed) for seed in SEEDS], player.play

    def once(seed):
        if len(seeds) == 3:
            raise Killed
        seeds.append(seed)
        return play(seed)

    monkeypatch.setattr(player, "play", once)
    journal = tmp_path / "a.episodes"
    with pytest.raises(Killed):
        played(player, SEEDS, Journal(journal, {"case": 1}))
    monkeypatch.setattr(player, "play", lambda seed: (seeds.append(seed), play(seed))[1])
    assert played(player, SEEDS, Journal(journal, {"case": 1})) == whole
    assert seeds == [*SEEDS]


@pytest.mark.usefixtures("empty_root")
def test_rows_outlive_a_kill_and_are_measured_once(monkeypatch, capsys):
    run, asked = write_trained(), []
    spec = TASKS[TASK]

    def evaluate(checkpoint, episodes, first_seed, **_):
        return {"successes": [1] * episodes, "steps": [5] * episodes}

    class Player:
        def __init__(self, engine, spec, schedule, delay):
            self.case = (schedule, delay)

        def play(self, seed):
            asked.append((*self.case, seed))
            if len(asked) == 5:
                raise KeyboardInterrupt
            return delays.Episode(seed, seed % 2 == 0, 7)

        def close(self):
            pass

    monkeypatch.setattr(delays, "evaluate", evaluate)
    monkeypatch.setattr(delays, "Latecomer", Player)
    monkeypatch.setattr(delays, "exported", lambda *_: "engine")
    assert main(["keep-acting", run, "--episodes", "2"]) == 130
    assert [(row.schedule, row.delay) for row in read_rows(Delays)] == [(IN_TURN, 0), (IN_TURN, 1), (ROLLOUT, 0)]
    assert main(["keep-acting", run, "--episodes", "2"]) == 0
    assert main(["keep-acting", run, "--episodes", "2"]) == 0
    rows = read_rows(Delays)
    assert {(row.schedule, row.delay) for row in rows} == {*cases(DELAYS)} and len(rows) == len(cases(DELAYS))
    assert len(asked) == 2 * (len(rows) - 1) + 1  # the killed one again
    assert [row.outcomes for row in rows if row.schedule == ROLLOUT] == ["11"]
    assert {(row.outcomes, row.lengths) for row in rows if row.schedule != ROLLOUT} == {("10", "7 7")}
    assert {(row.task, row.policy, row.first_seed) for row in rows} == {(spec.name, run, EXPLORING_SEEDS)}
    assert '"schedule": "rollout"' in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.usefixtures("empty_root")
def test_a_run_is_measured_from_its_file():
    """With the simulator, ONNX Runtime and fresh weights."""
    rows = [*keep_delays(find_checkpoint(write_trained()), episodes=1, delays=[2])]
    assert [(row.schedule, row.delay) for row in rows] == cases([2])
    assert rows[0].lengths == rows[1].lengths and rows == sorted(read_rows(Delays), key=rows.index)
