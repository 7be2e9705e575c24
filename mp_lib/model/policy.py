"""The diffusion policy: encoder, denoiser, sampler and normaliser in one module."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from mp_lib.config import PolicyConfig
from mp_lib.interfaces import look_up
from mp_lib.model.actions import executed
from mp_lib.model.blocks import conv_tail, mixer_tail
from mp_lib.model.ddim import DDIM
from mp_lib.model.encoder import HandEncoder, ObsEncoder
from mp_lib.model.history import as_tensor, check_finite, prepare
from mp_lib.model.normalizer import Normalizer
from mp_lib.model.pocket import PocketDenoiser
from mp_lib.model.unet import UNet1D
from mp_lib.presets import CORE_UNITS, METHODS, Method, mixers_of
from mp_lib.system.errors import InputError


def build_denoiser(
    method: str,
    action_dim: int,
    cond_dim: int,
    down_dims: Sequence[int] | None = None,
    step_embed_dim: int = 128,
    attention: str = "paper",
    blocks_per_level: int | None = None,
    horizon: int = 16,
) -> UNet1D | PocketDenoiser:
    """The denoiser of a method: forward(actions (B, T, A), step (B,), cond (B, C)) -> (B, T, A).

    ``down_dims`` and ``blocks_per_level`` None mean the method's own. ``attention`` is "paper" (Mamba+MLP, then
    Attention+MLP) or "released" (attention never executed); DP3's methods have none either way. ``horizon`` is the
    greatest T, for a method that mixes no more steps than it was made for.
    Raises a ValueError that lists the choices for an unknown method or attention.
    """
    row, mixers = look_up(METHODS, method, "method"), mixers_of(method, attention)
    widths = row.down_dims if down_dims is None else tuple(down_dims)
    blocks = blocks_per_level or row.blocks_per_level
    build = FRAMES[row.frame].build
    return build(row, mixers, action_dim, cond_dim, widths, step_embed_dim, blocks, horizon)


def build_unet(
    row: Method, mixers: Sequence[str], action_dim: int, cond_dim: int, widths: tuple, embed: int, blocks: int, _: int
) -> UNet1D:
    """A U-Net of these mixers, or of convolutions, for any horizon."""
    return UNet1D(action_dim, cond_dim, widths, mixer_tail(mixers) if mixers else conv_tail, embed, blocks)


def build_pocket(
    row: Method, _: Sequence[str], action_dim: int, cond_dim: int, widths: tuple, embed: int, blocks: int, horizon: int
) -> PocketDenoiser:
    """A stack of blocks of the row's core; a ValueError for more widths than one, or one that heads do not divide."""
    if len(widths) != 1 or widths[0] < 1 or widths[0] % CORE_UNITS[row.core]:
        raise ValueError(f"down_dims {widths} given; {row.name} has one, a multiple of {CORE_UNITS[row.core]}")
    return PocketDenoiser(action_dim, cond_dim, widths[0], row.core, blocks, embed, horizon)


class Frame(NamedTuple):
    """What methods of a kind are built of: encoder, and denoiser."""

    encoder: type[ObsEncoder]
    build: Callable[..., nn.Module]


FRAMES = {"unet": Frame(ObsEncoder, build_unet), "pocket": Frame(HandEncoder, build_pocket)}


def condition_size(method: str, n_obs_steps: int = 2) -> int:
    """How many numbers a method's encoder makes of so many observed steps."""
    with torch.device("meta"):
        return n_obs_steps * FRAMES[look_up(METHODS, method, "method").frame].encoder(state_dim=1).size


