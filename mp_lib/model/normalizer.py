"""Min-max normalisation to [-1, 1], saved with the policy."""

from __future__ import annotations

import torch
from torch import Tensor, nn

# A dimension whose range is smaller is only centred. Official normalizer.py has 1e-4 for all keys; but a joint that
# moves by 0.0003 rad in demonstrations and by 0.02 rad in rollouts would reach a policy a hundred times beyond 1.
SMALLEST_RANGE = {"state": 1e-2}  # metres, radians
USUAL_SMALLEST_RANGE = 1e-4


class Normalizer(nn.Module):
    """A scale and an offset for each key: normalised = x · scale + offset, per last dimension.

    A dimension that hardly moves (SMALLEST_RANGE) is only centred (official normalizer.py, mode "limits").
    """

    def __init__(self, sizes: dict[str, int]):
        super().__init__()
        for key, size in sizes.items():
            self.register_buffer(f"{key}_scale", torch.ones(size))
            self.register_buffer(f"{key}_offset", torch.zeros(size))

    @torch.no_grad()
    def fit(self, data: dict[str, Tensor]) -> None:
        """Set scale and offset of every key from its data (…, size)."""
        for key, values in data.items():
            rows = values.flatten(0, -2)
            low, high = rows.amin(0), rows.amax(0)
            flat = high - low < SMALLEST_RANGE.get(key, USUAL_SMALLEST_RANGE)
            scale = 2 / torch.where(flat, 2, high - low)
            getattr(self, f"{key}_scale").copy_(scale)
            getattr(self, f"{key}_offset").copy_(torch.where(flat, -low, -1 - scale * low))

    def normalize(self, key: str, x: Tensor) -> Tensor:
        return torch.addcmul(getattr(self, f"{key}_offset"), x, getattr(self, f"{key}_scale"))

    def unnormalize(self, key: str, x: Tensor) -> Tensor:
        return (x - getattr(self, f"{key}_offset")) / getattr(self, f"{key}_scale")
