"""How a run is computed, which decides rounding and speed and nothing else: in no name, in no configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType

import torch

from mp_lib.interfaces import How
from mp_lib.model.backends import scoring_backend
from mp_lib.model.step_forms import settle_form
from mp_lib.model.weights import TRAINING
from mp_lib.system.errors import InputError
from mp_lib.system.files import read_json
from mp_lib.system.precision import settle_precision, use_precision


def settle(
    form: str,
    precision: str,
    device: torch.device,
    began: Mapping[str, str] = MappingProxyType({}),
    backend: str = "auto",
) -> How:
    """What is meant on a device; a half-finished training goes on as it ``began``, as far as the device can.

    An InputError for what is unknown, or that the device cannot.
    """
    form, precision = settle_form(form, device), settle_precision(precision, device)
    with suppress(InputError):  # it began on another device
        form = settle_form(began.get("form", form), device)
    with suppress(InputError):
        precision = settle_precision(began.get("precision", precision), device)
    return How(form, precision, scoring_backend(backend, device))


def deviation(how: How, device: torch.device) -> str:
    """What of how an evaluation is computed is not as usual on a device, e.g. "-onnx-float32"; mostly nothing."""
    usual = settle("auto", "auto", device)
    given = ((how.backend, usual.backend), (how.precision, usual.precision))
    return "".join(f"-{value}" for value, expected in given if value != expected)


@contextmanager
def precision_of(how: How, device: torch.device) -> Iterator[None]:
    """Let this process multiply as is asked for, in the block."""
    products = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [each.allow_tf32 for each in products]
    use_precision(how.precision, device)
    try:
        yield
    finally:
        for each, allowed in zip(products, before, strict=True):
            each.allow_tf32 = allowed


def began_with(folder: Path) -> dict[str, str]:
    """How the half-finished training in a folder was computed; empty if there is none, or it does not say."""
    try:
        return read_json((folder / TRAINING).with_suffix(".json"))["facts"]["how"]
    except (OSError, ValueError, LookupError, TypeError):
        return {}
