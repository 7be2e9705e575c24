"""Tasks of other packages: found when they are asked for, refused by name, and as good as our own."""

import json
import logging
import os
import pickle
import re
import subprocess
import sys
from dataclasses import replace
from multiprocessing import get_context

import pytest

from mp_lib.interfaces import look_up
from mp_lib.learning.simulators import Simulators
from mp_lib.presets import SCALES, numbers_of
from mp_lib.sim import tasks
from mp_lib.sim.plugins import GROUP, Tasks
from mp_lib.sim.tasks import TASKS
from mp_lib.system.errors import InputError
from tests import ROOT
from tests.conftest import TOY

OWN = [TASKS["metaworld_reach"], TASKS["adroit_pen"], TASKS["dexart_laptop"]]
# A simulator of somebody else's: that of the toy task, whose row says other numbers.
SIMULATOR = "from tests.conftest import ToyEnv as PushEnv, ToyExpert as PushExpert\n"
ROW = "from dataclasses import replace; from tests.conftest import TOY\n"


def blocks(language):
    """The blocks of code of the documents' section, in order."""
    section = (ROOT / "docs" / "data.md").read_text().partition("## A task of one's own with a simulator")[2]
    return re.findall(rf"^```{language}\n(.*?)^```", section.partition("\n## ")[0], flags=re.DOTALL | re.MULTILINE)


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put packages where they are found, as pip would: a module, and metadata that declare its function ``tasks``."""
    monkeypatch.syspath_prepend(tmp_path)

    def put(package, source):
        module = package.replace("-", "_")
        (tmp_path / f"{module}.py").write_text(source)
        facts = tmp_path / f"{module}-1.2.dist-info"
        facts.mkdir()
        (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
        (facts / "entry_points.txt").write_text(f"[{GROUP}]\n{module} = {module}:tasks\n")
        monkeypatch.delitem(sys.modules, module, raising=False)

    yield put
    for module in [name for name in sys.modules if name.startswith("bench_")]:
        del sys.modules[module]


def rows(*names, **changes):
    """A module that declares the toy task under these names."""
    changes = {"suite": "bench"} | changes
    return f"{ROW}def tasks():\n    return [replace(TOY, name=name, **{changes}) for name in {names}]\n"


def test_packages_are_imported_when_a_task_is_none_of_ours_or_all_are_listed(install):
    install("bench-tasks", rows("bench_push"))
    for ask in (lambda found: found["bench_push"], list, len, lambda found: "else" in found):
        sys.modules.pop("bench_tasks", None)
        found = Tasks(OWN)
        assert found["metaworld_reach"] is OWN[0] and next(iter(found)) == "metaworld_reach" and "adroit_pen" in found
        assert "bench_tasks" not in sys.modules
        ask(found)
        assert "bench_tasks" in sys.modules
    assert [*found] == [*(row.name for row in OWN), "bench_push"] and len(found) == 4
    assert found["bench_push"] == replace(TOY, name="bench_push", suite="bench", package="bench-tasks")


def test_packages_are_imported_once(install):
    install("bench-tasks", f"print('once')\n{rows('bench_push')}")
    found = Tasks(OWN)
    first = found["bench_push"]
    assert [*found] and found["bench_push"] is first


def test_a_row_may_be_set_by_hand():
    found = Tasks(OWN)
    found["toy"] = TOY
    assert found["toy"] is TOY and [*found][-1] == "toy" and len(found) == 4
    assert found.beginnings == Tasks(OWN).beginnings  # the names beside its own are nobody's
    del found["toy"]
    assert "toy" not in found


def test_beginnings_are_those_of_the_rows_that_came_with_the_project_and_import_nothing(install):
    install("bench-tasks", rows("bench_push"))
    found = Tasks(OWN)
    assert found.beginnings == ("adroit_", "dexart_", "metaworld_") and "bench_tasks" not in sys.modules
    assert {row.name for row in found.values() if row.name.startswith(found.beginnings)} == {row.name for row in OWN}
    assert found.beginnings == Tasks(OWN).beginnings


def test_an_unknown_name_lists_those_of_packages(install):
    install("bench-tasks", rows("bench_push"))
    with pytest.raises(InputError, match="unknown task 'push'; choose one of: .*bench_push"):
        look_up(Tasks(OWN), "push", "task")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import no_such_simulator", "ModuleNotFoundError: No module named 'no_such_simulator'"),
        ("raise OSError('no display\\nat all')", r"OSError: no display\nat all"),
        ("def other(): pass", "AttributeError: module 'bench_broken' has no attribute 'tasks'"),
        ("def tasks(): return 3", "TypeError: 'int' object is not iterable"),
        ("def tasks(): return ['reach']", "TypeError: 'reach' is no TaskSpec"),
        (
            f"{ROW}def tasks(): return [replace(TOY, name='bench_lambda', make_env=lambda num_points: None)]",
            "bench_lambda: make_env, make_expert and success_rule have to be functions or classes of a module",
        ),
        *(
            (f"{ROW}def tasks(): return [replace(TOY, name='bench_lambda', {kinds})]", f"bench_lambda, {said}")
            for kinds, said in (
                ("action_kinds='velocty:2'", "action_kinds: kind 'velocty' given; it must be one of: velocity"),
                ("action_kinds='step:3'", "action_kinds: kinds 'step:3' name 3 numbers, but there are 2"),
                ("state_kinds='joint:2'", "state_kinds: kinds 'joint:2' name 2 numbers, but there are 3"),
                ("state_kinds=3", "state_kinds: kinds 3 given; name every number in order"),
            )
        ),
    ],
)
def test_a_package_that_fails_is_one_line_and_leaves_the_others(install, caplog, source, said):
    install("bench-broken", source)
    install("bench-tasks", rows("bench_push"))
    with caplog.at_level(logging.WARNING):
        found = Tasks(OWN)
        assert [*found][len(OWN) :] == ["bench_push"] and "bench_lambda" not in found
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("the tasks of bench-broken are left out: ") and said in line and "\n" not in line


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        *((f"{row.suite}_push", {}, "are this project's own, with all names that begin so") for row in OWN),
        ("bench_push", {"suite": "dexart"}, "are this project's own"),
        *((name, {}, "a name that is part of no file name") for name in ("../push", "", None)),
        ("bench_taken", {}, "as another does"),
    ],
)
def test_a_name_that_is_not_its_own_is_refused_with_the_package(install, name, changes, said):
    install("another", rows("bench_taken"))
    install("bench-tasks", rows(name, **changes))
    with pytest.raises(InputError) as refused:
        len(Tasks(OWN))
    assert said in str(refused.value) and "rename it there, or python -m pip uninstall bench-tasks" in str(
        refused.value
    )


def test_a_row_survives_a_trip_to_another_process(install):
    install("bench-tasks", f"from functools import partial\n{SIMULATOR}{rows('bench_push')}")
    row = Tasks(OWN)["bench_push"]
    assert pickle.loads(pickle.dumps(row)) == row
    with get_context("spawn").Pool(1) as pool:
        assert pool.apply(pickle.dumps, (row,)) == pickle.dumps(row)


def test_simulating_processes_make_its_environments(install):
    source = f"{ROW}from tests.conftest import ToyEnv\nclass PushEnv(ToyEnv): pass\n"
    source += "def tasks(): return [replace(TOY, name='bench_push', suite='bench', make_env=PushEnv)]\n"
    install("bench-tasks", source)
    row = Tasks(OWN)["bench_push"]
    with Simulators(2) as simulators, simulators.tables(row, 8, 1) as tables:
        answers = tables.call("start", [(4, False), (5, False)])
    assert [history[0].state[2] for history in answers] == [4, 5]


@pytest.mark.parametrize("scale", SCALES)
def test_its_scale_is_everyones(scale):
    assert numbers_of(scale, "bench_push") == SCALES[scale] == numbers_of(scale, "push")


def test_what_is_recorded_and_trained_names_the_package(install, monkeypatch, tmp_path):
    from mp_lib.data.recording import collect
    from mp_lib.system.provenance import versions

    install("bench-tasks", rows("bench_push"))
    monkeypatch.setattr(tasks, "TASKS", Tasks(OWN))
    store = collect("bench_push", 2, tmp_path / "push.zarr", jobs=1)
    assert store.attributes["task"] == "bench_push" and store.attributes["versions"]["bench-tasks"] == "1.2"
    assert versions("bench-tasks")["bench-tasks"] == "1.2" and "bench-tasks" not in versions()


@pytest.mark.slow
def test_the_documents_package_is_a_task_like_ours(tmp_path):
    pytest.importorskip("pip")  # uv's environments have none
    source, site, root = (tmp_path / name for name in ("source", "site", "root"))
    source.mkdir()
    (project,), (module, _) = blocks("toml"), blocks("python")
    build = '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
    modules = '[tool.setuptools]\npy-modules = ["bench_tasks", "my_simulator"]\n'
    (source / "pyproject.toml").write_text(f"{build}\n{project}\n{modules}")
    (source / "bench_tasks.py").write_text(module)
    (source / "my_simulator.py").write_text(SIMULATOR)
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-build-isolation", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--target", str(site), str(source)], check=True, capture_output=True)
    paths = os.pathsep.join([str(site), str(ROOT)])
    where = {**os.environ, "PYTHONPATH": paths, "MP_ROOT": str(root)}

    def run(*command):
        done = subprocess.run([sys.executable, *command], env=where, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    listed = run("-c", "import mp_lib; print(mp_lib.tasks('bench').to_csv(index=False))")
    assert listed.splitlines()[1] == "bench_push,3,2,100,10,default"
    checked = json.loads(run("-m", "mp_lib", "check", "bench_push", "--episodes", "2", "--json"))
    assert (checked["task"], checked["success_rate"]) == ("bench_push", 1)
    numbers = ["num_steps=2", "horizon=4", "n_action_steps=3"]
    run("-m", "mp_lib", "train", "bench_push", "simple_dp3", "--scale", "smoke", "--jobs", "2", "--set", *numbers)
    (store,) = root.glob("data/demos/bench_push-*.zarr")
    (result,) = root.glob("data/runs/smoke-bench_push-simple_dp3-seed0*/result.json")
    found = json.loads(result.read_text())
    assert len(found["final"]["successes"]) == 2 and found["versions"]["bench-tasks"] == "0.1"
    assert "fits: bench_push" in run("-m", "mp_lib", "inspect", str(store))
    asked = "gymnasium.make('mp_lib.sim.gym:mp_lib/bench_push-v0').reset(seed=6)[0]['agent_pos'][2]"
    assert float(run("-c", f"import gymnasium; print({asked})")) == 6
