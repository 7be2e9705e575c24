"""The numbers of predicted chunks over their steps, as SVG."""

from __future__ import annotations

import html
from collections.abc import Sequence

import numpy as np
import torch

from mp_lib.insight.scene import Fan, Seen
from mp_lib.insight.still_views import colors_of
from mp_lib.model.backends import FrozenPolicy

WIDTH, HEIGHT = 300, 60  # pixels of a panel
TOP, LEFT = 14, 34  # pixels of it for its name, and for its numbers


def chart(seen: Seen, names: Sequence[str], limits: np.ndarray, shown: Sequence[int]) -> str:
    """A panel a number of the action: the chunks of all fans, dashed what was done, on grey what is executed.

    ``names`` (A) and ``limits`` (A, 2) are of all numbers, ``shown`` says which have a panel. Beyond its limits a panel
    shows nothing.
    """
    steps = max(fan.chunks.shape[1] for fan in seen.fans)
    panels = [panel(seen, place, number, names[number], limits[number], steps) for place, number in enumerate(shown)]
    size = f'width="{WIDTH}" height="{(HEIGHT + TOP) * len(panels)}"'
    return f'<svg {size} role="img" aria-label="predicted actions" font-size="10">{"".join(panels)}</svg>'


def panel(seen: Seen, place: int, number: int, name: str, limits: np.ndarray, steps: int) -> str:
    """One number of the action, ``place`` panels from above."""
    low, high = limits
    across = (WIDTH - LEFT - 4) / max(steps - 1, 1)

    def lines(fan: Fan, color: str, look: str) -> str:
        heights = np.clip((high - fan.chunks[..., number]) / (high - low) * HEIGHT, -HEIGHT, 2 * HEIGHT)
        drawn = (" ".join(f"{across * step:.0f},{y:.1f}" for step, y in enumerate(row)) for row in heights)
        return "".join(f'<polyline points="{each}" fill="none" stroke="{color}" {look}/>' for each in drawn)

    *colors, last = colors_of(seen)
    fans = "".join(
        lines(fan, color, 'stroke-opacity="0.5"') for fan, color in zip(seen.fans, colors, strict=True)
    ) + lines(seen.done, last, 'stroke-dasharray="4 3" stroke-width="1.5"')
    executed = across * (min(seen.fans[0].executed, steps) - 0.5)
    return (
        f'<g transform="translate({LEFT} {place * (HEIGHT + TOP) + TOP})">'
        f'<rect width="{executed:.0f}" height="{HEIGHT}" fill="#e8e8e8"/>'
        f'<text y="-3" fill="#222222">{html.escape(name)}</text>'
        f'<text x="-3" y="8" text-anchor="end" fill="#777777">{high:.2g}</text>'
        f'<text x="-3" y="{HEIGHT}" text-anchor="end" fill="#777777">{low:.2g}</text>'
        f'<svg width="{WIDTH - LEFT}" height="{HEIGHT}" overflow="hidden">{fans}</svg></g>'
    )


def limits_of(policy: FrozenPolicy) -> np.ndarray:
    """What each number of an action lay between in the demonstrations, and a tenth more: (A, 2); of a constant, 1."""
    ends = torch.tensor([[-1.1], [1.1]], device=policy.device).expand(2, policy.config.action_dim)
    low, high = policy.policy.normalizer.unnormalize("action", ends).cpu().numpy()
    return np.stack([low - (low == high), high + (low == high)], axis=1)
