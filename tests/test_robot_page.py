"""Somebody with a folder of ten recordings gets a policy that acts by the commands of one page, at most six."""

import os
import re
import shlex
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mp_lib.data.replay_buffer import ReplayBuffer
from mp_lib.system.files import read_json
from tests import ROOT
from tests.ten_episodes import write_episodes

PAGE = (ROOT / "docs" / "robot.md").read_text()
COMMANDS = re.search(r"^```bash\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)[1].splitlines()
# So that it takes minutes: what is asked for is the same.
QUICKER = {
    "train": ["--scale", "smoke", "--set", "num_steps=8", "held_out=0.2"],
    "papermill": ["-p", "scale", "smoke", "-p", "num_steps", "8", "-p", "overrides", '{"held_out": 0.2}'],
    "arm.py": ["--fake", "--seconds", "1"],
    "serve": ["--port", "0"],
}


def test_the_page_needs_at_most_six_commands():
    assert len(COMMANDS) <= 6
    assert [name for name in ("import", "train", "papermill", "export", "arm.py", "serve") if name not in PAGE] == []


def called(command, folder, run):
    """A command of the page as this interpreter runs it below ``folder``, quicker."""
    words = [run if word == "RUN" else word for word in shlex.split(command)]
    words = [str(ROOT / word) if word.startswith(("examples/", "notebooks/")) else word for word in words]
    words = [str(folder / word) if word.startswith("my_arm_policy") else word for word in words]
    words += next((more for name, more in QUICKER.items() if name in map(os.path.basename, words)), [])
    start = {"python": [sys.executable], "papermill": [sys.executable, "-m", "papermill"]}[words[0]]
    return [*start, *words[1:]]


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """An empty root with the recordings in it."""
    write_episodes(tmp_path / "recordings", num_points=64)
    monkeypatch.setenv("MP_ROOT", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return tmp_path


def answers(command, folder):
    """Whether a server says where it answers; it is ended then."""
    server = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
    too_late = threading.Timer(120, server.kill)
    too_late.start()
    try:
        return "answers at" in server.stdout.readline()
    finally:
        too_late.cancel()
        server.terminate()
        server.wait(60)


@pytest.mark.slow
def test_the_commands_of_the_page_make_a_policy_that_acts(workplace):
    run = ""
    for command in COMMANDS:
        words = called(command, workplace, run)
        if " serve " in command:
            pytest.importorskip("websockets")
            assert answers(words, workplace)
            continue
        done = subprocess.run(words, cwd=workplace, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stderr[-2000:]}"
        if " train " in command:
            run = Path(re.search(r"^weights +(.*)$", done.stdout, flags=re.MULTILINE)[1]).parent.name
            found = read_json(workplace / "data" / "runs" / run / "result.json")
            assert found["final"] is None and found["held_out"]["says"].endswith("no success rate")
        if "arm.py" in command:
            assert "50 steps" in done.stdout
    store = ReplayBuffer.open(workplace / "data" / "demos" / "my_arm.zarr")
    assert store.num_episodes == 10 and store.attributes["task"] == "my_arm"
    assert not [path for path in workplace.glob("data/runs/*") if path.is_dir() and path.name != run]
