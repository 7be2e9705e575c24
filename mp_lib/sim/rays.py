"""The depth camera without OpenGL: rays through the pixels, cast against one geom after the other.

Each geom is first reduced to its box: the box's window in the image, then the rays that pass through the
box in front of what is already seen. Only for those is mujoco asked. One call of mj_multiRay for all geoms
would be shorter, but it is slower and in mujoco 3.3.0 to 3.3.7 it misses many boxes.
"""

from __future__ import annotations

import numpy as np

from mp_lib.sim.depth import VISIBLE_GROUPS, focal_length

import mujoco  # isort: skip  # after mp_lib.sim.depth, which chooses what mujoco loads

CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
HIDDEN_GROUP, ONLY_GROUP_0 = 5, np.array([1, 0, 0, 0, 0, 0], np.uint8)
DEFAULT_RGBA = np.array([0.5, 0.5, 0.5, 1], np.float32)
PLANE, BOX, MESH = mujoco.mjtGeom.mjGEOM_PLANE, mujoco.mjtGeom.mjGEOM_BOX, mujoco.mjtGeom.mjGEOM_MESH
SITE_HALF_SIZES = {  # the half edges of the box around a site, from its size (3,)
    mujoco.mjtGeom.mjGEOM_SPHERE: lambda size: size[[0, 0, 0]],
    mujoco.mjtGeom.mjGEOM_CAPSULE: lambda size: size[[0, 0, 1]] + [0, 0, size[0]],
    mujoco.mjtGeom.mjGEOM_CYLINDER: lambda size: size[[0, 0, 1]],
    mujoco.mjtGeom.mjGEOM_ELLIPSOID: lambda size: size,
    mujoco.mjtGeom.mjGEOM_BOX: lambda size: size,
}


