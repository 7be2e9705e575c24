"""Messages of a policy server: msgpack with arrays of numbers, as openpi-client 0.1.2 writes and reads them.

An array is a map of ``b"__ndarray__"``, ``b"data"`` (its bytes in C order), ``b"dtype"`` (such as "<f4") and
``b"shape"``, a number of NumPy's one of ``b"__npgeneric__"``, ``b"data"`` and ``b"dtype"``
(https://github.com/Physical-Intelligence/openpi, packages/openpi-client/src/openpi_client/msgpack_numpy.py). What comes
is not trusted: nothing is unpickled, and an array is a view of bytes that are there. Arrays of text, such as a prompt
that other policies take, may stand where nobody looks.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np

from mp_lib.system.errors import InputError, one_line, shown
from mp_lib.system.extras import require

ARRAY, NUMBER, DATA, DTYPE, SHAPE = b"__ndarray__", b"__npgeneric__", b"data", b"dtype", b"shape"
NUMBERS = re.compile(r"[<>]f[248]|[<>][iu][248]|\|[iu]1|\|b1")  # how NumPy writes the kinds of numbers that are read
TEXTS = re.compile(r"[<>]U\d{1,9}|\|S\d{1,9}")  # of text, which is not read
MOST_AXES = 8
MOST_ENTRIES = 1024  # of a list or a map; a message's numbers are in arrays
MOST_CONTAINERS = 256  # lists and maps of a message, also what may lie in one another


@dataclass(frozen=True)
class Text:
    """Stands for an array of text in a message, of which nothing but its ``kind`` is kept; it is no number."""

    kind: str


def pack(value) -> bytes:
    """A message that openpi-client reads: dicts, lists, texts, numbers, and NumPy's arrays and numbers."""
    require("serve", "msgpack")
    import msgpack

    return msgpack.packb(value, default=as_map)


def as_map(value) -> dict:
    """An array or a number of NumPy's as a map; a TypeError for all else."""
    if isinstance(value, np.ndarray | np.generic) and NUMBERS.fullmatch(value.dtype.str):
        if isinstance(value, np.generic):
            return {NUMBER: True, DATA: value.item(), DTYPE: value.dtype.str}
        return {ARRAY: True, DATA: value.tobytes(), DTYPE: value.dtype.str, SHAPE: value.shape}
    raise TypeError(f"{type(value).__name__} cannot be packed")


def unpack(message: bytes):
    """What a message says, its arrays as views that cannot be written to; a ``Text`` for each array of text.

    An InputError in one line for what is no such message, arrays of other things than numbers and text, arrays whose
    bytes are not as many as their shape says, and more lists and maps than an observation needs.
    """
    require("serve", "msgpack")
    import msgpack

    count = Count()
    try:
        return msgpack.unpackb(
            message,
            object_hook=lambda found: as_array(count(found)),
            list_hook=count,
            max_array_len=MOST_ENTRIES,
            max_map_len=MOST_ENTRIES,
            max_ext_len=0,
        )
    except InputError:
        raise
    except (ValueError, TypeError) as error:  # msgpack's own are ValueErrors
        raise InputError(f"the message is no msgpack that is read here ({one_line(error)[:100]})") from error


class Count:
    """Counts a message's lists and maps: an empty one takes a byte there, and sixty here."""

    def __init__(self):
        self.number = 0

    def __call__(self, found):
        self.number += 1
        if self.number > MOST_CONTAINERS:
            raise InputError(f"the message has more than {MOST_CONTAINERS} lists and maps; send numbers as arrays")
        return found


def as_array(found: dict):
    """The array or the number that a map stands for, or a ``Text``; the map itself if it stands for none."""
    kind = found.get(DTYPE)
    if (ARRAY in found or NUMBER in found) and isinstance(kind, str) and TEXTS.fullmatch(kind):
        return Text(kind)
    if ARRAY in found:
        return array_of(found)
    return number_of(found) if NUMBER in found else found


def array_of(found: dict) -> np.ndarray:
    """An array as a view of its bytes; an InputError unless they are as many as its kind and shape say."""
    kind, data, shape = number_kind(found), found.get(DATA), found.get(SHAPE)
    sizes = (
        isinstance(shape, list) and len(shape) <= MOST_AXES and all(type(n) is int and 0 <= n < 2**31 for n in shape)
    )
    if not sizes:
        raise InputError(f"an array has the shape {shown(shape)}; give up to {MOST_AXES} whole numbers")
    if not isinstance(data, bytes) or len(data) != kind.itemsize * math.prod(shape):
        has = f"{len(data)} bytes" if isinstance(data, bytes) else f"no bytes, but {type(data).__name__}"
        raise InputError(f"an array {shown(shape)} of {kind} has {has}; it takes {shown_size(kind, shape)}")
    return np.frombuffer(data, kind).reshape(shape)


def shown_size(kind: np.dtype, shape: list[int]) -> str:
    """How many bytes an array takes, for a message."""
    return shown(kind.itemsize * math.prod(shape))


def number_of(found: dict) -> np.generic:
    """A number of NumPy's; an InputError unless its kind has such a number."""
    kind, data = number_kind(found), found.get(DATA)
    try:
        if not isinstance(data, bool | int | float):
            raise TypeError
        with np.errstate(over="ignore"):
            return kind.type(data)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"a number of {kind} is {shown(data)}; give one that it has") from error


def number_kind(found: dict) -> np.dtype:
    """The kind of an array or a number; an InputError for all but plain numbers, such as objects."""
    text = found.get(DTYPE)
    if not (isinstance(text, str) and NUMBERS.fullmatch(text)):
        raise InputError(f"an array of {shown(text)} given; give plain numbers, such as '<f4'")
    return np.dtype(text)
