"""From observations to the condition: a small PointNet and a state MLP, shared by all methods.

Names of submodules are DP3's (``extractor.mlp``, ``extractor.final_projection``, ``state_mlp``;
pointnet_extractor.py of YanjieZe/3D-Diffusion-Policy), so that official weights load.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mp_lib.model import fused, native
from mp_lib.model.normalizer import Normalizer
from mp_lib.model.tracing import traced

DISTANCES = 0.1, 0.4  # metres from the hand at which what is near, and what is far, is told apart best
KEY_POINTS, SHARPNESS = 32, 4.0  # how many, and by what a point's score is multiplied before the softmax


class PointNet(nn.Module):
    """Each point through an MLP (3-64-128-256), the maximum over points, a projection: (M, N, 3) -> (M, size)."""

    def __init__(self, size: int = 64, widths: tuple[int, ...] = (64, 128, 256), channels: int = 3):
        super().__init__()
        layers: list[nn.Module] = []
        for wide_in, wide_out in zip((channels, *widths), widths, strict=False):
            layers += [nn.Linear(wide_in, wide_out), nn.LayerNorm(wide_out), nn.ReLU()]
        self.mlp = nn.Sequential(*layers)
        self.final_projection = nn.Sequential(nn.Linear(widths[-1], size), nn.LayerNorm(size))

    def forward(self, points: Tensor) -> Tensor:
        if fused.usable(points):
            return self.final_projection(self.run_fused(points))
        # Counting what was chosen would interrupt a GPU's queue.
        if not torch.is_grad_enabled() or points.device.type != "cpu" or traced():
            return self.final_projection(self.mlp(points).amax(1))
        chosen, place = self.critical_points(points)
        return self.final_projection(self.in_parts(self.mlp, points[chosen]).gather(0, place))

    def run_fused(self, points: Tensor) -> Tensor:
        """The maxima (M, features) on a GPU; with gradient that of the critical points alone, one row a feature."""
        features = self.mlp[-2].normalized_shape[0]
        if torch.is_grad_enabled() and points.shape[1] > features:
            with torch.no_grad():
                winners = self.activate(points).argmax(1)
            rows = self.activate(points.gather(1, winners[..., None].expand(-1, -1, points.shape[-1])))
            return rows.diagonal(dim1=1, dim2=2)
        return self.activate(points).amax(1)

    def activate(self, points: Tensor) -> Tensor:
        """``mlp`` with norm and activation as one kernel each."""
        for linear, norm in zip(self.mlp[::3], self.mlp[1::3], strict=True):
            points = fused.norm_relu(linear(points), norm)
        return points

    def in_parts(self, function: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
        """``function`` of parts of the rows that fit a CPU's cache."""
        size = max(1, 2048 * 3 // rows[0].numel())  # 2048 points
        return torch.cat([function(part) for part in rows.split(size)])

    def strongest(self, points: Tensor) -> Tensor:
        """The point at which each feature of clouds (M, N, 3) is greatest (M, features); without gradient."""
        if not all(native.usable(norm.normalized_shape[0], points) for norm in self.mlp[1::3]):
            return self.mlp(points).argmax(1)
        for linear, norm in zip(self.mlp[::3], self.mlp[1::3], strict=True):
            points = native.norm_relu(linear(points), norm.weight, norm.bias, norm.eps)
        return native.argmax(points)

    @torch.no_grad()
    def critical_points(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Which points (M, N) are some feature's maximum, and the place of each feature's among them (M, features).

        A first pass without gradient finds them (PointNet, arXiv 1612.00593, calls them the critical
        set): no other point gets a gradient, so the pass with gradient needs only these. Exact, but
        that a tie goes to one point instead of being shared.
        """
        winners = self.in_parts(self.strongest, points)
        chosen = torch.zeros(points.shape[:2], dtype=torch.bool, device=points.device).scatter_(1, winners, True)
        places = chosen.flatten().cumsum(0).view_as(chosen) - 1
        return chosen, places.gather(1, winners)


class KeyPoints(nn.Module):
    """Where things are: means of all points, each with weights of its own: (M, N, channels) -> (M, count · averaged).

    Of a point the first ``averaged`` channels are averaged, by a softmax over points of what a small MLP scores it
    (spatial softmax, Levine et al., arXiv 1504.00702, on a cloud); ``weight`` and ``bias`` scale and shift the means.
    """

    def __init__(self, channels: int, averaged: int, count: int = KEY_POINTS, hidden: int = 32):
        super().__init__()
        layers = nn.Linear(channels, hidden), nn.LayerNorm(hidden), nn.ReLU(), nn.Linear(hidden, count)
        self.score = nn.Sequential(*layers)
        self.size, self.averaged = count * averaged, averaged
        self.weight, self.bias = nn.Parameter(torch.ones(self.size)), nn.Parameter(torch.zeros(self.size))

    def forward(self, points: Tensor) -> Tensor:
        shares = (SHARPNESS * self.score(points)).softmax(-2)
        means = shares.transpose(-1, -2) @ points[..., : self.averaged]
        return means.flatten(-2) * self.weight + self.bias


class ObsEncoder(nn.Module):
    """Observations of To steps to one condition: point_cloud (B, To, N, 3), state (B, To, S) -> (B, To · 128).

    64 features from the cloud and 64 from the state a step, as in DP3. Points with all ``channels``
    are taken as they are.
    """

    channels = 3  # of each point

    def __init__(
        self,
        state_dim: int,
        point_features: int = 64,
        state_widths: tuple[int, int] = (64, 64),
        widths: tuple[int, ...] = (64, 128, 256),
    ):
        super().__init__()
        self.extractor = PointNet(point_features, widths, self.channels)
        hidden, out = state_widths
        self.state_mlp = nn.Sequential(nn.Linear(state_dim, hidden), nn.ReLU(), nn.Linear(hidden, out))
        self.size = point_features + out

    def forward(self, point_cloud: Tensor, state: Tensor) -> Tensor:
        if point_cloud.shape[-1] != self.channels:
            point_cloud = self.views(point_cloud, state)
        cloud = [each(point_cloud.flatten(0, 1)).unflatten(0, state.shape[:2]) for each in self.extractors()]
        return torch.cat([*cloud, self.state_mlp(state)], dim=-1).flatten(1)

    def extractors(self) -> list[nn.Module]:
        """What gives features of clouds (M, N, channels), in their order."""
        return [self.extractor]

    def last_layers(self) -> list[nn.Module]:
        """What scales and shifts each of these features, by ``weight`` and ``bias``."""
        return [self.extractor.final_projection[-1]]

    def views(self, points: Tensor, state: Tensor) -> Tensor:
        """What the MLP sees of points (…, N, 3) where the state is (…, S): (…, N, channels)."""
        return points

    def fit(self, normalizer: Normalizer, hand: Tensor | None) -> None:
        """Take from the data what is no weight."""


class HandEncoder(ObsEncoder):
    """The same, smaller, whose points are told as seen from the hand, too: near it by the centimetre, far by the hand.

    Of a scene of a metre, a thing that lies a few centimetres elsewhere is a few hundredths of a normalised cloud,
    and a short training overlooks it. ``hand`` (3, S + 1) leads from a normalised state, and 1, to the hand's place
    in the normalised cloud; where it is not known, that is its middle. ``unit`` is the length in metres of 1 there.
    """

    channels = 9

    def __init__(self, state_dim: int):
        super().__init__(state_dim, point_features=128, widths=(64, 64, 128))
        self.key_points = KeyPoints(self.channels, averaged=6)  # in the cloud, and near the hand
        self.size += self.key_points.size
        self.register_buffer("hand", torch.zeros(3, state_dim + 1))
        self.register_buffer("unit", torch.ones(3))

    def views(self, points: Tensor, state: Tensor) -> Tensor:
        hand = nn.functional.linear(state, self.hand[:, :-1], self.hand[:, -1])
        metres = (points - hand[..., None, :]) * self.unit
        return torch.cat([points, *(torch.tanh(metres / distance) for distance in DISTANCES)], dim=-1)

    def extractors(self) -> list[nn.Module]:
        return [self.extractor, self.key_points]

    def last_layers(self) -> list[nn.Module]:
        return [*super().last_layers(), self.key_points]

    @torch.no_grad()
    def fit(self, normalizer: Normalizer, hand: Tensor | None) -> None:
        """Take over where the hand is: ``hand`` (3, S + 1) leads from a state, and 1, to its place in the cloud."""
        cloud_scale, cloud_offset = normalizer.point_cloud_scale, normalizer.point_cloud_offset
        self.unit.copy_(1 / cloud_scale)
        if hand is not None:
            scale, offset = normalizer.state_scale, normalizer.state_offset
            turn = hand[:, :-1] / scale
            place = hand[:, -1] - turn @ offset
            self.hand.copy_(torch.cat([turn, place[:, None]], dim=1) * cloud_scale[:, None])
            self.hand[:, -1] += cloud_offset
