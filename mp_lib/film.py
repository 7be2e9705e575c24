"""Films of rollouts as mp4."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np


def write_film(path: Path, frames: list[np.ndarray], fps: int = 25) -> Path:
    """Write frames (H, W, 3) uint8 as an H.264 mp4, beside ``path`` and then renamed; H and W even."""
    import imageio_ffmpeg

    height, width = frames[0].shape[:2]
    draft = path.with_name(f".{path.name}.partial.mp4")
    writer = imageio_ffmpeg.write_frames(
        str(draft), (width, height), fps=fps, codec="libx264", quality=7, macro_block_size=2, ffmpeg_log_level="error"
    )
    try:
        with contextlib.closing(writer):
            writer.send(None)
            for frame in frames:
                writer.send(np.ascontiguousarray(frame))
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return path
