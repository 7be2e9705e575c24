"""Notebooks are thin: literals as parameters, no definitions, no outputs, and nothing imported that is not there."""

import ast
import importlib
import re
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
CODE_LINES = 60


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    found = nbformat.read(request.param, as_version=4)
    nbformat.validate(found)
    return found


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_there_are_notebooks_in_a_row():
    numbers = [int(path.name[:2]) for path in NOTEBOOKS]
    assert numbers == list(range(len(numbers))) and len(numbers) >= 7


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
        assert isinstance(statement, ast.Assign) and len(statement.targets) == 1, ast.unparse(statement)
        ast.literal_eval(statement.value)
        names.append(statement.targets[0].id)
    used = {node.id for cell in code_cells(notebook) for node in ast.walk(ast.parse(cell.source)) if loads(node)}
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