class DiffusionPolicy(nn.Module):
    """A policy on point clouds: ``loss`` to train it, ``act`` to run it (DP3, arXiv 2403.03954, section III).

    A batch holds point_cloud (B, To, N, 3), state (B, To, S) and actions (B, T, A) in their own
    units; normalisation happens inside.
    """

    def __init__(self, config: PolicyConfig):
        super().__init__()
        self.config = config
        self.obs_encoder = FRAMES[METHODS[config.method].frame].encoder(config.state_dim)
        self.model = build_denoiser(
            config.method,
            config.action_dim,
            config.n_obs_steps * self.obs_encoder.size,
            config.down_dims,
            config.step_embed_dim,
            config.attention,
            config.blocks_per_level,
            config.horizon,
        )
        self.normalizer = Normalizer({"point_cloud": 3, "state": config.state_dim, "action": config.action_dim})
        self.ddim = DDIM(config.num_train_steps, config.num_inference_steps)

    def encode(self, point_cloud: Tensor, state: Tensor) -> Tensor:
        """The condition (B, C) of a history: point_cloud (B, To, N, 3), state (B, To, S)."""
        cloud = self.normalizer.normalize("point_cloud", point_cloud)
        return self.obs_encoder(cloud, self.normalizer.normalize("state", state))

    def loss(self, batch: dict[str, Tensor], generator: torch.Generator | None = None) -> Tensor:
        """The mean squared error of the predicted sample at random diffusion steps; a scalar."""
        actions = self.normalizer.normalize("action", batch["actions"])
        noise, step, kept = self.draw(len(actions), generator)
        cond = self.encode(batch["point_cloud"], batch["state"])
        predicted = self.model(self.ddim.add_noise(actions, noise, step), step, cond, kept if self.training else None)
        return nn.functional.mse_loss(predicted, actions)

    def draw(self, batch: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """All that is random in a training step: noise (B, T, A), diffusion steps (B,), and the branches kept."""
        config, given = self.config, {"device": self.device, "generator": generator}
        noise = torch.randn(batch, config.horizon, config.action_dim, **given)
        step = torch.randint(0, config.num_train_steps, (batch,), **given)
        return noise, step, self.model.draw_kept(batch, self.device, generator)

    def condition(self, point_cloud: Tensor, state: Tensor) -> Tensor:
        """What a history adds to the denoiser's modulation (B, F), once a chunk."""
        return self.model.cond_modulation(self.encode(point_cloud, state))

    def step_table(self) -> Tensor:
        """What each denoising step adds to the denoiser's modulation (K, F); depends on the weights alone.

        Raises an InputError for weights that are not float32, which is what histories and actions are.
        """
        if (kind := next(self.parameters()).dtype) != torch.float32:
            raise InputError(f"the policy is in {kind}; it acts in torch.float32: give policy.float()")
        return self.model.step_modulation(torch.tensor(self.ddim.steps, device=self.device))

    @torch.no_grad()
    def decide(self, history: dict[str, Tensor], noise: Tensor) -> Tensor:
        """The whole chunk (B, T, A) as the network tells it, in the actions' units, from ``noise`` (B, T, A)."""
        table, given = self.step_table(), self.condition(history["point_cloud"], history["state"])
        chunk = self.ddim.sample(lambda actions, index: self.model.denoise(actions, table[index] + given), noise)
        return self.normalizer.unnormalize("action", chunk)

    def predict(self, history: dict[str, Tensor], noise: Tensor) -> Tensor:
        """The whole action chunk (B, T, A) as it is executed: what is relative is told of the state at "now" again."""
        return executed(self.config, self.decide(history, noise), history["state"][:, -1])

    def act(
        self, history: Mapping, noise: Tensor | np.ndarray | None = None, repeat: bool = False
    ) -> Tensor | np.ndarray:
        """The actions (B, Ta, A) to execute now, an array if the history holds arrays; ``noise`` (B, T, A) fixes them.

        What is taken, completed and refused is told by ``mp_lib.model.history.prepare``; ``repeat`` lets the first
        frame of a short history stand for those before it. Raises an InputError, too, for a policy that is not in
        float32, and for actions that are not finite, unless they are tensors on a GPU.
        """
        config = self.config
        seen = prepare(history, config, self.device, repeat)
        arrays = not any(isinstance(values, Tensor) for values in history.values())
        shape = (len(seen["state"]), config.horizon, config.action_dim)
        if noise is None:
            noise = torch.randn(shape, device=self.device)
        else:
            noise = as_tensor("noise", noise).to(self.device)
            if tuple(noise.shape) != shape:
                raise InputError(f"noise has the shape {tuple(noise.shape)}; the policy takes {shape}")
        start = config.n_obs_steps - 1
        actions = self.predict(seen, noise)[:, start : start + config.n_action_steps]
        actions = actions.cpu() if arrays else actions
        check_finite(actions, seen | {"noise": noise})
        return actions.numpy() if arrays else actions

    def with_steps(self, num_inference_steps: int) -> DiffusionPolicy:
        """The policy with another number of denoising steps; both share weights. An InputError if it cannot have it."""
        twin = copy.copy(self)
        twin.config = replace(self.config, num_inference_steps=num_inference_steps)
        twin.ddim = DDIM(self.config.num_train_steps, num_inference_steps)
        return twin

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device


def build_policy(config: PolicyConfig) -> DiffusionPolicy:
    """A new policy with fresh weights."""
    return DiffusionPolicy(config)
