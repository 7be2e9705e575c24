"""The error for what somebody brought: data, weights, parameters, machines."""

from __future__ import annotations


class InputError(ValueError):
    """What was given cannot be used; one line names it, what was found, what is allowed, and what helps."""
