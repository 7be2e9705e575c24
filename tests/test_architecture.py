"""Arrows between modules point one way, imports are light, files are short."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mp_lib
from tests import ROOT
from tests.conftest import SMOKE_FILES

PACKAGE = Path(mp_lib.__file__).parent
SOURCES = {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in PACKAGE.rglob("*.py")}
ROOMS = {  # what a room may import beside itself; the same table stands in mp_lib's docstring
    "system": "",
    "ground": "system",
    "geometry": "system",
    "sim": "geometry ground system",
    "data": "sim geometry ground system",
    "model": "geometry ground system",
    "drawing": "ground system",
    "exchange": "data geometry ground system",
    "acting": "model geometry ground system",
    "learning": "model data sim geometry ground system",
    "timing": "learning model data sim ground system",
    "study": "learning timing drawing model sim ground system",
    "insight": "study learning drawing acting model data sim geometry ground system",
    "viewing": "insight model system",
    "pipeline": "insight study learning drawing model data sim ground system",
    "publishing": "pipeline insight study learning model ground system",
    "front": "all",
    "commands": "all",
}
TOP = {"__init__": "front", "front": "front", "__main__": "commands"}  # other files at the top are the ground
MOST_AT_THE_TOP = 9  # files
MODEL_PACKAGES = {"torch", "einops", "safetensors", "numpy", "mp_lib"}
LONGEST, LONGEST_FUNCTION = 300, 60  # lines


def imports(path, only_at_the_top=False):
    """The dotted names that a file imports, also within functions unless told otherwise."""
    tree = ast.parse(path.read_text())
    for node in tree.body if only_at_the_top else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


def own_imports(path):
    """The modules of the package that a file imports."""
    for name in imports(path):
        module = name.removeprefix("mp_lib.")
        if module in SOURCES:
            yield module


def room_of(module):
    """The room that a module stands in."""
    room, *rest = module.split(".")
    return room if rest else TOP.get(module, "ground")


def test_every_room_is_a_folder_with_a_rule_and_stands_above_what_it_imports():
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders == {*ROOMS} - {"ground", "front"}
    order = list(ROOMS)
    for room, allowed in ROOMS.items():
        assert allowed == "all" or all(order.index(name) < order.index(room) for name in allowed.split()), room


def test_the_package_tells_the_same_table():
    rows = [re.split(r" {2,}", line.strip()) for line in mp_lib.__doc__.splitlines() if line.startswith("    ")]
    assert {room: "" if allowed == "-" else allowed for room, _, allowed in rows} == ROOMS


@pytest.mark.parametrize("module", sorted(SOURCES))
def test_arrows_between_rooms_go_down(module):
    room = room_of(module)
    used = {room_of(name) for name in own_imports(SOURCES[module])} - {room}
    assert ROOMS[room] == "all" or used <= {*ROOMS[room].split()}


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_no_arrow_is_allowed_that_nobody_needs(room):
    used = {room_of(name) for module in SOURCES if room_of(module) == room for name in own_imports(SOURCES[module])}
    assert ROOMS[room] == "all" or {*ROOMS[room].split()} <= used


def test_few_files_stand_at_the_top_and_no_room_exports_everything():
    assert len([path for path in PACKAGE.iterdir() if path.is_file()]) <= MOST_AT_THE_TOP
    for path in PACKAGE.glob("*/__init__.py"):
        imported = {*imports(path)} - {"mp_lib.system.extras", "mp_lib.system.extras.require"}
        assert not imported, f"{path} imports {imported}"


def test_there_are_no_cycles():
    graph = {module: set(own_imports(path)) - {module} for module, path in SOURCES.items()}
    while graph:
        free = {module for module, needed in graph.items() if not needed & graph.keys()}
        assert free, f"a cycle among {sorted(graph)}"
        graph = {module: needed for module, needed in graph.items() if module not in free}


@pytest.mark.parametrize("module", sorted(module for module in SOURCES if room_of(module) == "model"))
def test_the_model_is_pure_torch(module):
    """What is optional is imported where it is used; the fused kernels' own files are."""
    allowed = MODEL_PACKAGES | ({"triton"} if module.startswith("model.fused.") else set())
    found = {name.split(".")[0] for name in imports(SOURCES[module], only_at_the_top=True)}
    assert found <= allowed | sys.stdlib_module_names


@pytest.mark.parametrize(
    "module", sorted(module for module in SOURCES if room_of(module) in ("geometry", "sim", "data", "ground"))
)
def test_simulation_and_stores_know_no_torch(module):
    """In data, windows are tensors, and networks are what imitation trains and download reads."""
    if module not in ("data.windows", "data.imitation"):
        assert "torch" not in {name.split(".")[0] for name in imports(SOURCES[module])}


