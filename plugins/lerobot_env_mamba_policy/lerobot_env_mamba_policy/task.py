"""A task as LeRobot's rollouts need it: what they ask of an environment beyond gymnasium."""

from __future__ import annotations

import gymnasium
from lerobot.envs.utils import NEW_ROLLOUT_OPTION

from mp_lib.sim.tasks import find_task


class LeRobotTask(gymnasium.Wrapper):
    """A task of ``mp_lib.sim.gym`` whose "is_success" is up at the end of an episode alone.

    LeRobot calls an episode a success if it was one at any step; rules of mp_lib may judge an episode by its end.
    """

    def __init__(self, task: str, num_points: int):
        name = f"mp_lib.sim.gym:mp_lib/{task}-v0"
        given = {"num_points": num_points, "render_mode": "rgb_array", "disable_env_checker": True}
        super().__init__(gymnasium.make(name, **given))
        self.task = self.task_description = task
        self._max_episode_steps = find_task(task).max_steps  # which LeRobot asks for by this name

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        """As gymnasium's, without LeRobot's own option, which is for the wrapper around this."""
        options = {key: value for key, value in (options or {}).items() if key != NEW_ROLLOUT_OPTION}
        return self.env.reset(seed=seed, options=options)

    def step(self, action):
        """As gymnasium's."""
        seen, reward, terminated, truncated, info = self.env.step(action)
        over = terminated or truncated
        return seen, reward, terminated, truncated, info | {"is_success": info["is_success"] and over}
