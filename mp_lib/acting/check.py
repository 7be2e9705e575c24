"""Whether what a camera and an arm give looks like what a policy was trained on, number by number, with a picture."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mp_lib.model.arrays import LEAST_POINTS
from mp_lib.point_cloud import draw_clouds, without_padding
from mp_lib.system.errors import InputError
from mp_lib.system.files import write_atomically

MARGIN = 0.05  # of a range, by which a number may be beyond it
# Of the state's own units (metres, radians), by which a number may be beyond that hardly moves in the demonstrations;
# what moves by less is only centred (mp_lib.model.normalizer.SMALLEST_RANGE).
LEAST_MARGIN = 1e-2
MOST_OUTSIDE = 0.02  # of a cloud's points outside the box of all demonstrations
SIGNATURE = b"\x89PNG\r\n\x1a\n"
SHOWN_BEFORE, SHOWN_NOW = (120, 120, 120), (240, 120, 20)  # colours: of the training cloud, of this one


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: what was ``found``, what was ``expected``, and whether that fits."""

    what: str
    found: str
    expected: str
    ok: bool

    def __str__(self) -> str:
        return f"{'ok  ' if self.ok else 'LOOK'}  {self.what}: {self.found}, in the demonstrations {self.expected}"


@dataclass(frozen=True)
class Check:
    """What was found of a cloud and a state; it shows itself a line each.

    ``cloud`` (M, 3) is the cloud that was checked, without padding, and ``training`` (N, 3) one frame of the training
    data, None where none was kept.
    """

    findings: tuple[Finding, ...]
    cloud: np.ndarray = field(repr=False)
    training: np.ndarray | None = field(default=None, repr=False)

    @property
    def ok(self) -> bool:
        """Whether everything fits."""
        return all(finding.ok for finding in self.findings)

    def __repr__(self) -> str:
        return "\n".join(map(str, self.findings))

    def picture(self, size: int = 512, azimuth: float = 90, elevation: float = 35) -> np.ndarray:
        """Both clouds in one frame (size, size, 3) uint8: grey the training data's, orange this one.

        The view is that of ``mp_lib.point_cloud.view_axes``.
        """
        clouds, colors = [self.cloud], [SHOWN_NOW]
        if self.training is not None:
            clouds, colors = [self.training, *clouds], [SHOWN_BEFORE, *colors]
        return draw_clouds(clouds, colors, size, azimuth, elevation)

    def save(self, path: str | Path, **view) -> Path:
        """Write the picture as a PNG; ``view`` as of ``picture``.

        A PNG file that lies there under that ending is replaced, since a robot's script runs again and again; an
        InputError if anything else does.
        """
        path = Path(path)
        if path.exists() and not is_png(path):
            raise InputError(f"{path} exists already and is no picture in PNG; choose another path or move it away")
        write_atomically(path, png(self.picture(**view)))
        return path


def check(cloud: np.ndarray, state: np.ndarray, num_points: int, seen) -> Check:
    """A cloud (M, 3) and a state (S,) beside what the demonstrations show (``seen``, None where it is not known).

    What ``seen`` does not have (a box, ranges of centres and sizes) is not looked at.
    """
    points = without_padding(cloud[np.isfinite(cloud).all(1)]).astype(np.float64)
    found = [points_finding(len(points), num_points)]
    if seen is not None:
        found += [*cloud_findings(points, seen), *state_findings(state, seen)]
    return Check(tuple(found), points, None if seen is None else seen.cloud)


def points_finding(count: int, num_points: int) -> Finding:
    """How many points there are; too few are filled up, more are sampled down."""
    least = int(np.ceil(LEAST_POINTS * num_points))
    return Finding("points", str(count), f"{num_points} (at least {least})", count >= least)


def cloud_findings(points: np.ndarray, seen) -> Iterator[Finding]:
    """Size and centre of a cloud by axis, and the share of it outside the demonstrations' box."""
    low, high = (getattr(seen, f"cloud_{end}") for end in ("low", "high"))
    if low is None or high is None or not len(points):
        return
    margin = MARGIN * (np.asarray(high, np.float64) - low)
    measured = {"extent": np.ptp(points, axis=0), "centre": (points.min(0) + points.max(0)) / 2}
    for name, values in measured.items():
        least, most = (getattr(seen, f"{name}_{end}") for end in ("low", "high"))
        if least is not None and most is not None:
            for k, axis in enumerate("xyz"):
                yield ranged(f"{name} in {axis}", values[k], least[k], most[k], margin[k])
    outside = np.mean(((points < low - margin) | (points > high + margin)).any(1))
    allowed = f"at most {MOST_OUTSIDE:.0%} would be"
    yield Finding("points outside their box", f"{outside:.1%}", allowed, bool(outside <= MOST_OUTSIDE))


def state_findings(state: np.ndarray, seen) -> Iterator[Finding]:
    """Each number of the state against its range."""
    if seen.state_low is None or seen.state_high is None:
        return
    for k, value in enumerate(state):
        low, high = float(seen.state_low[k]), float(seen.state_high[k])
        yield ranged(f"state {k}", value, low, high, max(MARGIN * (high - low), LEAST_MARGIN))


def ranged(what: str, value: float, low: float, high: float, margin: float) -> Finding:
    """Whether a number is within a range and a margin; NaN is not."""
    return Finding(what, f"{value:.4g}", f"{low:.4g} to {high:.4g}", bool(low - margin <= value <= high + margin))


def is_png(path: Path) -> bool:
    """Whether a file is a PNG, by its ending and its first bytes."""
    if path.suffix.lower() != ".png" or not path.is_file():
        return False
    with open(path, "rb") as file:
        return file.read(len(SIGNATURE)) == SIGNATURE


def png(picture: np.ndarray) -> bytes:
    """A picture (H, W, 3) uint8 as a PNG: one unfiltered row after the other (W3C PNG, section 10)."""
    height, width, _ = picture.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), picture.reshape(height, -1)], axis=1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8 bits, true colour
    chunks = {b"IHDR": header, b"IDAT": zlib.compress(rows.tobytes()), b"IEND": b""}
    return SIGNATURE + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks.items()
    )