def loaded_by(statement):
    """The top-level packages that a fresh interpreter has loaded after a statement."""
    code = f"{statement}; import sys; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PACKAGE.parent)
    assert done.returncode == 0, done.stderr
    return {*done.stdout.split()}


@pytest.mark.parametrize(
    ("statement", "heavy"),
    [
        ("import mp_lib", {"torch", "mujoco", "numpy", "zarr", "pandas", "matplotlib", "wandb"}),
        (
            "import mp_lib.interfaces, mp_lib.config, mp_lib.system.paths",
            {"torch", "mujoco", "zarr", "pandas", "wandb"},
        ),
        ("import mp_lib.commands.table", {"torch", "mujoco", "numpy", "zarr", "pandas", "matplotlib", "wandb"}),
        ("import mp_lib.point_cloud", {"torch", "mujoco", "zarr", "pandas", "wandb"}),
        ("import mp_lib.geometry.relative, mp_lib.geometry.grippers", {"torch", "scipy", "mujoco", "zarr"}),
        ("import mp_lib.acting.engine", {"torch", "mujoco", "matplotlib", "wandb", "pandas", "zarr", "onnxruntime"}),
        ("import mp_lib.sim.tasks", {"torch", "mujoco", "metaworld"}),
        ("import mp_lib.data.recording", {"torch", "mujoco", "metaworld"}),
        ("import mp_lib.model.policy, mp_lib.model.checkpoint", {"mujoco", "metaworld", "zarr", "diffusers", "wandb"}),
        # Every simulating process imports it.
        ("import mp_lib.learning.simulators", {"torch", "mujoco", "metaworld", "zarr", "wandb"}),
        ("import mp_lib.learning.run", {"mujoco", "metaworld", "wandb", "imageio_ffmpeg", "diffusers", "matplotlib"}),
    ],
)
def test_imports_are_light(statement, heavy):
    assert not loaded_by(statement) & heavy


REGISTERS = {"sim.gym": "register_tasks()"}  # gymnasium imports it for that, and nothing of the package does


def test_nothing_imports_what_registers_something():
    assert not {name for path in SOURCES.values() for name in own_imports(path)} & {*REGISTERS}


@pytest.mark.parametrize("module", sorted(SOURCES))
def test_imports_do_nothing(module):
    """At the top of a module stand imports, definitions, constants and docstrings; one registers something."""
    path = SOURCES[module]
    for node in ast.parse(path.read_text()).body:
        is_call = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
        asks_for_its_extra = is_call and path.name == "__init__.py" and ast.unparse(node.value.func) == "require"
        registers = is_call and ast.unparse(node) == REGISTERS.get(module)
        assert not is_call or asks_for_its_extra or registers, f"{module}:{node.lineno} {ast.unparse(node)}"


@pytest.mark.parametrize("module", sorted(SOURCES))
def test_files_are_short_and_say_what_they_are(module):
    text = SOURCES[module].read_text()
    assert len(text.splitlines()) <= LONGEST
    assert ast.get_docstring(ast.parse(text))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno < LONGEST_FUNCTION, f"{module}.{node.name}"


SHOWN = {
    "__main__",
    "commands.exchange",
    "commands.policies",
    "commands.project",
    "commands.robot",
    "commands.targets",
    "commands.upkeep",
    "pipeline.runner",
    "pipeline.cluster",
    "pipeline.driver",
}  # on a command line


@pytest.mark.parametrize("module", sorted({*SOURCES} - SHOWN))
def test_only_command_lines_print(module):
    tree = ast.parse(SOURCES[module].read_text())
    calls = [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert "print" not in calls and "sys.stdout.write" not in calls


@pytest.mark.parametrize("module", sorted({*SOURCES} - {"__main__"}))
def test_one_command_runs_everything(module):
    compared = [node.left for node in ast.walk(ast.parse(SOURCES[module].read_text())) if isinstance(node, ast.Compare)]
    assert "__name__" not in {ast.unparse(node) for node in compared}


@pytest.mark.parametrize("module", sorted(SOURCES))
def test_no_file_names_a_machine(module):
    assert not re.search(r"[\"'\s(]/(work|home|root|Users|mnt|data|scratch)/|\b[A-Z]:\\\\", SOURCES[module].read_text())


def test_files_that_ask_for_the_smoke_run_are_named_so_that_it_is_run_once():
    asking = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        functions = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]
        if any(argument.arg == "smoke_run" for function in functions for argument in function.args.args):
            asking.add(str(path.relative_to(ROOT)))
    assert asking == SMOKE_FILES
