"""What many tests share: one thread a process, no mirror of metrics, and a toy task that can be pickled."""

import copy
import os
from dataclasses import replace
from pathlib import Path

os.environ["WANDB_MODE"] = "disabled"
os.environ["MP_CACHE"] = "off"  # what tests compile is theirs
os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is imported, here and in processes that tests start
# Notebooks that tests execute run in this interpreter, as those of steps do.
os.environ["JUPYTER_PATH"] = str(Path(__file__).parents[1] / "mp_lib" / "pipeline" / "jupyter")

import signal

import numpy as np
import pytest

from mp_lib.interfaces import AS_USUAL, USUAL, Branch, Obs, SuccessRule, TaskSpec
from mp_lib.presets import METHODS, U_NETS
from tests.smoke import smoke_run  # noqa: F401 (a fixture)

SMOKE_FILES = {"tests/pipeline/test_driver.py", "tests/pipeline/test_report.py", "tests/publishing/test_site.py"}


class ToyEnv:
    """A point on a line: the state is (step, position, seed) and the first number of an action moves the point.

    The goal flag is up in the steps of ``goal``; ``dies``, ``fails`` and ``diverges`` name seeds whose
    second step ends the process, raises an error, diverges. A picture holds the position to the bit.
    """

    depth_backend = "toy"

    def __init__(self, num_points, goal=range(6, 99), dies=None, fails=None, diverges=None):
        self.num_points, self.goal, self.dies, self.fails, self.diverges = num_points, goal, dies, fails, diverges

    def reset(self, seed, start=AS_USUAL):
        self.seed, self.steps, self.position = seed, 0, 0.0

    def step(self, action):
        from mp_lib.sim.env import SimulationDiverged

        self.steps += 1
        if self.steps == 2 and self.seed == self.dies:
            os._exit(1)
        if self.steps == 2 and self.seed == self.fails:
            raise KeyError(f"no such drawer in seed {self.seed}")
        if self.steps == 2 and self.seed == self.diverges:
            raise SimulationDiverged("far away")
        self.position += float(action[0])
        return self.steps in self.goal

    def observe(self):
        cloud = np.random.default_rng([self.seed, self.steps]).normal(size=(self.num_points, 3))
        return Obs(cloud.astype(np.float32), np.array([self.steps, self.position, self.seed], np.float32))

    def to_world(self, points):
        return np.asarray(points, np.float64)

    def eye(self):
        return np.array([0, -2, 1])

    def hand(self):
        return np.array([self.position, 0, 0])

    def branch(self):
        twin = copy.copy(self)
        return Branch(twin.step, twin.hand, twin.branch)

    def truth(self):
        return {"steps": np.array(self.steps), "seed": np.array(self.seed)}

    def render(self, picture=USUAL):
        picture = np.zeros((32, 32, 3), np.uint8)
        picture.flat[:8] = np.frombuffer(np.float64(self.position).tobytes(), np.uint8)
        return picture

    def close(self):
        pass


class StaggeredEnv(ToyEnv):
    """Its goal is met one step later with every seed."""

    def step(self, action):
        super().step(action)
        return self.steps > self.seed % 12


def small_widths(method):
    """Widths of a small network of a method: a quarter of its own, or of the pocket frame 16."""
    return tuple(width // 4 for width in METHODS[method].down_dims) if method in U_NETS else (16,)


def positions(film):
    """The positions that a film of ``ToyEnv`` shows."""
    return [float(np.frombuffer(picture.flat[:8].tobytes(), np.float64)[0]) for picture in film]


class ToyExpert:
    def act(self, truth):
        return np.array([np.sin(truth["steps"] + truth["seed"]), np.cos(truth["steps"])])


TOY = TaskSpec(
    name="toy",
    suite="toys",
    make_env=ToyEnv,
    make_expert=ToyExpert,
    expert_name="swinging",
    state_dim=3,
    action_dim=2,
    num_points=8,
    max_steps=12,
    num_demos=3,
    min_success_steps=1,
    success_rule=SuccessRule("any step", any, stops=True),
)


def pytest_collection_modifyitems(config, items):
    """Where workers share the tests, begin with those of the smoke run."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: item.location[0] not in SMOKE_FILES)


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist
def pytest_xdist_make_scheduler(config, log):
    """Let one worker have all tests of a file, and one all that ask for the smoke run."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            path = nodeid.split("::")[0]
            return "the smoke run" if path in SMOKE_FILES else path

    return ByFile(config, log)


def pytest_runtest_setup(item):
    """Skip what is marked cuda where there is no CUDA GPU."""
    if item.get_closest_marker("cuda"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("there is no CUDA GPU")


@pytest.fixture(scope="session", autouse=True)
def heard_interrupts():
    """SIGINT as a terminal's user has it; a shell's "&" and nohup leave it ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def toy_demos(tmp_path_factory):
    """Three demonstrations of 12 steps of the toy task."""
    from mp_lib.data.recording import collect

    return collect(TOY, 3, tmp_path_factory.mktemp("demos") / "toy.zarr", jobs=1)


@pytest.fixture(scope="session")
def finished(tmp_path_factory, toy_demos):
    """The folder of a finished run of the toy task, and its result."""
    from mp_lib.learning.run import train
    from tests.learning.toy_run import CONFIG

    folder = tmp_path_factory.mktemp("runs") / CONFIG.name
    return folder, train(CONFIG, TOY, toy_demos, folder, device="cpu")


@pytest.fixture(scope="session")
def own_demos(tmp_path_factory, toy_demos):
    """The same three demonstrations as those of a task of somebody's own, with kinds."""
    from tests.learning.own_run import KINDS, own_store

    return own_store(tmp_path_factory.mktemp("demos") / "my_arm.zarr", toy_demos, kinds=KINDS)


@pytest.fixture(scope="session")
def own(tmp_path_factory, own_demos):
    """The folder of a finished run on these, and its result."""
    from tests.learning.own_run import OWN, train_own

    folder = tmp_path_factory.mktemp("runs") / OWN.name
    return folder, train_own(own_demos, folder)


@pytest.fixture(scope="session")
def curved(tmp_path_factory, toy_demos):
    """A run of five epochs with an evaluation after every second one, its folder and result."""
    from mp_lib.learning.run import train
    from tests.learning.toy_run import CONFIG

    config = replace(CONFIG, num_steps=None, num_epochs=5, eval_every_epochs=2, eval_episodes=3)
    folder = tmp_path_factory.mktemp("runs") / "curved"
    return config, folder, train(config, TOY, toy_demos, folder, device="cpu")


@pytest.fixture
def eager_saves(monkeypatch):
    """Save after every step."""
    monkeypatch.setattr("mp_lib.learning.fitting.SAVE_SECONDS", -1.0)
    monkeypatch.setattr("mp_lib.learning.fitting.SAVE_SHARE", float("inf"))


@pytest.fixture
def empty_root(monkeypatch, tmp_path):
    """An empty folder as the root, as if the package had come without notebooks and kept results."""
    monkeypatch.setenv("MP_ROOT", str(tmp_path))
    monkeypatch.setattr("mp_lib.system.paths.checkout", lambda: None)
    return tmp_path


@pytest.fixture
def make_env():
    """Make environments of rows of TASKS by name; they are closed when the test ends."""
    from mp_lib.sim.tasks import TASKS

    made = []

    def make(task, num_points=512):
        made.append(TASKS[task].make_env(num_points=num_points))
        return made[-1]

    yield make
    for env in made:
        env.close()
