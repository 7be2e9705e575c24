"""Where a policy server listens, how long it takes to answer, and the command that serves until it is told to end."""

import logging
import os
import re
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from websockets.sync.server import serve

from mp_lib.acting.actor import Actor
from mp_lib.acting.engine import load_engine
from mp_lib.acting.latency import measure_latency
from mp_lib.acting.packing import pack
from mp_lib.acting.server import bound
from mp_lib.system.errors import InputError
from tests import ROOT
from tests.acting.serving import Client


def test_only_other_addresses_than_loopback_are_warned_of(caplog):
    for host in ("127.0.0.1", "localhost"):
        bound(host, 0).close()
    assert not caplog.records
    bound("0.0.0.0", 0).close()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING and "0.0.0.0: whoever reaches this address may connect" in caplog.text


@pytest.mark.parametrize(
    ("host", "port", "said"),
    [
        ("127.0.0.1", -1, "port -1 given; give 1 to 65535"),
        ("127.0.0.1", 65536, "port 65536 given"),
        ("no such host", 0, "host 'no such host' given, which is no address of this machine"),
        ("a" * 70 + ".b", 0, "which is no address"),
        ("192.0.2.1", 0, "192.0.2.1:0 cannot be listened at .*; choose another port"),
    ],
)
def test_an_address_that_cannot_be_is_refused(host, port, said):
    with pytest.raises(InputError, match=said):
        bound(host, port)


def test_a_port_that_another_has_is_refused(at_work):
    with pytest.raises(InputError, match=f"127.0.0.1:{at_work.port} cannot be listened at"):
        bound("127.0.0.1", at_work.port)


def test_latency_is_counted_by_step(at_work):
    found = measure_latency(at_work.port, every=0.001, steps=20)
    assert len(found.answers) == len(found.chunks) == 20 and 0 <= found.late <= 20
    assert all(0 < chunk < answer for answer, chunk in zip(found.answers, found.chunks, strict=True))
    with pytest.raises(InputError, match="no policy server answers at 127.0.0.1:1 "):
        measure_latency(1, steps=2)


GOOD = {"state_dim": 3, "num_points": 5}
OTHERS = {
    "no sizes": ({}, {}, "first message tells no state_dim and num_points, so it is no server of this project"),
    "a size that is none": (GOOD | {"state_dim": "3"}, {}, "tells no state_dim and num_points"),
    "more points than memory": (GOOD | {"num_points": 10**15}, {}, "num_points 10+ given"),
    "no map": ([1], {}, "has sent list where a map is due"),
    "no time": (GOOD, {"actions": 1}, "answer has no server_timing with infer_ms, so it is no server"),
    "a time that is none": (GOOD, {"server_timing": {"infer_ms": "1"}}, "no server_timing with infer_ms"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_server_is_told_in_one_line(name):
    first, answer, said = OTHERS[name]

    def talk(client):
        client.send(pack(first))
        for _ in client:
            client.send(pack(answer))

    with serve(talk, "127.0.0.1", 0, compression=None) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(InputError, match=said) as error:
            measure_latency(server.socket.getsockname()[1], every=0.001, steps=2)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_an_export_until_it_is_told_to_end(exported, number):
    command = [sys.executable, "-m", "mp_lib", "serve", str(exported), "--port", "0", "--n-action-steps", "3"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, **pipes) as process:
        try:
            said = process.stdout.readline()
            port = int(re.search(r"answers at ws://127\.0\.0\.1:(\d+); Ctrl-C ends it", said)[1])
            actor, draw = Actor(load_engine(exported), n_action_steps=3), np.random.default_rng(0)
            with Client(port) as client:
                for _ in range(3):
                    cloud, state = draw.normal(size=(50, 3)), draw.normal(size=9)
                    given = {"point_cloud": cloud.astype("f4"), "observation.state": state.astype("f4")}
                    np.testing.assert_array_equal(client.actions(given), actor.predict_action_chunk(given))
                process.send_signal(number)
                out, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, out, errors) == (0, f"ws://127.0.0.1:{port} is closed\n", "")


def test_serving_an_export_needs_no_torch(exported):
    code = "import sys; from mp_lib.acting import engine, server; "
    code += f"server.PolicyServer(engine.load_engine({str(exported)!r})); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.stdout, done.stderr) == ("False\n", "")
