"""One export for all tests of this room, since it takes seconds, and a server for those of a file."""

import pytest

from mp_lib.acting.exporting import export
from mp_lib.acting.exports import NETWORKS
from tests.acting.exported import make_policy, save_run


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A policy, and the file of its weights in the folder of a run."""
    policy = make_policy()
    return policy, save_run(tmp_path_factory.mktemp("runs") / "small", policy)


@pytest.fixture(scope="session")
def exported(run, tmp_path_factory):
    """The exported folder of that policy."""
    folder = tmp_path_factory.mktemp("exports") / "small"
    export(run[1], folder, lambda task: {"action_meaning": f"newtons of {task}"})
    return folder


@pytest.fixture
def same_networks(exported, monkeypatch):
    """Exports of policies that differ in their normaliser alone take the networks that are there already."""
    networks = [(exported / name).read_bytes() for name in NETWORKS]
    monkeypatch.setattr("mp_lib.acting.exporting.export_parts", lambda policy: networks)


@pytest.fixture(scope="module")
def at_work():
    """A server of the fake engine."""
    from tests.acting.serving import serving  # needs websockets

    with serving() as server:
        yield server
