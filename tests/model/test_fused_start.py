"""Kernels of our own are used where Triton can start; where it cannot, that is said once."""

import logging
import sys
from types import SimpleNamespace

import pytest

from mp_lib.model import fused


class Driver:
    """What Triton makes when it is first asked for its driver."""

    def __init__(self, error=None):
        self.error = error

    @property
    def active(self):
        if self.error:
            raise self.error
        return SimpleNamespace(get_current_target=lambda: "GPU")


@pytest.mark.parametrize("error", [None, RuntimeError("Failed to find C compiler.\nSet CC"), OSError()])
def test_triton_is_used_if_it_can_start(error, monkeypatch, caplog):
    monkeypatch.setattr(fused, "find_spec", lambda name: name)
    monkeypatch.setattr(fused, "keep_compiled_code", lambda: None)
    monkeypatch.setitem(sys.modules, "triton", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "triton.runtime", SimpleNamespace(driver=Driver(error)))
    with caplog.at_level(logging.WARNING):
        assert fused.installed.__wrapped__() is (error is None)
    assert len(caplog.messages) == bool(error) and "\n" not in caplog.text.strip()
