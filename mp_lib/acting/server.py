"""A policy for machines that reach it over a network: websockets that openpi-client's WebsocketClientPolicy speaks.

A client is first told what the policy takes and gives; then each of its binary messages, an observation, is answered
with actions, or with a text of one line that says what is wrong (``mp_lib.acting.packing``, ``mp_lib.acting.sessions``;
https://github.com/Physical-Intelligence/openpi, src/openpi/serving/websocket_policy_server.py). Nothing is encrypted
and nobody asked who they are.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import signal
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import TYPE_CHECKING

from mp_lib.acting.actor import Actor
from mp_lib.acting.engine import Engine
from mp_lib.acting.packing import pack
from mp_lib.acting.sessions import Session, SharedEngine
from mp_lib.system.errors import InputError, one_line, shown
from mp_lib.system.extras import require

if TYPE_CHECKING:
    from websockets.asyncio.server import Request, Response, ServerConnection

log = logging.getLogger(__name__)

MOST_CLIENTS = 4
MOST_BYTES = 16 * 2**20  # of a message
MOST_PARTS = 256  # of a message that comes in parts, which may be empty and so have no end
HEALTH = "/healthz"
TRY_AGAIN_LATER, POLICY_VIOLATION = 1013, 1008  # RFC 6455 and IANA's registry of close codes
SEND_S = 5.0  # after which a client that does not read what it is sent is let go
PING_S, PONG_S = 10.0, 20.0  # between two pings, and after which a client that does not answer one is let go
OPEN_S, CLOSE_S, STOP_S = 5.0, 2.0, 3.0  # for a connection's beginning, its end, and the end of all


class PolicyServer:
    """Serves an engine to at most MOST_CLIENTS at a time, each with an actor of its own; ``options`` are the actor's.

    The engine answers one after the other, beside the loop that talks to clients, so that pings are answered meanwhile.
    Angles and orientations are in the form nearest to the last action that was sent, executed or not. A
    MissingExtraError where a package is missing, and errors as of ``Actor``; there is no ``max_step``.
    """

    def __init__(self, engine: Engine, **options):
        require("serve")
        if (step := options.get("max_step")) is not None:
            unknown = "a client may execute fewer actions than it is sent, from which the next ones would be far"
            raise InputError(f"max_step {shown(step)} given; {unknown}: bound the steps where they are executed")
        self.engine, self.options = SharedEngine(engine), options
        self.metadata = pack(self.session().metadata())
        self.clients: set[ServerConnection] = set()
        self.pool = ThreadPoolExecutor(MOST_CLIENTS)

    def session(self) -> Session:
        """What a new client begins with."""
        return Session(Actor(self.engine, **self.options))

    async def serve(self, place: socket.socket, stop: asyncio.Event, started: Callable[[], None]) -> None:
        """Attend to whoever connects to a bound socket until ``stop`` is set; ``started`` is called when one can."""
        from websockets.asyncio.server import serve

        how = {"max_size": MOST_BYTES, "max_queue": 1, "compression": None, "process_request": health}
        how |= {"ping_interval": PING_S, "ping_timeout": PONG_S, "open_timeout": OPEN_S, "close_timeout": CLOSE_S}
        # Browsers name an origin: no page that somebody looks at is to reach a policy of the same machine.
        how["origins"] = [None]
        how["logger"] = logging.Logger("websockets", logging.CRITICAL)  # tells tracebacks of whoever only knocks
        with self.pool:
            server = await serve(self.attend, sock=place, **how)
            started()
            await stop.wait()
            server.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_S):
                    await server.wait_closed()

    async def attend(self, client: ServerConnection) -> None:
        """Talk to one client until it goes or has to."""
        from websockets.exceptions import ConnectionClosed

        if len(self.clients) >= MOST_CLIENTS:
            await turn_away(client, TRY_AGAIN_LATER, f"{MOST_CLIENTS} clients are connected, and no more can be; wait")
            return
        self.clients.add(client)
        log.info("%s has connected", named(client))
        try:
            await self.talk(client)
        except ConnectionClosed as closed:
            log.info("%s has gone: %s", named(client), one_line(closed))
        except TimeoutError:
            log.warning("%s does not read what it is sent; it is let go", named(client))
            client.transport.abort()
        finally:
            self.clients.discard(client)

    async def talk(self, client: ServerConnection) -> None:
        """Tell a client what the policy is, then answer what it sends; a TimeoutError if it does not read that."""
        loop, session = asyncio.get_running_loop(), self.session()
        await send(client, self.metadata)
        while (message := await received(client)) is not None:
            await send(client, await loop.run_in_executor(self.pool, session.answer, message))
        await turn_away(client, POLICY_VIOLATION, f"a message came in more than {MOST_PARTS} parts; send it in one")


async def received(client: ServerConnection) -> bytes | str | None:
    """The next message; None if it comes in too many parts."""
    parts = []
    async for part in client.recv_streaming():
        parts.append(part)
        if len(parts) > MOST_PARTS:
            return None
    return parts[0] if len(parts) == 1 else type(parts[0])().join(parts)


async def send(client: ServerConnection, message: bytes | str) -> None:
    """Send a message; a TimeoutError if the client does not read."""
    async with asyncio.timeout(SEND_S):
        await client.send(message)


async def turn_away(client: ServerConnection, code: int, why: str) -> None:
    """Tell a client in one line why it cannot stay, and close."""
    from websockets.exceptions import ConnectionClosed

    log.warning("%s is turned away: %s", named(client), why)
    with contextlib.suppress(ConnectionClosed, TimeoutError):
        await send(client, why)
    await client.close(code, why)


def named(client: ServerConnection) -> str:
    """Where a client is."""
    address = client.remote_address or ("somebody",)
    return ":".join(map(str, address[:2]))


def health(client: ServerConnection, request: Request) -> Response | None:
    """Answer who only asks whether the server runs."""
    return client.respond(HTTPStatus.OK, "OK\n") if request.path == HEALTH else None


def bound(host: str, port: int) -> socket.socket:
    """A socket at an address of this machine, at any free port for 0; nobody can connect to it yet.

    An InputError if there is no such address, or another program has it. Warns where others can reach it.
    """
    if not 0 <= port < 2**16:
        raise InputError(f"port {shown(port)} given; give 1 to {2**16 - 1}, or 0 for any that is free")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        # Clients that are told no address try version 4 of the protocol.
        family, kind, protocol, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
        place = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise InputError(f"host {shown(host)} given, which is no address of this machine ({error})") from error
    try:
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        place.bind(address)
    except OSError as error:
        place.close()
        raise InputError(f"{host}:{port} cannot be listened at ({error.strerror}); choose another port") from error
    if not ipaddress.ip_address(place.getsockname()[0].partition("%")[0]).is_loopback:
        log.warning("%s: whoever reaches this address may connect and ask for commands; nobody is asked a name", host)
    return place


def address_of(place: socket.socket) -> str:
    """What a client connects to, such as ws://127.0.0.1:8000."""
    host, port = place.getsockname()[:2]
    return f"ws://[{host}]:{port}" if ":" in host else f"ws://{host}:{port}"


def serve_until_told(server: PolicyServer, place: socket.socket, started: Callable[[], None]) -> None:
    """Serve until Ctrl-C or SIGTERM; to be called in the main thread."""

    async def run() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await server.serve(place, stop, started)

    asyncio.run(run())
