"""What tests of simulators share."""

import pytest


@pytest.fixture
def start_dexart(make_env):
    """Make the environment of a task with an episode under way."""

    def make(task, seed=0, num_points=1120):
        env = make_env(f"dexart_{task}", num_points)
        env.reset(seed)
        return env

    return make
