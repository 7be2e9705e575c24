"""First values of weights that come from the data of a training."""

from __future__ import annotations

from collections.abc import Callable

import torch

from mp_lib.data.windows import ActionWindows
from mp_lib.model.policy import DiffusionPolicy

FRAMES = 1000  # of the windows' frames, evenly spaced, that features are computed of


def keep_weights(policy: DiffusionPolicy, windows: ActionWindows) -> None:
    """Leave the weights as PyTorch draws them."""


@torch.no_grad()
def standardise_features(policy: DiffusionPolicy, windows: ActionWindows) -> None:
    """Scale and shift the encoder's last layers so that each feature has mean 0 and deviation 1 over the windows.

    Of features that do not vary only the mean is moved. No structure changes and no parameter is added. As drawn, what
    tells where an object is may be a hundredth of a feature's size, and a short training then ignores it.
    """
    encoder, values = policy.obs_encoder, windows.values()
    frames = torch.linspace(0, len(values["state"]) - 1, min(FRAMES, len(values["state"]))).long()
    cloud, state = (policy.normalizer.normalize(key, values[key][frames]) for key in ("point_cloud", "state"))
    extractor, state_mlp = encoder.extractor, encoder.state_mlp
    of_cloud = extractor.in_parts(extractor, cloud)
    for last, features in ((extractor.final_projection[-1], of_cloud), (state_mlp[-1], state_mlp(state))):
        deviation, mean = torch.std_mean(features, dim=0, correction=0)
        scale = torch.where(deviation > 1e-6 * features.abs().max(), 1 / deviation, 1.0)
        last.weight.mul_(scale.reshape(-1, *(last.weight.dim() - 1) * [1]))
        last.bias.copy_((last.bias - mean) * scale)


STARTS: dict[str, Callable[[DiffusionPolicy, ActionWindows], None]] = {
    "released": keep_weights,
    "standardised": standardise_features,
}
