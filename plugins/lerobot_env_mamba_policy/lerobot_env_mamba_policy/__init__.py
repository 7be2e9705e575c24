"""mp_lib's tasks as environments of LeRobot, under the type "mamba_policy"; LeRobot imports this to let it register."""

from lerobot_env_mamba_policy.configuration import MambaPolicyEnv as MambaPolicyEnv
