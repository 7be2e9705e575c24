"""Depth images become the points that a camera has seen, whatever its shape, place and units."""

import json

import h5py
import numpy as np
import pytest

from mp_lib.commands.table import VERBS
from mp_lib.exchange.conversion import Wishes, convert
from mp_lib.system.errors import InputError, MissingFileError
from tests.exchange.layouts import ACTION, CLOUD, STATE, made_up, write_json, write_npz

FRONT, SIDE = [30.0, 44.0, 10.5, 7.25], [25.0, 25.0, 3.0, 8.0]  # fx, fy, cx, cy of 24 x 16 and of 8 x 20 pixels
SIZES = {"front": (16, 24), "side": (20, 8)}
LENGTH = 3


def pose_of(seed):
    """A rigid motion (4, 4): a random turn and place."""
    generator = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(generator.normal(size=(3, 3)))
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = turn * np.sign(np.linalg.det(turn)), generator.normal(size=3)
    return pose


def seen(points, pose, lens):
    """Where points (M, 3) of the world are in an image: columns, rows, depth, each (M,); the camera's own equations."""
    x, y, z = np.linalg.solve(pose, np.column_stack([points, np.ones(len(points))]).T)[:3]
    fx, fy, cx, cy = lens
    return fx * x / z + cx, fy * y / z + cy, z


def images(name, seed=0, kind="<u2"):
    """Depth (LENGTH, height, width) in millimetres of 500 to 2500, some of it nothing seen."""
    generator = np.random.default_rng(seed)
    depth = generator.integers(500, 2500, (LENGTH, *SIZES[name]))
    depth[generator.random(depth.shape) < 0.2] = 0
    return depth.astype(kind)


def clouds_of(tmp_path, episode, cameras, points=1000, **wishes):
    """The clouds (L, points, 3) of one episode of these arrays, by a file of cameras."""
    (plain,) = made_up([LENGTH])
    source = write_npz(tmp_path / "source", [{STATE: plain[STATE], ACTION: plain[ACTION], **episode}])
    file = write_json(tmp_path / "cameras.json", {"cameras": cameras}) if isinstance(cameras, list) else cameras
    made = convert(source, tmp_path / "arm.zarr", Wishes(points=points, cameras=file, **wishes))
    return made.store.read()[CLOUD]


def some(cloud):
    """The points of a cloud that are no padding, in an order of their own."""
    kept = cloud[cloud.any(1)]
    return kept[np.lexsort(kept.T)]


def test_every_point_lies_on_the_ray_of_its_pixel_at_its_depth(tmp_path):
    """Two cameras of other aspects, focal lengths that differ, poses at random; back through the cameras' equations."""
    poses = {"front": pose_of(1), "side": pose_of(2)}
    lenses = {"front": FRONT, "side": SIDE}
    depth = {name: images(name, seed) for seed, name in enumerate(SIZES)}
    cameras = [
        {"depth": name, "intrinsics": lenses[name], "extrinsics": poses[name].tolist()} for name in ("front", "side")
    ]
    for frame, cloud in enumerate(clouds_of(tmp_path, depth, cameras)):
        rest = some(cloud)
        assert len(rest) == sum((depth[name][frame] > 0).sum() for name in SIZES)
        for name, (height, width) in SIZES.items():
            columns, rows, z = seen(rest, poses[name], lenses[name])
            u, v = np.round(columns).astype(int), np.round(rows).astype(int)
            inside = (u >= 0) & (u < width) & (v >= 0) & (v < height) & (z > 0)
            u, v = u.clip(0, width - 1), v.clip(0, height - 1)
            hit = inside & (np.abs(z * 1000 - depth[name][frame][v, u]) < 0.01)
            assert hit.sum() >= (depth[name][frame] > 0).sum()
            assert np.abs(columns - u)[hit].max() < 1e-3 and np.abs(rows - v)[hit].max() < 1e-3
            rest = rest[~hit] if name == "front" else rest


METRES = {"<f4": 1e-3, ">f8": 1e-3, "<u2": 1, ">u2": 1, "<i4": 1}


@pytest.mark.parametrize("kind", METRES)
def test_whole_numbers_are_millimetres_and_others_metres(kind, tmp_path):
    depth = images("front")
    camera = [{"depth": "front", "intrinsics": FRONT}]
    expected = clouds_of(tmp_path / "a", {"front": depth}, camera)
    given = (depth * METRES[kind]).astype(kind)
    if kind == "<f4":
        given[depth == 0] = np.nan
    if kind == ">f8":
        given[depth == 0] = np.inf
    found = clouds_of(tmp_path / "b", {"front": given}, camera)
    for a, b in zip(found, expected, strict=True):
        assert np.allclose(some(a), some(b), atol=1e-6)


