"""A package wandb for a test's own path: it writes down what it is told, and may break or hang anywhere."""

import json

PACKAGE = """
import json, os, time
from pathlib import Path
from types import SimpleNamespace

def hang():
    time.sleep(1000)

BREAKS = {{"import": lambda: None, "init": lambda: None, "log": lambda: None, "finish": lambda: None}}
NAMES = ["offline-run-2_2-{{}}"]
{breaks}
BREAKS["import"]()
SERVER = Path({server!r})

def Settings(**_):
    return None

def setup():
    names = {{"project": "WANDB_PROJECT", "run_name": "WANDB_NAME", "run_id": "WANDB_RUN_ID", "resume": "WANDB_RESUME"}}
    return SimpleNamespace(settings=SimpleNamespace(**{{name: os.environ.get(names[name]) for name in names}}))

class Run:
    def __init__(self, facts):
        if facts["mode"] == "online":
            BREAKS["init"]()
        self.facts = facts
        kept = SERVER.read_text().splitlines() if SERVER.exists() and facts["mode"] == "online" else []
        self.step = max([json.loads(row)["_step"] + 1 for row in kept if "_step" in json.loads(row)], default=0)
        for name in NAMES:
            Path(facts["dir"], "wandb", name.format(facts["id"])).mkdir(parents=True)
        self.tell(facts)

    def tell(self, what):
        with open(SERVER, "a") as file:
            file.write(json.dumps(what) + "\\n")

    def log(self, values, step):
        if self.facts["mode"] == "online":
            BREAKS["log"]()
        self.tell({{"_step": step}} | values)

    def finish(self, exit_code):
        if self.facts["mode"] == "online":
            BREAKS["finish"]()

def init(settings, **facts):
    return Run(facts)
"""


def install(folder, monkeypatch, breaks=""):
    """Let it be the wandb of processes that are started from here; returns how to read what it was told."""
    server = folder / "server"
    (folder / "path" / "wandb").mkdir(parents=True, exist_ok=True)
    (folder / "path" / "wandb" / "__init__.py").write_text(PACKAGE.format(breaks=breaks, server=str(server)))
    monkeypatch.syspath_prepend(folder / "path")
    return lambda: [json.loads(line) for line in server.read_text().splitlines()]
