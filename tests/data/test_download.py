"""Fetched policies: checked before they are kept, read without being run, told apart from what is damaged.

The files themselves are never asked for here: a local server stands for the public one, and pickles of mjrl's
classes, look-alikes made here, for the policies.
"""

import functools
import hashlib
import http.server
import io
import os
import pickle
import sys
import threading
import types

import numpy as np
import pytest
import torch

from mp_lib.__main__ import main
from mp_lib.data import download
from mp_lib.sim.experts import NETWORK_ARRAYS, NetworkExpert, read_network
from mp_lib.system.unpickle_policy import PolicyUnpickler, read_pickled_policy

OBSERVATION, HIDDEN, ACTION = 5, 4, 3


class FCNetwork(torch.nn.Module):
    """As mjrl/utils/fc_network.py stores itself."""

    def __init__(self, layers=3):
        super().__init__()
        sizes = [OBSERVATION, *[HIDDEN] * (layers - 1), ACTION]
        self.in_shift, self.in_scale = torch.rand(OBSERVATION), torch.rand(OBSERVATION) + 0.5
        self.out_shift, self.out_scale = torch.rand(ACTION), torch.rand(ACTION)
        self.transformations = {"in_shift": self.in_shift.numpy(), "in_scale": None}
        self.layer_sizes = tuple(sizes)
        self.fc_layers = torch.nn.ModuleList(torch.nn.Linear(*pair) for pair in zip(sizes, sizes[1:], strict=False))
        self.nonlinearity = torch.tanh

    def forward(self, observation):
        layer = (observation - self.in_shift) / (self.in_scale + 1e-8)
        for linear in self.fc_layers[:-1]:
            layer = torch.tanh(linear(layer))
        return self.fc_layers[-1](layer) * self.out_scale + self.out_shift


class MLP:
    """As mjrl/policies/gaussian_mlp.py stores itself."""

    def __init__(self, layers=3):
        torch.manual_seed(1)
        self.n, self.m, self.min_log_std = OBSERVATION, ACTION, -3
        self.model, self.old_model = FCNetwork(layers), FCNetwork(layers)
        self.log_std = torch.ones(ACTION, requires_grad=True)
        self.trainable_params = [*self.model.parameters(), self.log_std]
        self.log_std_val = np.float64(self.log_std.data.numpy().ravel())
        self.param_sizes = [parameter.data.numpy().size for parameter in self.trainable_params]
        self.d = np.sum(self.param_sizes)
        self.obs_var = torch.randn(OBSERVATION)


class Storage04(pickle.Pickler):
    """Writes tensors as torch 0.4 did: a storage is a list of its numbers, a parameter no more than a tensor."""

    def reducer_override(self, value):
        if isinstance(value, torch.Tensor):
            values, shape, stride = value.detach().flatten().tolist(), tuple(value.shape), tuple(value.stride())
            return torch._utils._rebuild_tensor, (Numbers(values), 0, shape, stride)
        if isinstance(value, Numbers):
            return torch.FloatStorage, (value.values,)
        return NotImplemented


class Numbers:
    def __init__(self, values):
        self.values = values


@pytest.fixture
def mjrl(monkeypatch):
    """Make the look-alikes pickle under mjrl's names."""
    for name, kind in {"mjrl.policies.gaussian_mlp": MLP, "mjrl.utils.fc_network": FCNetwork}.items():
        module = types.ModuleType(name)
        setattr(module, kind.__name__, kind)
        monkeypatch.setitem(sys.modules, name, module)
        monkeypatch.setattr(kind, "__module__", name)
    for package in ("mjrl", "mjrl.policies", "mjrl.utils"):
        monkeypatch.setitem(sys.modules, package, types.ModuleType(package))


def pickled(policy, protocol=2, writer=pickle.Pickler):
    file = io.BytesIO()
    writer(file, protocol=protocol).dump(policy)
    return file.getvalue()


def acts_alike(policy, arrays):
    observation = np.linspace(-1, 1, OBSERVATION)
    with torch.no_grad():
        expected = policy.model(torch.from_numpy(np.float32(observation))).clamp(-1, 1).numpy()
    np.testing.assert_allclose(NetworkExpert(arrays).act({"observation": observation}), expected, atol=1e-6)


@pytest.mark.parametrize("writer", [pickle.Pickler, Storage04])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_policy_is_read_as_it_acts(mjrl, protocol, writer):
    policy = MLP()
    record = read_pickled_policy(pickled(policy, protocol, writer), "it")
    arrays = download.network_arrays(record, "it")
    assert set(arrays) == set(NETWORK_ARRAYS)
    acts_alike(policy, arrays)


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
def test_bytes_that_python_2_wrote_as_text_are_bytes(mjrl):
    _, (text,) = torch.arange(3.0).storage().__reduce__()
    program = b"ctorch.storage\n_load_from_bytes\nT" + len(text).to_bytes(4, "little") + text + b"\x85R."
    found = PolicyUnpickler(io.BytesIO(program), {}, encoding="latin1").load()
    assert found.tolist() == [0, 1, 2]


