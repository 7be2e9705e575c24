"""Arrows between modules point one way, imports are light, files are short."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mp_lib

PACKAGE = Path(mp_lib.__file__).parent
SOURCES = {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in PACKAGE.rglob("*.py")}
BASE = {"device", "files", "film", "journal", "locks", "metrics", "paths", "progress", "provenance", "statistics"}
BASE |= {"stopping", "unpickle", "workers", "compiler", "point_cloud"}

MAY_IMPORT = {  # what of the package a module, or any module of a folder, may import
    "interfaces": set(),
    "config": {"interfaces"},
    **dict.fromkeys(BASE, BASE),
    "model": {"model", "config", "interfaces", "files", "unpickle", "compiler"},
    "sim": {"sim", "interfaces", "files", "paths", "point_cloud"},
    "data": {"data", "interfaces", "files", "point_cloud"},
    "demos": BASE | {"data", "sim", "interfaces"},
    "designs": {"config", "interfaces", "sim"},
    "evidence": {"statistics"},
    "fetch": BASE | {"interfaces"},
    "imitate": BASE | {"demos", "sim", "interfaces"},
    "trainer": {"config", "data", "model", "interfaces"},
    "rollout": BASE | {"config", "model", "sim.env", "interfaces"},
    "specimens": {"config", "data", "model", "demos", "evaluate", "paths", "runs", "sentences", "train"},
    "mixing": {"config", "model", "sentences", "specimens"},
    "receptive_field": {"config", "model", "sentences", "specimens", "mixing"},
    "run_folder": BASE | {"config", "data", "interfaces"},
    "train": BASE | {"config", "data", "model", "interfaces", "rollout", "run_folder", "trainer"},
}
MODEL_PACKAGES = {"torch", "einops", "safetensors", "numpy", "mp_lib"}
LONGEST = 320  # lines a file


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


def within(module, names):
    return any(module == name or module.startswith(f"{name}.") for name in names)


def test_every_rule_is_about_something():
    for name in {*MAY_IMPORT, *(each for allowed in MAY_IMPORT.values() for each in allowed)}:
        assert any(within(module, [name]) for module in SOURCES), name


@pytest.mark.parametrize("module", sorted(SOURCES))
def test_arrows_point_one_way(module):
    rules = [allowed for name, allowed in MAY_IMPORT.items() if within(module, [name])]
    wrong = [name for name in own_imports(SOURCES[module]) for allowed in rules if not within(name, allowed)]
    assert not wrong, f"{module} imports {wrong}"


def test_there_are_no_cycles():
    graph = {module: set(own_imports(path)) - {module} for module, path in SOURCES.items()}
    while graph:
        free = {module for module, needed in graph.items() if not needed & graph.keys()}
        assert free, f"a cycle among {sorted(graph)}"
        graph = {module: needed for module, needed in graph.items() if module not in free}


@pytest.mark.parametrize("module", sorted(module for module in SOURCES if within(module, ["model"])))
def test_the_model_is_pure_torch(module):
    """What is optional is imported where it is used."""
    found = {name.split(".")[0] for name in imports(SOURCES[module], only_at_the_top=True)}
    assert found <= MODEL_PACKAGES | sys.stdlib_module_names


@pytest.mark.parametrize("module", sorted(module for module in SOURCES if within(module, ["sim", "data"])))
def test_simulation_knows_no_torch_and_data_only_in_windows(module):
    if module != "data.windows":
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
        ("import mp_lib.sim.tasks", {"torch", "mujoco", "metaworld"}),
        ("import mp_lib.data.recording", {"torch", "mujoco", "metaworld"}),
        ("import mp_lib.model.policy, mp_lib.model.checkpoint", {"mujoco", "metaworld", "zarr", "diffusers", "wandb"}),
        ("import mp_lib.learning.run", {"mujoco", "metaworld", "wandb", "imageio_ffmpeg", "diffusers", "matplotlib"}),
    ],
)
def test_imports_are_light(statement, heavy):
    assert not loaded_by(statement) & heavy


@pytest.mark.parametrize("module", sorted(SOURCES))
def test_imports_do_nothing(module):
    """At the top of a module stand imports, definitions, constants and docstrings."""
    for node in ast.parse(SOURCES[module].read_text()).body:
        is_call = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
        assert not is_call, f"{module}:{node.lineno} {ast.unparse(node)}"


@pytest.mark.parametrize("module", sorted(SOURCES))
def test_files_are_short_and_say_what_they_are(module):
    text = SOURCES[module].read_text()
    assert len(text.splitlines()) <= LONGEST
    assert ast.get_docstring(ast.parse(text))


@pytest.mark.parametrize("module", sorted(set(SOURCES) - {"runner", "cluster"}))  # what a command line shows
def test_only_command_lines_print(module):
    tree = ast.parse(SOURCES[module].read_text())
    is_command = any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body)
    calls = [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert is_command or "print" not in calls


@pytest.mark.parametrize("module", sorted(SOURCES))
def test_no_file_names_a_machine(module):
    assert not re.search(r"[\"'\s(]/(work|home|root|Users|mnt|data|scratch)/|\b[A-Z]:\\\\", SOURCES[module].read_text())
