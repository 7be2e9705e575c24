"""What one can ask of ``python -m mp_lib``: a verb with its options."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mp_lib.pipeline import options


def option(*names: str, **settings) -> tuple[tuple, dict]:
    """What argparse's ``add_argument`` takes."""
    return names, settings


@dataclass(frozen=True)
class Verb:
    """What one can ask for: ``does`` in one line, its options, and ``act``, which returns the exit status."""

    name: str
    does: str
    act: Callable[[argparse.Namespace], int | None]
    options: Sequence[tuple[tuple, dict]] = ()
    maintains: bool = False  # what a user has no need of

    def parser(self) -> argparse.ArgumentParser:
        """Its command line."""
        does = f"{self.does[0].upper()}{self.does[1:]}."
        parser = options.Parser(f"python -m mp_lib {self.name}", description=does, allow_abbrev=False)
        for names, settings in self.options:
            parser.add_argument(*names, **settings)
        return parser

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """What a command line gives; the process ends with one line where that cannot be."""
        return self.parser().parse_args(arguments)
