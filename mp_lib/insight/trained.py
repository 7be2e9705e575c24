"""A trained policy with all that is known of it, found by what somebody calls it."""

from __future__ import annotations

import itertools
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from torch import Tensor

from mp_lib.config import EXPLORING_SEEDS, PolicyConfig
from mp_lib.interfaces import Environment, TaskSpec, look_up
from mp_lib.learning.evaluation import load as load_checkpoint
from mp_lib.learning.folder import FILM, stored_result
from mp_lib.model.actions import robot_dim
from mp_lib.model.backends import FrozenPolicy
from mp_lib.model.weights import CHECKPOINT, find_checkpoint, name_of_weights, shipped
from mp_lib.presets import METHODS, SCALES, kind_name
from mp_lib.sim.tasks import TASKS, find_task
from mp_lib.study.rows import RESULT, load_runs
from mp_lib.study.sentences import join, of_demonstrations, of_ending, of_held_out, of_rate, of_training
from mp_lib.study.tables import facts_table
from mp_lib.system.errors import InputError, shown
from mp_lib.system.names import nearest
from mp_lib.system.paths import run_path
from mp_lib.system.values import meaning


@dataclass(frozen=True, eq=False)
class Trained:
    """A policy that acts, its task, the file of its weights, and what its run has found (``facts``, else empty)."""

    policy: FrozenPolicy
    spec: TaskSpec
    checkpoint: Path
    facts: Mapping = field(default_factory=dict)
    called: str = ""  # instead of its name, where another one beside it has the same

    def act(
        self, history: Mapping, noise: Tensor | np.ndarray | None = None, repeat: bool = False
    ) -> Tensor | np.ndarray:
        """The actions (B, Ta, A) to execute now, as ``mp_lib.model.policy.DiffusionPolicy.act`` has them."""
        return self.policy.act(history, noise, repeat)

    def environment(self, seed: int = EXPLORING_SEEDS) -> Environment:
        """The task at the start of the episode of an environment seed, with clouds of the policy's size."""
        environment = self.spec.make_env(num_points=self.config.num_points)
        environment.reset(seed)
        return environment

    @property
    def config(self) -> PolicyConfig:
        """The policy's numbers."""
        return self.policy.config

    @property
    def method(self) -> str:
        """E.g. dp3_mamba."""
        return self.config.method

    @property
    def task(self) -> str:
        """E.g. metaworld_drawer-open."""
        return self.spec.name

    @property
    def name(self) -> str:
        """What its weights are called: its run, or its own file; or what it is ``called`` here."""
        return self.called or name_of_weights(self.checkpoint)

    def rows(self) -> dict[str, str]:
        """What one wants to know of it, in words."""
        config, run = self.config, self.facts.get("config", {})
        final, demonstrations = self.facts.get("final"), self.facts.get("demonstrations", {})
        size = sum(each.numel() for each in self.policy.policy.parameters())
        told = {
            "method": f"{self.method} ({kind_name(self.method, config.attention)})",
            "task": self.task,
            "success": of_rate(sum(final["successes"]), len(final["seeds"])) if final else "",
            "held out": of_held_out(self.facts["held_out"]) if self.facts.get("held_out") else "",
            "trained": f"scale {run['scale']}, seed {run['seed']}" if run else "",
            "demonstrations": of_demonstrations(demonstrations) if demonstrations else "",
            "sees": f"point_cloud ({config.n_obs_steps}, {config.num_points}, 3), "
            f"state ({config.n_obs_steps}, {config.state_dim})",
            "acts": f"{config.n_action_steps} of {config.horizon} predicted actions ({robot_dim(config)},), "
            f"after {config.num_inference_steps} denoising steps",
            "parameters": f"{size:,}",
            "runs on": f"{self.policy.device}, {self.policy.backend}",
            "weights": str(self.checkpoint),
        }
        return {fact: value for fact, value in told.items() if value}

    def __repr__(self) -> str:
        width = max(map(len, self.rows()))
        return "\n".join(f"{fact:{width}}  {value}" for fact, value in self.rows().items())

    def _repr_html_(self) -> str:
        return facts_table(self.rows()).to_html(index=False, header=False, border=0)


def told_apart(policies: Sequence[Trained]) -> list[Trained]:
    """The same policies; those that share a name are called by their denoising steps, or numbered, too."""
    names = [each.name for each in policies]
    longer = [f"{each.name}, {each.config.num_inference_steps} steps" for each in policies]
    names = [long if names.count(name) > 1 else name for name, long in zip(names, longer, strict=True)]
    for place, name in enumerate(names):
        names[place] = another(name, names[:place])
    return [
        policy if policy.name == name else replace(policy, called=name)
        for policy, name in zip(policies, names, strict=True)
    ]


