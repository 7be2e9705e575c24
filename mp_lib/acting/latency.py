"""How long a policy server takes to answer a client that asks at a control rate."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from mp_lib.acting.packing import pack, unpack
from mp_lib.system.errors import InputError, at_least_one, one_line
from mp_lib.system.extras import require


@dataclass(frozen=True)
class Latency:
    """Seconds from each observation to its actions, of which the server took so many; ``late`` came after the next."""

    answers: tuple[float, ...]
    chunks: tuple[float, ...]
    late: int


def measure_latency(port: int, host: str = "127.0.0.1", *, every: float = 0.02, steps: int = 500) -> Latency:
    """Ask a server for a chunk every so many seconds, at another cloud each time, and time its answers.

    An observation that is due while an answer is awaited is sent when that has come. An InputError where there is no
    server, or it answers with a line.
    """
    require("serve")
    from websockets.exceptions import WebSocketException
    from websockets.sync.client import connect

    at_least_one(steps=steps)
    took, chunks = [], []
    try:
        with connect(f"ws://{host}:{port}", compression=None, max_size=None) as server:
            facts = read(server.recv())
            state, draw = np.zeros(facts["state_dim"], np.float32), np.random.default_rng(0)
            began = time.perf_counter()
            for step in range(steps):
                cloud = draw.uniform(-1, 1, (facts["num_points"], 3)).astype(np.float32)
                time.sleep(max(0.0, began + step * every - time.perf_counter()))
                sent = time.perf_counter()
                server.send(pack({"point_cloud": cloud, "state": state}))
                answer = read(server.recv())
                took.append(time.perf_counter() - sent)
                chunks.append(answer["server_timing"]["infer_ms"] / 1000)
    except (WebSocketException, OSError) as error:
        raise InputError(f"no policy server answers at {host}:{port} ({one_line(error)})") from error
    return Latency((*took,), (*chunks,), sum(each > every for each in took))


def read(answer: bytes | str) -> dict:
    """What a server has answered; an InputError if that is a line."""
    if isinstance(answer, str):
        raise InputError(f"the server says: {one_line(answer)}")
    return unpack(answer)
