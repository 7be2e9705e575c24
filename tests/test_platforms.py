"""A checkout of any Git has the bytes that were committed, and Windows itself is told about WSL in one line."""

import os
import shutil
import subprocess
import sys

import pytest

from tests import ROOT

WITH_GIT = pytest.mark.skipif(
    shutil.which("git") is None or not (ROOT / ".git").exists(), reason="asks git about this checkout"
)


def git(*arguments, cwd=ROOT):
    identity = ("-c", "user.name=it", "-c", "user.email=it@localhost")
    command = ["git", *identity, *arguments]
    return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True).stdout


@WITH_GIT
def test_every_file_is_text_with_lf_or_binary():
    for line in git("ls-files", "--eol").splitlines():
        index, _, name = line.split(maxsplit=2)
        assert (
            index == ("i/-text" if name.endswith((".mp4", ".npz", ".parquet", ".png", ".safetensors")) else "i/lf")
            or index == "i/none"
        ), name


@WITH_GIT
def test_a_checkout_set_to_crlf_has_the_bytes_that_were_committed(tmp_path):
    files = [ROOT / name for name in (".gitattributes", "run_all.sh", "pyproject.toml", "notebooks/03_train.ipynb")]
    files += [next((ROOT / "tests" / "reference").glob("*.npz")), next((ROOT / "data" / "results").glob("*.csv"))]
    source = tmp_path / "source"
    source.mkdir()
    for file in files:
        shutil.copy(file, source)
    git("init", "--quiet", cwd=source)
    git("add", ".", cwd=source)
    git("commit", "--quiet", "-m", "it", cwd=source)
    git("clone", "--quiet", "-c", "core.autocrlf=true", str(source), str(tmp_path / "clone"), cwd=tmp_path)
    for file in files:
        assert (tmp_path / "clone" / file.name).read_bytes() == file.read_bytes(), file.name


# Packages of others come first: on Windows they do without what is hidden here.
ON_WINDOWS = "import multiprocessing.connection, pandas, psutil, sys, torch, tqdm, zarr; "
ON_WINDOWS += "sys.modules['fcntl'] = sys.modules['resource'] = None; sys.platform = 'win32'; "


def windows(statement, **variables):
    """What a Python without fcntl says."""
    command = [sys.executable, "-c", ON_WINDOWS + statement]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=os.environ | variables)


def test_a_verb_that_needs_locks_says_in_one_line_what_windows_needs(tmp_path):
    done = windows("import mp_lib.__main__ as m; sys.exit(m.main(['run', 'smoke']))", MP_ROOT=str(tmp_path))
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "Windows" in line and "WSL" in line and "pip install" not in line


def test_what_needs_locks_says_so_when_it_is_imported():
    done = windows("import mp_lib.learning.run")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ModuleNotFoundError: ") and "Windows" in last and "WSL" in last


def test_what_needs_no_locks_can_be_imported():
    done = windows("import mp_lib.model.policy, mp_lib.model.backends, mp_lib.system.device, mp_lib.data.replay_buffer")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("system", ["MINGW64_NT-10.0-22631", "CYGWIN_NT-10.0"])
def test_a_shell_on_windows_itself_is_told_about_wsl(system, tmp_path):
    (tmp_path / "uname").write_text(f"#!/bin/sh\necho {system}\n")
    (tmp_path / "uname").chmod(0o755)
    command = ["bash", str(ROOT / "run_all.sh"), "--help"]
    variables = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(command, capture_output=True, text=True, env=variables, cwd=tmp_path)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2 and "Windows" in line and "WSL" in line