def another(name: str, taken: Container[str]) -> str:
    """The name, or the first of "name (2)", "name (3)" … that is not taken."""
    numbered = (f"{name} ({number})" for number in itertools.count(2))
    return next(each for each in itertools.chain([name], numbered) if each not in taken)


def load(
    name: str = "",
    task: str = "",
    scale: str = "",
    seed: int | None = None,
    *,
    num_inference_steps: int | None = None,
    device: str = "auto",
    backend: str = "auto",
) -> Trained:
    """The trained policy that is meant by a method, a run, a folder or a file; the newest of all if nothing is given.

    Of a method it is the newest finished run on that ``task``, ``scale`` and training ``seed``, any where they are not
    given; where none was trained here, a policy that comes with the project if one is such. For a run, folder or file
    ``task`` says on which task it acts where its file does not. ``num_inference_steps``, ``device`` and ``backend`` as
    of ``mp_lib.learning.evaluation.load``.
    Raises an InputError that names the nearest there is, or the command that trains what is missing.
    """
    checkpoint, facts = (found := find(name, task, scale, seed)), stored_result(found)
    policy, spec = load_checkpoint(checkpoint, num_inference_steps, device, backend, task="" if facts else task)
    return Trained(policy, spec, checkpoint, facts)


def find(name: str = "", task: str = "", scale: str = "", seed: int | None = None) -> Path:
    """The file of weights that ``load`` takes."""
    name = meaning("name", "str", name, '"dp3_mamba"')
    if name and name not in METHODS:
        if of_method := {"scale": scale} if scale else {"seed": seed} if seed is not None else {}:
            ((key, value),) = of_method.items()
            raise InputError(
                f"{key} {shown(value)} given with {shown(name)}; it is for a method, of which it picks a run"
            )
        return named(name)
    seed = None if seed is None else meaning("seed", "int", seed)
    return newest(name, find_task(task).name if task else "", scale, seed)


def newest_film() -> tuple[Path, str]:
    """The film of the newest trained policy, or of the first that comes with the project, and a sentence on it."""
    checkpoint = find()
    config, final = (stored_result(checkpoint)[key] for key in ("config", "final"))
    training = of_training(checkpoint, config["task"], config["method"])
    shown = f"**{config['method']}** on **{config['task']}**, {training}"
    said = f"{shown}. On environment seed {final['seeds'][0]} it {of_ending(final['successes'][0])}."
    return checkpoint.with_name(FILM), said


DEFAULT_METHOD = "dp3_mamba"  # of which a run is trained where none is asked for


def newest(method: str, task: str, scale: str, seed: int | None) -> Path:
    """The weights of the newest finished run of which all that is given holds, or the shipped ones."""
    if scale:
        look_up(SCALES, scale, "scale")
    wanted = {"method": method, "task": task, "scale": scale, "seed": seed}
    wanted = {key: value for key, value in wanted.items() if value not in ("", None)}
    runs = load_runs().drop_duplicates("folder")
    for key, value in wanted.items():
        runs = runs[runs[key] == value]
    found = [path for folder in runs["folder"] if (path := run_path(folder) / CHECKPOINT).exists()]
    if found:
        return max(found, key=lambda path: path.with_name(RESULT).stat().st_mtime)
    for checkpoint in shipped():
        if wanted.items() <= stored_result(checkpoint)["config"].items():
            return checkpoint
    told = ", ".join(f"{key} {value}" for key, value in wanted.items())
    options = f"--methods {method or DEFAULT_METHOD}" + (f" --task {task}" if task else "")
    options += f" --seeds {seed}" if seed is not None else ""
    command = f"./run_all.sh {scale or METHODS[method or DEFAULT_METHOD].scale} {options}"
    coming = f"; with the project come {join([path.parent.name for path in shipped()])}" if shipped() else ""
    raise InputError(f"no finished run of {told or 'any method'} here; train it: {command}{coming}")


def named(name: str) -> Path:
    """The weights of a run, a folder or a file; an InputError that names what is close."""
    try:
        return find_checkpoint(name)
    except InputError as error:
        if name in TASKS:
            raise InputError(f'{name} is a task and no policy; give it as one: load(task="{name}")') from error
        if close := nearest(name, METHODS, 1):
            raise InputError(f"no run, folder or method {shown(name)}; did you mean {close[0]!r}?") from error
        raise
