"""The error for what somebody brought: data, weights, parameters, machines."""

from __future__ import annotations

from numbers import Integral

LONGEST = 200  # letters of a value in a message
MOST = 10**6  # processes, episodes, demonstrations: more are a slip of the hand


def one_line(text: object) -> str:
    """A text with what would break its line, or steer a terminal, written as Python writes it: a path may hold it."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in str(text))


class InOneLine:
    """An error of which a notebook shows its line alone, and no traceback."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


class InputError(InOneLine, ValueError):
    """What was given cannot be used; one line names it, what was found, what is allowed, and what helps."""

    def __init__(self, text: str):
        super().__init__(one_line(text))


class MissingFileError(InputError, FileNotFoundError):
    """Nothing lies at the path that was given."""


class MissingNameError(InputError, AttributeError):
    """A name was asked for that is not offered."""


class Stopped(InOneLine, KeyboardInterrupt):
    """Somebody has stopped what went on; one line says how far it came, and how it goes on."""


def is_count(number) -> bool:
    """Whether it is a whole number from 1 on; a truth value is none."""
    return isinstance(number, Integral) and not isinstance(number, bool) and number >= 1


def shown(value) -> str:
    """A value in one line of a message, cut off where it is long."""
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # Python writes no number of more than 4300 digits
        text = "a number of thousands of digits"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def at_least_one(**numbers: int | None) -> None:
    """Raise an InputError for what is no whole number, below 1 or above MOST; None stands for the usual number."""
    for name, number in numbers.items():
        if number is not None and not (is_count(number) and number <= MOST):
            allowed = f"at least 1 and whole, or None for the usual number; at most {MOST:,}"
            raise InputError(f"{name} {shown(number)} given; it must be {allowed}")
