"""Verbs for one's own robot."""

from __future__ import annotations

import argparse
import json
import time

from mp_lib.commands.verb import Verb, option
from mp_lib.system.errors import InputError
from mp_lib.system.paths import given_path


def replay(given: argparse.Namespace) -> None:
    from mp_lib.acting.replay import replay
    from mp_lib.data.replay_buffer import ReplayBuffer

    if not 0 <= given.every <= LONGEST_STEP:
        raise InputError(f"--every {given.every} given; give seconds, from 0 to {LONGEST_STEP}")
    began, others, total = time.monotonic(), 0, 0
    for found in replay(ReplayBuffer.open(given.store), given.episode, max_step=given.max_step):
        time.sleep(max(0.0, began + found.step * given.every - time.monotonic()))
        row = {name: value if name == "step" else value.tolist() for name, value in found._asdict().items()}
        print(json.dumps(row) if given.json else in_words(row), flush=True)
        others, total = others + sum(map(differ, row["action"], row["recorded"])), total + len(row["action"])
    if not given.json:
        print(f"{others} of {total} numbers are commanded otherwise than they were recorded")


def in_words(row: dict) -> str:
    """A step in a line: its number, the command, what was recorded where that is another, and the state."""
    action = [
        f"{told:.4f} (recorded {recorded:.4f})" if differ(told, recorded) else f"{told:.4f}"
        for told, recorded in zip(row["action"], row["recorded"], strict=True)
    ]
    return f"{row['step']}  action {' '.join(action)}  state {' '.join(f'{each:.4f}' for each in row['state'])}"


def differ(told: float, recorded: float) -> bool:
    """Whether two numbers are others in the digits that are shown."""
    return round(told, 4) != round(recorded, 4)


def serve(given: argparse.Namespace) -> None:
    from mp_lib.acting.engine import load_engine
    from mp_lib.acting.server import PolicyServer, address_of, bound, serve_until_told
    from mp_lib.system.extras import require

    require("serve")
    chosen = {name: getattr(given, name) for name in ("backend", "threads", "num_inference_steps")}
    with bound(given.host, given.port) as place:
        address = address_of(place)
        server = PolicyServer(load_engine(given.policy, **chosen), n_action_steps=given.n_action_steps)
        said = f"{given.policy} answers at {address}; Ctrl-C ends it"
        serve_until_told(server, place, lambda: print(said, flush=True))
    print(f"{address} is closed")


LONGEST_STEP = 60
REPLAY = (
    option("store", type=given_path, help="of demonstrations, such as data/demos/my_arm.zarr"),
    option("--episode", type=int, default=0, help="its number, from 0 on (default: 0)"),
    option("--every", type=float, default=0.0, metavar="SECONDS", help="between two steps (default: 0)"),
    option("--max-step", type=float, help="by which a number may change from step to step (default: any)"),
    option("--json", action="store_true", help="one JSON object a step: step, action, state, recorded"),
)
SERVE = (
    option("policy", help="a run, a folder, a file of weights, or an export"),
    option("--port", type=int, default=8000, help="0 for any that is free (default: 8000)"),
    option("--host", default="127.0.0.1", help="address of this machine to listen at (default: 127.0.0.1)"),
    option("--backend", default="auto", help="auto, or one of those of benchmark (default: auto)"),
    option("--threads", type=int, default=1, help="of ONNX Runtime (default: 1)"),
    option("--num-inference-steps", type=int, help="of denoising (default: as in training)"),
    option("--n-action-steps", type=int, help="how many actions of a chunk are sent (default: as in training)"),
)
VERBS = (
    Verb("replay", "print a recorded episode's actions step by step, as a robot would be told them", replay, REPLAY),
    Verb("serve", "let a policy answer a robot's own machine over websockets, as openpi-client asks", serve, SERVE),
)
