"""Min-max normalisation to [-1, 1], saved with the policy."""

from __future__ import annotations

import torch
from torch import Tensor, nn

# A dimension whose range is smaller is only centred. Official normalizer.py has 1e-4 for all keys; but a joint that
# moves by 0.0003 rad in demonstrations and by 0.02 rad in rollouts would reach a policy a hundred times beyond 1. What
# a policy answers for an action that is only centred comes out in the action's own unit: there nothing is too small.
SMALLEST_RANGE = {"state": 1e-2, "action": 0.0}  # metres, radians
USUAL_SMALLEST_RANGE = 1e-4
ROUNDING = 1e-4  # by which an end of the range may be off


class Normalizer(nn.Module):
    """A scale and an offset for each key: normalised = x · scale + offset, per last dimension.

    A dimension that hardly moves (SMALLEST_RANGE) is only centred (official normalizer.py, mode "limits"). An action
    that is constant in the demonstrations has the scale 0, which marks it, and its value as offset: normalised it is 0,
    and whatever a network answers, it is executed as that value to the bit.
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
            flat = (high - low < SMALLEST_RANGE.get(key, USUAL_SMALLEST_RANGE)) | (high == low)
            flat |= ~torch.isfinite(2 / (high - low))  # a range too small to divide by
            scale = 2 / torch.where(flat, 2, high - low)
            offset = torch.where(flat, -low, -1 - scale * low)
            if key == "action":  # flat ones are constant
                scale, offset = torch.where(flat, 0, scale), torch.where(flat, low, offset)
            getattr(self, f"{key}_scale").copy_(scale)
            getattr(self, f"{key}_offset").copy_(offset)

    def normalize(self, key: str, x: Tensor) -> Tensor:
        """Values in the range of the demonstrations as numbers from -1 to 1, what is constant there as 0."""
        scale = getattr(self, f"{key}_scale")
        return torch.where(scale == 0, 0, torch.addcmul(getattr(self, f"{key}_offset"), x, scale))

    def beyond(self, key: str, x: Tensor) -> Tensor:
        """Where values (…, size) are ones that no number from -1 to 1 stands for: True or False each."""
        scale, offset = getattr(self, f"{key}_scale"), getattr(self, f"{key}_offset")
        return torch.where(scale == 0, x != offset, self.normalize(key, x).abs() > 1 + ROUNDING)

    def unnormalize(self, key: str, x: Tensor) -> Tensor:
        """The values that numbers from -1 to 1 stand for, in their own units."""
        scale, offset = getattr(self, f"{key}_scale"), getattr(self, f"{key}_offset")
        return torch.where(scale == 0, offset, (x - offset) / torch.where(scale == 0, 1, scale))
