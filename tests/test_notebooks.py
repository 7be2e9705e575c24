"""Notebooks are thin: annotated literals as parameters, no definitions, no outputs, no import of what is not there."""

import ast
import copy
import importlib
import re
from pathlib import Path

import nbformat
import papermill
import pytest

from mp_lib.pipeline.parameters import NUMBERS, PARAMETER_FOR, check_parameters, parameters_of
from mp_lib.system.errors import InputError

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
CODE_LINES = 60


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook_path(request):
    return request.param


@pytest.fixture
def notebook(notebook_path):
    found = nbformat.read(notebook_path, as_version=4)
    nbformat.validate(found)
    return found


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_those_of_the_pipeline_are_in_a_row_and_no_two_share_a_number():
    numbers = [int(path.name[:2]) for path in NOTEBOOKS]
    assert numbers[:8] == list(range(8)) and len({*numbers}) == len(numbers)


def test_the_first_cell_states_the_claim_and_the_time(notebook):
    first = notebook.cells[0]
    assert first.cell_type == "markdown" and first.source.startswith("# ")
    assert "**Claim checked here:**" in first.source and "minute" in first.source or "seconds" in first.source


def test_it_is_short(notebook):
    lines = [line for cell in code_cells(notebook) for line in cell.source.splitlines() if line.strip()]
    assert len(lines) <= CODE_LINES


def test_it_defines_nothing_and_draws_nothing(notebook):
    for cell in code_cells(notebook):
        for node in ast.walk(ast.parse(cell.source)):
            assert not isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef, ast.Lambda))
        assert "matplotlib" not in cell.source and "plt." not in cell.source


def test_one_cell_holds_parameters_as_literals(notebook):
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    names = []
    for statement in ast.parse(tagged[0].source).body:
        assert isinstance(statement, ast.AnnAssign), f"no annotation: {ast.unparse(statement)}"
        ast.literal_eval(statement.value)
        names.append(statement.target.id)
    used = {node.id for cell in code_cells(notebook) for node in ast.walk(ast.parse(cell.source)) if loads(node)}
    if "run_config" in used:  # which is given all names
        used |= {PARAMETER_FOR.get(field, field) for field in NUMBERS} | {"scale", "seed", "attention", "expert"}
        used |= {"method", "overrides", "normalizer"}
    assert names and set(names) <= used, f"never used: {set(names) - used}"


def loads(node):
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)


def test_it_is_committed_without_outputs(notebook):
    for cell in code_cells(notebook):
        assert cell.outputs == [] and cell.execution_count is None
    assert notebook.metadata.kernelspec.name == "python3"
    assert set(notebook.metadata) <= {"kernelspec", "language_info"}


def test_cells_have_names(notebook):
    names = [cell.id for cell in notebook.cells]
    assert len(set(names)) == len(names)
    assert all(name[:2].isdigit() and name[2] == "-" for name in names)


def test_what_it_imports_and_calls_is_there(notebook):
    modules = {}
    for cell in code_cells(notebook):
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.ImportFrom):
                module = importlib.import_module(node.module)
                for name in node.names:
                    if not hasattr(module, name.name):
                        importlib.import_module(f"{node.module}.{name.name}")
                    modules[name.name] = getattr(module, name.name)
            assert not isinstance(node, ast.Import), "import names, so that this test can look them up"
    for cell in code_cells(notebook):
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
                assert hasattr(modules[node.value.id], node.attr), ast.unparse(node)


def test_it_knows_no_paths(notebook):
    for cell in notebook.cells:
        assert not re.search(r"/(work|home|root|Users|tmp)/", cell.source)


def test_papermill_shows_the_type_the_default_and_the_help_of_every_parameter(notebook_path, notebook):
    shown = papermill.inspect_notebook(notebook_path)
    kinds = parameters_of(notebook_path.read_text())
    assert {name: each["inferred_type_name"] for name, each in shown.items()} == kinds
    (cell,) = (cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
    for statement in ast.parse(cell.source).body:
        each = shown[statement.target.id]
        assert each["help"] and ast.literal_eval(each["default"]) == ast.literal_eval(statement.value)


def test_a_default_means_itself(notebook_path, notebook):
    shown = papermill.inspect_notebook(notebook_path)
    given = {name: ast.literal_eval(each["default"]) for name, each in shown.items()}
    names = copy.deepcopy(given)
    check_parameters(notebook_path.stem, names)
    assert names == given and all(type(names[name]) is type(given[name]) for name in given)


SHOW_NOTHING = [
    ("06_efficiency", {"horizons": []}, r"horizons \[\] given; give one or more multiples of 4"),
    ("06_efficiency", {"horizons": [0]}, r"horizons \[0\] given"),
    ("06_efficiency", {"horizons": [4, 5]}, r"horizons \[4, 5\] given"),
    ("05_tables", {"expert": "dagp"}, "unknown expert 'dagp'; choose one of: default, dapg$"),
    ("05_tables", {"expert": "dapg", "tasks": ["metaworld_reach"]}, "unknown expert 'dapg'; choose one of: default$"),
    ("07_ablations", {"expert": "dagp"}, "unknown expert 'dagp'; choose one of: default, dapg$"),
    ("07_ablations", {"experiments": ["heights"]}, "unknown experiment 'heights'"),
]


@pytest.mark.parametrize(("name", "given", "said"), SHOW_NOTHING)
def test_what_would_show_nothing_is_refused_in_the_first_cell(name, given, said, empty_root):
    (path,) = (path for path in NOTEBOOKS if path.stem == name)
    parameters, first, *_ = code_cells(nbformat.read(path, as_version=4))
    names = {"display": print}
    exec(parameters.source, names)
    with pytest.raises(InputError, match=said) as refused:
        exec(first.source, names | given)
    assert "\n" not in str(refused.value) and not [*empty_root.iterdir()]


def test_no_cell_assigns_a_parameter_again(notebook_path, notebook):
    """So that a cell can be run twice by hand: what a parameter means is checked whenever the first one runs."""
    kinds = parameters_of(notebook_path.read_text())
    for cell in code_cells(notebook):
        stored = {node.id for node in ast.walk(ast.parse(cell.source)) if stores(node)}
        assert "parameters" in cell.metadata.get("tags", []) or not stored & {*kinds}


def stores(node):
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
