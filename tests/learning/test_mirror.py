"""The mirror of a run is the whole run, once, and no training waits or ends for it."""

import contextlib
import logging
import os
import resource
import signal
import socket
import time

import psutil
import pytest

from mp_lib.learning import mirror
from mp_lib.learning.metrics import Metrics
from mp_lib.learning.run import train
from mp_lib.learning.wandb_run import KEYS
from tests import ROOT
from tests.conftest import TOY
from tests.learning import fake_wandb
from tests.learning.offline_run import only_run
from tests.learning.toy_run import CONFIG, rows, run_elsewhere, stop_at

KEY = "0123456789" * 4
ROWS = [{"step": 9, "loss": 0.5, "learning_rate": 0.1}, {"step": 9, "success_rate": 0.2}]
ROWS += [{"step": 19, "loss": 0.25, "learning_rate": 0.0}, {"step": 20, "final_success_rate": 1.0}]


@pytest.fixture(autouse=True)
def variables(tmp_path, monkeypatch):
    """No variable or file of whoever tests counts."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    for name, value in {"HOME": tmp_path, "NETRC": tmp_path / "netrc", "WANDB_ERROR_REPORTING": "false"}.items():
        monkeypatch.setenv(name, str(value))


def mirrored(folder):
    """The rows of a record as the mirror has them: one a step, under its own keys."""
    steps = {}
    for row in rows(folder):
        steps.setdefault(row["step"], {}).update({KEYS.get(key, key): value for key, value in row.items()})
    return list(steps.values())


def record(folder, found=ROWS, step=0):
    """Write rows as a run does; returns the seconds that its end takes."""
    folder.mkdir(exist_ok=True)
    metrics = Metrics(folder / "metrics.jsonl", step, {"seed": 3})
    for row in found:
        metrics.write(**row)
    began = time.monotonic()
    metrics.close()
    return time.monotonic() - began


def processes(folder):
    """What was started from here, or from there, and still runs."""
    found = []
    for process in psutil.process_iter():
        try:
            own = process.environ().get("HOME") == str(folder) and process.pid != psutil.Process().pid
            found += [process.cmdline()] if own and process.status() != psutil.STATUS_ZOMBIE else []
        except psutil.Error:  # gone, or another user's
            continue
    return found


@pytest.mark.slow
def test_offline_a_training_that_was_stopped_and_killed_is_one_run(tmp_path, toy_demos, monkeypatch, eager_saves):
    folder, identifiers = tmp_path / "run", set()
    for stop in (12, 20):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            stop_at(patch, stop)
            train(CONFIG, TOY, toy_demos, folder, device="cpu")
        run, history = only_run(folder / "wandb")
        assert history == mirrored(folder)
        identifiers.add(run.run_id)
        with run_elsewhere(toy_demos.path, folder, WANDB_MODE=None, KILL_AT=str(stop + 3)) as process:
            process.communicate(timeout=200)
        assert process.returncode == -signal.SIGKILL
    train(CONFIG, TOY, toy_demos, folder, device="cpu")
    run, history = only_run(folder / "wandb")
    assert history == mirrored(folder) and [row["step"] for row in history] == [9, 19, 24, 25]
    assert {*KEYS.values()} - {"eval/success_rate"} == {key for row in history for key in row} - {"step"}
    assert identifiers == {run.run_id} and not processes(tmp_path)


def test_a_long_record_is_mirrored_to_its_end(tmp_path):
    long = [{"step": step, "loss": step / 7, "learning_rate": 1e-3} for step in range(0, 8000, 10)]
    record(tmp_path / "run", long)
    assert only_run(tmp_path / "run" / "wandb")[1] == mirrored(tmp_path / "run")


@pytest.mark.parametrize("mode", ["", "dryrun", "offline"])
def test_what_nobody_sets_is_named_for_the_run(tmp_path, monkeypatch, mode):
    monkeypatch.setenv("WANDB_MODE", mode)
    record(tmp_path / "run")
    run, history = only_run(tmp_path / "run" / "wandb")
    assert (run.project, run.display_name, run.entity, run.run_group) == ("mamba-policy", "run", "", "")
    assert {item.key: item.value_json for item in run.config.update}["seed"] == "3"
    assert history == mirrored(tmp_path / "run") and history[0]["eval/success_rate"] == 0.2


def test_what_the_user_sets_counts(tmp_path, monkeypatch):
    values = {"PROJECT": "own", "ENTITY": "team", "NAME": "mine", "RUN_GROUP": "group", "TAGS": "a,b", "RUN_ID": "x-1"}
    for name, value in (values | {"DIR": str(tmp_path / "elsewhere")}).items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    other = tmp_path / "elsewhere" / "wandb" / "offline-run-20260101_000000-y-x-1"  # of the run y-x-1
    other.mkdir(parents=True)
    for _ in range(2):
        record(tmp_path / "run")
    run, _ = only_run(tmp_path / "elsewhere" / "wandb")
    found = run.project, run.entity, run.display_name, run.run_group, ",".join(run.tags), run.run_id
    assert found == tuple(values.values())
    assert other.exists() and not list((tmp_path / "run").glob("wandb/*run-*"))


def test_what_the_user_has_written_into_wandbs_settings_counts(tmp_path):
    (tmp_path / ".config" / "wandb").mkdir(parents=True)
    (tmp_path / ".config" / "wandb" / "settings").write_text("[default]\nproject = kept\nentity = team\n")
    record(tmp_path / "run")
    run, _ = only_run(tmp_path / "run" / "wandb")
    assert (run.project, run.entity) == ("kept", "team")


def test_a_run_that_is_trained_anew_is_another_run(tmp_path):
    found = set()
    for name in ("run", "run", "moved", "run"):
        record(tmp_path / name)
        found.add(only_run(tmp_path / name / "wandb")[0].run_id)
        if name == "moved":
            (tmp_path / "run").rename(tmp_path / "old")
    assert len(found) == 3


@pytest.mark.slow
@pytest.mark.parametrize("server", ["refuses", "hangs", "no key", "bad key"])
def test_a_server_that_cannot_be_reached_holds_nobody_up(tmp_path, toy_demos, monkeypatch, caplog, server):
    monkeypatch.setattr(mirror, "LIVE_SECONDS", 3)
    with socket.create_server(("127.0.0.1", 0)) as listener:  # accepts, and never answers
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{listener.getsockname()[1]}")
        monkeypatch.setenv("WANDB_MODE", "online")
        if server != "no key":
            monkeypatch.setenv("WANDB_API_KEY", "bad" if server == "bad key" else KEY)
        if server == "refuses":
            listener.close()
        began = time.monotonic()
        train(CONFIG, TOY, toy_demos, tmp_path / "run", device="cpu")
        assert time.monotonic() - began < 30
    assert only_run(tmp_path / "run" / "wandb")[1] == mirrored(tmp_path / "run")
    (warning,) = (each for each in caplog.records if each.levelno == logging.WARNING)
    assert f"wandb sync {tmp_path / 'run' / 'wandb'}" in warning.getMessage()
    assert not processes(tmp_path)


BROKEN = [  # where, how, in which mode
    ("import", "raise SystemExit('bye')", "offline"),
    ("import", "os._exit(3)", "online"),
    ("import", "hang()", "offline"),
    ("init", "BREAKS['init'] = hang", "online"),
    ("finish", "BREAKS['finish'] = lambda: 1 / 0", "online"),
]


@pytest.mark.parametrize(("where", "breaks", "mode"), BROKEN)
def test_a_broken_wandb_harms_nothing(tmp_path, monkeypatch, caplog, where, breaks, mode):
    told = fake_wandb.install(tmp_path, monkeypatch, breaks)
    monkeypatch.setattr(mirror, "LIVE_SECONDS", 2)
    monkeypatch.setattr(mirror, "OFFLINE_SECONDS", 4)
    monkeypatch.setenv("WANDB_MODE", mode)
    assert record(tmp_path / "run") < 15
    assert rows(tmp_path / "run") == ROWS
    breaks_offline = where == "import"
    warnings = [each.getMessage() for each in caplog.records]
    assert len(warnings) == int(mode == "online" or breaks_offline), warnings
    if not breaks_offline:
        last = [each for each in told() if "mode" in each or "_step" in each][-4:]
        assert last[0]["mode"] == "offline" and [each["_step"] for each in last[1:]] == [9, 19, 20]
    assert not processes(tmp_path)


@pytest.mark.parametrize("names", [[], ["{}"], ["run-1_1-{}", "offline-run-2_2-{}"]])
def test_a_wandb_that_writes_otherwise_is_told_apart(tmp_path, monkeypatch, caplog, names):
    fake_wandb.install(tmp_path, monkeypatch, f"NAMES = {names}")
    monkeypatch.setenv("WANDB_MODE", "offline")
    record(tmp_path / "run")
    (warning,) = (each.getMessage() for each in caplog.records)
    identifier = (tmp_path / "run" / "wandb" / "id").read_text()
    assert f"wandb has written {', '.join(sorted(names)).format(*[identifier] * 2) or 'nothing'}" in warning


def test_a_record_that_is_closed_twice_is_mirrored_once(tmp_path, monkeypatch):
    told = fake_wandb.install(tmp_path, monkeypatch)
    monkeypatch.setenv("WANDB_MODE", "offline")
    with contextlib.closing(Metrics(tmp_path / "metrics.jsonl", 0, {})) as metrics:
        metrics.write(0, loss=0.5)
        metrics.close()
    assert len([each for each in told() if "mode" in each]) == 1


def test_a_live_mirror_that_fails_is_said_at_once(tmp_path, monkeypatch, caplog):
    fake_wandb.install(tmp_path, monkeypatch, "BREAKS['init'] = lambda: 1 / 0")
    monkeypatch.setenv("WANDB_MODE", "online")
    metrics = Metrics(tmp_path / "metrics.jsonl", 0, {})
    for step in range(300):
        metrics.write(step, loss=0.0)
        if caplog.records:
            break
        time.sleep(0.1)
    assert "ZeroDivisionError" in caplog.text
    metrics.close()
    assert len(caplog.records) == 1


def test_online_a_run_that_goes_on_is_the_same_run(tmp_path, monkeypatch, caplog):
    told = fake_wandb.install(tmp_path, monkeypatch)
    monkeypatch.setenv("WANDB_MODE", "online")
    record(tmp_path / "run", ROWS[:1])  # interrupted in the evaluation that follows
    record(tmp_path / "run", ROWS[1:3], step=10)
    record(tmp_path / "run", ROWS[2:3], step=10)  # killed behind its last save
    record(tmp_path / "run", ROWS[3:], step=20)
    starts = [each for each in told() if "mode" in each]
    assert {(each["mode"], each["resume"], each["id"]) for each in starts} == {("online", "allow", starts[0]["id"])}
    sent = [{"step": each.pop("_step")} | each for each in told() if "_step" in each]
    assert sent == mirrored(tmp_path / "run") and sent[0]["eval/success_rate"] == 0.2
    assert not caplog.records


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_whoever_interrupts_the_end_is_heard(tmp_path, monkeypatch, mode):
    fake_wandb.install(tmp_path, monkeypatch, "hang()")
    monkeypatch.setenv("WANDB_MODE", mode)
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 2)
    try:
        with pytest.raises(KeyboardInterrupt):
            record(tmp_path / "run")
    finally:
        signal.signal(signal.SIGALRM, before)
    assert not processes(tmp_path) and rows(tmp_path / "run") == ROWS


def test_the_mirror_of_a_training_that_was_killed_ends_by_itself(tmp_path, monkeypatch, toy_demos):
    fake_wandb.install(tmp_path, monkeypatch)
    path = f"{tmp_path / 'path'}:{ROOT}"
    with run_elsewhere(toy_demos.path, tmp_path / "run", WANDB_MODE="online", PYTHONPATH=path) as process:
        while not (tmp_path / "server").exists() and process.poll() is None:
            time.sleep(0.01)
        process.kill()
    last = time.monotonic() + 20
    while processes(tmp_path) and time.monotonic() < last:
        time.sleep(0.2)
    assert not processes(tmp_path)


@pytest.mark.parametrize("mode", ["online", "offline"])
@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_folder_that_cannot_be_written_harms_nothing(tmp_path, monkeypatch, caplog, mode, elsewhere):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "wandb").symlink_to("/proc/self")
    monkeypatch.setenv("WANDB_MODE", mode)
    if elsewhere:
        monkeypatch.setenv("WANDB_DIR", "/proc/self")
    record(tmp_path / "run")
    assert rows(tmp_path / "run") == ROWS
    assert len(caplog.records) == 1 and "cannot write" in caplog.text


def test_a_full_disk_leaves_the_mirror_that_was_there(tmp_path, caplog):
    record(tmp_path / "run", ROWS[:2])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**15, limits[1]))
    try:
        record(tmp_path / "run", ROWS[2:], step=10)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert len(caplog.records) == 1 and len(mirrored(tmp_path / "run")) == 3
    assert only_run(tmp_path / "run" / "wandb")[1] == mirrored(tmp_path / "run")[:1]
    assert not list((tmp_path / "run" / "wandb").glob(".*.partial"))
    record(tmp_path / "run", [], step=30)
    assert only_run(tmp_path / "run" / "wandb")[1] == mirrored(tmp_path / "run")


def test_without_wandb_the_record_is_kept_and_it_is_said_how_to_get_it(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(mirror, "missing_modules", lambda _: ["wandb"])
    monkeypatch.setenv("WANDB_MODE", "online")
    record(tmp_path / "run")
    assert rows(tmp_path / "run") == ROWS and not (tmp_path / "run" / "wandb").exists()
    assert len(caplog.records) == 1 and "[track]" in caplog.text
