"""Diffusion over action chunks: forward noising and DDIM (arXiv 2010.02502) with sample prediction."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from mp_lib.model.denoising import coefficients, inference_steps


def squared_cosine_alphas(num_train_steps: int) -> Tensor:
    """Cumulative products (num_train_steps,) float32 of 1 - beta, "squaredcos_cap_v2" (arXiv 2102.09672, eq. 17)."""

    def alpha_bar(time: float) -> float:
        return math.cos((time + 0.008) / 1.008 * math.pi / 2) ** 2

    betas = [
        min(1 - alpha_bar((step + 1) / num_train_steps) / alpha_bar(step / num_train_steps), 0.999)
        for step in range(num_train_steps)
    ]
    return torch.cumprod(1 - torch.tensor(betas), dim=0)


class DDIM:
    """100 training steps, 10 evenly spaced inference steps, clipping to ±1, no noise added (dp3.yaml).

    The model predicts the sample x0; the direction uses the x0 before clipping, as diffusers does.
    """

    def __init__(self, num_train_steps: int = 100, num_inference_steps: int = 10):
        if not 1 <= num_inference_steps <= num_train_steps:
            raise ValueError(f"{num_inference_steps} inference steps given; 1 to {num_train_steps} are allowed")
        self.alphas = squared_cosine_alphas(num_train_steps)
        self.alphas_by_device = {self.alphas.device: self.alphas}
        self.steps = inference_steps(num_train_steps, num_inference_steps)
        self.stride = num_train_steps // num_inference_steps

    def add_noise(self, actions: Tensor, noise: Tensor, step: Tensor) -> Tensor:
        """Noised actions (B, T, A) at step (B,)."""
        if actions.device not in self.alphas_by_device:  # a copy from here would interrupt the recording of a graph
            self.alphas_by_device[actions.device] = self.alphas.to(actions.device)
        alpha = self.alphas_by_device[actions.device][step][..., None, None]
        return alpha.sqrt() * actions + (1 - alpha).sqrt() * noise

    def coefficients(self, step: int) -> tuple[float, float, float]:
        """Those of ``mp_lib.model.denoising.coefficients`` at a training step."""
        previous = self.alphas[step - self.stride].double().item() if step >= self.stride else 1.0
        return coefficients(self.alphas[step].double().item(), previous)

    def update(self, noisy: Tensor, predicted: Tensor, step: int) -> Tensor:
        """One denoising step: the noisy actions (B, T, A) and the model's x0 -> less noisy actions."""
        k, drop, add = self.coefficients(step)
        return k * noisy - drop * predicted + add * predicted.clamp(-1, 1)

    def sample(self, denoise: Callable[[Tensor, int], Tensor], noise: Tensor) -> Tensor:
        """Denoise (B, T, A) from ``noise``; ``denoise(actions, index)`` predicts x0 at ``steps[index]``."""
        actions = noise
        for index, step in enumerate(self.steps):
            actions = self.update(actions, denoise(actions, index), step)
        return actions
