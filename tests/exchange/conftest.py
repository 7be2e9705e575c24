"""What tests of exchange share."""

import pytest

from mp_lib.exchange.lerobot_export import export
from tests.exchange.layouts import made_up, write_store


@pytest.fixture
def exported(tmp_path):
    """The folder of an exported store, and the store."""
    kinds = {"state": "position:3 gripper:1", "action": "step:1 gripper:1"}
    store = write_store(tmp_path / "arm.zarr", made_up([5, 3, 9]), kinds=kinds)
    return export(store.path, tmp_path / "lerobot", 25), store
