"""A policy server in a thread of a test's, and clients of it."""

import asyncio
import contextlib
import threading

import numpy as np
from websockets.sync.client import connect

from mp_lib.acting.packing import pack, unpack
from mp_lib.acting.server import PolicyServer, bound
from tests.acting.fake import FakeEngine, seen


@contextlib.contextmanager
def serving(engine=None, **options):
    """The server, with the ``port`` it listens at; it has ended at the end of the block, or the test fails."""
    server, ready = PolicyServer(engine or FakeEngine(), **{"limits": None} | options), threading.Event()
    place = bound("127.0.0.1", 0)
    server.port = place.getsockname()[1]

    async def run():
        server.loop, server.stop = asyncio.get_running_loop(), asyncio.Event()
        await server.serve(place, server.stop, ready.set)

    thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
    thread.start()
    assert ready.wait(30)
    try:
        yield server
    finally:
        server.loop.call_soon_threadsafe(server.stop.set)
        thread.join(30)
        assert not thread.is_alive()


class Client:
    """What a robot's machine does: ask, and read what is answered."""

    def __init__(self, port, **options):
        self.socket = connect(f"ws://127.0.0.1:{port}", compression=None, max_size=None, **options)
        self.first = self.read()

    def read(self):
        answer = self.socket.recv(timeout=30)
        return answer if isinstance(answer, str) else unpack(answer)

    def send(self, message):
        self.socket.send(message)
        return self.read()

    def ask(self, observation):
        return self.send(pack(observation))

    def actions(self, observation):
        answer = self.ask(observation)
        assert not isinstance(answer, str), answer
        return answer["actions"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


def whole(client):
    """Whether a client's next observation is answered with actions."""
    return np.isfinite(client.actions(seen(1) | {"reset": True})).all()
