"""A policy server: its clients get what an actor of their own would say, and whatever comes, it goes on."""

import contextlib
import re
import socket
import struct
import threading
import time
import urllib.request

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.sync.client import connect

from mp_lib.acting import server as module
from mp_lib.acting.actor import Actor
from mp_lib.acting.history import NAMES
from mp_lib.acting.packing import pack
from mp_lib.acting.server import MOST_BYTES, MOST_CLIENTS, MOST_PARTS
from mp_lib.acting.sessions import MOST_POINTS
from mp_lib.model.noise import chunk_noise
from tests.acting.fake import ACTION, FRAMES, HORIZON, POINTS, STATE, STEPS, FakeEngine, cloud, seen
from tests.acting.serving import Client, serving, whole


@pytest.fixture
def client(at_work):
    with Client(at_work.port) as client:
        yield client


def soon(holds, seconds=20):
    """Whether something holds before long."""
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        time.sleep(0.01)
    return holds()


def stacked(*numbers):
    """Observations of a whole history."""
    return {key: np.stack([seen(number)[key] for number in numbers]) for key in NAMES}


def test_the_policy_is_told_first(client):
    sizes = {"state_dim": STATE, "robot_dim": ACTION, "horizon": HORIZON, "n_obs_steps": FRAMES, "num_points": POINTS}
    assert sizes.items() <= client.first.items()
    assert client.first["n_action_steps"] == STEPS and client.first["task"] == "my_arm"


def test_a_client_gets_what_an_actor_says():
    engine, same = FakeEngine(), FakeEngine()
    actor = Actor(same, limits=(-25, 15), n_action_steps=3)
    with serving(engine, limits=(-25, 15), n_action_steps=3) as server, Client(server.port) as client:
        assert client.first["n_action_steps"] == 3
        for step in (0, 3, 6):
            answer = client.ask(seen(step))
            np.testing.assert_array_equal(answer["actions"], actor.predict_action_chunk(seen(step)))
            assert answer["actions"].dtype == np.float32 and answer["server_timing"]["infer_ms"] > 0
    for found, expected in zip(engine.given, same.given, strict=True):
        assert all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize("names", [(a, b) for a in NAMES["point_cloud"] for b in NAMES["state"]])
def test_names_of_others_are_read_and_what_else_is_sent_is_left(client, names):
    other = {"prompt": "open it", "image": np.zeros((9, 9, 3), np.uint8), "when": np.float64(3), "tags": ["a", {}]}
    given = dict(zip(names, (cloud(2).astype(">f8"), [2, 0, 0]), strict=True)) | other
    assert client.actions(given | {"reset": np.bool_(True)})[0, 0] == 20


def test_the_history_is_what_was_sent_its_first_repeated_or_all_of_it_at_once():
    engine = FakeEngine()
    with serving(engine) as server, Client(server.port) as client:
        for given in (seen(1), seen(4), stacked(7, 8), seen(9), seen(2) | {"reset": True}, stacked(3, 5)):
            client.actions(given)
    assert [given[1][:, 0].tolist() for given in engine.given] == [[1, 1], [1, 4], [7, 8], [8, 9], [2, 2], [3, 5]]
    np.testing.assert_array_equal(engine.given[2][0], [cloud(7), cloud(8)])


def test_a_reset_begins_an_episode_with_the_noise_of_its_seed():
    engine = FakeEngine()
    with serving(engine, seed=3) as server, Client(server.port) as client:
        for more in ({}, {}, {"reset": True}, {"reset": True, "seed": 7}, {"reset": False}, {"reset": True}):
            client.actions(seen(1) | more)
    begun = [(3, 0), (3, 1), (3, 0), (7, 0), (7, 1), (7, 0)]
    expected = [chunk_noise(*each, (HORIZON, ACTION)) for each in begun]
    np.testing.assert_array_equal([given[2] for given in engine.given], expected)


def test_four_clients_have_histories_of_their_own_and_a_fifth_gets_one_line(at_work):
    clients = [Client(at_work.port) for _ in range(MOST_CLIENTS)]
    for turn in range(3):
        for number, each in enumerate(clients):
            assert each.actions(seen(10 * number + turn))[0, 0] == 100 * number + 10 * turn
    fifth = Client(at_work.port)
    assert fifth.first == f"{MOST_CLIENTS} clients are connected, and no more can be; wait"
    with pytest.raises(ConnectionClosed) as closed:
        fifth.read()
    assert closed.value.rcvd.code == 1013
    clients.pop().socket.close()
    assert soon(lambda: len(at_work.clients) < MOST_CLIENTS)
    clients.append(Client(at_work.port))
    assert all(whole(each) for each in clients)
    for each in clients:
        each.socket.close()
    assert soon(lambda: not at_work.clients)


