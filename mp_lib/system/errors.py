"""The error for what somebody brought: data, weights, parameters, machines."""

from __future__ import annotations

from numbers import Integral


class InputError(ValueError):
    """What was given cannot be used; one line names it, what was found, what is allowed, and what helps."""


def at_least_one(**numbers: int | None) -> None:
    """Raise an InputError for what is no whole number or below 1; None stands for the usual number."""
    for name, number in numbers.items():
        if number is not None and (not isinstance(number, Integral) or number < 1):
            raise InputError(f"{name} {number!r} given; it must be at least 1 and whole, or None for the usual number")
