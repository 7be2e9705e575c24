"""Mamba Policy as a policy of LeRobot, under the type "mamba_policy"; LeRobot imports this to let it register."""

from lerobot_policy_mamba_policy.configuration_mamba_policy import MambaConfig as MambaConfig
