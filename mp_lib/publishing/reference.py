"""What ``import mp_lib`` offers, as a page: each name with its signature and its words."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from types import FunctionType

import mp_lib
from mp_lib.insight.trained import Trained
from mp_lib.publishing.markup import colour, rendered

WIDTH = 88  # letters of a signature on one line
STARS = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}


@dataclass(frozen=True)
class Entry:
    """A function or class: its name, its signature and its docstring as HTML, and those of its methods."""

    name: str
    signature: str
    words: str
    methods: tuple[Entry, ...] = ()


def entries() -> list[Entry]:
    """An entry a name of ``mp_lib.__all__``, and of what ``load`` and ``train`` give."""
    return [*(entry(name, getattr(mp_lib, name)) for name in mp_lib.__all__), entry(Trained.__name__, Trained)]


def entry(name: str, offered) -> Entry:
    """The entry of a function or a class."""
    methods = tuple(entry(each, member) for each, member in own_methods(offered)) if inspect.isclass(offered) else ()
    return Entry(name, colour(signature(name, offered), "python"), rendered(inspect.getdoc(offered) or ""), methods)


def own_methods(kind: type) -> Iterator[tuple[str, object]]:
    """The public methods of a class, as they stand in its file."""
    for name, member in vars(kind).items():
        if not name.startswith("_") and isinstance(member, (FunctionType, classmethod)):
            yield name, getattr(kind, name)


def signature(name: str, offered) -> str:
    """How it is called, a parameter a line where one line is too long; annotations as they stand in the file."""
    found = inspect.signature(offered)
    parameters = [*found.parameters.values()]
    parts = [*map(spelled, parameters)]
    named = [place for place, each in enumerate(parameters) if each.kind is each.KEYWORD_ONLY]
    if named and not any(each.kind is each.VAR_POSITIONAL for each in parameters):
        parts.insert(named[0], "*")
    ending = "" if found.return_annotation is found.empty else f" -> {found.return_annotation}"
    line = f"{name}({', '.join(parts)}){ending}"
    if len(line) <= WIDTH:
        return line
    return f"{name}(\n" + "".join(f"    {part},\n" for part in parts) + f"){ending}"


def spelled(parameter: inspect.Parameter) -> str:
    """A parameter as a file has it; of a function that is a default its name."""
    default, star = parameter.default, STARS.get(parameter.kind, "")
    said = f"{star}{parameter.name}"
    if parameter.annotation is not parameter.empty:
        said += f": {parameter.annotation}"
    if default is parameter.empty:
        return said
    return f"{said} = {default.__name__ if inspect.isroutine(default) else repr(default)}"
