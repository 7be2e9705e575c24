"""The method as a drawing: one U-Net, and what tells its blocks apart."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from mp_lib.drawing.style import BLACK, GREY, PAGE, bare, panels, styled

HEIGHT = 3.75
CONV, FILM, MAMBA, ATTENTION, PLAIN = "#DCCFB3", "#F1E8D2", "#B9C2DE", "#E0BFCC", "#F0F0F0"  # of PART_COLORS, lighter
LINE = {"arrowstyle": "-|>", "color": BLACK, "linewidth": 0.7, "mutation_scale": 6, "shrinkA": 0, "shrinkB": 0}


def box(axes: Axes, x: float, y: float, width: float, height: float, text: str, color: str, **options) -> None:
    """A box around its middle (x, y), in inches."""
    corner = (x - width / 2, y - height / 2)
    look = {"boxstyle": "round,pad=0,rounding_size=0.04", "facecolor": color, "edgecolor": "#444444", "linewidth": 0.6}
    axes.add_patch(FancyBboxPatch(corner, width, height, **(look | options)))
    backdrop = {"facecolor": color, "edgecolor": "none", "pad": 1.2} if "hatch" in options else None
    axes.text(x, y, text, ha="center", va="center", fontsize=6.5, linespacing=1.1, bbox=backdrop)


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], **options) -> None:
    """An arrow between two points, in inches."""
    axes.annotate("", xy=end, xytext=start, arrowprops=LINE | options)


@styled
def method_figure() -> Figure:
    """The denoising U-Net on the left, one of its blocks on the right."""
    figure, [[axes]] = panels(1, 1, PAGE, HEIGHT)
    figure.set_layout_engine("none")
    bare(axes).set_position((0, 0, 1, 1))
    axes.set(xlim=(0, PAGE), ylim=(0, HEIGHT))
    draw_unet(axes)
    draw_block(axes, 4.15)
    return figure


def draw_unet(axes: Axes) -> None:
    """Three levels down, the middle, two levels up; the condition enters every block."""
    axes.text(0.1, HEIGHT - 0.16, "a  the denoiser: one U-Net for all methods", fontsize=8, va="center")
    axes.text(0.27, HEIGHT - 0.36, "Simple DP3 has 1 block where this has 2", fontsize=6.5, va="center", color=GREY)
    levels, wide, high = (2.55, 1.75, 0.95), 0.62, 0.4
    names = ("T", "T / 2", "T / 4")
    for level, (y, name) in enumerate(zip(levels, names, strict=True)):
        box(axes, 0.75, y, wide, high, "2 blocks", MAMBA)
        axes.text(0.06, y, f"length\n{name}", fontsize=6.5, color=GREY, va="center")
        if level < 2:
            box(axes, 2.75, y, wide, high, "2 blocks", MAMBA)
            arrow(axes, (0.75, y - high / 2), (0.75, levels[level + 1] + high / 2))
            arrow(axes, (0.75 + wide / 2, y), (2.75 - wide / 2, y), linestyle="--", color=GREY)
            axes.text(1.75, y + 0.07, "skip", fontsize=6.5, ha="center", color=GREY)
            axes.text(0.8, (y + levels[level + 1]) / 2, "halve", fontsize=6.5, va="center")
            axes.text(2.7, (y + levels[level + 1]) / 2, "double", fontsize=6.5, va="center", ha="right")
    box(axes, 1.75, levels[2], wide, high, "2 blocks", MAMBA)
    arrow(axes, (0.75 + wide / 2, levels[2]), (1.75 - wide / 2, levels[2]))
    bent = {"connectionstyle": "angle,angleA=0,angleB=90,rad=2"}
    arrow(axes, (1.75 + wide / 2, levels[2]), (2.75, levels[1] - high / 2), **bent)
    arrow(axes, (2.75, levels[1] + high / 2), (2.75, levels[0] - high / 2))
    arrow(axes, (0.75, 3.02), (0.75, levels[0] + high / 2))
    arrow(axes, (2.75, levels[0] + high / 2), (2.75, 3.02))
    axes.text(0.75, 3.13, "noisy actions (T, A)", fontsize=6.5, ha="center", va="center")
    axes.text(2.75, 3.13, "denoised actions (T, A)", fontsize=6.5, ha="center", va="center")
    box(axes, 1.75, 0.3, 3.0, 0.3, "condition: point cloud, robot state, diffusion step", FILM)
    for x, y in ((0.75, levels[2] - high / 2), (1.75, levels[2] - high / 2)):
        arrow(axes, (x, 0.45), (x, y), color=GREY)
    axes.text(2.2, 0.6, "to every block", fontsize=6.5, color=GREY, va="center")


def draw_block(axes: Axes, left: float) -> None:
    """One block: convolution, FiLM, then what tells the methods apart, and the residual around it."""
    axes.text(left - 0.25, HEIGHT - 0.16, "b  a block of Mamba Policy (XMamba)", fontsize=8, va="center")
    middle, wide, high = left + 0.85, 1.3, 0.27
    rows = (
        (2.88, "convolution, norm, Mish", CONV, None),
        (2.46, "FiLM: scale · x + bias", FILM, None),
        (1.95, "x + Mamba(norm x)", MAMBA, None),
        (1.60, "x + MLP(norm x)", MAMBA, None),
        (1.15, "x + attention(norm x)", ATTENTION, "/////"),
        (0.80, "x + MLP(norm x)", ATTENTION, "/////"),
    )
    for y, text, color, hatch in rows:
        options = {"hatch": hatch, "edgecolor": "#8A3B5B"} if hatch else {}
        box(axes, middle, y, wide, high, text, color, **options)
    arrow(axes, (middle, 3.35), (middle, rows[0][0] + high / 2))
    for upper, lower in zip(rows, rows[1:], strict=False):
        arrow(axes, (middle, upper[0] - high / 2), (middle, lower[0] + high / 2))
    box(axes, middle, 0.42, 0.2, 0.2, "+", PLAIN)
    arrow(axes, (middle, rows[-1][0] - high / 2), (middle, 0.52))
    arrow(axes, (middle, 0.32), (middle, 0.08))
    side = left - 0.1
    axes.plot([middle, side, side], [3.22, 3.22, 0.42], color=BLACK, linewidth=0.7)
    arrow(axes, (side, 0.42), (middle - 0.1, 0.42))
    axes.text(side - 0.05, 1.8, "residual (1 × 1)", fontsize=6.5, rotation=90, ha="right", va="center")
    arrow(axes, (left + 2.05, 2.46), (middle + wide / 2, 2.46), color=GREY)
    note = left + 1.62
    axes.text(left + 2.1, 2.46, "condition", fontsize=6.5, va="center", color=GREY)
    axes.text(note, 1.78, "Mamba-1, Mamba-2,\nbidirectional or Hydra", fontsize=6.5, va="center")
    axes.text(note, 1.37, "(DP3: a second\nconvolution instead)", fontsize=6.5, va="center", color=GREY)
    axes.text(note, 0.95, "hatched: never\nexecuted in the\nreleased code", fontsize=6.5, va="center")
