"""Every task as a gymnasium environment: ``gymnasium.make("mp_lib.sim.gym:mp_lib/metaworld_drawer-open-v0")``.

Importing this module registers them, which no other module of the package does: gymnasium imports what stands before
the colon.
"""

from __future__ import annotations

from collections.abc import Mapping

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict

from mp_lib.interfaces import TaskSpec, look_up
from mp_lib.sim.changes import Disturbance
from mp_lib.sim.env import SimulationDiverged
from mp_lib.sim.tasks import TASKS, find_task

SEEDS = 2**31  # from how many an episode's seed is drawn where none is given


class TaskEnv(gymnasium.Env):
    """A task as gymnasium has them, by its name or its row; its clouds have ``num_points``, by default the row's.

    An observation is {"point_cloud": (N, 3), "agent_pos": (S,)}, float32, which ``mp_lib.interfaces.Obs`` describes
    under ``point_cloud`` and ``state``; an action (A,) in [-1, 1] is what ``TaskSpec.action_meaning`` says. The reward
    is 1 while the goal is met, else 0. ``info`` has "is_success", whether the task's rule calls the episode up to now a
    success. It terminates where that rule lets the first flag decide, or the simulator cannot go on (then "diverged"
    says so, the episode is no success, and what was seen last is seen again); at ``TaskSpec.max_steps`` it is
    truncated. Under the render mode "rgb_array" ``render`` gives a picture (H, W, 3) uint8.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 25}

    def __init__(self, task: str | TaskSpec, num_points: int | None = None, render_mode: str | None = None):
        self.task = find_task(task)
        if render_mode is not None:
            look_up(dict.fromkeys(self.metadata["render_modes"]), render_mode, "render mode")
        self.render_mode = render_mode
        num_points = self.task.num_points if num_points is None else num_points
        self._env = self._usual = self.task.make_env(num_points=num_points)
        shapes = {"point_cloud": (num_points, 3), "agent_pos": (self.task.state_dim,)}
        self.observation_space = Dict({key: Box(-np.inf, np.inf, shape, np.float32) for key, shape in shapes.items()})
        self.action_space = Box(-1, 1, (self.task.action_dim,), np.float32)

    def reset(self, *, seed: int | None = None, options: Mapping[str, float] | None = None):
        """Start the episode that a rollout of this project has of ``seed``; of one that is drawn where none is given.

        ``options`` are changes of ``mp_lib.sim.changes.CHANGES`` for this episode, with their strengths, such as
        {"camera_turned": 20}; an InputError for another name, or what this task does not have. "seed" of the info is
        the episode's.
        """
        disturbances = [Disturbance(name, strength) for name, strength in (options or {}).items()]
        for disturbance in disturbances:
            disturbance.check(self.task)
        super().reset(seed=seed)
        self._env = self._usual
        for disturbance in disturbances:
            self._env = disturbance.around(self._env)
        seed = int(self.np_random.integers(SEEDS)) if seed is None else seed
        self._env.reset(int(seed))
        self._flags: list[bool] = []
        self._seen = self._look()
        return self._copy(), {"is_success": False, "seed": seed}

    def step(self, action: np.ndarray):
        """Apply an action (A,); a ValueError for another shape or a NaN."""
        try:
            self._flags.append(bool(self._env.step(action)))
            self._seen = self._look()
        except SimulationDiverged as error:
            return self._copy(), 0.0, True, False, {"is_success": False, "diverged": str(error)}
        rule, met = self.task.success_rule, self._flags[-1]
        ended, out_of_time = rule.stops and met, len(self._flags) >= self.task.max_steps
        return self._copy(), float(met), ended, out_of_time, {"is_success": bool(rule.judge(self._flags))}

    def render(self) -> np.ndarray | None:
        """A picture (H, W, 3) uint8 of the episode as it is; None without a render mode."""
        return self._env.render() if self.render_mode else None

    def close(self) -> None:
        """Free the renderer."""
        self._usual.close()

    def _look(self) -> dict[str, np.ndarray]:
        obs = self._env.observe()
        return {"point_cloud": obs.point_cloud, "agent_pos": obs.state}

    def _copy(self) -> dict[str, np.ndarray]:
        """What was seen, which the caller may write into."""
        return {key: value.copy() for key, value in self._seen.items()}


def register_tasks() -> None:
    """Tell gymnasium of a task each, as mp_lib/<task>-v0."""
    for name in TASKS:
        gymnasium.register(f"mp_lib/{name}-v0", f"{__name__}:{TaskEnv.__name__}", kwargs={"task": name})


register_tasks()
