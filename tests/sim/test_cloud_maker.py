"""Depth images and the clouds made of them, without any task: small scenes of our own."""

import os
import subprocess
import sys

import numpy as np
import pytest

from mp_lib.sim import backend
from mp_lib.sim.cloud_maker import CloudMaker, Crop
from mp_lib.sim.depth import BACKEND, OpenGLDepth
from mp_lib.sim.rays import RayDepth

import mujoco  # isort: skip

needs_opengl = pytest.mark.skipif(BACKEND != "opengl", reason="no OpenGL context can be created on this machine")

SCENE = """
<mujoco>
  <visual><map znear="0.01" zfar="30"/></visual>
  <asset>
    <mesh name="wedge" vertex="0 0 0  .4 0 0  0 .4 0  0 0 .5"/>
    <material name="clear" rgba="1 1 1 0"/>
  </asset>
  <worldbody>
    <camera name="eye" pos="0.3 -2 1.6" xyaxes="1 .1 0 0 .55 .8" fovy="50"/>
    <geom type="plane" size="3 3 .1"/>
    <geom name="box" type="box" size=".2 .3 .1" pos="-.8 0 .3" euler="20 30 40"/>
    <geom name="near box" type="box" size=".02 .02 .02" pos=".3 -1.6 1.5"/>
    <geom type="sphere" size=".2" pos="0 .2 .3"/>
    <geom type="capsule" size=".1 .3" pos=".6 0 .3" euler="70 10 0"/>
    <geom type="cylinder" size=".15 .2" pos=".1 -.5 .3" euler="60 0 30"/>
    <geom type="ellipsoid" size=".1 .2 .3" pos="1 .4 .4"/>
    <geom type="mesh" mesh="wedge" pos="-.3 .6 .2" euler="0 0 200"/>
    <geom name="hidden by colour" type="box" size="2 .01 2" pos="0 -1.2 0" rgba="1 0 0 0"/>
    <geom name="hidden by material" type="box" size="2 .01 2" pos="0 -1.3 0" material="clear"/>
    <geom name="hidden by group" type="box" size="2 .01 2" pos="0 -1.4 0" group="3"/>
    <site name="ball" type="sphere" size=".1" pos="-.3 -.3 .5"/>
    <site name="can" type="cylinder" size=".08 .1" pos=".7 -.6 .5" euler="30 0 0"/>
    <body name="moving" pos="0 1 .4"><freejoint/><geom type="box" size=".3 .1 .1"/></body>
  </worldbody>
</mujoco>
"""
IDENTITY = Crop(np.full(3, -1.0), np.full(3, 1.0), np.eye(3), np.zeros(3))


def make_scene():
    model = mujoco.MjModel.from_xml_string(SCENE)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return model, data


@needs_opengl
def test_opengl_and_rays_agree_on_every_kind_of_geom_and_site():
    model, data = make_scene()
    by_opengl, by_rays = OpenGLDepth(model, "eye", 128, "scene").depth(data), RayDepth(model, "eye", 128).depth(data)
    seen = np.isfinite(by_opengl) & np.isfinite(by_rays)
    error = np.abs(by_opengl[seen] - by_rays[seen])
    assert seen.mean() > 0.5
    assert np.median(error) < 1e-4
    # OpenGL draws round things with flat faces, so their outlines differ.
    assert (error > 0.01).mean() < 0.005
    assert (np.isfinite(by_opengl) != np.isfinite(by_rays)).mean() < 0.005


def test_rays_see_a_box_at_its_distance():
    model, data = make_scene()
    model.geom("box").pos = [0.3, 5, 1.6]
    model.geom("box").quat = [1, 0, 0, 0]
    model.cam("eye").quat = [np.sqrt(0.5), np.sqrt(0.5), 0, 0]  # looks along y
    model.geom_rgba[model.geom_type != mujoco.mjtGeom.mjGEOM_BOX, 3] = 0
    model.geom("near box").rgba[3] = 0
    mujoco.mj_forward(model, data)
    assert RayDepth(model, "eye", 64).depth(data)[32, 32] == pytest.approx(5 + 2 - 0.3)


def test_rays_notice_that_a_fixed_geom_was_moved():
    model, data = make_scene()
    camera = RayDepth(model, "eye", 64)
    before = camera.depth(data)
    model.geom("box").pos[2] += 0.2
    mujoco.mj_forward(model, data)
    assert not np.array_equal(camera.depth(data), before)
    np.testing.assert_array_equal(camera.depth(data), RayDepth(model, "eye", 64).depth(data))


def test_unprojected_pixels_follow_the_pinhole():
    depth = np.full((4, 4), np.inf)
    depth[1, 3] = 0.5
    points = CloudMaker(4, focal=2.0, crop=IDENTITY, num_points=1).cropped(depth)
    np.testing.assert_allclose(points, [[(3 - 2) * 0.5 / 2, (1 - 2) * 0.5 / 2, 0.5]])


def test_the_crop_turns_and_shifts_first_and_is_strict():
    turn = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])
    crop = Crop(np.array([1.0, -9, -9]), np.array([3.0, 9, 9]), turn, np.array([1.0, 0, 0]))
    depth = np.array([[0.0, 1.0], [2.0, 0.5]])  # x of the points is depth + 1: 1 and 3 lie on the edge
    points = CloudMaker(2, focal=1.0, crop=crop, num_points=4).cropped(depth)
    np.testing.assert_allclose(sorted(points[:, 0]), [1.5, 2.0])


def test_a_cloud_needs_points():
    with pytest.raises(ValueError, match="num_points is 0"):
        CloudMaker(4, 2.0, IDENTITY, num_points=0)


def test_an_unknown_backend_is_refused(monkeypatch):
    monkeypatch.setenv("MP_DEPTH", "lidar")
    with pytest.raises(ValueError, match="'lidar'.*opengl, rays"):
        backend.prepare_opengl()


@pytest.mark.skipif(sys.platform != "linux", reason="MUJOCO_GL is set on Linux alone")
@pytest.mark.parametrize(("works", "choice", "gl"), [(True, "opengl", "egl"), (False, "rays", "disable")])
def test_the_choice_is_remembered_in_the_environment(monkeypatch, works, choice, gl):
    for name in ("MP_DEPTH", "MUJOCO_GL"):
        monkeypatch.setenv(name, "")  # so that monkeypatch puts back what was there
        monkeypatch.delenv(name)
    monkeypatch.setattr(backend, "_opengl_works", lambda: works)
    assert backend.prepare_opengl() == choice
    assert (os.environ["MP_DEPTH"], os.environ["MUJOCO_GL"]) == (choice, gl)
    monkeypatch.setattr(backend, "_opengl_works", lambda: pytest.fail("asked again"))
    assert backend.prepare_opengl() == choice


@pytest.mark.skipif(sys.platform != "linux", reason="libEGL is asked for on Linux alone")
def test_without_libegl_rays_are_taken_and_mujoco_can_be_imported():
    code = """
import ctypes
real = ctypes.CDLL
def without_egl(name, *args, **kwargs):
    if "EGL" in str(name):
        raise OSError(name)
    return real(name, *args, **kwargs)
ctypes.CDLL = without_egl
from mp_lib.sim import depth
print(depth.BACKEND)
"""
    variables = {k: v for k, v in os.environ.items() if k not in ("MP_DEPTH", "MUJOCO_GL")}
    run = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True)
    assert run.stdout.strip() == "rays", run.stderr
