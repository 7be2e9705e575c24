"""TASKS: one row a task, those of installed packages behind our own.

Listing our own imports no simulator; making an environment does.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from importlib import import_module

from mp_lib.interfaces import Demonstrator, TaskSpec, look_up
from mp_lib.sim.env import ANY_STEP, LAST_STEP, LAST_TWO_STEPS
from mp_lib.sim.plugins import Tasks
from mp_lib.system.extras import MissingExtraError, explain

METAWORLD_TASKS = """
    assembly basketball bin-picking box-close button-press button-press-topdown button-press-topdown-wall
    button-press-wall coffee-button coffee-pull coffee-push dial-turn disassemble door-close door-lock door-open
    door-unlock drawer-close drawer-open faucet-close faucet-open hammer hand-insert handle-press handle-press-side
    handle-pull handle-pull-side lever-pull peg-insert-side peg-unplug-side pick-out-of-hole pick-place
    pick-place-wall plate-slide plate-slide-back plate-slide-back-side plate-slide-side push push-back push-wall reach
    reach-wall shelf-place soccer stick-pull stick-push sweep sweep-into window-close window-open
""".split()  # noqa: SIM905 (one name a line would fill a page)
METAWORLD_ACTION = (
    "how far the hand's target moves along the world's x, y and z, 1 is 1 cm a step; the force that closes the "
    "fingers, 1 is 400 N"
)

METAWORLD_PLACED = "the object, and the goal where it is a place, along x and y"

ADROIT_TASKS = {"hammer": (26, 100), "door": (28, 100), "pen": (24, 50), "relocate": (30, 100)}  # action size, steps
ADROIT_ACTION = (
    "a target for each joint, -1 and 1 are the ends of its actuator's range: of the arm (in m or rad; it is drawn to "
    "2.5 times the target), then of the wrist (2, in rad) and the fingers (22, in rad)"
)
ADROIT_PLACED = {  # the pen's goal is turned, and nothing is moved
    "hammer": "the board with the nail, in height",
    "door": "the door, along x, y and in height",
    "pen": "",
    "relocate": "the ball along x and y, its goal in height, too",
}
ADROIT_REMARK = "DP3 recorded Adroit with checkpoints of VRL3, which cannot be fetched by a script"

DEXART_TASKS = ("laptop", "faucet", "toilet", "bucket")
DEXART_ACTION = (
    "the palm's velocity along the world's x, y and z, 1 is 1 m/s (4 cm a step); its angular velocity about them, 1 is "
    "1 rad/s; a target for each of the hand's 16 joints, -1 and 1 are the ends of its range (in rad)"
)
DEXART_PLACED = "the object, along x and y"
DEXART_REMARK = "MuJoCo re-creation of DexArt with objects of our own; its numbers are not those of DexArt's benchmark"
PLAN_REMARK = "DexArt's demonstrations come from RL policies, those here from a scripted plan"

# The ten tasks of the Mamba Policy paper, by suite.
# The first three numbers of a state are the hand's place; all of MetaWorld's clouds are turned alike.
METAWORLD_HAND = tuple(
    (*turn, *6 * (0.0,), shift)
    for *turn, shift in (
        (-0.633343, -0.773178, 0.001223, 0.607115),
        (0.769835, -0.63589, 0.008892, -0.281427),
        (-0.004932, 0.003516, 1.001995, -0.799674),
    )
)
DEXART_HAND = tuple(tuple(float(place == 28 + axis) for place in range(33)) for axis in range(3))  # the palm, as it is

PAPER_TASKS = (
    *(f"adroit_{task}" for task in ("hammer", "door", "pen")),
    *(f"dexart_{task}" for task in DEXART_TASKS),
    *(f"metaworld_{task}" for task in ("assembly", "disassemble", "stick-push")),
)


def make(place: str, *arguments, **options):
    """Call ``module:name`` of this room, imported only now; a MissingExtraError where its simulator is missing."""
    module, name = place.split(":")
    try:
        return getattr(import_module(f"mp_lib.sim.{module}"), name)(*arguments, **options)
    except ModuleNotFoundError as error:
        raise MissingExtraError(explain(error), name=error.name) from error


def _metaworld_row(task: str) -> TaskSpec:
    # 200 steps and 10 demonstrations as in DP3 (3D-Diffusion-Policy, config/task/metaworld_*.yaml).
    return TaskSpec(
        name=f"metaworld_{task}",
        suite="metaworld",
        make_env=partial(make, "metaworld:MetaWorldEnv", task),
        make_expert=partial(make, "experts:MetaWorldExpert", task),
        expert_name="MetaWorld scripted policy",
        state_dim=9,
        action_dim=4,
        num_points=512,
        max_steps=200,
        num_demos=10,
        min_success_steps=5,
        success_rule=ANY_STEP,
        action_meaning=METAWORLD_ACTION,
        action_kinds="step:3 gripper:1",
        hand_in_cloud=METAWORLD_HAND,
        placed=METAWORLD_PLACED,
    )


def _adroit_row(task: str) -> TaskSpec:
    # Sizes, time limits and demonstrations as in DP3 (3D-Diffusion-Policy, config/task/adroit_*.yaml, VRL3's
    # gen_demonstration_expert.py); steps are of two simulator's steps each, those of min_success_steps, too.
    action_dim, max_steps = ADROIT_TASKS[task]
    dapg = Demonstrator("DAPG policy", partial(make, "experts:make_fetched_network", f"adroit_{task}"), ADROIT_REMARK)
    return TaskSpec(
        name=f"adroit_{task}",
        suite="adroit",
        make_env=partial(make, "adroit:AdroitEnv", task),
        make_expert=partial(make, "experts:make_own_network", f"adroit_{task}"),
        expert_name="own DAgger student of DAPG",
        state_dim=24,
        action_dim=action_dim,
        num_points=512,
        max_steps=max_steps,
        num_demos=10,
        min_success_steps=10,
        success_rule=LAST_TWO_STEPS,
        action_meaning=ADROIT_ACTION,
        action_kinds=f"joint:{action_dim}",
        placed=ADROIT_PLACED[task],
        expert_remark=ADROIT_REMARK,
        other_experts={"dapg": dapg},
    )


def _dexart_row(task: str) -> TaskSpec:
    # Sizes, horizon and demonstrations as in DP3 (config/task/dexart_*.yaml, gen_demonstration_expert.py, which keeps
    # an episode if its goal was met at any time); 1024 points of the camera and 96 imagined ones. DP3's bucket has a
    # state of 33 numbers (config/task/dexart_bucket.yaml).
    return TaskSpec(
        name=f"dexart_{task}",
        suite="dexart",
        make_env=partial(make, "dexart:DexArtEnv", task),
        make_expert=partial(make, "dexart_experts:PlannedExpert", task),
        expert_name="own scripted plan",
        state_dim=32,
        action_dim=22,
        num_points=1120,
        max_steps=250,
        num_demos=100,
        min_success_steps=1,
        success_rule=LAST_STEP if task == "bucket" else ANY_STEP,
        ends_at_goal=task != "bucket",  # DexArt's early_done, which is its is_eval_done but for the bucket
        remark=DEXART_REMARK,
        expert_remark=PLAN_REMARK,
        other_objects=("unseen",),
        other_states=(33,) if task == "bucket" else (),
        action_meaning=DEXART_ACTION,
        action_kinds="velocity:6 joint:16",
        hand_in_cloud=DEXART_HAND,
        placed=DEXART_PLACED,
        revision=3,
    )


TASKS = Tasks((*map(_metaworld_row, METAWORLD_TASKS), *map(_adroit_row, ADROIT_TASKS), *map(_dexart_row, DEXART_TASKS)))


def find_task(task: str | TaskSpec, expert: str = "default") -> TaskSpec:
    """Return the row of TASKS that is called ``task``, with that expert of it; a TaskSpec may stand for itself."""
    return (task if isinstance(task, TaskSpec) else look_up(TASKS, task, "task")).with_expert(expert)


def check_expert_key(key: str, tasks: Iterable[str] = ()) -> None:
    """Raise an InputError that lists the experts of these tasks, of all if none are named, if none has one of that key.

    Each task alone is asked by ``with_expert``.
    """
    others = (other for task in tasks or TASKS for other in TASKS[task].other_experts)
    look_up(dict.fromkeys(("default", *others)), key, "expert")


def remarks_on(task: str, expert: str) -> list[str]:
    """What a reader has to know of a task, and of the expert of that name; nothing of what is unknown."""
    if task not in TASKS:
        return []
    specs = map(TASKS[task].with_expert, ("default", *TASKS[task].other_experts))
    of_expert = {spec.expert_name: spec.expert_remark for spec in specs}.get(expert)
    return [remark for remark in (TASKS[task].remark, of_expert) if remark]
