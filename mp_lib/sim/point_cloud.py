"""From a depth image to the point cloud that a policy sees: unproject, turn, crop, sample."""

from __future__ import annotations

from dataclasses import dataclass

import fpsample
import numpy as np


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
    """

    def __init__(self, size: int, focal: float, crop: Crop, num_points: int, place: float = 0.0):
        if num_points < 1:
            raise ValueError(f"num_points is {num_points}; a cloud needs at least one point")
        self.crop, self.num_points = crop, num_points
        rows, columns = np.mgrid[:size, :size] + place - size / 2
        rays = np.stack([columns / focal, rows / focal, np.ones((size, size))], axis=-1)
        self._rays = rays @ crop.rotation.T

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


def sample_farthest(points: np.ndarray, num_points: int) -> np.ndarray:
    """Return ``num_points`` of ``points`` (M, 3) that cover them evenly; all of them and zeros if M is too small.

    The first point is always taken first, so that equal clouds give equal samples.
    """
    if len(points) > num_points:
        return points[fpsample.bucket_fps_kdline_sampling(points, num_points, h=5, start_idx=0)]
    return np.concatenate([points, np.zeros((num_points - len(points), 3), points.dtype)])


def without_padding(points: np.ndarray) -> np.ndarray:
    """Return those of ``points`` (M, 3) that are not the zeros which fill a cloud up."""
    return points[np.any(points != 0, axis=1)]


def draw_cloud(points: np.ndarray, size: int = 256, azimuth: float = 90, elevation: float = 35) -> np.ndarray:
    """Draw ``points`` (N, 3), z up, as squares on white, near ones orange and far ones blue: (size, size, 3) uint8.

    ``azimuth`` and ``elevation`` in degrees say from where, counted from the x axis and from the ground. Zero
    padding is left out.
    """
    picture = np.full((size, size, 3), 255, np.uint8)
    points = without_padding(points)
    if len(points) == 0:
        return picture
    turn, rise = np.deg2rad(azimuth), np.deg2rad(elevation)
    right = np.array([-np.sin(turn), np.cos(turn), 0])
    toward = np.array([np.cos(turn) * np.cos(rise), np.sin(turn) * np.cos(rise), np.sin(rise)])
    seen = points @ np.stack([right, np.cross(right, toward), toward], axis=1)  # right, down, toward the eye
    low, span = seen.min(0), np.maximum(np.ptp(seen, axis=0), 1e-9)
    side = max(1, size // 64)
    scale = 0.9 * (size - side) / span[:2].max()
    corners = ((seen[:, :2] - low[:2] - span[:2] / 2) * scale + (size - side) / 2).astype(int)
    nearness = (seen[:, 2:] - low[2]) / span[2]
    colors = (nearness * [240, 120, 20] + (1 - nearness) * [30, 80, 200]).astype(np.uint8)
    for k in np.argsort(nearness[:, 0]):
        column, row = corners[k]
        picture[row : row + side, column : column + side] = colors[k]
    return picture
