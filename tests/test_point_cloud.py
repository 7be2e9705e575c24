"""Choosing points of a cloud, padding, drawing; C and NumPy choose the same points, those that fpsample has chosen."""

import re
from pathlib import Path

import numpy as np
import pytest

from mp_lib import point_cloud
from mp_lib.point_cloud import draw_cloud, farthest_in_c, farthest_in_numpy, farthest_indices, sample_farthest
from mp_lib.system import compiler
from mp_lib.system.errors import InputError

# Clouds, and what fpsample 1.0.2 chose of them (bucket_fps_kdline_sampling with h = 5, start_idx = 0).
RECORDED = dict(np.load(Path(__file__).parent / "reference" / "farthest_points.npz"))
CLOUDS = [name.removesuffix(".points") for name in RECORDED if name.endswith(".points")]


@pytest.fixture
def library():
    found = compiler.build(Path(point_cloud.__file__).with_suffix(".c"), "-ffp-contract=off")
    return found or pytest.skip("no C compiler, or MP_NATIVE=off")


@pytest.mark.parametrize("name", CLOUDS)
def test_the_points_are_those_that_fpsample_has_chosen(name):
    points, chosen = RECORDED[f"{name}.points"], RECORDED[f"{name}.chosen"]
    np.testing.assert_array_equal(farthest_in_numpy(points, len(chosen)), chosen)
    np.testing.assert_array_equal(farthest_indices(points, len(chosen)), chosen)


def random_cloud(generator):
    """A cloud of up to 3000 points, some on a grid, some with copies, some flat: with ties of every kind."""
    size = int(generator.integers(1, 3000))
    points = generator.normal(size=(size, 3)) * generator.choice([0, 0.1, 1, 30], size=3)
    kind = generator.integers(3)
    if kind == 1:
        points = np.round(points * 4) / 4
    if kind == 2:
        points = np.repeat(points[: size // 9 + 1], 9, axis=0)
    return points.astype(np.float32)


@pytest.mark.parametrize("seed", range(40))
def test_c_and_numpy_choose_the_same_points_in_the_same_order(seed, library):
    generator = np.random.default_rng(seed)
    points = random_cloud(generator)
    count = int(generator.integers(1, len(points) + 1))
    np.testing.assert_array_equal(farthest_in_c(library, points, count), farthest_in_numpy(points, count))


def test_each_point_is_the_farthest_from_those_before_it():
    points = random_cloud(np.random.default_rng(7)).astype(float)
    chosen = farthest_indices(points, 30)
    for k in range(1, len(chosen)):
        away = np.linalg.norm(points[:, None] - points[None, chosen[:k]], axis=-1).min(1)
        assert away[chosen[k]] == pytest.approx(away.max(), rel=1e-6)


@pytest.mark.parametrize(
    ("shape", "count"), [((9, 6), 3), ((9, 2), 3), ((9,), 3), ((0, 3), 0), ((9, 3), 10), ((9, 3), 0)]
)
def test_what_is_no_cloud_or_has_too_few_points_is_refused(shape, count):
    with pytest.raises(ValueError, match=rf"{count} of points .* were asked for; give \(M, 3\), and 1 to M"):
        farthest_indices(np.zeros(shape), count)


@pytest.mark.parametrize("count", [2.5, 3.0, True, 0, -1, "3", None, [2], np.float32(3)])
def test_a_number_of_points_that_cannot_be_meant_is_refused(count):
    with pytest.raises(InputError, match=rf"num_points {re.escape(repr(count))} given; it must be a whole number from"):
        sample_farthest(np.ones((10, 3)), count)
    with pytest.raises(InputError, match="were asked for"):
        farthest_indices(np.ones((10, 3)), count)


@pytest.mark.parametrize("kind", [str, complex, object])
def test_points_that_are_no_numbers_are_refused(kind):
    with pytest.raises(InputError, match=r"points are .* \(5, 3\); give a cloud of numbers, \(M, 3\)"):
        sample_farthest(np.ones((5, 3)).astype(kind), 2)
    with pytest.raises(InputError, match=r"points are .*; give a cloud"):
        sample_farthest([[1, 2], [3]], 2)


def test_without_a_compiler_the_same_points_are_chosen(monkeypatch):
    points = RECORDED[f"{CLOUDS[0]}.points"]
    expected = farthest_indices(points, 50)
    monkeypatch.setattr(compiler, "which", lambda name: None)
    compiler.build.cache_clear()
    try:
        np.testing.assert_array_equal(farthest_indices(points, 50), expected)
    finally:
        compiler.build.cache_clear()


def test_missing_points_are_padded_with_zeros():
    points = np.ones((3, 3), np.float32)
    sampled = sample_farthest(points, 5)
    np.testing.assert_array_equal(sampled, np.concatenate([points, np.zeros((2, 3))]))
    assert sampled.dtype == np.float32
    assert sample_farthest(np.zeros((0, 3), np.float32), 2).shape == (2, 3)


def test_sampling_covers_the_cloud_and_repeats_to_the_bit():
    points = np.random.default_rng(0).uniform(-1, 1, (3000, 3)).astype(np.float32)
    sampled = sample_farthest(points, 512)
    np.testing.assert_array_equal(sampled, sample_farthest(points.copy(), 512))
    assert len(np.unique(sampled, axis=0)) == 512
    reach = np.linalg.norm(points[:, None] - sampled[None], axis=-1).min(1).max()
    by_chance = np.linalg.norm(points[:, None] - points[None, :512], axis=-1).min(1).max()
    assert reach < 0.8 * by_chance


def test_a_drawn_cloud_shows_high_points_above_low_ones():
    low, high = [0.0, 0, -1], [0.0, 0, 1]
    picture = draw_cloud(np.array([low, high, high]), 64)
    assert picture.shape == (64, 64, 3) and picture.dtype == np.uint8
    rows = np.flatnonzero((picture != 255).any(axis=(1, 2)))
    assert rows.min() < 10 and rows.max() > 54
    orange, blue = picture[rows.min()], picture[rows.max()]  # the eye is above, so the high point is nearer
    assert orange[..., 2].min() < blue[..., 2].min()


def test_a_drawn_cloud_leaves_out_the_padding():
    points = np.array([[1.0, 0, 0], [1, 0, 1]])
    np.testing.assert_array_equal(draw_cloud(np.concatenate([points, np.zeros((9, 3))]), 64), draw_cloud(points, 64))
    assert (draw_cloud(np.zeros((4, 3)), 32) == 255).all()
