"""A lock has one holder, names it to others, passes to children, and ends with those who have it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mp_lib.system import locks
from mp_lib.system.locks import InUseError, sole_user

HOLD = """
import sys, time
from pathlib import Path
from mp_lib.system.locks import sole_user
with sole_user(Path(sys.argv[1]), "the run"):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock "a.lock"."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "a.lock")],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_the_second_user_hears_who_the_first_is(tmp_path, holder):
    refused = pytest.raises(InUseError, match=f"^the run is in use by process {holder.pid} on {os.uname().nodename}; ")
    with refused, sole_user(tmp_path / "a.lock", "the run", patience=0.2):
        pass


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_a_lock_ends_with_its_holder(tmp_path, holder, end):
    holder.send_signal(end)
    with sole_user(tmp_path / "a.lock", "the run", patience=10):
        assert (tmp_path / "a.lock").read_text().startswith(f"{os.getpid()} on ")


def test_a_lock_lasts_as_long_as_the_child_that_was_given_it(tmp_path):
    with sole_user(tmp_path / "a.lock", "the run") as lock:
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(lock,))
        locks.sign(lock, child.pid)
    with pytest.raises(InUseError, match=f"process {child.pid} on "), sole_user(tmp_path / "a.lock", "it", patience=0):
        pass
    child.communicate(b"\n")
    with sole_user(tmp_path / "a.lock", "it", patience=0):
        pass


def test_one_lock_is_free_again_after_the_block_and_after_an_error(tmp_path):
    for _ in range(2):
        with pytest.raises(KeyError), sole_user(tmp_path / "new" / "a.lock", "it", patience=0):
            raise KeyError


def test_a_file_system_without_locks_is_said_to_be_one(tmp_path, monkeypatch, caplog):
    def flock(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", flock)
    with sole_user(tmp_path / "a.lock", "the run"):
        assert "the run: this file system knows no locks" in caplog.text


def test_a_lock_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    refused = pytest.raises(OSError, match="cannot write .*a.lock: .*choose a folder")
    with refused, sole_user(tmp_path / "file" / "a.lock", "it"):
        pass
