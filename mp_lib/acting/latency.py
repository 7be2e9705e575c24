"""How long a policy server takes to answer a client that asks at a control rate."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mp_lib.acting.packing import pack, unpack
from mp_lib.config import BOUNDS
from mp_lib.system.errors import InputError, at_least_one, is_count, one_line
from mp_lib.system.extras import require
from mp_lib.system.values import check_bounds

ANOTHER = "so it is no server of this project; give the port that python -m mp_lib serve says"


@dataclass(frozen=True)
class Latency:
    """Seconds from each observation to its actions, of which the server took so many; ``late`` came after the next."""

    answers: tuple[float, ...]
    chunks: tuple[float, ...]
    late: int


def measure_latency(port: int, host: str = "127.0.0.1", *, every: float = 0.02, steps: int = 500) -> Latency:
    """Ask a server for a chunk every so many seconds, at another cloud each time, and time its answers.

    An observation that is due while an answer is awaited is sent when that has come. An InputError where there is no
    server, it answers with a line, or as no server of this project does.
    """
    require("serve")
    from websockets.exceptions import WebSocketException
    from websockets.sync.client import connect

    at_least_one(steps=steps)
    took, chunks = [], []
    try:
        with connect(f"ws://{host}:{port}", compression=None, max_size=None) as server:
            state_dim, num_points = sizes_in(read(server.recv()))
            state, draw = np.zeros(state_dim, np.float32), np.random.default_rng(0)
            began = time.perf_counter()
            for step in range(steps):
                cloud = draw.uniform(-1, 1, (num_points, 3)).astype(np.float32)
                time.sleep(max(0.0, began + step * every - time.perf_counter()))
                sent = time.perf_counter()
                server.send(pack({"point_cloud": cloud, "state": state}))
                answer = read(server.recv())
                took.append(time.perf_counter() - sent)
                chunks.append(seconds_in(answer))
    except (WebSocketException, OSError) as error:
        raise InputError(f"no policy server answers at {host}:{port} ({one_line(error)})") from error
    return Latency((*took,), (*chunks,), sum(each > every for each in took))


def read(answer: bytes | str) -> dict:
    """What a server has answered; an InputError if that is a line, or no map."""
    if isinstance(answer, str):
        raise InputError(f"the server says: {one_line(answer)}")
    found = unpack(answer)
    if not isinstance(found, Mapping):
        raise InputError(f"the server has sent {type(found).__name__} where a map is due, {ANOTHER}")
    return found


def sizes_in(told: Mapping) -> tuple[int, int]:
    """How many numbers a state has and points a cloud, of a server's first message; an InputError if it has none."""
    sizes = {name: told.get(name) for name in ("state_dim", "num_points")}
    if not all(map(is_count, sizes.values())):
        raise InputError(f"the server's first message tells no {' and '.join(sizes)}, {ANOTHER}")
    check_bounds(sizes, BOUNDS)
    return sizes["state_dim"], sizes["num_points"]


def seconds_in(answer: Mapping) -> float:
    """How long a server took, by its own answer; an InputError if that does not say so."""
    timing = answer.get("server_timing")
    took = timing.get("infer_ms") if isinstance(timing, Mapping) else None
    if isinstance(took, bool) or not isinstance(took, int | float):
        raise InputError(f"the server's answer has no server_timing with infer_ms, {ANOTHER}")
    return took / 1000
