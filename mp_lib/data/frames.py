"""Frames of demonstrations: checked as they are read, and digested by episode."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

import numpy as np

from mp_lib.data.layout import Layout, is_ours
from mp_lib.system.errors import InputError


def checked_slabs(
    layout: Layout, key: str, ends: np.ndarray, into: np.ndarray | None = None
) -> Iterator[tuple[int, np.ndarray]]:
    """``Layout.slabs`` of all episodes, checked: numbers are finite, and a cloud of others has a point.

    Points that are not finite become padding, which a note counts; an InputError names the frame of anything else.
    """
    left_out, touched = 0, 0
    for start, frames in layout.slabs(key, int(ends[-1]) if len(ends) else 0, into):
        finite = np.isfinite(frames)
        if key == "point_cloud" and not finite.all():
            points = ~finite.all(-1)
            frames[points], layout.spoiled = 0, True
            left_out, touched = left_out + int(points.sum()), touched + int(points.any(1).sum())
        elif not finite.all():
            frame = start + int(np.argwhere(~finite)[0, 0])
            raise InputError(f"{layout.path}: {key} of frame {frame} is not finite; leave that episode out")
        if key == "point_cloud" and not is_ours(layout.attributes):
            blank = np.flatnonzero(~frames.any((1, 2)))
            if len(blank):
                raise InputError(
                    f"{layout.path}: the cloud of frame {start + blank[0]} has no finite point; if nothing was seen, "
                    "leave that episode out; if a chunk is missing or the store was cut short, copy it again"
                )
        yield start, frames
    if left_out:
        layout.note(f"left out {left_out} points that are not finite, of {touched} clouds")


def checksums_of(slabs: Iterable[tuple[str, Iterable]], shapes: dict, ends: np.ndarray) -> list[str]:
    """Return one blake2b of each episode's bytes, keys in the order of ``KEYS``."""
    hashes = [hashlib.blake2b(digest_size=16) for _ in ends]
    starts = ends - np.diff(ends, prepend=0)
    for key, parts in slabs:
        for digest, start, end in zip(hashes, starts, ends, strict=True):
            digest.update(f"{key}{(int(end - start), *shapes[key])}".encode())
        for first, frames in parts:
            last = first + len(frames)
            for episode in range(np.searchsorted(ends, first, "right"), np.searchsorted(starts, last, "left")):
                hashes[episode].update(frames[max(starts[episode] - first, 0) : ends[episode] - first])
    return [digest.hexdigest() for digest in hashes]
