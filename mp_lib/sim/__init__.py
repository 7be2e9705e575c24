"""Simulated tasks with point clouds and experts; start at ``mp_lib.sim.tasks.TASKS``."""