def test_a_scale_of_ones_own(tmp_path):
    depth = images("front")
    expected = clouds_of(tmp_path / "a", {"front": depth}, [{"depth": "front", "intrinsics": FRONT}])
    camera = [{"depth": "front", "intrinsics": FRONT, "depth_scale": 0.00025}]
    assert np.allclose(clouds_of(tmp_path / "b", {"front": depth * 4}, camera), expected, atol=1e-6)


LENSES = {
    "a matrix": [[30.0, 0, 10.5], [0, 44.0, 7.25], [0, 0, 1]],
    "a key": "lens",
    "a key of a matrix": "matrix",
    "a key of a row a frame": "rows",
    "a key of a matrix a frame": "matrices",
}


@pytest.mark.parametrize("name", LENSES)
def test_intrinsics_are_written_in_several_ways(name, tmp_path):
    depth, matrix = images("front"), np.array(LENSES["a matrix"])
    keys = {"lens": FRONT, "matrix": matrix, "rows": [FRONT] * LENGTH, "matrices": [matrix] * LENGTH}
    expected = clouds_of(tmp_path / "a", {"front": depth}, [{"depth": "front", "intrinsics": FRONT}])
    camera = [{"depth": "front", "intrinsics": LENSES[name]}]
    assert np.array_equal(clouds_of(tmp_path / "b", {"front": depth, **keys}, camera), expected)


NO_LENSES = {
    "transposed": np.transpose(LENSES["a matrix"]).tolist(),
    "without its last row's 1": [[30.0, 0, 10.5], [0, 44.0, 7.25], [0, 0, 0]],
    "skewed": [[30.0, 3, 10.5], [0, 44.0, 7.25], [0, 0, 1]],
}


@pytest.mark.parametrize("name", NO_LENSES)
def test_a_matrix_that_is_no_intrinsics_is_refused(name, tmp_path):
    with pytest.raises(InputError, match="give rows fx 0 cx, 0 fy cy, 0 0 1"):
        clouds_of(tmp_path, {"front": images("front")}, [{"depth": "front", "intrinsics": NO_LENSES[name]}])


FLIP = np.diag([1.0, -1, -1, 1])
POSES = {
    "a key": ("pose", {}),
    "without the last row": ("rows", {}),
    "a moving camera": ("moving", {}),
    "a moving camera without the last row": ("moving_rows", {}),
    "world to camera": ("inverse", {"direction": "world_to_camera"}),
    "OpenGL's axes": ("opengl", {"axes": "opengl"}),
    "world to a camera of OpenGL's axes": ("opengl_inverse", {"axes": "opengl", "direction": "world_to_camera"}),
}


@pytest.mark.parametrize("name", POSES)
def test_extrinsics_are_written_in_several_ways(name, tmp_path):
    depth, pose = images("front"), pose_of(3)
    keys = {"pose": pose, "rows": pose[:3], "moving": [pose] * LENGTH, "moving_rows": [pose[:3]] * LENGTH}
    keys |= {"inverse": np.linalg.inv(pose), "opengl": pose @ FLIP, "opengl_inverse": np.linalg.inv(pose @ FLIP)}
    plain = [{"depth": "front", "intrinsics": FRONT, "extrinsics": pose.tolist()}]
    expected = clouds_of(tmp_path / "a", {"front": depth}, plain)
    key, how = POSES[name]
    camera = [{"depth": "front", "intrinsics": FRONT, "extrinsics": key, **how}]
    found = clouds_of(tmp_path / "b", {"front": depth, **keys}, camera)
    for a, b in zip(found, expected, strict=True):
        assert np.allclose(some(a), some(b), atol=1e-6)


def test_a_camera_that_moves_is_followed_frame_by_frame(tmp_path):
    depth, poses = np.repeat(images("front")[:1], LENGTH, 0), np.stack([pose_of(seed) for seed in range(LENGTH)])
    camera = [{"depth": "front", "intrinsics": FRONT, "extrinsics": "poses"}]
    found = clouds_of(tmp_path, {"front": depth, "poses": poses}, camera)
    still = [
        np.column_stack([some(cloud), np.ones(len(some(cloud)))]) @ np.linalg.inv(pose).T
        for cloud, pose in zip(found, poses, strict=True)
    ]
    first = still[0][np.lexsort(still[0].round(4).T)]
    for each in still[1:]:
        assert np.allclose(each[np.lexsort(each.round(4).T)], first, atol=1e-4)


