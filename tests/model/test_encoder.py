"""The encoder's pass over critical points equals the plain one, in values and in all gradients."""

import pytest
import torch

from mp_lib.model.encoder import ObsEncoder, PointNet

OFFICIAL = {24: 64_832, 9: 63_872, 32: 65_344}  # parameters by state size
POINTNET = 59_072


def random_clouds(clouds, points):
    return torch.randn(clouds, points, 3, generator=torch.Generator().manual_seed(points), dtype=torch.float64)


def repeated(clouds):
    """Every point three times."""
    return torch.cat([clouds, clouds.flip(1), clouds], dim=1)


def zero_padded(clouds):
    return torch.cat([clouds, torch.zeros_like(clouds)], dim=1)


CLOUDS = {
    "one point": random_clouds(4, 1),
    "random": random_clouds(6, 64),
    "random, in several parts": random_clouds(50, 100),
    "more points than a part holds": random_clouds(2, 3000),
    "repeated": repeated(random_clouds(5, 40)),
    "zero-padded": zero_padded(random_clouds(5, 40)),
    "all zero": torch.zeros(3, 16, 3, dtype=torch.float64),
    "one cloud": random_clouds(1, 32),
}


@pytest.fixture(scope="module")
def pointnet():
    torch.manual_seed(0)
    return PointNet().double()


def plain(pointnet, clouds):
    return pointnet.final_projection(pointnet.mlp(clouds).amax(1))


def gradients(output, leaves):
    weights = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view_as(output).sin()
    return torch.autograd.grad((output * weights).sum(), leaves)


def assert_close(found, expected):
    assert found.shape == expected.shape
    assert (found - expected).norm() <= 1e-12 * expected.norm().clamp(min=1)


@pytest.mark.parametrize("kind", CLOUDS)
def test_both_passes_agree_in_values_and_gradients(pointnet, kind):
    clouds, leaves = CLOUDS[kind], list(pointnet.parameters())
    found, expected = pointnet(clouds), plain(pointnet, clouds)
    assert_close(found, expected)
    for ours, theirs in zip(gradients(found, leaves), gradients(expected, leaves), strict=True):
        assert_close(ours, theirs)
    with torch.no_grad():
        assert_close(pointnet(clouds), expected)


@pytest.mark.parametrize("kind", ["random", "random, in several parts"])
def test_points_get_the_gradient_of_the_plain_pass(pointnet, kind):
    clouds = CLOUDS[kind].clone().requires_grad_()
    (found,) = gradients(pointnet(clouds), [clouds])
    (expected,) = gradients(plain(pointnet, clouds), [clouds])
    assert expected.any()
    assert_close(found, expected)


def test_only_critical_points_are_passed_with_gradient(pointnet):
    clouds = random_clouds(6, 512)
    chosen, place = pointnet.critical_points(clouds)
    assert chosen.sum(1).max() <= 256 and chosen.sum() < 0.5 * chosen.numel()
    critical = clouds[chosen]
    with torch.no_grad():
        torch.testing.assert_close(pointnet.mlp(critical).gather(0, place), pointnet.mlp(clouds).amax(1))


def test_the_order_of_points_does_not_matter(pointnet):
    clouds = random_clouds(4, 64)
    order = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    assert_close(pointnet(clouds[:, order]), pointnet(clouds))


@pytest.mark.parametrize("state_dim", OFFICIAL)
def test_parameters_count_as_in_the_official_code(state_dim):
    encoder = ObsEncoder(state_dim)
    assert sum(each.numel() for each in encoder.parameters()) == OFFICIAL[state_dim]
    assert sum(each.numel() for each in encoder.extractor.parameters()) == POINTNET


def test_every_parameter_gets_a_gradient():
    torch.manual_seed(0)
    encoder = ObsEncoder(9)
    output = encoder(torch.randn(4, 2, 32, 3), torch.randn(4, 2, 9))
    leaves = dict(encoder.named_parameters())
    idle = [name for name, grad in zip(leaves, gradients(output, list(leaves.values())), strict=True) if not grad.any()]
    assert not idle


def test_a_condition_is_cloud_and_state_of_each_step_in_turn():
    torch.manual_seed(0)
    encoder = ObsEncoder(9)
    clouds, states = torch.randn(4, 2, 32, 3), torch.randn(4, 2, 9)
    with torch.no_grad():
        found = encoder(clouds, states).unflatten(1, (2, encoder.size))
        for step in (0, 1):
            torch.testing.assert_close(found[:, step, :64], encoder.extractor(clouds[:, step]))
            torch.testing.assert_close(found[:, step, 64:], encoder.state_mlp(states[:, step]))
