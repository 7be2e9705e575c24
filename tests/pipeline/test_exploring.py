"""JupyterLab opens copies: what is typed there changes neither notebooks nor what git sees, and is never lost."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import papermill
import pytest

from mp_lib.__main__ import main
from mp_lib.pipeline.exploring import FIRST, explore_path, lab_variables, made_from, make_copies, noted_path
from mp_lib.system.paths import notebooks_path
from tests import ROOT
from tests.pipeline.test_edited import NAME, change, run_it, set_parameters

OTHER = "05_tables.ipynb"


def notes(cells):
    cells[0]["source"] = "My notes."


@pytest.fixture
def copies(own_notebooks):
    """The folder of copies, made by now."""
    assert make_copies() == []
    return explore_path()


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.ipynb")}


def test_copies_lie_beside_the_notebooks_and_are_as_these(copies):
    assert contents(copies) == contents(notebooks_path()) and FIRST in contents(copies)
    assert copies.parent == notebooks_path().parent  # so that relative links lead to the same places
    assert "explore/" in (ROOT / ".gitignore").read_text().splitlines()


def test_a_copy_that_nobody_has_edited_follows_the_project_in_silence(copies):
    change(copies / NAME, run_it)
    shown = contents(copies)
    assert make_copies() == [] and contents(copies) == shown  # what it has put out stays
    change(notebooks_path() / NAME, set_parameters)
    assert make_copies() == []
    assert contents(copies)[NAME] == (notebooks_path() / NAME).read_bytes()
    assert {**contents(copies), NAME: shown[NAME]} == shown


@pytest.mark.parametrize("how", [set_parameters, notes])
def test_an_edited_copy_stays_until_new_ones_are_asked_for_and_is_kept_then(copies, how):
    change(copies / NAME, how)
    (copies / "mine.ipynb").write_text("{}")
    mine = (copies / NAME).read_bytes()
    assert make_copies() == []
    for name in (NAME, OTHER):
        change(notebooks_path() / name, lambda cells: cells[0].update(source="# Anew"))
    for _ in range(2):
        (said,) = make_copies()
        assert f"explore/{NAME};" in said and "--anew" in said and OTHER not in said
    assert (copies / NAME).read_bytes() == mine and "Anew" in (copies / OTHER).read_text()
    (said,) = make_copies(anew=True)
    (aside,) = copies.glob("before-*")
    assert said.endswith(f"explore/{aside.name}") and contents(aside) == {NAME: mine}
    assert contents(copies) == contents(notebooks_path()) | {"mine.ipynb": b"{}"}
    assert make_copies() == make_copies(anew=True) == [] and [*copies.glob("before-*")] == [aside]


def test_what_is_gone_comes_again_and_what_cannot_be_told_is_never_overwritten(copies):
    (copies / OTHER).unlink()
    (copies / NAME).write_text("{")
    assert make_copies() == [] and (copies / OTHER).exists() and (copies / NAME).read_text() == "{"
    change(copies / OTHER, notes)
    noted_path().write_text("{")
    mine = (copies / OTHER).read_bytes()
    (said,) = make_copies()
    assert NAME in said and OTHER in said and (copies / OTHER).read_bytes() == mine
    assert made_from()[FIRST]


def test_without_notebooks_there_is_nothing_to_explore(empty_root, capsys):
    assert main(["lab"]) == 2
    assert "there are no notebooks in" in capsys.readouterr().err and not list(empty_root.iterdir())


def test_the_lab_has_the_kernel_and_the_settings_of_the_pipeline(own_notebooks, monkeypatch):
    seen = []
    monkeypatch.setattr(os, "execve", lambda *given: seen.append(given))
    monkeypatch.setenv("JUPYTER_PATH", "mine")
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", "mine")
    assert main(["lab", "--no-browser", "--port", "1", "--anew"]) == 0
    ((program, command, variables),) = seen
    assert program == sys.executable and command[:3] == [sys.executable, "-m", "jupyterlab"]
    assert command[-3:] == ["--no-browser", "--port", "1"]
    assert command[command.index("--notebook-dir") + 1] == str(own_notebooks) == variables["MP_ROOT"]
    assert variables["OMP_WAIT_POLICY"] == "passive"
    for name, within in (
        ("JUPYTER_PATH", "kernels/python3/kernel.json"),
        ("JUPYTER_CONFIG_PATH", "labconfig/page_config.json"),
    ):
        first, *others = variables[name].split(os.pathsep)
        assert others == ["mine"] and (Path(first) / within).exists()


def test_run_all_calls_it_with_all_that_was_given(tmp_path):
    told = tmp_path / "told"
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin" / "python"
    python.write_text(f'#!/bin/sh\ncase "$*" in *" lab "*) echo "$@" > "{told}" ;; esac\necho {tmp_path}\n')
    python.chmod(0o755)
    variables = os.environ | {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    command = ["bash", str(ROOT / "run_all.sh"), "lab", "--env", "active", "--anew", "--port", "1"]
    subprocess.run(command, check=True, capture_output=True, env=variables)
    assert told.read_text() == "-m mp_lib lab --anew --port 1\n"


def test_jupyterlab_opens_the_first_copy_and_asks_nobody_about_news(tmp_path):
    """Its page says which of its extensions it leaves out; the one that asks for news says so itself."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    given = ["--no-browser", "--allow-root", "--port", str(port), "--IdentityProvider.token="]
    code = (
        "from unittest import mock; import mp_lib.pipeline.exploring as it, pathlib, sys, mp_lib.__main__ as m; "
        f"it.explore_path = lambda: pathlib.Path({str(tmp_path / 'explore')!r}); sys.exit(m.main(['lab', *{given!r}]))"
    )
    log = tmp_path / "log"
    with open(log, "w") as file:
        lab = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=file, stderr=file, start_new_session=True)
    try:
        address = f"http://127.0.0.1:{port}/"
        for _ in range(120):
            if "is running at" in log.read_text():
                break
            time.sleep(0.5)
        with urllib.request.urlopen(address) as answer:
            page = answer.read().decode()
            assert answer.geturl() == f"{address}lab/tree/explore/{FIRST}", log.read_text()
    finally:
        os.killpg(lab.pid, signal.SIGKILL)
        lab.wait()
    found = json.loads(page.partition('id="jupyter-config-data"')[2].partition(">")[2].partition("</script>")[0])
    assert "@jupyterlab/apputils-extension:announcements" in found["disabledExtensions"]


def test_a_notebook_runs_from_there_as_well(copies, monkeypatch):
    for name, value in lab_variables().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    papermill.execute_notebook(copies / FIRST, copies / "out.ipynb", cwd=copies, progress_bar=False)
    assert (copies / "figures" / "00_method.png").exists()
    assert not (copies.parent / "figures").exists()  # which reports link
