"""Steps: what is done is skipped, what has changed is not, what fails is said."""

import dataclasses
import json
import sys
from types import SimpleNamespace

import nbformat
import pytest

from mp_lib.pipeline.runner import Runner
from mp_lib.pipeline.steps import Step
from tests import ROOT


@pytest.fixture
def notebook_root(tmp_path, monkeypatch):
    """A root, and in it a notebook, which writes its parameter to a file."""
    monkeypatch.setenv("MP_ROOT", str(tmp_path))
    source = """
import pathlib
if value < 0:
    raise ValueError(f"value={value}; give 0 or more")
pathlib.Path(path).write_text(str(value))
"""
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell("value, path = 0, ''", metadata={"tags": ["parameters"]}),
            nbformat.v4.new_code_cell(source),
        ],
        metadata={"kernelspec": {"name": "python3", "display_name": "python3", "language": "python"}},
    )
    nbformat.write(notebook, tmp_path / "source.ipynb")
    (tmp_path / "input").write_text("some data")
    return tmp_path


def make_step(root, name="write", value=1, **changes):
    product = root / f"{name}.txt"
    return dataclasses.replace(
        Step(
            name=name,
            title=name,
            notebook=str(root / "source.ipynb"),
            executed=root / f"{name}.ipynb",
            parameters={"value": value, "path": str(product)},
            inputs=(root / "input",),
            products=(product,),
        ),
        **changes,
    )


def test_step_runs_once_and_again_when_parameters_inputs_or_products_change(notebook_root, capsys):
    step = make_step(notebook_root)
    assert not step.is_done()
    assert Runner([step], jobs=1).run() == []
    assert (notebook_root / "write.txt").read_text() == "1"
    assert step.is_done() and json.loads(step.stamp.read_text())["parameters"] == step.parameters
    assert not make_step(notebook_root, value=2).is_done()
    (notebook_root / "input").write_text("other data")
    assert not step.is_done()
    (notebook_root / "input").write_text("some data")
    assert step.is_done()
    (notebook_root / "write.txt").unlink()
    assert not step.is_done()


def test_a_step_runs_again_when_there_is_more_of_what_it_reads(notebook_root, capsys):
    step = make_step(notebook_root, patterns=("data/runs/*/result.json",))
    for path in (step.executed, *step.products):
        path.touch()
    step.finish(step.key(), 1)
    assert step.is_done()
    (notebook_root / "data" / "runs" / "a").mkdir(parents=True)
    assert step.is_done()
    (notebook_root / "data" / "runs" / "a" / "result.json").write_text("{}")
    assert not step.is_done()


def test_failed_step_says_why_and_stops_those_that_need_it_alone(notebook_root, capsys):
    steps = [
        make_step(notebook_root, "bad", value=-1),
        make_step(notebook_root, "after", needs=("bad",)),
        make_step(notebook_root, "apart"),
    ]
    assert Runner(steps, jobs=2).run() == ["bad", "after"]
    assert (notebook_root / "apart.txt").exists()
    assert not steps[0].stamp.exists()
    printed = capsys.readouterr().out
    assert "value=-1; give 0 or more" in printed
    assert "not run: after" in printed


def test_step_that_uses_all_cores_runs_alone(notebook_root, monkeypatch):
    monkeypatch.setattr("mp_lib.pipeline.runner.Execution", lambda step, *_: SimpleNamespace(step=step))
    runner = Runner([make_step(notebook_root, "wide", cores=8), make_step(notebook_root, "narrow")], jobs=2)
    runner.start_ready()
    assert [execution.step.name for execution in runner.running] == ["wide"]
    runner.running[0].release()


BOGUS = {"argv": ["/bin/false"], "display_name": "another's Python 3", "language": "python"}


def test_a_notebook_runs_in_this_interpreter_and_package_whatever_is_installed(notebook_root, monkeypatch):
    kernel = notebook_root / "installed" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    (kernel / "kernel.json").write_text(json.dumps(BOGUS))
    monkeypatch.setenv("JUPYTER_PATH", str(notebook_root / "installed"))
    (notebook_root / "other" / "mp_lib").mkdir(parents=True)
    (notebook_root / "other" / "mp_lib" / "__init__.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(notebook_root / "other"))
    asking = nbformat.read(notebook_root / "source.ipynb", as_version=4)
    asking.cells[1].source = "import mp_lib, sys; open(path, 'w').write(f'{sys.executable} {mp_lib.__path__[0]}')"
    nbformat.write(asking, notebook_root / "source.ipynb")
    step = make_step(notebook_root)
    assert Runner([step], jobs=1).run() == [], step.error()
    assert (notebook_root / "write.txt").read_text() == f"{sys.executable} {ROOT / 'mp_lib'}"
    assert nbformat.read(step.executed, as_version=4).metadata.kernelspec.name == "python3"