def test_clients_at_once_are_answered_one_after_the_other():
    class Alone(FakeEngine):
        busy = 0

        def predict(self, *given):
            self.busy += 1
            assert self.busy == 1
            time.sleep(0.01)
            self.busy -= 1
            return super().predict(*given)

    engine, found = Alone(), []
    engine.facts = FakeEngine().facts
    with serving(engine) as server:

        def asks(number):
            with Client(server.port) as client:
                found.extend(client.actions(seen(number))[0, 0] == 10 * number for _ in range(10))

        threads = [threading.Thread(target=asks, args=(number,)) for number in range(MOST_CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(found) == 10 * MOST_CLIENTS and all(found)


ZEROS = np.zeros(STATE, np.float32)
BAD = {
    "a text": ("hello", "a text was sent; send an observation as one binary message"),
    "nothing": (b"", "no msgpack"),
    "no msgpack": (b"\xc1\xc1", "no msgpack"),
    "lists within lists": (b"\x91" * 10**5, "no msgpack"),
    "objects": (b"\x81\xa1a" + pack({b"__ndarray__": 1, b"data": b"", b"dtype": "|O", b"shape": [0]}), "plain numbers"),
    "a number": (pack(3), "int sent; send a dict with point_cloud and state"),
    "an array": (pack(np.zeros(3)), "ndarray sent; send a dict"),
    "an empty dict": (pack({}), "has no point_cloud"),
    "no state": (pack({"point_cloud": cloud()}), "has no state"),
    "colours": (pack({"point_cloud": np.zeros((POINTS, 6)), "state": ZEROS}), "has colours"),
    "another state": (pack({"point_cloud": cloud(), "state": np.zeros(2)}), "with 3 numbers last"),
    "one of a batch": (pack({"point_cloud": cloud()[None], "state": ZEROS[None]}), "1 clouds and 1 states"),
    "a long history": (pack(stacked(1, 2, 3)), "3 clouds and 3 states sent; the policy sees 2 of each"),
    "half a history": (pack(seen(1) | {"state": np.zeros((2, STATE))}), r"state has the shape \(2, 3\)"),
    "a number as a cloud": (pack({"point_cloud": 3, "state": ZEROS}), r"point_cloud has the shape \(1,\)"),
    "ragged lists": (pack({"point_cloud": [[1], [2, 3]], "state": ZEROS}), "no array of numbers"),
    "texts": (pack({"point_cloud": cloud(), "state": ["a"] * 3}), "give numbers"),
    "None": (pack({"point_cloud": None, "state": ZEROS}), "."),
    "maps": (pack({"point_cloud": {"a": {}}, "state": ZEROS}), "give numbers"),
    "few points": (pack({"point_cloud": cloud(0, 3), "state": ZEROS}), "has 3 points, the policy was trained on 16"),
    "no points": (pack({"point_cloud": np.zeros((0, 3)), "state": ZEROS}), "has 0 points"),
    "points without end": (
        pack({"point_cloud": np.zeros((FRAMES * MOST_POINTS + 1, 3), np.uint8), "state": ZEROS}),
        f"more than {MOST_POINTS} points",
    ),
    "a state of NaN": (pack({"point_cloud": cloud(), "state": np.full(3, np.nan)}), "not finite"),
    "a reset that is a number": (pack(seen(1) | {"reset": 1}), "reset 1 sent; send True or False"),
    "a reset that is an array": (pack(seen(1) | {"reset": np.ones(3)}), "send True or False"),
    "a seed alone": (pack(seen(1) | {"seed": 3}), "seed 3 sent without reset"),
    "a seed below 0": (pack(seen(1) | {"reset": True, "seed": -1}), "seed -1 given"),
    "a seed in words": (pack(seen(1) | {"reset": True, "seed": "a"}), "seed 'a' given"),
    "a seed of many": (pack(seen(1) | {"reset": True, "seed": np.zeros(9)}), "seed .* given"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_observation_is_answered_in_one_line_and_changes_nothing(name):
    message, said = BAD[name]
    engine = FakeEngine()
    with serving(engine) as server, Client(server.port) as client, Client(server.port) as other:
        client.actions(seen(1) | {"reset": True, "seed": 5})
        for each in (client, other):
            line = each.send(message)
            assert isinstance(line, str) and re.search(said, line) and "\n" not in line and len(line) <= 400
        client.actions(seen(4))
    assert engine.given[-1][1][:, 0].tolist() == [1, 4]
    np.testing.assert_array_equal(engine.given[-1][2], chunk_noise(5, 1, (HORIZON, ACTION)))


def test_a_policy_that_fails_is_told_and_asked_again(caplog):
    with serving(FakeEngine(broken={0}, spoilt={1})) as server, Client(server.port) as client:
        assert client.ask(seen(1)) == "the policy failed (RuntimeError: the engine has stopped)"
        assert "the engine has stopped" in caplog.text
        assert "actions are not finite" in client.ask(seen(1))
        assert whole(client)


def test_any_bytes_are_answered(client):
    draw, good = np.random.default_rng(0), pack(seen(1))
    for _ in range(200):
        spoilt = bytearray(good)
        spoilt[draw.integers(0, len(good))] = draw.integers(0, 256)
        for message in (draw.bytes(draw.integers(0, 300)), bytes(spoilt)):
            answer = client.send(message)
            assert "actions" in answer or "\n" not in answer
    assert whole(client)


def test_a_message_of_more_than_16_mb_is_not_read(at_work):
    with Client(at_work.port) as client:
        assert "no msgpack" in client.send(bytes([0xC1]) * MOST_BYTES)
        with pytest.raises(ConnectionClosed) as closed:
            client.send(bytes(MOST_BYTES + 1))
        assert closed.value.rcvd.code == 1009 and str(MOST_BYTES) in closed.value.rcvd.reason
    with Client(at_work.port) as client:
        assert whole(client)


def test_a_message_may_come_in_parts_but_not_in_parts_without_end(at_work):
    with Client(at_work.port) as client:
        message = pack(seen(1))
        client.socket.send([message[:10], message[10:90], message[90:]])
        assert "actions" in client.read()
        with contextlib.suppress(ConnectionClosed):
            client.socket.send(b"" for _ in range(10 * MOST_PARTS))
        assert client.read() == f"a message came in more than {MOST_PARTS} parts; send it in one"
        with pytest.raises(ConnectionClosed):
            client.read()
    assert soon(lambda: not at_work.clients)


def killed(sock):
    """Close a socket as a machine that has lost its current does: what was to come does not."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def raw(port):
    """A connection whose bytes a test writes itself; its handshake is over."""
    sock = socket.create_connection(("127.0.0.1", port))
    key = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    sock.sendall(f"{key}Sec-WebSocket-Key: {'A' * 22}==\r\n\r\n".encode())
    assert b"101" in sock.recv(4096)
    return sock


def frame(message):
    return Frame(Opcode.BINARY, message).serialize(mask=True)


@pytest.mark.parametrize("part", [0, 1, 2, 40, -1])
def test_a_client_that_is_killed_within_a_message_leaves_its_place(at_work, part):
    for _ in range(2 * MOST_CLIENTS):
        sock = raw(at_work.port)
        sock.sendall(frame(pack(seen(1)))[:part])
        killed(sock)
    assert soon(lambda: not at_work.clients)
    with Client(at_work.port) as client:
        assert whole(client)


def test_a_client_that_is_killed_while_it_is_answered_leaves_its_place():
    asked, go_on = threading.Event(), threading.Event()

    class Waiting(FakeEngine):
        def predict(self, *given):
            asked.set()
            assert go_on.wait(30)
            return super().predict(*given)

    engine = Waiting()
    engine.facts = FakeEngine().facts
    with serving(engine) as server:
        sock = raw(server.port)
        sock.sendall(frame(pack(seen(1))))
        assert asked.wait(30)
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/healthz") as answer:  # it talks meanwhile
            assert answer.status == 200
        killed(sock)
        go_on.set()
        assert soon(lambda: not server.clients)
        with Client(server.port) as client:
            assert whole(client)


def test_bytes_that_are_no_websocket_are_let_go(at_work, caplog):
    for message in (b"", b"\x00" * 100, b"GET /", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01" * 500):
        sock = socket.create_connection(("127.0.0.1", at_work.port))
        sock.sendall(message)
        killed(sock)
    for message in (b"\xff" * 200, Frame(Opcode.BINARY, b"a").serialize(mask=False), b"\x82\xff" + b"\xff" * 8):
        sock = raw(at_work.port)
        sock.sendall(message)
        sock.settimeout(20)
        with contextlib.suppress(OSError):
            while sock.recv(4096):
                pass
        sock.close()
    assert soon(lambda: not at_work.clients) and not caplog.records
    with Client(at_work.port) as client:
        assert whole(client)


def test_a_client_that_does_not_read_is_let_go(monkeypatch, caplog):
    monkeypatch.setattr(module, "SEND_S", 0.3)
    with serving(FakeEngine(action_dim=1000, robot_dim=1000)) as server:  # long answers, which fill buffers soon
        sock = raw(server.port)
        sock.settimeout(0.05)
        end = time.monotonic() + 60
        while "does not read" not in caplog.text and time.monotonic() < end:
            with contextlib.suppress(OSError):
                sock.sendall(frame(pack(seen(1))))
        assert "does not read what it is sent; it is let go" in caplog.text
        assert soon(lambda: not server.clients)
        sock.close()
        with Client(server.port) as client:
            assert whole(client)


def test_health_is_told_and_no_page_of_a_browser_gets_in(at_work):
    with urllib.request.urlopen(f"http://127.0.0.1:{at_work.port}/healthz") as answer:
        assert answer.status == 200 and answer.read() == b"OK\n"
    with pytest.raises(InvalidStatus) as refused:
        connect(f"ws://127.0.0.1:{at_work.port}", origin="http://a.example")
    assert refused.value.response.status_code == 403


def test_the_end_does_not_wait_for_clients_that_do_not():
    with serving() as server:
        held = [raw(server.port), raw(server.port), socket.create_connection(("127.0.0.1", server.port))]
        client = Client(server.port)
        began = time.monotonic()
    assert time.monotonic() - began < module.STOP_S + 10
    with pytest.raises(ConnectionClosed) as closed:
        client.read()
    assert closed.value.rcvd.code == 1001
    for sock in held:
        sock.close()
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", server.port))
