"""What one has to know of a policy to let it act: sizes, steps, and what its numbers mean; needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property

from mp_lib.config import ACTIONS, BOUNDS, COUNT, PolicyConfig
from mp_lib.geometry.kinds import Layout
from mp_lib.geometry.relative import Relative, relative_of
from mp_lib.interfaces import look_up
from mp_lib.system.errors import InputError, shown
from mp_lib.system.values import check_bounds, read_fields

RATE = "more than 0 steps a second", lambda value: 0 < value < float("inf")


@dataclass(frozen=True)
class PolicyFacts:
    """Sizes, steps and units of a policy; the letters are those of ``mp_lib.interfaces``.

    ``action_dim`` is A', how many numbers the network predicts a step, ``robot_dim`` A, how many the robot takes; they
    differ for relative ``actions`` alone. ``state_kinds`` and ``action_kinds`` are layouts as
    ``mp_lib.geometry.kinds.Layout`` reads them, empty where they are not known; ``action_meaning`` says in words what
    the numbers of an action are and in which units. ``fps`` is how many steps a second the demonstrations have, None
    where that is not known. ``checkpoint`` is the digest of the file of weights, ``name`` what
    that is called. An InputError for what no policy can be.
    """

    method: str
    task: str
    state_dim: int
    action_dim: int
    robot_dim: int
    horizon: int
    n_obs_steps: int
    n_action_steps: int
    num_points: int
    num_train_steps: int
    num_inference_steps: int
    actions: str = "absolute"
    state_kinds: str = ""
    action_kinds: str = ""
    action_meaning: str = ""
    fps: float | None = None
    checkpoint: str = ""
    name: str = ""

    def __post_init__(self):
        read_fields(self)
        check_bounds(asdict(self), BOUNDS | {"robot_dim": BOUNDS["action_dim"], "fps": RATE}, COUNT)
        look_up(dict.fromkeys(ACTIONS), self.actions, "actions")
        if self.n_obs_steps - 1 + self.n_action_steps > self.horizon:
            raise InputError(f"n_obs_steps - 1 + n_action_steps exceeds the horizon {self.horizon}; give a longer one")
        if self.num_inference_steps > self.num_train_steps:
            allowed = f"1 to {self.num_train_steps}, the steps of training"
            raise InputError(f"num_inference_steps {self.num_inference_steps} given; it must be {allowed}")
        for kinds, size in ((self.state_kinds, self.state_dim), (self.action_kinds, self.robot_dim)):
            if kinds:
                Layout.parse(kinds, size)
        predicted = self.relative.size if self.relative else self.robot_dim
        if predicted != self.action_dim:
            raise InputError(
                f"{self.actions} actions of {self.robot_dim} numbers given, which need a network that predicts "
                f"{predicted}; it predicts {self.action_dim}"
            )

    @cached_property
    def relative(self) -> Relative | None:
        """The way from what the network predicts to the robot's actions; None where they are the same."""
        return relative_of(self.actions, self.state_kinds, self.action_kinds)

    @property
    def meaning(self) -> str:
        """What the numbers of an executed action are, in words."""
        return "; ".join(filter(None, (self.action_kinds, self.action_meaning))) or "as in the demonstrations"

    def told(self, others: Mapping[str, str]) -> PolicyFacts:
        """The same; what is not known of it is taken from ``others``, such as a task's kinds and meaning of actions."""
        return replace(self, **{key: text for key, text in others.items() if not getattr(self, key)})

    def with_action_kinds(self, kinds: str) -> PolicyFacts:
        """The same with the kinds of an action where they are not known; an InputError where others are."""
        if kinds and self.action_kinds and Layout.parse(kinds).text != Layout.parse(self.action_kinds).text:
            raise InputError(f"action_kinds {shown(kinds)} given; the policy's are {self.action_kinds}: leave them out")
        return self.told({"action_kinds": kinds})


def facts_of(config: PolicyConfig, header: Mapping, checkpoint: str, name: str = "") -> PolicyFacts:
    """The facts of a policy's configuration and of what is saved with its weights (task, action_meaning, fps)."""
    shared = {field.name for field in fields(PolicyFacts)} & {field.name for field in fields(config)}
    relative = relative_of(config.actions, config.state_kinds, config.action_kinds)
    return PolicyFacts(
        **{key: getattr(config, key) for key in shared},
        task=str(header.get("task") or ""),
        robot_dim=relative.action.size if relative else config.action_dim,
        fps=header.get("fps"),
        action_meaning=str(header.get("action_meaning") or ""),
        checkpoint=checkpoint,
        name=name,
    )


def read_facts(found: Mapping) -> PolicyFacts:
    """The facts that a JSON object holds; an InputError if there are others, or values that no policy can have."""
    if not isinstance(found, Mapping):
        raise InputError(f"facts {shown(found)} given; they are an object of JSON")
    names = {field.name for field in fields(PolicyFacts)}
    if missing := {*names} ^ {*found}:
        raise InputError(f"facts of a policy of another version of this project ({', '.join(sorted(missing))})")
    return PolicyFacts(**found)
