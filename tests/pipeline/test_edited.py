"""Exploring never changes a batch run: a notebook whose code was edited is refused, or named where that was allowed."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import nbformat
import pytest

from mp_lib.__main__ import main
from mp_lib.pipeline import notebooks, options
from mp_lib.pipeline.cluster import Plan
from mp_lib.pipeline.notebooks import HONOURED, carried, digests_of, edit_of
from mp_lib.pipeline.report import build_report, edits_of
from mp_lib.pipeline.runner import Runner
from mp_lib.pipeline.steps import Step
from mp_lib.study.answer import Answer
from tests import ROOT

NAME = "04_evaluate.ipynb"
CLUSTER = ("--engine", "snakemake")


def change(path, how):
    """A notebook as somebody saves it: ``how`` changes its cells, and JupyterLab writes JSON in its own way."""
    notebook = json.loads(path.read_text())
    how(notebook["cells"])
    path.write_text(json.dumps(notebook, indent=3, sort_keys=True))


def parameters(cells):
    return next(cell for cell in cells if "parameters" in cell["metadata"].get("tags", ()))


def set_parameters(cells):
    cell = parameters(cells)
    cell["source"] = [line.replace("70000", "50000") for line in cell["source"]]


def new_code(source):
    return {"cell_type": "code", "id": "new", "metadata": {}, "outputs": [], "execution_count": None, "source": source}


def run_it(cells):
    for number, cell in enumerate(cell for cell in cells if cell["cell_type"] == "code"):
        cell |= {"outputs": [{"output_type": "stream", "name": "stdout", "text": ["3"]}], "execution_count": number}
        cell["metadata"] |= {"collapsed": False, "trusted": True}


def leave_spaces(cells):
    for cell in cells:
        cell["source"] = "".join(cell["source"]).replace("\n", "  \n") + " \n"


SAME = {
    "nothing": lambda cells: None,
    "outputs": run_it,
    "text": lambda cells: cells[0].update(source="My notes."),
    "a note": lambda cells: cells.insert(1, {"cell_type": "markdown", "metadata": {}, "source": "Why?"}),
    "spaces": leave_spaces,
    "an empty cell at the end": lambda cells: cells.append(new_code([" \n"])),
}
OTHER = {
    "parameters": (set_parameters, 'cell 2 ("checkpoint: str = '),
    "another cell": (lambda cells: cells[2]["source"].append("\nx = 1"), 'cell 3 ("from mp_lib'),
    "a cell between": (lambda cells: cells.insert(2, new_code(["path = 0\n", "y"])), 'cell 3 ("path = 0")'),
    "a cell gone": (lambda cells: cells.pop(2), "cell 4 ("),
    "the last one gone": (lambda cells: cells.pop(), "without its last code"),
    "text for code": (lambda cells: cells[-1].update(cell_type="markdown"), "without its last code"),
    "no parameters": (lambda cells: parameters(cells).update(metadata={}), "cell 2 ("),
    "no cell": (lambda cells: cells.append("x"), "damaged"),
}


def test_the_package_carries_what_the_notebooks_are():
    paths = sorted((ROOT / "notebooks").glob("*.ipynb"))
    found = {path.name: digests_of(path) for path in paths}
    assert carried() == found, "python -m mp_lib keep-notebooks writes them anew"
    assert all(edit_of(path.name) is None for path in paths)


@pytest.mark.parametrize("how", SAME)
def test_text_outputs_and_the_way_of_writing_are_free(own_notebooks, how):
    change(own_notebooks / "notebooks" / NAME, SAME[how])
    assert edit_of(NAME) is None


@pytest.mark.parametrize("tag", HONOURED)
@pytest.mark.parametrize("place", [0, 2])
def test_a_tag_by_which_a_cell_is_skipped_or_stands_for_another_is_an_edit_in_text_too(own_notebooks, tag, place):
    change(own_notebooks / "notebooks" / NAME, lambda cells: cells[place]["metadata"].update(tags=[tag]))
    assert f"cell {place + 1} (" in edit_of(NAME).told()


def test_another_kernel_is_an_edit(own_notebooks):
    path = own_notebooks / "notebooks" / NAME
    notebook = json.loads(path.read_text())
    notebook["metadata"]["kernelspec"] |= {"display_name": "mine", "name": "mine"}
    path.write_text(json.dumps(notebook))
    assert edit_of(NAME).told() == f'notebooks/{NAME}, kernel "mine python"'


@pytest.mark.parametrize("how", OTHER)
def test_other_code_is_an_edit_and_says_where(own_notebooks, how):
    act, where = OTHER[how]
    change(own_notebooks / "notebooks" / NAME, act)
    edit = edit_of(NAME)
    assert where in edit.told() and edit.told().startswith(f"notebooks/{NAME}, ") and "\n" not in edit.told()


def test_a_notebook_that_is_not_there_or_no_json_is_an_edit(own_notebooks):
    path = own_notebooks / "notebooks" / NAME
    path.write_bytes(path.read_bytes()[:500])
    assert edit_of(NAME).where == "damaged"
    path.unlink()
    assert edit_of(NAME).where == "not there"


@pytest.mark.parametrize("engine", [(), CLUSTER])
@pytest.mark.parametrize("arguments", [("smoke",), ("report",)])
def test_a_run_is_refused_in_one_line_and_nothing_is_made(own_notebooks, capsys, arguments, engine):
    change(own_notebooks / "notebooks" / NAME, set_parameters)
    before = sorted(own_notebooks.rglob("*"))
    assert main(["run", *arguments, *engine]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f'notebooks/{NAME}, cell 2 ("checkpoint: str = ' in line
    assert "git checkout notebooks" in line and "--edited" in line
    assert sorted(own_notebooks.rglob("*")) == before


def test_what_a_call_does_not_use_may_be_edited(own_notebooks):
    change(own_notebooks / "notebooks" / NAME, set_parameters)
    given = options.parse(["smoke", "--experiment", "width"])
    used = {step.notebook: step.refusal() for step in Plan.of(given).steps.values()}
    assert NAME not in used and "03_train.ipynb" in used and not any(used.values())


def test_a_plan_says_it_and_runs_on(own_notebooks, capsys, monkeypatch):
    monkeypatch.setattr("mp_lib.pipeline.driver.plan", lambda *_: "a plan")
    for given, said in ((), "not the project's code: notebooks/"), (("--edited",), "as edited: notebooks/"):
        change(own_notebooks / "notebooks" / NAME, set_parameters)
        assert main(["run", "smoke", "--plan", *given]) == 0
        first, second = capsys.readouterr().out.splitlines()
        assert first == "a plan" and said in second and NAME in second


def test_who_allows_it_has_every_step_run_as_it_is_on_a_cluster_too(own_notebooks):
    change(own_notebooks / "notebooks" / NAME, set_parameters)
    for given, refused in ((), True), (("--edited",), False):
        plan = Plan.of(options.parse(["smoke", *given]))
        (step,) = (step for step in plan.steps.values() if step.notebook == NAME)
        assert bool(step.refusal()) == refused


@pytest.fixture
def step(empty_root, monkeypatch):
    """A step whose notebook prints a number, as the package carries it."""
    folder = empty_root / "notebooks"
    folder.mkdir()
    cells = [
        nbformat.v4.new_code_cell("number = 0", metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell("print('found', number)"),
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "python3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), folder / "it.ipynb")
    known = {"it.ipynb": digests_of(folder / "it.ipynb")}
    monkeypatch.setattr(notebooks, "carried", lambda: known)
    return Step("it", "it", "it.ipynb", empty_root / "data" / "reports" / "it" / "it.ipynb", {"number": 1})


def double(cells):
    cells[1]["source"] = ["print('found', 2 * number)"]


def undo(cells):
    cells[1]["source"] = ["print('found', number)"]


def allowed(step):
    return replace(step, as_edited=True)


def page(step):
    """The report of a single step."""
    facts = {"title": "x", "name": "it", "scale": "smoke", "command": "./run_all.sh smoke", "any_device": "cpu"}
    experiment = SimpleNamespace(folder=step.executed.parent, **facts)
    return build_report(experiment, [step], Answer("", "", {}, [])).read_text()


def first_words(step):
    return page(step).partition("<body>")[2].strip().partition("\n")[0]


def test_a_step_is_done_as_the_project_has_it_or_as_edited_and_neither_stands_for_the_other(step):
    path = step.executed.parents[3] / "notebooks" / "it.ipynb"
    assert Runner([step], 1).run() == [] and step.is_done() and "found 1" in page(step)
    assert first_words(step).startswith("<nav ")
    before = step.key()
    change(path, double)
    assert not step.is_done() and not allowed(step).is_done()
    assert Runner([allowed(step)], 1).run() == [] and allowed(step).is_done() and "found 2" in page(step)
    assert first_words(step).startswith('<p class="edited">') and "notebooks/it.ipynb, cell 2" in first_words(step)
    change(path, undo)
    assert step.key() == before and not step.is_done() and not allowed(step).is_done()
    assert Runner([step], 1).run() == [] and step.is_done() and "found 1" in page(step)
    assert first_words(step).startswith("<nav ")


def test_what_an_edited_notebook_has_made_is_named_for_as_long_as_it_is_there(step):
    path, runs = step.executed.parents[3] / "notebooks" / "it.ipynb", step.executed.parents[2] / "runs"
    product = runs / "smoke-it" / "result.json"
    product.parent.mkdir(parents=True)
    training = replace(step, kind="training", products=(product,))
    evaluation = replace(step, name="then", kind="evaluation", inputs=(product,), products=(runs / "then.json",))
    change(path, double)
    product.write_text("{}")
    evaluation.products[0].write_text("{}")
    assert Runner([allowed(training)], 1).run() == []
    change(path, undo)  # as by git checkout notebooks, and a training that is finished is read
    assert Runner([training, evaluation], 1).run() == [] and training.is_done()
    assert training.edited() == evaluation.edited() and "cell 2" in training.edited()[0]
    for steps in ([training], []):  # of a report that runs nothing, too: its verdicts are by all runs
        assert edits_of("smoke", steps) == training.edited()
    shutil.rmtree(product.parent)
    assert edits_of("smoke", [training]) == []


def test_a_notebook_that_is_edited_while_others_run_is_not_run(step, capsys):
    change(step.executed.parents[3] / "notebooks" / "it.ipynb", double)
    assert Runner([step], 1).run() == ["it"]
    assert "--edited" in step.error() and f"FAILED: it: {step.error()}" in capsys.readouterr().out
    assert not step.stamp.exists() and not step.executed.exists()
