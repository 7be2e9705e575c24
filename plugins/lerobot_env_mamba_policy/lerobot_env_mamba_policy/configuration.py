"""What LeRobot is told of an environment: its task and features, and how several are made."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.envs import EnvConfig
from lerobot.envs.utils import freeze_after_episode_end
from lerobot.processor import PolicyProcessorPipeline, RenameObservationsProcessorStep

from lerobot_env_mamba_policy.task import LeRobotTask
from mp_lib.sim.tasks import find_task


@EnvConfig.register_subclass("mamba_policy")
@dataclass
class MambaPolicyEnv(EnvConfig):
    """A task of mp_lib by its name; clouds have ``num_points``, by default the task's.

    ``cloud_key`` is what the policy calls a cloud, by default as ``python -m mp_lib export --to lerobot`` does.
    """

    task: str | None = "metaworld_drawer-open"
    fps: int = 25
    num_points: int | None = None
    cloud_key: str = "observation.pointcloud"

    def __post_init__(self):
        spec = find_task(self.task)
        self.num_points = self.num_points or spec.num_points
        self.features = {
            "action": PolicyFeature(FeatureType.ACTION, (spec.action_dim,)),
            "agent_pos": PolicyFeature(FeatureType.STATE, (spec.state_dim,)),
            "point_cloud": PolicyFeature(FeatureType.STATE, (self.num_points, 3)),
        }
        self.features_map = {"action": "action", "agent_pos": "observation.state", "point_cloud": self.cloud_key}

    @property
    def gym_kwargs(self) -> dict:
        """What an environment is made with."""
        return {"task": self.task, "num_points": self.num_points}

    def create_envs(self, n_envs: int, use_async_envs: bool = False) -> dict[str, dict[int, VectorEnv]]:
        """So many environments side by side, here or in processes of their own; each rests once its episode is over."""
        made = [freeze_after_episode_end(partial(LeRobotTask, **self.gym_kwargs)) for _ in range(n_envs)]
        how = {"autoreset_mode": AutoresetMode.NEXT_STEP}
        if use_async_envs and n_envs > 1:
            return {self.type: {0: AsyncVectorEnv(made, context="spawn", **how)}}  # OpenGL's contexts cannot be forked
        return {self.type: {0: SyncVectorEnv(made, **how)}}

    def get_env_processors(self):
        """LeRobot calls a cloud observation.point_cloud, after the environment's own name of it; the policy as here."""
        renamed = RenameObservationsProcessorStep({"observation.point_cloud": self.cloud_key})
        return PolicyProcessorPipeline(steps=[renamed]), PolicyProcessorPipeline(steps=[])
