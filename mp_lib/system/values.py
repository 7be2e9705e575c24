"""What a value that somebody gave can only mean, by the kind that is asked for: 0.0 or "0" for an int is 0.

A kind is an annotation as text, such as "int", "list[str]", "tuple[float, float]" or "int | None"; "int or None" is the
same.
"""

from __future__ import annotations

import ast
import contextlib
import json
import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from numbers import Real

from mp_lib.system.errors import InputError, shown

NOTHING = ("", "none", "null")
TRUTH = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
Bound = tuple[str, Callable[[float], bool]]  # what a number has to be, in words, and whether one is
ANY: Bound = ("any number", lambda value: True)
EXAMPLES = {"int": "4", "float": "0.5", "bool": "true", "str": '"some text"', "dict": '{"learning_rate": 1e-4}'}
UNREADABLE = (ValueError, TypeError, KeyError, ArithmeticError, SyntaxError, RecursionError, MemoryError)


def meaning(name: str, kind: str, value, such_as: str = ""):
    """``value`` as the one thing of this kind that it can mean; else an InputError that says what ``name`` may be.

    ``such_as`` is the example that it shows.
    """
    try:
        return read(kind, value)
    except UNREADABLE:
        single = "one " if isinstance(value, list | tuple) and not kind.startswith(("list", "tuple")) else ""
        such_as = such_as or example(kind, value)
        raise InputError(f"{name} {shown(value)} given; it is {single}{kind}, such as {such_as}") from None


def read_fields(configuration) -> None:
    """Put what each field of a dataclass means, which may be frozen, in its place."""
    for field in fields(configuration):
        value = meaning(field.name, field.type, getattr(configuration, field.name))
        object.__setattr__(configuration, field.name, value)


def within(least: int, most: int) -> Bound:
    """From ``least`` to ``most``, both included."""
    return f"at least {least} and at most {most:,}", lambda value: least <= value <= most


def check_bounds(values: Mapping, bounds: Mapping[str, Bound], usual: Bound = ANY) -> None:
    """Raise an InputError for a number among ``values`` that is not within its bound; ``usual`` is that of others."""
    for key, value in values.items():
        allowed, holds = bounds.get(key, usual)
        for number in value if isinstance(value, list | tuple) else (value,):
            if isinstance(number, int | float) and not holds(number):
                raise InputError(f"{key} {shown(number)} given; it must be {allowed}")


def example(kind: str, given=None) -> str:
    """How a value of a kind is written; where a list was ``given`` for a single one, the first of it."""
    outer, _, inner = alternatives(kind)[0].partition("[")
    if not inner:
        for each in given[:1] if isinstance(given, list | tuple) else ():
            with contextlib.suppress(*UNREADABLE):
                return json.dumps(read(outer, each))
        return EXAMPLES[outer]
    parts = [EXAMPLES[part] for part in inner.rstrip("]").split(", ") if part != "..."]
    return f"[{', '.join(parts)}]"


def read(kind: str, value):
    """As ``meaning``, but for the error: one of UNREADABLE."""
    value = value.tolist() if hasattr(value, "tolist") else value  # NumPy's
    first, *others = alternatives(kind)
    if others and is_nothing(value):
        return None
    outer, _, inner = first.partition("[")
    return READERS[outer](value, inner.removesuffix("]"))


def alternatives(kind: str) -> list[str]:
    """A kind and what may stand for it, e.g. ["int", "None"]."""
    return re.split(r" (?:\||or) ", kind)


def is_nothing(value) -> bool:
    """Whether a value says that there is none."""
    return value is None or (isinstance(value, str) and value.strip().lower() in NOTHING)


def literal(text: str):
    """What a text says as JSON or as a literal of Python."""
    try:
        return json.loads(text)
    except ValueError:
        return ast.literal_eval(text.strip())


def number(value) -> Real:
    """A finite number, also from text."""
    value = literal(value) if isinstance(value, str) else value
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise TypeError(value)
    return value + 0  # 0.0 for -0.0


def read_number(value, inner: str) -> float:
    """A finite number; one that was given as whole stays an int, since names of runs are written with it."""
    value = number(value)
    return value if isinstance(value, int) else float(value)


def read_whole(value, inner: str) -> int:
    value = number(value)
    if value != int(value):
        raise ValueError(value)
    return int(value)


def read_truth(value, inner: str) -> bool:
    if isinstance(value, bool):
        return value
    return TRUTH[value.strip().lower() if isinstance(value, str) else str(read_whole(value, inner))]


def read_text(value, inner: str) -> str:
    value = "" if value is None else os.fspath(value)
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def read_list(value, inner: str) -> list:
    """A list; of one where a single value was given, empty where nothing was."""
    if is_nothing(value):
        return []
    if isinstance(value, str) and (inner != "str" or value.strip()[0] in "[("):
        value = literal(value)
    values = value if isinstance(value, list | tuple | range) else [value]
    if None in values:
        raise TypeError(values)
    return [read(inner, each) for each in values]


def read_tuple(value, inner: str) -> tuple:
    """A tuple of as many as the kind names, or of any number of one kind: "int, ..."."""
    first, *others = inner.split(", ")
    values = read_list(value, "float")
    kinds = [first] * len(values) if others == ["..."] else [first, *others]
    return tuple(read(kind, each) for kind, each in zip(kinds, values, strict=True))


def read_dict(value, inner: str) -> dict:
    """A dict by names; empty where nothing was given."""
    value = {} if is_nothing(value) else literal(value) if isinstance(value, str) else value
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise TypeError(value)
    return dict(value)


READERS = {
    "int": read_whole,
    "float": read_number,
    "bool": read_truth,
    "str": read_text,
    "list": read_list,
    "tuple": read_tuple,
    "dict": read_dict,
}
