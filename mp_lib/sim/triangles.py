"""The nearest triangles of a mesh at each pixel's centre; what OpenGL does with a mesh, in numpy."""

from __future__ import annotations

import numpy as np


def draw_triangles(vertices: np.ndarray, faces: np.ndarray, focal: float, image: np.ndarray) -> None:
    """Lower ``image`` (H, W) to the depth of a mesh wherever the mesh is nearer than what the image holds.

    ``vertices`` (3, V) are x right, y down and z forward from a pinhole camera with ``focal`` pixels; all z
    must be positive. ``faces`` (3, F) index them, counterclockwise seen from outside; faces seen from inside
    are left out, as in OpenGL.
    """
    height, width = image.shape
    inverse = 1 / vertices[2]
    # Pixel units in which the centre of row 0 or column 0 has the coordinate 0.
    u, v = (focal * vertices[k] * inverse + (extent - 1) / 2 for k, extent in ((0, width), (1, height)))
    first_column, last_column = _pixels_between(u, faces, width)
    first_row, last_row = _pixels_between(v, faces, height)
    # Most triangles of a fine mesh lie between the centres of the pixels.
    kept = np.flatnonzero((first_column <= last_column) & (first_row <= last_row))
    kept = kept[_doubled_area(u, v, faces[:, kept]) < 0]
    if len(kept) == 0:
        return
    boxes = (first_row[kept], last_row[kept], first_column[kept], last_column[kept])
    triangle, row, column = _pixels_of_boxes(*boxes)
    hit, depth = _depth_at(u, v, inverse, faces[:, kept], triangle, row, column)
    np.minimum.at(image, (row[hit], column[hit]), depth[hit])


def _pixels_between(coordinate, faces, extent) -> tuple[np.ndarray, np.ndarray]:
    """Return the first and the last pixel (F,) whose centre a triangle's bounding interval holds."""
    a, b, c = coordinate[faces[0]], coordinate[faces[1]], coordinate[faces[2]]
    first = np.ceil(np.minimum(np.minimum(a, b), c)).astype(np.int32)
    last = np.floor(np.maximum(np.maximum(a, b), c)).astype(np.int32)
    return np.maximum(first, 0), np.minimum(last, extent - 1)


def _doubled_area(u, v, faces) -> np.ndarray:
    a, b, c = faces
    return (u[b] - u[a]) * (v[c] - v[a]) - (u[c] - u[a]) * (v[b] - v[a])


def _pixels_of_boxes(first_row, last_row, first_column, last_column) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return for every pixel of every triangle's bounding box: the triangle, the row and the column."""
    width = last_column - first_column + 1
    count = width * (last_row - first_row + 1)
    triangle = np.repeat(np.arange(len(count)), count)
    place = np.arange(len(triangle)) - np.repeat(np.cumsum(count) - count, count)
    return triangle, first_row[triangle] + place // width[triangle], first_column[triangle] + place % width[triangle]


def _depth_at(u, v, inverse, faces, triangle, row, column) -> tuple[np.ndarray, np.ndarray]:
    """Return for each pixel whether its triangle covers the centre, and the depth there if it does."""
    a, b, c = faces[:, triangle]
    area = _doubled_area(u, v, faces)[triangle]
    right, down = column - u[a], row - v[a]
    of_b = (right * (v[c] - v[a]) - (u[c] - u[a]) * down) / area
    of_c = ((u[b] - u[a]) * down - right * (v[b] - v[a])) / area
    hit = (of_b >= 0) & (of_c >= 0) & (of_b + of_c <= 1)
    # 1/z, not z, is linear in the image.
    inverse_depth = inverse[a] + of_b * (inverse[b] - inverse[a]) + of_c * (inverse[c] - inverse[a])
    return hit, 1 / np.where(hit, inverse_depth, 1)
