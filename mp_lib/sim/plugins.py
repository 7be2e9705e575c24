"""Tasks of other packages, which declare them by entry points of the group ``mp_lib.tasks``."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from dataclasses import replace
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from multiprocessing.reduction import ForkingPickler

from mp_lib.geometry.kinds import Layout
from mp_lib.interfaces import TaskSpec
from mp_lib.system.errors import InputError, one_line, shown

log = logging.getLogger(__name__)

GROUP = "mp_lib.tasks"


class Tasks(MutableMapping[str, TaskSpec]):
    """Tasks by name: ``own`` rows first, then those of installed packages.

    These are imported, once, when a name is asked for that ``own`` lacks, or when all are listed. Of a package that
    cannot be imported a line of the log says so, and its tasks are not there. An InputError names the package that
    declares a task under a name or a suite that is not its to give. A row that is set is one of the own, in this
    process.
    """

    def __init__(self, own: Iterable[TaskSpec]):
        self._own = {row.name: row for row in own}
        self._suites = {row.suite for row in self._own.values()}

    @property
    def beginnings(self) -> tuple[str, ...]:
        """How names begin that are this project's own, whether or not there is such a task: with one of its suites."""
        return tuple(sorted(f"{suite}_" for suite in self._suites))

    def __getitem__(self, name: str) -> TaskSpec:
        return self._own[name] if name in self._own else self._others[name]

    def __iter__(self) -> Iterator[str]:
        yield from self._own
        yield from self._others

    def __len__(self) -> int:
        return len(self._own) + len(self._others)

    def __setitem__(self, name: str, row: TaskSpec) -> None:
        self._own[name] = row

    def __delitem__(self, name: str) -> None:
        del self._own[name]

    @cached_property
    def _others(self) -> dict[str, TaskSpec]:
        found: dict[str, TaskSpec] = {}
        for point in sorted(entry_points(group=GROUP), key=lambda point: (point.dist.name, point.name)):
            for spec in declared(point):
                if reason := unfit(spec, self.beginnings, found):
                    given = f"the installed package {point.dist.name} declares the task {shown(spec.name)}, {reason}"
                    raise InputError(f"{given}; rename it there, or python -m pip uninstall {point.dist.name}")
                found[spec.name] = replace(spec, package=point.dist.name)
        return found


def declared(point: EntryPoint) -> list[TaskSpec]:
    """The tasks that the function behind an entry point returns; none, and a line of the log, where that fails."""
    try:
        specs = list(point.load()())
        for spec in specs:
            check(spec)
    except Exception as error:  # whatever another package's code may raise
        log.warning("the tasks of %s are left out: %s", point.dist.name, one_line(f"{type(error).__name__}: {error}"))
        return []
    return specs


def check(spec: TaskSpec) -> None:
    """Raise a TypeError for what is no TaskSpec, or one that no other process could be handed.

    An InputError for kinds that do not name its numbers, which else came up behind a training.
    """
    if not isinstance(spec, TaskSpec):
        raise TypeError(f"{shown(spec)} is no TaskSpec")
    try:
        ForkingPickler.dumps(spec)
    except Exception as error:
        allowed = "functions or classes of a module, or functools.partial of these, as simulating processes import them"
        raise TypeError(
            f"{spec.name}: make_env, make_expert and success_rule have to be {allowed} ({error})"
        ) from error
    for key in ("state", "action"):
        if kinds := getattr(spec, f"{key}_kinds"):
            try:
                Layout.parse(kinds, getattr(spec, f"{key}_dim"))
            except InputError as error:
                raise InputError(f"{spec.name}, {key}_kinds: {error}") from None


def unfit(spec: TaskSpec, beginnings: tuple[str, ...], others: Mapping[str, TaskSpec]) -> str:
    """Why a task of another package cannot have its name; empty where it can."""
    if not (isinstance(spec.name, str) and re.fullmatch(r"\w[\w.-]*", spec.name)):
        return "a name that is part of no file name: letters, digits, '_', '-', '.' may be in it"
    if f"{spec.suite}_" in beginnings or spec.name.startswith(beginnings):
        suites = ", ".join(beginning.removesuffix("_") for beginning in beginnings)
        return f"and the suites {suites} are this project's own, with all names that begin so"
    if spec.name in others:
        return f"as {others[spec.name].package} does"
    return ""