class RayDepth:
    """Depth through rays; the twin of ``mp_lib.sim.depth.OpenGLDepth``, without clipping planes."""

    def __init__(self, model: mujoco.MjModel, camera: str, size: int):
        self.model, self.camera, self.size = model, camera, size
        self._focal = focal_length(model, camera, size)
        rows, columns = np.mgrid[:size, :size] + 0.5 - size / 2  # through the centres of the pixels, as OpenGL does
        # Length 1 along the axis, so that the distance in units of the ray is the depth. mujoco's cameras have y up.
        self._rays = np.stack([columns / self._focal, -rows / self._focal, -np.ones((size, size))], axis=-1)

    def depth(self, data: mujoco.MjData) -> np.ndarray:
        """Return the depth image (size, size) in metres, ``inf`` where there is nothing."""
        model, eye = self.model, data.cam(self.camera)
        self._eye, self._axes = eye.xpos, eye.xmat.reshape(3, 3)
        self._world_rays = self._rays @ self._axes.T
        image = np.full((self.size, self.size), np.inf)
        geoms = np.flatnonzero(_visible(model, model.geom_group, model.geom_matid, model.geom_rgba))
        # The cheap ones first, since what they hide need not be cast: planes and boxes before meshes.
        for geom in sorted(geoms, key=lambda g: (model.geom_type[g] == MESH, self._axial_distance(data.geom_xpos[g]))):
            self._look_at_geom(data, geom, image)
        for site in np.flatnonzero(_visible(model, model.site_group, model.site_matid, model.site_rgba)):
            self._look_at_site(data, site, image)
        return image

    def close(self) -> None:
        """Nothing to free."""

    def _look_at_geom(self, data, geom, image) -> None:
        kind, position, axes = self.model.geom_type[geom], data.geom_xpos[geom], data.geom_xmat[geom].reshape(3, 3)
        if kind == PLANE:
            self._look_at_plane(position, axes[:, 2], self.model.geom_size[geom], axes, image)
            return
        window, enters, maybe = self._box(position, axes, self.model.geom_aabb[geom], image)
        if not maybe.any():
            return
        if kind == BOX:
            image[window][maybe] = enters[maybe]
            return
        rays = self._world_rays[window][maybe]
        hits, geoms = np.empty(len(rays)), np.empty(len(rays), np.int32)
        groups = self.model.geom_group.copy()
        self.model.geom_group[:] = HIDDEN_GROUP
        self.model.geom_group[geom] = 0
        mujoco.mj_multiRay(
            self.model, data, self._eye, rays.ravel(), ONLY_GROUP_0, 1, -1, geoms, hits, len(rays), mujoco.mjMAXVAL
        )
        self.model.geom_group[:] = groups
        image[window][maybe] = np.minimum(image[window][maybe], np.where(hits < 0, np.inf, hits))

    def _look_at_site(self, data, site, image) -> None:
        # mj_multiRay does not see sites.
        kind, size = int(self.model.site_type[site]), self.model.site_size[site]
        position, axes = data.site_xpos[site], data.site_xmat[site]
        bounds = np.concatenate([np.zeros(3), SITE_HALF_SIZES[mujoco.mjtGeom(kind)](size)])
        window, _, maybe = self._box(position, axes.reshape(3, 3), bounds, image)
        if maybe.any():
            rays = self._world_rays[window][maybe]
            hits = np.array([mujoco.mju_rayGeom(position, axes, size, self._eye, ray, kind) for ray in rays])
            image[window][maybe] = np.minimum(image[window][maybe], np.where(hits < 0, np.inf, hits))

    def _look_at_plane(self, position, normal, size, axes, image) -> None:
        with np.errstate(divide="ignore"):
            hits = ((position - self._eye) @ normal) / (self._world_rays @ normal)
        hits[hits <= 0] = np.inf
        with np.errstate(invalid="ignore"):
            places = (self._eye + hits[..., None] * self._world_rays - position) @ axes[:, :2]
            inside = np.all((size[:2] == 0) | (np.abs(places) <= size[:2]), axis=-1)  # size 0 is infinite
        np.minimum(image, np.where(inside, hits, np.inf), out=image)

    def _box(self, position, axes, bounds, image):
        """Return the window of a box in the image, where rays enter it, and which do so before what is seen.

        ``bounds`` (6,) is the centre and the half edges in the frame of ``position`` (3,) and ``axes`` (3, 3).
        """
        centre, half = bounds[:3], bounds[3:]
        window = self._window(position + (centre + CORNERS * half) @ axes.T)
        origin = (self._eye - position) @ axes - centre
        with np.errstate(divide="ignore", invalid="ignore"):
            inverse = 1 / (self._world_rays[window] @ axes)
            middle, reach = -origin * inverse, half * np.abs(inverse)
        enters = np.maximum((middle - reach).max(-1), 0)
        leaves = (middle + reach).min(-1)
        return window, enters, (enters <= leaves) & (enters < image[window])

    def _window(self, corners) -> tuple[slice, slice]:
        """Return the rows and columns of the image that ``corners`` (8, 3) span; all if one is behind the camera."""
        x, y, z = ((corners - self._eye) @ self._axes).T
        if z.max() > -1e-3:  # mujoco's cameras look along -z
            return slice(0, self.size), slice(0, self.size)
        edges = (self._focal * y / z, -self._focal * x / z)
        low = [int(np.clip(np.floor(edge.min() + self.size / 2), 0, self.size)) for edge in edges]
        high = [int(np.clip(np.ceil(edge.max() + self.size / 2), 0, self.size)) for edge in edges]
        return slice(low[0], high[0]), slice(low[1], high[1])

    def _axial_distance(self, position) -> float:
        return -(position - self._eye) @ self._axes[:, 2]


def _visible(model, groups, materials, colors) -> np.ndarray:
    """Return (n,) bool: what OpenGL shows. A colour counts unless it is the default and there is a material."""
    alpha = colors[:, 3].copy()
    if model.nmat:
        from_material = (materials >= 0) & np.all(colors == DEFAULT_RGBA, axis=1)
        alpha[from_material] = model.mat_rgba[materials[from_material], 3]
    return VISIBLE_GROUPS[groups].astype(bool) & (alpha > 0)
