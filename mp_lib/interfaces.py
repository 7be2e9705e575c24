"""The nouns of the project and the letters of all shapes.

Letters, the same in every file::

    B  batch            T  horizon (actions predicted)   To  observed steps   Ta  executed actions
    N  points of a cloud   S  state size   A  action size   L  sequence length
    D  channels         C  condition size
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

from mp_lib.system.errors import InputError, shown
from mp_lib.system.names import nearest

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Obs:
    """What a policy sees at one step: ``point_cloud`` (N, 3) and ``state`` (S,), both float32.

    Points are in metres in the frame of the suite's crop, which of MetaWorld and Adroit is not the world's but a turned
    one, as in DP3; (0, 0, 0) is padding. ``to_world`` of any environment of the task leads to the world. Positions and
    velocities in ``state``, and what moves in an action, are along the world's axes.
    """

    point_cloud: np.ndarray
    state: np.ndarray


@dataclass(frozen=True)
class Start:
    """What is otherwise in an episode than the task has it, from its reset on; by default nothing.

    ``camera_turned``: degrees by which the camera of the cloud stands further round, counterclockwise from above, about
    the upright through the middle of the workspace, while ``to_world`` and what leads to the cloud take it to stand
    where it stood. ``object_shifted``: percent by which the ranges are wider, about their middles, in which things are
    placed (``TaskSpec.placed``).
    """

    camera_turned: float = 0.0
    object_shifted: float = 0.0


AS_USUAL = Start()


@dataclass(frozen=True)
class Branch:
    """A copy of a simulation at one moment, which can be stepped and not looked at; see ``Environment.branch``.

    ``step``, ``hand`` and ``branch`` are those of an ``Environment``: one that is kept and only branched stays what the
    moment was.
    """

    step: Callable[[np.ndarray], bool]
    hand: Callable[[], np.ndarray]
    branch: Callable[[], Branch]


@dataclass(frozen=True)
class Picture:
    """How a picture for people is taken: H, W in pixels, samples a pixel, and whether faces seen from behind are drawn.

    Meshes of robots have such faces, and where they are left out the background shows through as bright specks. A film
    has a picture ``every`` so many steps.
    """

    shape: tuple[int, int] = (240, 320)
    samples: int = 0
    whole: bool = False
    every: int = 1


USUAL, FINE = (
    Picture(),
    Picture((480, 640), samples=4, whole=True, every=2),
)  # of a run's own films, of what is shown large


class Environment(Protocol):
    """One simulated task; stepping and looking are apart, because looking (a depth image) is what costs.

    ``truth`` holds the simulator's own numbers, which experts may see and policies may not. The world is the frame of
    the simulator: metres, z up.
    """

    depth_backend: str

    def reset(self, seed: int, start: Start = AS_USUAL) -> None:
        """Start the episode that belongs to ``seed``, the same one every time, but for what ``start`` changes."""

    def step(self, action: np.ndarray) -> bool:
        """Apply one action (A,) in [-1, 1] and say whether the goal is met after it.

        What 1 is of each number is told by ``TaskSpec.action_meaning``.
        """

    def observe(self) -> Obs:
        """Look: point cloud and state as they are now."""

    def truth(self) -> dict[str, np.ndarray]:
        """The simulator's own state, by name."""

    def to_world(self, points: np.ndarray) -> np.ndarray:
        """Where in the world points (..., 3) of the task's clouds were seen; float64, in metres. Needs no episode."""

    def eye(self) -> np.ndarray:
        """Where in the world the camera of the clouds is (3,), float64, in metres; it does not move."""

    def hand(self) -> np.ndarray:
        """Where the hand is in the world (3,), float64, in metres."""

    def branch(self) -> Branch:
        """The simulation as it is now, once more, to be stepped apart; it holds until the next ``reset``."""

    def render(self, picture: Picture = USUAL) -> np.ndarray:
        """A picture (H, W, 3) uint8; drawn from the point cloud where there is no OpenGL, as a square.

        Its camera need not be that of the cloud, and it may be turned upright.
        """

    def close(self) -> None:
        """Free the renderer."""


class Expert(Protocol):
    """A demonstrator; made anew for every episode, so it may keep a plan."""

    def act(self, truth: dict[str, np.ndarray]) -> np.ndarray:
        """The action (A,) that it takes in the state ``truth``."""


@dataclass(frozen=True)
class SuccessRule:
    """How a suite turns the goal flags of an episode into one success.

    ``stops`` says that the first flag decides, so that a rollout may end there.
    """

    name: str
    judge: Callable[[Sequence[bool]], bool]
    stops: bool


@dataclass(frozen=True)
class Demonstrator:
    """An expert that can be asked for: ``name`` is stored with what it shows, ``remark`` stands beside it in tables."""

    name: str
    make: Callable[[], Expert]
    remark: str = ""


