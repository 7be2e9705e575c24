"""Films of rollouts as mp4."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np

from mp_lib.system.extras import require
from mp_lib.system.files import writing


def write_film(path: Path, frames: list[np.ndarray], fps: int = 25) -> Path:
    """Write frames (H, W, 3) uint8 as an H.264 mp4, beside ``path`` and then renamed; H and W even.

    Raises an OSError if it cannot be written whole; a film that was there before is kept.
    """
    require("sim", "imageio_ffmpeg")
    import imageio_ffmpeg

    height, width = frames[0].shape[:2]
    draft = path.with_name(f".{path.name}.partial.mp4")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        options = {"codec": "libx264", "quality": 7, "macro_block_size": 2, "ffmpeg_log_level": "error"}
        writer = imageio_ffmpeg.write_frames(str(draft), (width, height), fps=fps, **options)
        try:
            with contextlib.closing(writer):
                writer.send(None)
                for frame in frames:
                    writer.send(np.ascontiguousarray(frame))
            if count_frames(draft) != len(frames):
                raise OSError("ffmpeg did not write it whole, as on a full disk")
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    return path


def count_frames(path: Path) -> int:
    """The frames of a film; 0 if it cannot be read. The writer itself says nothing where a disk is full."""
    import imageio_ffmpeg

    try:
        return imageio_ffmpeg.count_frames_and_secs(str(path))[0]
    except RuntimeError:
        return 0
