"""Which points of a cloud the encoder takes: those that are some feature's maximum over all points.

PointNet (arXiv 1612.00593) calls them the critical set. Without the others its features would be the same; the key
points of the pocket frame, means of all points, would move.
"""

from __future__ import annotations

import numpy as np
import torch

from mp_lib.model.backends import FrozenPolicy


@torch.no_grad()
def features_won(policy: FrozenPolicy, cloud: np.ndarray, state: np.ndarray) -> np.ndarray:
    """Of how many of the encoder's features each point of a cloud (M, 3) is the maximum: (M,) int.

    The cloud is in the task's frame, as observations have it, with its padding, which may win, too; ``state`` (S,) is
    what was seen with it. Of equal points one wins.
    """
    whole = policy.policy
    seen = {"point_cloud": torch.tensor(cloud)[None], "state": torch.tensor(state)[None]}
    given = [whole.normalizer.normalize(key, each.float().to(policy.device)) for key, each in seen.items()]
    winners = whole.obs_encoder.extractor.strongest(whole.obs_encoder.views(*given))
    return np.bincount(winners[0].cpu().numpy(), minlength=len(cloud))