@dataclass(frozen=True)
class TaskSpec:
    """One task: a row of ``mp_lib.sim.tasks.TASKS``.

    It is handed to simulating processes, so ``make_env``, ``make_expert`` and the rule's ``judge`` are functions or
    classes that a process can import by name, or ``functools.partial`` of these; ``make_env`` takes ``num_points``.

    ``num_demos`` is the paper's number of demonstrations; an episode is kept as a demonstration if
    its goal is met in at least ``min_success_steps`` steps; ``max_steps`` counts policy steps. Where ``ends_at_goal``,
    an episode is over as soon as its goal is met, also while it is recorded. ``action_meaning`` says what the numbers
    of an action are, and in which units; ``action_kinds`` of which kinds they are in order, such as "step:3 gripper:1",
    or is empty. ``hand_in_cloud`` (3, S + 1) leads from a state, and 1, to where the hand is in the frame of the
    clouds; empty where the state does not tell. ``placed`` says what stands elsewhere in every episode, within a
    range; it is empty where nothing does. ``remark`` says how the task differs from the paper's, so that published
    numbers are not comparable; it is empty where they are. ``expert_remark`` says how the expert differs. Both
    stand beside numbers that rest on them. ``other_experts`` can be had by ``with_expert``, ``other_objects`` by
    ``with_objects``. ``other_states`` are sizes of state that stores of others have, and that ``make_env`` takes as
    ``state_dim``. ``revision`` is raised when a seed gives another episode or other clouds than before, so that
    demonstrations of both are not mixed. ``package`` is the installed package that declares the task; it is empty
    for this project's own.
    """

    name: str
    suite: str
    make_env: Callable[..., Environment]
    make_expert: Callable[[], Expert]
    expert_name: str
    state_dim: int
    action_dim: int
    num_points: int
    max_steps: int
    num_demos: int
    min_success_steps: int
    success_rule: SuccessRule
    action_meaning: str = ""
    state_kinds: str = ""
    action_kinds: str = ""
    hand_in_cloud: tuple[tuple[float, ...], ...] = ()
    placed: str = ""
    remark: str = ""
    expert_remark: str = ""
    other_experts: Mapping[str, Demonstrator] = field(default_factory=dict)
    objects: str = "default"
    other_objects: tuple[str, ...] = ()
    other_states: tuple[int, ...] = ()
    revision: int = 1
    ends_at_goal: bool = False
    package: str = ""

    @property
    def simulated(self) -> bool:
        """Whether it can be played, rather than exist in recordings alone (``mp_lib.data.own_tasks``)."""
        return self.max_steps > 0

    def with_expert(self, key: str) -> TaskSpec:
        """The task with the expert of that key: "default" or one of ``other_experts``; else a ValueError lists them."""
        own = Demonstrator(self.expert_name, self.make_expert, self.expert_remark)
        chosen = look_up({"default": own, **self.other_experts}, key, f"expert of {self.name}")
        return replace(self, make_expert=chosen.make, expert_name=chosen.name, expert_remark=chosen.remark)

    def with_objects(self, key: str) -> TaskSpec:
        """The task with other objects: "default" or one of ``other_objects``; else a ValueError lists them."""
        others = {other: partial(self.make_env, instances=other) for other in self.other_objects}
        make_env = look_up({"default": self.make_env, **others}, key, f"objects of {self.name}:")
        return replace(self, make_env=make_env, objects=key)

    def with_state(self, size: int) -> TaskSpec:
        """The task with a state of ``size`` numbers: its own or one of ``other_states``, which a ValueError lists."""
        others = {other: partial(self.make_env, state_dim=other) for other in self.other_states}
        make_env = look_up({self.state_dim: self.make_env, **others}, size, f"size of the state of {self.name}:")
        hand = self.hand_in_cloud if size == self.state_dim else ()  # which of other numbers nobody has said
        return replace(self, state_dim=size, make_env=make_env, hand_in_cloud=hand)


# One word a thing, in configurations, parameters of notebooks and options: what others call it, and its name here.
NAMED_HERE = {
    **dict.fromkeys(("n_demos", "num_demonstrations", "demonstrations"), "num_demos"),
    **dict.fromkeys(("demo_path", "demos_path", "dataset", "zarr_path"), "demos"),
    **dict.fromkeys(("n_episodes", "num_episodes", "num_rollouts"), "episodes"),
    **dict.fromkeys(("n_steps", "train_steps", "training_steps"), "num_steps"),
    **dict.fromkeys(("denoising_steps", "inference_steps", "n_inference_steps"), "num_inference_steps"),
    "n_epochs": "num_epochs",
}


LISTED, NEAREST = 40, 5  # choices that one line can hold; of more than that it names the nearest
GLANCE = 10  # choices that are seen at a glance, in their own order; of more than that the nearest come first
LONGEST = 80  # letters of a name that are compared, since whoever hands over a text means none
ALL_OF = {"task": "mp_lib.tasks()"}  # what lists what a line cannot hold


def look_up(registry: Mapping, name: str, noun: str):
    """Return ``registry[name]``; an InputError lists what there is instead, or the nearest of it."""
    with suppress(TypeError):  # a list, which can be no key
        if name in registry:
            return registry[name]
        if NAMED_HERE.get(name) in registry:
            raise InputError(f"unknown {noun} {shown(name)}; it is called {NAMED_HERE[name]!r} here")
    choices, rest = [*map(str, registry)], ""
    if len(choices) > LISTED:
        rest = f", or another of {len(choices)}" + (f" that {ALL_OF[noun]} lists" if noun in ALL_OF else "")
        choices = nearest(str(name)[:LONGEST], choices, NEAREST, 0.3) or choices[:NEAREST]
    elif len(choices) > GLANCE:
        close = nearest(str(name)[:LONGEST], choices)
        choices = [*close, *(choice for choice in choices if choice not in close)]
    raise InputError(f"unknown {noun} {shown(name)}; choose one of: {', '.join(choices)}{rest}")