def test_without_a_file_the_usual_keys_are_one_camera(tmp_path):
    depth, pose = images("front"), pose_of(4)
    camera = [{"depth": "depth", "intrinsics": FRONT, "extrinsics": pose.tolist()}]
    expected = clouds_of(tmp_path / "a", {"depth": depth}, camera)
    given = {"depth": depth, "intrinsics": FRONT, "extrinsics": pose}
    assert np.array_equal(clouds_of(tmp_path / "b", given, None), expected)
    with pytest.raises(InputError, match="lacks extrinsics"):
        clouds_of(tmp_path / "c", {"depth": depth, "intrinsics": FRONT}, None)


def test_images_with_an_axis_of_one_are_images(tmp_path):
    camera = [{"depth": "front", "intrinsics": FRONT}]
    expected = clouds_of(tmp_path / "plain", {"front": images("front")}, camera)
    for place in (1, 3):
        given = {"front": np.expand_dims(images("front"), place)}
        assert np.array_equal(clouds_of(tmp_path / str(place), given, camera), expected)


def test_the_files_crop_box_is_one_in_the_worlds_frame(tmp_path):
    pose = pose_of(5)
    camera = {"depth": "front", "intrinsics": FRONT, "extrinsics": pose.tolist()}
    middle = pose[:3, 3] + pose[:3, 2] * 1.5
    box = {"low": (middle - 0.6).tolist(), "high": (middle + 0.6).tolist()}
    file = write_json(tmp_path / "cameras.json", {"cameras": [camera], "crop": box})
    depth = images("front")
    found = clouds_of(tmp_path / "a", {"front": depth}, file)
    whole = clouds_of(tmp_path / "b", {"front": depth}, [camera])
    for cloud, every in zip(found, whole, strict=True):
        points = some(every)
        kept = points[(box["low"] <= points).all(1) & (points <= box["high"]).all(1)]
        assert 0 < len(kept) < len(points) and np.array_equal(some(cloud), kept)


def test_maniskills_depth_and_matrices_are_read(tmp_path):
    (plain,) = made_up([LENGTH])
    depth, pose = images("front", kind="<i2"), pose_of(6)
    matrix = np.array(LENSES["a matrix"])
    with h5py.File(tmp_path / "trajectory.h5", "w") as file:
        group = file.create_group("traj_0")
        again = {name: np.concatenate([each, each[-1:]]) for name, each in {"d": depth, "s": plain[STATE]}.items()}
        group["obs/sensor_data/front/depth"], group["obs/agent/qpos"] = again["d"][..., None], again["s"]
        group["obs/sensor_param/front/intrinsic_cv"] = [matrix] * (LENGTH + 1)
        group["obs/sensor_param/front/extrinsic_cv"] = [np.linalg.inv(pose)[:3]] * (LENGTH + 1)
        group["actions"] = plain[ACTION]
    camera = {"depth": "obs/sensor_data/front/depth", "intrinsics": "obs/sensor_param/front/intrinsic_cv"}
    camera |= {"extrinsics": "obs/sensor_param/front/extrinsic_cv", "direction": "world_to_camera"}
    file = write_json(tmp_path / "cameras.json", {"cameras": [camera]})
    made = convert(tmp_path / "trajectory.h5", tmp_path / "arm.zarr", Wishes(points=1000, cameras=file)).store
    plain = [{"depth": "front", "intrinsics": FRONT, "extrinsics": pose.tolist()}]
    for a, b in zip(made.read()[CLOUD], clouds_of(tmp_path / "b", {"front": depth}, plain), strict=True):
        assert np.allclose(some(a), some(b), atol=1e-6)