class Trap:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "trap",
    [Trap(os.system, "touch trapped"), Trap(exec, "open('trapped', 'w')"), Trap(eval, "1"), Trap(__import__, "this")],
    ids=["system", "exec", "eval", "import"],
)
def test_code_in_a_pickle_is_refused(mjrl, tmp_path, monkeypatch, trap):
    monkeypatch.chdir(tmp_path)
    policy = MLP()
    policy.trap = trap
    with pytest.raises(ValueError, match="it was not read as a policy: it asks for"):
        read_pickled_policy(pickled(policy), "it")
    assert not list(tmp_path.iterdir())


def test_functions_of_known_packages_are_not_run(mjrl, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    policy = MLP()
    policy.traps = [Trap(torch.save, 1, "trapped"), Trap(np.save, "trapped", 1)]
    read_pickled_policy(pickled(policy), "it")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", pickle.dumps({"a": 1}), pickle.dumps(7)])
def test_what_is_no_policy_is_refused(content):
    with pytest.raises(ValueError, match="^it was not read as a policy"):
        read_pickled_policy(content, "it")


def test_a_network_of_another_shape_is_refused(mjrl):
    with pytest.raises(ValueError, match="it has 4 layers"):
        download.network_arrays(read_pickled_policy(pickled(MLP(layers=4)), "it"), "it")


class Server:
    """Serves ``folder`` on this machine; ``asked`` counts requests."""

    def __init__(self, folder):
        server = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            def do_GET(self):
                server.asked += 1
                super().do_GET()

            def log_message(self, *_):
                pass

        self.folder, self.asked = folder, 0
        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder))
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        self.base = f"http://127.0.0.1:{self.http.server_port}"


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("MP_ROOT", str(tmp_path / "root"))
    (tmp_path / "web").mkdir()
    server = Server(tmp_path / "web")
    yield server
    server.http.shutdown()
    server.http.server_close()


@pytest.fixture
def published(mjrl, server):
    """A policy on the server, and its source."""
    policy = MLP()
    content = pickled(policy)
    (server.folder / "policy.pickle").write_bytes(content)
    return policy, download.Source("policy.pickle", hashlib.sha256(content).hexdigest())


def test_a_policy_is_fetched_once(server, published):
    policy, source = published
    path = download.fetch("toy", source, server.base)
    acts_alike(policy, read_network(path))
    assert download.fetch("toy", source, server.base) == path
    assert server.asked == 1
    assert [file.name for file in path.parent.iterdir()] == ["toy.npz"]


def test_a_damaged_file_is_fetched_again(server, published):
    policy, source = published
    path = download.fetch("toy", source, server.base)
    path.write_bytes(path.read_bytes()[:-200])
    download.fetch("toy", source, server.base)
    acts_alike(policy, read_network(path))
    assert server.asked == 2


@pytest.mark.parametrize("content", [b"", b"something else", None], ids=["empty", "other", "half"])
def test_what_has_another_checksum_does_not_replace_a_good_file(server, published, content):
    _, source = published
    path = download.fetch("toy", source, server.base)
    good = path.read_bytes()
    whole = (server.folder / "policy.pickle").read_bytes()
    (server.folder / "policy.pickle").write_bytes(whole[:-9] if content is None else content)
    newer = download.Source("policy.pickle", "0" * 64)
    with pytest.raises(ValueError, match="SHA-256 .* is expected; nothing was changed"):
        download.fetch("toy", newer, server.base)
    assert path.read_bytes() == good


def test_what_has_the_checksum_but_is_no_policy_is_not_kept(server):
    (server.folder / "policy.pickle").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    digest = hashlib.sha256((server.folder / "policy.pickle").read_bytes()).hexdigest()
    with pytest.raises(ValueError, match="asks for os.system"):
        download.fetch("toy", download.Source("policy.pickle", digest), server.base)
    assert not download.experts_path().exists()


def test_no_answer_is_said_in_one_line(server, capsys, monkeypatch):
    assert main(["fetch", "adroit", "--base", server.base]) == 2
    assert "door-v0.pickle was not fetched: HTTP Error 404" in capsys.readouterr().err
    server.http.server_close()
    assert main(["fetch", "adroit", "--base", server.base]) == 2
    assert "check the network and run this again" in capsys.readouterr().err


def test_a_server_that_stays_silent_is_left(server, published, monkeypatch):
    silent = threading.Event()
    handler = server.http.RequestHandlerClass.func
    monkeypatch.setattr(handler, "do_GET", lambda self: silent.wait(20))
    monkeypatch.setattr(download, "SECONDS", 0.2)
    with pytest.raises(OSError, match="was not fetched: .*timed out"):
        download.fetch("toy", published[1], server.base)
    silent.set()


def test_the_command_line_fetches_every_policy_of_a_suite(server, published, monkeypatch, capsys):
    monkeypatch.setattr(download, "SOURCES", {"adroit": {"toy_a": published[1], "toy_b": published[1]}})
    assert main(["fetch", "adroit", "--base", server.base]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["toy_a", "toy_b"]


def test_an_unknown_suite_is_answered_with_the_choices(capsys):
    assert main(["fetch", "atari"]) == 2
    assert "unknown suite 'atari'; choose one of: adroit" in capsys.readouterr().err
