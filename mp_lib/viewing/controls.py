"""The controls of a page: a slider a number of ``Look``, choices of policies and episodes, and how points look."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ipywidgets import (
    HTML,
    Checkbox,
    Dropdown,
    FloatSlider,
    GridBox,
    HBox,
    IntSlider,
    IntText,
    Layout,
    Play,
    VBox,
    Widget,
    jslink,
)

from mp_lib.insight.scene import Look
from mp_lib.viewing.canvas import COLORINGS, Canvas

# Of each number of a Look: what it is called, the ends of its slider, and what one notch is. Whoever wants more of it
# calls mp_lib.predicted_path.
SLIDERS = {
    "samples": ("paths", 1, 32, 1),
    "noise_seed": ("seed of the noise", 0, 99, 1),
    "num_inference_steps": ("denoising steps", 1, 20, 1),
    "denoised": ("denoised (%)", 0, 100, 0.01),
    "hidden": ("hide points (%)", 0, 95, 0.01),
    "shaken": ("shake points (mm)", 0, 50, 0.001),
}
STRIDES = {"denoised": 10}  # notches that a key moves a slider by; less than a denoising step would change nothing
NOBODY = "nobody"  # instead of a second policy
TICK = 700  # ms from call to call while it plays
PANELS = 4  # numbers of an action that are drawn at once
NAMED = {"style": {"description_width": "126px"}, "layout": Layout(width="98%")}


class Controls:
    """All controls."""

    def __init__(self, look: Look, most_steps: int, actions: Sequence[str]):
        """``most_steps`` of denoising can be had, and the numbers of an action are called ``actions``."""
        self.time = IntSlider(look.call, 0, max(look.call, 1), readout=False, layout=Layout(flex="1 1 auto"))
        self.play = Play(interval=TICK, max=self.time.max)
        self.place = HTML(layout=Layout(width="190px"))
        self.sliders = {}
        for field, (name, low, high, notch) in SLIDERS.items():
            value = round(getattr(look, field) / notch)
            most = most_steps if field == "num_inference_steps" else max(high, value)
            ends = {"min": low, "max": min(most, max(high, value)), "step": STRIDES.get(field, 1)}
            self.sliders[field] = IntSlider(value, **ends, description=name, **NAMED)
        self.quiet = False  # while nothing is to be answered that changes
        self.policy = Dropdown(description="who acts", **NAMED)
        self.other = Dropdown(description="beside it", **NAMED)
        self.seed = IntText(continuous_update=False, description="environment seed", **NAMED)
        self.listed = Dropdown(description="demonstration", **NAMED)
        groups = [range(first, min(first + PANELS, len(actions))) for first in range(0, len(actions), PANELS)]
        named = [(" … ".join(dict.fromkeys((actions[each[0]], actions[each[-1]]))), tuple(each)) for each in groups]
        self.numbers = Dropdown(options=named, description="actions drawn", **NAMED)
        jslink((self.play, "value"), (self.time, "value"))
        jslink((self.play, "max"), (self.time, "max"))

    def watch(self, asked: Callable[[], None]) -> None:
        """Call ``asked`` from now on whenever one changes that something has to be computed or drawn for."""
        choices = self.policy, self.other, self.seed, self.listed, self.numbers
        for each in (self.time, *self.sliders.values(), *choices):
            each.observe(lambda change: self.quiet or asked(), "value")

    def look(self) -> Look:
        """What they ask for."""
        given = {field: self.sliders[field].value * notch for field, (_, _, _, notch) in SLIDERS.items()}
        return Look(call=self.time.value, **given)

    def offer(self, names: Mapping[str, str], policy: str, other: str = NOBODY) -> None:
        """Let one choose of policies, whose ``names`` are by what stands in the list, and choose these two first."""
        self.policy.options, self.other.options = [*names.items()], [(NOBODY, NOBODY), *names.items()]
        self.choose(policy, other)

    def choose(self, policy: str, other: str = NOBODY) -> None:
        """Choose these two policies, and let nobody answer that."""
        self.quiet = True
        self.policy.value, self.other.value = policy, other
        self.quiet = False

    def begin(self, numbers: Sequence[int], first: int) -> None:
        """Choose the first episode: one of the ``numbers`` that are listed, if any are, else a seed."""
        self.listed.options = tuple(numbers)
        chosen = self.listed if numbers else self.seed
        chosen.value = first

    def number(self, numbers: Sequence[int]) -> int:
        """Which episode is asked for: one of the ``numbers`` that are listed, if any are, else a seed."""
        if self.listed.options != tuple(numbers):
            self.listed.options = tuple(numbers)
            self.listed.index = 0 if numbers else None
        return self.listed.value if numbers else self.seed.value

    def count(self, calls: int) -> None:
        """Let the time slider go over so many calls."""
        self.time.value = min(self.time.value, calls - 1)
        self.play.max = self.time.max = max(calls - 1, 1)

    def drawn(self, canvas: Canvas) -> list[Widget]:
        """Those that say how points look, tied to the canvas in the browser itself."""
        size = FloatSlider(canvas.size, min=0.5, max=8, step=0.1, description="size of points", **NAMED)
        coloring = Dropdown(options=COLORINGS, index=canvas.coloring, description="colour of points", **NAMED)
        critical = Checkbox(canvas.critical, description="ring critical points", **NAMED)
        near = Checkbox(canvas.near, description="near the hand", **NAMED)
        jslink((size, "value"), (canvas, "size"))
        jslink((coloring, "index"), (canvas, "coloring"))
        jslink((critical, "value"), (canvas, "critical"))
        jslink((near, "value"), (canvas, "near"))
        return [size, coloring, critical, near]

    def below(self, canvas: Canvas, listed: bool) -> VBox:
        """All of them as they stand below the pictures; ``listed`` says whether episodes are listed, or any seed."""
        episode = self.listed if listed else self.seed
        drawn = self.drawn(canvas)
        rest = [self.numbers] if len(self.numbers.options) > 1 else []
        cells = [*self.sliders.values(), self.policy, self.other, episode, *drawn, *rest]
        time = HBox([self.play, self.time, self.place], layout=Layout(align_items="center"))
        return VBox([time, GridBox(cells, layout=Layout(grid_template_columns="repeat(3, 33%)"))])
