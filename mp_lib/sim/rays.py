"""The depth camera without OpenGL: for every pixel's ray the first hit, worked out geom by geom.

Each geom is first reduced to its box: the box's window in the image, then the rays that pass through the
box in front of what is already seen. For planes and boxes that is the answer; meshes are drawn as triangles,
which is faster than casting; the round kinds are left to mujoco. One call of mj_multiRay for all geoms would
be shorter, but it takes two to three times as long, sees no sites, and in mujoco 3.3.0 to 3.3.7 it misses
parts of boxes, capsules and spheres.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mp_lib.sim.depth import VISIBLE_GROUPS, focal_length
from mp_lib.sim.triangles import draw_triangles

import mujoco  # isort: skip  # after mp_lib.sim.depth, which chooses what mujoco loads

CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
DEFAULT_RGBA = np.array([0.5, 0.5, 0.5, 1], np.float32)
NEAREST = 1e-3  # metres; what reaches nearer to the camera is not projected
SITE_HALF_EDGES = {  # of the box around a site, from its size (3,)
    mujoco.mjtGeom.mjGEOM_SPHERE: lambda size: size[[0, 0, 0]],
    mujoco.mjtGeom.mjGEOM_CAPSULE: lambda size: size[[0, 0, 1]] + [0, 0, size[0]],
    mujoco.mjtGeom.mjGEOM_CYLINDER: lambda size: size[[0, 0, 1]],
    mujoco.mjtGeom.mjGEOM_ELLIPSOID: lambda size: size,
    mujoco.mjtGeom.mjGEOM_BOX: lambda size: size,
}


class Box(NamedTuple):
    """A box by its ``centre`` (3,) and ``half`` (3,) edges in the frame of ``position`` (3,) and ``axes`` (3, 3)."""

    position: np.ndarray
    axes: np.ndarray
    centre: np.ndarray
    half: np.ndarray


class RayDepth:
    """Depth through rays; the twin of ``mp_lib.sim.depth.OpenGLDepth``, without clipping planes.

    What is fixed to the world is looked at once and kept until it is moved.
    """

    def __init__(self, model: mujoco.MjModel, camera: str, size: int):
        self.camera, self.size = camera, size
        self._focal = focal_length(model, camera, size)
        # Through the centres of the pixels, as OpenGL does; length 1 along the axis, so that hits are depths.
        rows, columns = (np.mgrid[:size, :size] - (size - 1) / 2) / self._focal
        self._pinhole_rays = np.stack([columns, rows, np.ones((size, size))])
        self._look = {
            mujoco.mjtGeom.mjGEOM_PLANE: self._look_at_plane,
            mujoco.mjtGeom.mjGEOM_BOX: self._look_at_box,
            mujoco.mjtGeom.mjGEOM_MESH: self._look_at_mesh,
        }
        self.look_at(model)

    def look_at(self, model: mujoco.MjModel) -> None:
        """Go on with another model, which has the same camera."""
        self.model = model
        self._faces = [
            np.ascontiguousarray(model.mesh_face[start : start + count].T, np.intp)
            for start, count in zip(model.mesh_faceadr, model.mesh_facenum, strict=True)
        ]
        self._bounds = model.geom_aabb.reshape(-1, 2, 3)  # of each geom the centre and half edges of its box
        self._background = self._background_places = None

    def depth(self, data: mujoco.MjData) -> np.ndarray:
        """Return the depth image (size, size) in metres, ``inf`` where there is nothing."""
        model, eye = self.model, data.cam(self.camera)
        self._eye, self._axes = eye.xpos.copy(), eye.xmat.reshape(3, 3) * [1, -1, -1]  # mujoco's cameras have y up
        self._rays = np.tensordot(self._axes, self._pinhole_rays, 1)
        geoms = _visible(model, model.geom_group, model.geom_matid, model.geom_rgba)
        fixed = model.body_weldid[model.geom_bodyid] == 0
        image = self._look_at_background(data, np.flatnonzero(geoms & fixed))
        self._look_at_geoms(data, np.flatnonzero(geoms & ~fixed), image)
        for site in np.flatnonzero(_visible(model, model.site_group, model.site_matid, model.site_rgba)):
            self._look_at_site(data, site, image)
        return image

    def close(self) -> None:
        """Nothing to free."""

    def _look_at_background(self, data, geoms) -> np.ndarray:
        places = np.concatenate(
            [self._eye, self._axes.ravel(), geoms, data.geom_xpos[geoms].ravel(), data.geom_xmat[geoms].ravel()]
        )
        if not np.array_equal(places, self._background_places):
            self._background = np.full((self.size, self.size), np.inf)
            self._look_at_geoms(data, geoms, self._background)
            self._background_places = places
        return self._background.copy()

    def _look_at_geoms(self, data, geoms, image) -> None:
        # The nearest first, since what they hide need not be looked at.
        nearness = (data.geom_xpos[geoms] - self._eye) @ self._axes[:, 2]
        for geom in geoms[np.argsort(nearness, kind="stable")]:
            box = Box(data.geom_xpos[geom], data.geom_xmat[geom].reshape(3, 3), *self._bounds[geom])
            self._look.get(self.model.geom_type[geom], self._look_at_round)(data, geom, box, image)

    def _look_at_plane(self, data, geom, box, image) -> None:
        with np.errstate(divide="ignore", invalid="ignore"):
            hits = ((box.position - self._eye) @ box.axes[:, 2]) / np.tensordot(box.axes[:, 2], self._rays, 1)
            hits[~(hits > 0)] = np.inf
            places = np.tensordot(box.axes.T, hits * self._rays + (self._eye - box.position)[:, None, None], 1)
        size = self.model.geom_size[geom, :2, None, None]
        inside = np.all((size == 0) | (np.abs(places[:2]) <= size), axis=0)  # size 0 is infinite
        np.minimum(image, np.where(inside, hits, np.inf), out=image)

    def _look_at_box(self, data, geom, box, image) -> None:
        window = self._window(box)
        enters, maybe = self._through(box, window, image)
        image[window][maybe] = enters[maybe]

    def _look_at_mesh(self, data, geom, box, image) -> None:
        window = self._window(box)
        if image[window].size == 0:
            return
        mesh = self.model.geom_dataid[geom]
        start, count = self.model.mesh_vertadr[mesh], self.model.mesh_vertnum[mesh]
        vertices = (self._axes.T @ box.axes) @ self.model.mesh_vert[start : start + count].T
        vertices += (self._axes.T @ (box.position - self._eye))[:, None]
        if vertices[2].min() < NEAREST:
            self._cast(box, image, lambda ray: mujoco.mj_rayMesh(self.model, data, geom, self._eye, ray))
        else:
            draw_triangles(vertices, self._faces[mesh], self._focal, image)

    def _look_at_round(self, data, geom, box, image) -> None:
        axes, size, kind = box.axes.ravel(), self.model.geom_size[geom], self.model.geom_type[geom]
        self._cast(box, image, lambda ray: mujoco.mju_rayGeom(box.position, axes, size, self._eye, ray, kind))

    def _look_at_site(self, data, site, image) -> None:
        size, kind = self.model.site_size[site], self.model.site_type[site]
        half = SITE_HALF_EDGES[mujoco.mjtGeom(int(kind))](size)
        axes = data.site_xmat[site]
        box = Box(data.site_xpos[site], axes.reshape(3, 3), np.zeros(3), half)
        self._cast(box, image, lambda ray: mujoco.mju_rayGeom(box.position, axes, size, self._eye, ray, kind))

    def _cast(self, box, image, hit) -> None:
        """Lower ``image`` to ``hit(ray)``, which is below 0 for a miss, where rays pass through ``box``."""
        window = self._window(box)
        if image[window].size == 0:
            return
        _, maybe = self._through(box, window, image)
        hits = np.array([hit(ray) for ray in self._rays[:, *window][:, maybe].T])
        image[window][maybe] = np.minimum(image[window][maybe], np.where(hits < 0, np.inf, hits))

    def _through(self, box, window, image) -> tuple[np.ndarray, np.ndarray]:
        """Return the depth at which the rays of ``window`` enter ``box``, and which do so before what is seen."""
        origin = (self._eye - box.position) @ box.axes - box.centre
        with np.errstate(divide="ignore", invalid="ignore"):
            inverse = 1 / np.tensordot(box.axes.T, self._rays[:, *window], 1)
            middle, reach = -origin[:, None, None] * inverse, box.half[:, None, None] * np.abs(inverse)
        enters = np.maximum((middle - reach).max(0), 0)
        leaves = (middle + reach).min(0)
        return enters, (enters <= leaves) & (enters < image[window])

    def _window(self, box) -> tuple[slice, slice]:
        """Return the rows and columns of the image that ``box`` spans; all if a corner is behind the camera."""
        corners = box.position + (box.centre + CORNERS * box.half) @ box.axes.T
        places = (corners - self._eye) @ self._axes
        if places[:, 2].min() < NEAREST:
            return slice(0, self.size), slice(0, self.size)
        edges = places[:, :2] / places[:, 2:] * self._focal + self.size / 2
        left, top = np.floor(edges.min(0)).astype(int)
        right, bottom = np.ceil(edges.max(0)).astype(int)
        return slice(max(top, 0), max(bottom, 0)), slice(max(left, 0), max(right, 0))


def _visible(model, groups, materials, colors) -> np.ndarray:
    """Return (n,) bool: what OpenGL shows. A colour counts unless it is the default and there is a material."""
    alpha = colors[:, 3].copy()
    if model.nmat:
        from_material = (materials >= 0) & np.all(colors == DEFAULT_RGBA, axis=1)
        alpha[from_material] = model.mat_rgba[materials[from_material], 3]
    return VISIBLE_GROUPS[groups].astype(bool) & (alpha > 0)
