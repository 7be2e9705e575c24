"""A run at Weights & Biases that follows a record: the program of a process that ``Mirror`` starts.

Alone in its process wandb may wait, raise or end it, without harm to a training.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from mp_lib.system.files import write_atomically
from mp_lib.system.locks import sole_user

PATIENCE = 30.0
POLL_SECONDS = 2.0
KEYS = {
    "loss": "train/loss",
    "learning_rate": "train/learning_rate",
    "success_rate": "eval/success_rate",
    "final_success_rate": "eval/final_success_rate",
}


def main() -> None:
    """Read an order, a line of JSON, and follow its record until the input is closed, or since who opened it is gone.

    From then on the process has ``seconds`` left. It ends with 0, or with 1 and a line that says why.
    """
    order, ended = json.loads(sys.stdin.readline()), threading.Event()

    def wait(seconds: int) -> None:
        sys.stdin.read()
        signal.alarm(seconds)  # ends the process whatever wandb does
        ended.set()

    threading.Thread(target=wait, args=[order.pop("seconds")], daemon=True).start()
    record, folder = Path(order["record"]), Path(order["folder"])
    try:
        # The process of a training that was killed a moment ago may still be at its end.
        with sole_user(record.with_name("wandb") / ".id.lock", "the mirror", PATIENCE):
            follow(record, folder, order["config"], order["mode"], ended)
    except BaseException as error:  # a broken installation may even leave by SystemExit
        os.write(1, f"\n{type(error).__name__}: {' '.join(str(error).split())}".encode())
        os._exit(1)  # what wandb does at a regular exit may wait


def follow(record: Path, folder: Path, config: dict, mode: str, ended: threading.Event) -> None:
    """Log the rows of ``record`` until it has ended, as one run in ``folder``, which replaces what is there of it."""
    os.environ["WANDB_MODE"] = mode
    import wandb

    identifier = wandb.setup().settings.run_id or kept_identifier(record.with_name("wandb") / "id")
    own = re.compile(rf"(offline-)?run-\d+_\d+-{re.escape(identifier)}")
    draft = folder / f".{identifier}.partial"
    shutil.rmtree(draft, ignore_errors=True)  # of a process that was killed
    draft.mkdir(parents=True)
    try:
        log(record, draft, identifier, config, mode, ended)
        write_atomically(draft / "full", bytes(2**16))  # wandb does not say so if the disk is
        written = only_run(draft / "wandb", own)
        written.replace(folder / written.name)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    for path in folder.iterdir():
        if own.fullmatch(path.name) and path.name != written.name:
            shutil.rmtree(path)


def only_run(folder: Path, name: re.Pattern) -> Path:
    """The one run that wandb has written there; a RuntimeError if there is none of that name, or several."""
    found = [path for path in folder.glob("*") if name.fullmatch(path.name)]
    if len(found) != 1:
        names = ", ".join(sorted(path.name for path in folder.glob("*"))) or "nothing"
        raise RuntimeError(f"a run called {name.pattern} was expected and wandb has written {names}")
    return found[0]


def log(record: Path, folder: Path, identifier: str, config: dict, mode: str, ended: threading.Event) -> None:
    """Have wandb make the run; what the user's variables and settings say of it is left as it is."""
    import wandb

    settings, offline = wandb.setup().settings, mode == "offline"
    run = wandb.init(
        project=settings.project or "mamba-policy",
        name=settings.run_name or record.parent.name,
        id=identifier,
        resume=None if offline else settings.resume or "allow",
        dir=str(folder),
        config=config,
        mode=mode,
        settings=wandb.Settings(silent=True, console="off", x_disable_stats=offline, x_stats_pid=os.getppid()),
    )
    first, finished = run.step, False  # the server has the steps before
    for step, values, whole in steps(record, ended):
        finished = KEYS["final_success_rate"] in values
        if step >= first and (whole or finished or offline):
            run.log(values, step=step)
    run.finish(exit_code=int(not finished))


def kept_identifier(path: Path) -> str:
    """The identifier that a file keeps, or a new one: a run that is trained anew, or elsewhere, is another run."""
    if not path.exists():
        write_atomically(path, secrets.token_hex(8).encode())
    return path.read_text()


def steps(record: Path, ended: threading.Event) -> Iterator[tuple[int, dict, bool]]:
    """Each step's values by their keys at Weights & Biases, and whether it is whole, as a later one has come.

    The last step comes when the record has ended; an evaluation that was interrupted may still add to it.
    """
    step, values, text = 0, {}, ""
    with open(record) as file:
        last = False
        while not last:
            last = ended.wait(POLL_SECONDS)  # asked before, so that the record is read to its end
            *lines, text = (text + file.read()).split("\n")
            for row in map(json.loads, lines):
                if row["step"] != step and values:
                    yield step, values, True
                    values = {}
                step = row.pop("step")
                values |= {KEYS.get(key, key): value for key, value in row.items()}
    if values:
        yield step, values, False