CAMERA = {"depth": "front", "intrinsics": FRONT}
WRONG = {
    "no list": ({"cameras": CAMERA}, "cameras is .* it is a list"),
    "none": ({"cameras": []}, "it is a list"),
    "another field": ({"cameras": [{**CAMERA, "fov": 60}]}, "camera 0 has fov; its fields are: depth, intrinsics"),
    "another field of the file": ({"cameras": [CAMERA], "box": 1}, "has box; it has cameras, and crop"),
    "no intrinsics": ({"cameras": [CAMERA, {"depth": "side"}]}, "camera 1 needs depth.*intrinsics"),
    "three intrinsics": ({"cameras": [{**CAMERA, "intrinsics": [1, 2, 3]}]}, "camera 0: intrinsics is .1, 2, 3.; give"),
    "a focal length of 0": ({"cameras": [{**CAMERA, "intrinsics": [0, 2, 3, 4]}]}, "focal lengths"),
    "not finite": ('{"cameras": [{"depth": "front", "intrinsics": [NaN, 2, 3, 4]}]}', "give finite numbers"),
    "ragged": ({"cameras": [{**CAMERA, "extrinsics": [[1], [2, 3]]}]}, "camera 0: extrinsics is"),
    "no rotation": ({"cameras": [{**CAMERA, "extrinsics": (2 * np.eye(4)).tolist()}]}, "give a rotation"),
    "a mirror": ({"cameras": [{**CAMERA, "extrinsics": np.diag([1, 1, -1, 1]).tolist()}]}, "give a rotation"),
    "another direction": (
        {"cameras": [{**CAMERA, "direction": "up"}]},
        "unknown direction .* camera_to_world, world_to",
    ),
    "other axes": ({"cameras": [{**CAMERA, "axes": "ros"}]}, "unknown axes .* opencv, opengl"),
    "a scale of 0": ({"cameras": [{**CAMERA, "depth_scale": 0}]}, "depth_scale is 0; it is metres a unit"),
    "a scale of text": ({"cameras": [{**CAMERA, "depth_scale": "mm"}]}, "depth_scale is 'mm'"),
    "half a box": ({"cameras": [CAMERA], "crop": {"low": [0, 0, 0]}}, "crop is .*None.; give finite numbers, .2, 3."),
    "a box of one number": ({"cameras": [CAMERA], "crop": 5}, "crop is 5; give"),
    "a box of a truth value": ({"cameras": [CAMERA], "crop": True}, "crop is True; give"),
    "a box of nothing": ({"cameras": [CAMERA], "crop": []}, r"crop is \[\]; give"),
    "a box of three corners": ({"cameras": [CAMERA], "crop": [[0, 0, 0], [1, 1, 1], [2, 2, 2]]}, "crop is .*; give"),
    "a box of none": ({"cameras": [CAMERA], "crop": {"low": [0, 0, 0], "high": [1, 1, 0]}}, "low is below high"),
    "no key": ({"cameras": [{**CAMERA, "depth": "back"}]}, r"lacks back; there are: .*front \(3, 16, 24\) uint16"),
    "no key of intrinsics": ({"cameras": [{**CAMERA, "intrinsics": "lens"}]}, "lacks lens"),
    "a key of one number": ({"cameras": [{**CAMERA, "intrinsics": "one"}]}, "episode ep0: one is a single number"),
    "a key of no pose": ({"cameras": [{**CAMERA, "extrinsics": "poses"}]}, "poses has 0 rows, but there are 3 frames"),
    "colours": ({"cameras": [{**CAMERA, "depth": "rgb"}]}, "give depth images"),
    "8 bits": ({"cameras": [{**CAMERA, "depth": "grey"}]}, "grey is uint8; depth has 16 bits or more"),
    "text": ("cameras", "is damaged"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_file_of_cameras_that_cannot_be_is_one_line(name, tmp_path):
    content, said = WRONG[name]
    (tmp_path / "cameras.json").write_text(content if isinstance(content, str) else json.dumps(content))
    other = {"rgb": np.zeros((LENGTH, 16, 24, 3), np.uint8), "grey": np.ones((LENGTH, 16, 24), np.uint8)}
    other |= {"one": np.float32(3), "poses": np.zeros((0, 4, 4))}
    with pytest.raises(InputError, match=said) as error:
        clouds_of(tmp_path, {"front": images("front"), **other}, tmp_path / "cameras.json")
    assert "\n" not in str(error.value) and not (tmp_path / "arm.zarr").exists()


def test_no_file_of_cameras_is_said(tmp_path):
    with pytest.raises(MissingFileError, match="no cameras at"):
        clouds_of(tmp_path, {}, tmp_path / "gone.json")


def test_a_frame_in_which_no_camera_sees_anything_is_named(tmp_path):
    depth = images("front")
    depth[1] = 0
    with pytest.raises(InputError, match=r"episode ep0, frame 1 has no point \(nothing was seen\)"):
        clouds_of(tmp_path, {"front": depth}, [CAMERA])


def test_a_crops_corners_may_have_exponents():
    given = VERBS["import"].parse(["a.hdf5", "a.zarr", "--crop", "-1", "-.5", "-1e-1", "1", "1", "1E0"])
    assert given.crop == [-1, -0.5, -0.1, 1, 1, 1]
