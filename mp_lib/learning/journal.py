"""Episodes of a rollout that are over, written down as they end, so that whoever was killed goes on behind them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mp_lib.learning.film import write_film
from mp_lib.model.noise import SCHEME
from mp_lib.system.files import read_json, write_atomically


class Journal:
    """The file ``path`` with a row an episode, a dict with "seed" in it; at ``film``, if given, the first one's film.

    ``origin`` is JSON-able and says all that the episodes depend on, but for how their noise is drawn; a file of
    another origin, or of episodes with other noise, is forgotten.
    """

    def __init__(self, path: Path, origin: dict, film: Path | None = None):
        self.path, self.film = path, film
        self.origin = json.loads(json.dumps(origin | {"noise": SCHEME}))
        self.rows: list[dict] = self._read()

    def _read(self) -> list[dict]:
        try:
            found = read_json(self.path)
            same = found["origin"] == self.origin and (self.film is None or self.film.exists())
            return [dict(row) for row in found["rows"]] if same else []
        except (OSError, ValueError, LookupError, TypeError):  # none, or damaged: the episodes are played again
            return []

    def recall(self, first: int, seeds: Sequence[int]) -> list[dict] | None:
        """The rows from place ``first`` on, if all of these seeds' episodes are written down."""
        rows = self.rows[first : first + len(seeds)]
        return rows if [row.get("seed") for row in rows] == list(seeds) else None

    def add(self, first: int, rows: Sequence[dict], film: Sequence[np.ndarray]) -> None:
        """Write rows down from place ``first`` on; the film first, so that a row tells that it is there."""
        if self.film is not None and first == 0:
            write_film(self.film, film)
        self.rows[first:] = rows
        write_atomically(self.path, json.dumps({"origin": self.origin, "rows": self.rows}).encode())

    def forget(self) -> None:
        """Remove the file: what it held is in a result."""
        self.path.unlink(missing_ok=True)
