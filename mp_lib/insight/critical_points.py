"""Which points of a cloud the encoder takes: those that are some feature's maximum over all points.

PointNet (arXiv 1612.00593) calls them the critical set. Without the others the policy would see the same.
"""

from __future__ import annotations

import numpy as np
import torch

from mp_lib.model.backends import FrozenPolicy


@torch.no_grad()
def features_won(policy: FrozenPolicy, cloud: np.ndarray) -> np.ndarray:
    """Of how many of the encoder's features each point of a cloud (M, 3) is the maximum: (M,) int.

    The cloud is in the task's frame, as observations have it, with its padding, which may win, too. Of equal points one
    wins.
    """
    whole = policy.policy
    points = torch.from_numpy(np.ascontiguousarray(cloud, np.float32)).to(policy.device)
    winners = whole.obs_encoder.extractor.strongest(whole.normalizer.normalize("point_cloud", points[None]))
    return np.bincount(winners[0].cpu().numpy(), minlength=len(cloud))
