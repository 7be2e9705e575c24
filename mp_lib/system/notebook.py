"""A bar in a notebook: one output of a cell that is drawn again, with what is noted of the work and its curve."""

from __future__ import annotations

import contextlib
import html
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence

from mp_lib.system.errors import Stopped

CELL_SECONDS = 2.0
MARK = {"mp_lib": "progress"}  # of an output, by which it is left out where only results are wanted


def in_notebook() -> bool:
    """Whether what is displayed goes into a notebook's cell."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return getattr(shell, "kernel", None) is not None


def in_page() -> bool:
    """Whether the cell that runs was sent from a page, which can show controls: JupyterLab's, say.

    Pages name the cell that they send; what executes notebooks in batch, such as papermill, does not.
    """
    if not in_notebook():
        return False
    return "cellId" in sys.modules["IPython"].get_ipython().kernel.get_parent("shell").get("metadata", {})


@contextlib.contextmanager
def stopped_in_one_line(told: Callable[[], str]) -> Iterator[None]:
    """Who stops the block in a notebook gets the line that is ``told``, unless something within has told more."""
    try:
        yield
    except KeyboardInterrupt as error:
        if isinstance(error, Stopped) or not in_notebook():
            raise
        raise Stopped(told()) from error


def duration(seconds: float) -> str:
    """E.g. "0:07", "1:02:03"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Cell:
    """The output that is drawn again; bars that begin while another one runs stand below it and go with their end."""

    running: list[Bar] = []
    drawn = float("-inf")
    output = None

    @classmethod
    def draw(cls, now: bool = True) -> None:
        """Show all bars that run, at most every two seconds unless ``now``."""
        if not now and time.monotonic() - cls.drawn < CELL_SECONDS:
            return
        from IPython.display import HTML, display

        cls.drawn = time.monotonic()
        shown = HTML("".join(bar.html() for bar in cls.running))
        if cls.output is None:
            cls.output = display(shown, display_id=True, metadata=MARK)
        else:
            cls.output.update(shown, metadata=MARK)


class Bar:
    """A bar in a notebook, with what tqdm's has of methods."""

    def __init__(self, total: int | None, description: str):
        self.total, self.desc, self.n, self.noted = total, description, 0, ""
        self.values: list[float] = []
        self.began, self.first, self.ended = time.monotonic(), 0, False
        Cell.running.append(self)
        Cell.draw()

    def update(self, n: int) -> None:
        """Count ``n`` more; what was there at the start says nothing of how fast it goes."""
        self.n += n
        self.first = self.first or self.n
        Cell.draw(now=False)

    def set_postfix_str(self, text: str, refresh: bool = True) -> None:
        """Say ``text`` behind the count."""
        self.noted = text

    def close(self) -> None:
        """Leave the last count if it is the only one that runs; nothing is left to do, whatever was thought before."""
        self.ended = True
        if Cell.running[:1] == [self]:
            Cell.draw()
            Cell.output = None
            Cell.running.clear()
        else:
            Cell.running.remove(self)

    def html(self) -> str:
        """How far it is, since when, and how long it will take."""
        took, made = time.monotonic() - self.began, self.n - self.first
        of, ends = (f" of {self.total}", f'value="{self.n}" max="{self.total}"') if self.total else ("", "")
        told = f"{self.n}{of}, {duration(took)}"
        if made > 0 and self.n < (self.total or 0) and not self.ended:
            told += f", about {duration(took / made * (self.total - self.n))} left"
        words = html.escape(" · ".join(filter(None, (f"{self.desc}: {told}", self.noted))))
        bar = f"<progress {ends}></progress>"
        return f"<div>{bar} {words}</div>{curve(self.values)}"


def curve(values: Sequence[float], width: int = 480, height: int = 60, points: int = 200) -> str:
    """Positive values in their order as a line over a logarithmic axis; nothing where there are none.

    Of many it shows means of neighbours.
    """
    size = -(-len(values) // points) or 1
    logs = [
        math.log(sum(part) / len(part))
        for start in range(0, len(values), size)
        if min(part := values[start : start + size]) > 0
    ]
    if len(logs) < 2:
        return ""
    low, high = min(logs), max(logs)
    places = [
        f"{index * width / (len(logs) - 1):.1f},{2 + (height - 4) * (high - each) / ((high - low) or 1):.1f}"
        for index, each in enumerate(logs)
    ]
    line = f'<polyline points="{" ".join(places)}" fill="none" stroke="#0072B2" stroke-width="1.5"/>'
    told = f'role="img" aria-label="{values[0]:.3g} to {values[-1]:.3g}"'
    return f'<svg width="{width}" height="{height}" {told}>{line}</svg>'
