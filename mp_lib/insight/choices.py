"""What there is to choose from when one looks around: trained policies, and episodes of theirs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mp_lib.config import EXPLORING_SEEDS
from mp_lib.insight.browsing import Browsed, played
from mp_lib.insight.recorded import Recorded
from mp_lib.insight.scene import Scene
from mp_lib.insight.trained import Trained, another, load, told_apart
from mp_lib.learning.folder import stored_result
from mp_lib.model.weights import CHECKPOINT, shipped
from mp_lib.study.rows import load_runs
from mp_lib.system.errors import InputError
from mp_lib.system.memo import Memo
from mp_lib.system.paths import run_path
from mp_lib.system.values import meaning

MOST_EPISODES = 12  # that are kept; one takes some ten MB


class Policies:
    """Trained policies that take the same states in one task, by name; a policy is loaded when it is first chosen."""

    def __init__(self, *given: Trained):
        """An InputError if one of those ``given`` acts in another task than the first one, or takes other states."""
        self.first = given[0]
        self.given = tuple(told_apart([self.check(each) for each in given]))
        self.first = self.given[0]
        self.loaded = {each.name: each for each in self.given}

    def names(self) -> dict[str, str]:
        """By names without the task: those given, all finished runs of the task, those that come with the project.

        A value is what ``named`` takes.
        """
        task, runs = self.first.task, load_runs().drop_duplicates("folder")
        names, given = {each.name: each.name for each in self.given}, {each.checkpoint.resolve() for each in self.given}
        own = [run_path(folder) / CHECKPOINT for folder in runs.loc[runs["task"] == task, "folder"]]
        coming = [each for each in shipped() if stored_result(each)["config"]["task"] == task]
        for checkpoint in (*own, *coming):
            if checkpoint.resolve() not in given:
                names[another(checkpoint.parent.name, names)] = str(checkpoint)
        return {name.replace(f"-{task}-", " "): value for name, value in names.items()}

    def named(self, name: str) -> Trained:
        """A policy; an InputError if it cannot be shown beside the first one."""
        if name not in self.loaded:
            policy = self.check(load(name))
            called = another(policy.name, [each.name for each in self.loaded.values()])
            self.loaded[name] = policy if called == policy.name else replace(policy, called=called)
        return self.loaded[name]

    def check(self, policy: Trained) -> Trained:
        """The same; an InputError if it cannot be shown beside the first one."""
        for what, here, there in (
            ("acts in", self.first.task, policy.task),
            ("takes states of size", self.first.config.state_dim, policy.config.state_dim),
        ):
            if here != there:
                raise InputError(f"{self.first.name} {what} {here}, {policy.name} {what} {there}; give two that agree")
        return policy


class Episodes:
    """Episodes that policies play; ``episode`` is an environment seed."""

    noun = "environment seed"

    def numbers(self, policy: Trained) -> Sequence[int]:
        """None is listed: any seed can be played."""
        return ()

    def first(self, policy: Trained, number: int | None) -> int:
        """The episode that is shown first: that of the environment seed which was asked for, or the usual one."""
        return EXPLORING_SEEDS if number is None else meaning("seed", "int", number)

    def browsed(self, policy: Trained, episode: int) -> Browsed:
        """The episode, which is played now."""
        return played(policy, episode)


class Demonstrations:
    """Demonstrations of a store, or of each policy its own; ``episode`` is a demonstration's number."""

    noun = "demonstration"

    def __init__(self, demos: str):
        self.demos = demos
        self.opened: dict[Trained, Recorded] = {}

    def of(self, policy: Trained) -> Recorded:
        """The store as the policy sees it."""
        if policy not in self.opened:
            self.opened[policy] = Recorded(policy, self.demos)
        return self.opened[policy]

    def numbers(self, policy: Trained) -> Sequence[int]:
        """Those of all demonstrations."""
        return self.of(policy).episodes

    def first(self, policy: Trained, number: int | None) -> int:
        """The demonstration that is shown first: that which was asked for, or the first of all.

        An InputError if there is no such one.
        """
        return self.numbers(policy)[0] if number is None else self.of(policy).number(number)

    def browsed(self, policy: Trained, episode: int) -> Browsed:
        """The demonstration, which is executed once more."""
        return self.of(policy).browsed(episode)


class Scenes:
    """What a source shows, ``Episodes`` or ``Demonstrations``, with what was computed of it."""

    def __init__(self, source: Episodes | Demonstrations):
        self.source, self.memo = source, Memo(MOST_EPISODES)

    def is_kept(self, policy: Trained, episode: int) -> bool:
        """Whether it does not have to be played first."""
        return (policy, episode) in self.memo

    def scene(self, policy: Trained, episode: int) -> Scene:
        """The scene of an episode, which is played where it is not kept."""
        return self.memo.get((policy, episode), lambda: Scene(self.source.browsed(policy, episode)))

    def first(self, policy: Trained, number: int | None = None) -> Scene:
        """The scene that is shown first: of the episode of that number, if one is given."""
        return self.scene(policy, self.source.first(policy, number))
