"""The cloud and the fans as a widget that one can turn; canvas.js beside this file draws them in the browser."""

from __future__ import annotations

from pathlib import Path

import anywidget
import numpy as np
import traitlets

from mp_lib.insight.browsing import Browsed
from mp_lib.insight.scene import Fan, Seen
from mp_lib.insight.still_views import colors_of

COLORINGS = ("height", "features won", "one colour")  # of points, in the order of canvas.js


class Canvas(anywidget.AnyWidget):
    """A canvas; what it draws is ``scene``, as ``scene_of`` makes it, from where ``home`` says, as ``home_of`` does.

    ``size`` is a point's radius in pixels, ``coloring`` a place in ``COLORINGS``. ``critical`` says whether points that
    win a feature are ringed, ``near`` whether one looks at the hand from nearby, ``busy`` what is being done.
    """

    _esm = Path(__file__).with_name("canvas.js")
    scene = traitlets.Dict().tag(sync=True)
    home = traitlets.Dict().tag(sync=True)
    size = traitlets.Float(2.5).tag(sync=True)
    coloring = traitlets.Int(0).tag(sync=True)
    critical = traitlets.Bool(True).tag(sync=True)
    near = traitlets.Bool(False).tag(sync=True)
    busy = traitlets.Unicode("").tag(sync=True)


def home_of(browsed: Browsed) -> dict:
    """From where an episode is looked at first: as its camera does; and the heights (low, high) that colours span."""
    clouds = np.concatenate([browsed.to_world(call.history[-1].point_cloud) for call in browsed.calls])
    middle = browsed.middle()
    return {
        "angles": browsed.angles(),
        "middle": middle.tolist(),
        "radius": float(np.quantile(np.linalg.norm(clouds - middle, axis=1), 0.99)),
        "low": float(np.quantile(clouds[:, 2], 0.01)),
        "high": float(np.quantile(clouds[:, 2], 0.99)),
    }


def scene_of(seen: Seen, browsed: Browsed, number: int, whole: bool) -> dict:
    """What the canvas draws, as bytes of float32; ``number`` tells scenes apart, ``whole`` whether all is there."""
    hand = browsed.calls[seen.look.call].hand
    fans = zip((*seen.fans, seen.done), colors_of(seen), strict=True)
    return {
        "points": as_bytes(seen.points),
        "hidden": as_bytes(seen.hidden),
        "won": as_bytes(seen.won),
        "hand": None if hand is None else hand.tolist(),
        "fans": [fan_of(fan, color, dashed=fan is seen.done) for fan, color in fans],
        "told": told(seen),
        "number": number,
        "whole": whole,
    }


def fan_of(fan: Fan, color: str, dashed: bool) -> dict:
    """A fan as the canvas draws it."""
    count, length, _ = fan.paths.shape
    label = fan.name if dashed else f"{len(fan.chunks)} × {fan.name}{apart(fan)}"
    kind = {"color": color, "dashed": dashed, "label": label}
    return (
        kind
        | {"paths": as_bytes(fan.paths), "count": count if length else 0, "length": length}
        | {"executed": fan.executed}
    )


def apart(fan: Fan) -> str:
    """How far its paths lie from each other, in words; nothing for a single one."""
    spread = 1000 * fan.spread()
    return f", {spread:.1f} mm apart" if np.isfinite(spread) and len(fan.paths) > 1 else ""


def told(seen: Seen) -> str:
    """What is drawn, for whoever cannot see it."""
    fans = "; ".join(f"{len(fan.chunks)} paths of {fan.name}{apart(fan)}" for fan in seen.fans)
    return f"{len(seen.points)} points, of which {np.count_nonzero(seen.won)} win a feature; {fans}"


def as_bytes(values: np.ndarray) -> bytes:
    """Numbers as the canvas reads them."""
    return np.ascontiguousarray(values, "<f4").tobytes()
