"""From a depth image to the point cloud that a policy sees: unproject, turn, crop, sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mp_lib.point_cloud import sample_farthest


@dataclass(frozen=True)
class Crop:
    """The box of points that are kept, in the frame reached by ``point @ rotation.T + offset``.

    A point is kept if it lies strictly between ``low`` and ``high`` (3,) in metres; ``rotation`` is (3, 3).
    """

    low: np.ndarray
    high: np.ndarray
    rotation: np.ndarray
    offset: np.ndarray


class CloudMaker:
    """Turns square depth images of one fixed pinhole camera into clouds of ``num_points`` points.

    The camera's frame is x right, y down, z forward. A pixel's point is taken at its upper left corner,
    not at its centre; so does DP3 (3D-Diffusion-Policy, gym_util/mujoco_point_cloud.py). ``place`` 0.5 is the centre.
    Depth is that of the centre either way, so such a point lies half a pixel beside what was seen; ``in_camera`` undoes
    that, too.
    """

    def __init__(self, size: int, focal: float, crop: Crop, num_points: int, place: float = 0.0):
        if num_points < 1:
            raise ValueError(f"num_points is {num_points}; a cloud needs at least one point")
        self.crop, self.num_points = crop, num_points
        rows, columns = np.mgrid[:size, :size] + place - size / 2
        rays = np.stack([columns / focal, rows / focal, np.ones((size, size))], axis=-1)
        self._rays = rays @ crop.rotation.T
        self._aside = (0.5 - place) / focal  # from a pixel's point to its centre along both axes, by metre of depth

    def points(self, depth: np.ndarray) -> np.ndarray:
        """Return all points (M, 3) float32 that ``depth`` (size, size) in metres shows, in the crop's frame."""
        seen = np.isfinite(depth)
        return (self._rays[seen] * depth[seen, None] + self.crop.offset).astype(np.float32)

    def cropped(self, depth: np.ndarray) -> np.ndarray:
        """Return those points (M, 3) of ``depth`` that lie inside the crop."""
        points = self.points(depth)
        return points[np.all((points > self.crop.low) & (points < self.crop.high), axis=1)]

    def cloud(self, depth: np.ndarray) -> np.ndarray:
        """Return the cloud (num_points, 3) float32 of ``depth`` (size, size) in metres."""
        return sample_farthest(self.cropped(depth), self.num_points)

    def in_camera(self, points: np.ndarray) -> np.ndarray:
        """Return where in the camera's frame the depth image showed what clouds have at ``points`` (..., 3) float64.

        The exact inverse but for rounding: turned back, and moved by half a pixel where points are taken at corners.
        """
        x, y, z = np.moveaxis((points - self.crop.offset) @ self.crop.rotation, -1, 0)
        return np.stack([x + self._aside * z, y + self._aside * z, z], axis=-1)
