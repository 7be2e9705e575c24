"""Policies of one shape as one: their weights stacked, so that one operation serves all of them.

The parts of a policy (blocks, encoder, embeddings) are called with a leading axis K over policies, by ``torch.vmap``;
what stands between them works with any number of leading axes.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from mp_lib.model.blocks import ConditionedBlock
from mp_lib.model.policy import DiffusionPolicy
from mp_lib.model.unet import UNet1D

BETWEEN = (DiffusionPolicy, UNet1D, ConditionedBlock, nn.ModuleList)  # modules that only call others


def part_names(module: nn.Module, prefix: str = "") -> Iterator[str]:
    """Names of the parts of a policy: the outermost modules with weights below those that only call others."""
    for name, child in module.named_children():
        if isinstance(child, BETWEEN):
            yield from part_names(child, f"{prefix}{name}.")
        elif any(True for _ in child.parameters()):
            yield f"{prefix}{name}"


def call_stacked(part: nn.Module, weights: dict[str, Tensor], inputs: tuple[Tensor, ...]) -> Tensor:
    """``part`` with each of K weights and inputs: the first axis of all of them is K."""
    if len(inputs[0]) == 1:
        alone = functional_call(
            part, {name: each.squeeze(0) for name, each in weights.items()}, tuple(x.squeeze(0) for x in inputs)
        )
        return alone[None]  # squeezed, since the gradient of an index is a copy into zeros
    return vmap(lambda weights, inputs: functional_call(part, weights, inputs))(weights, inputs)


class StackedPart(nn.Module):
    """The same part of K policies; ``weights`` are views (K, …) of theirs, by name."""

    def __init__(self, part: nn.Module, weights: dict[str, Tensor]):
        super().__init__()
        self.kept, self.weights = (part,), weights  # in a tuple it is no submodule
        self.branches = getattr(part, "branches", 0)

    def forward(self, *inputs: Tensor) -> Tensor:
        return call_stacked(self.kept[0], self.weights, inputs)


def flat_views(policies: list[DiffusionPolicy]) -> tuple[Tensor, dict[str, Tensor]]:
    """All weights of policies in one tensor (K, P), and views (K, …) of it by name; the policies use it from now on."""
    named = [dict(policy.named_parameters()) for policy in policies]
    places, size = {}, 0
    for name, value in named[0].items():
        places[name] = size
        size += -(-value.numel() // 32) * 32  # so that each begins where vector instructions want it
    flat = torch.zeros(len(policies), size, device=policies[0].device)
    views = {
        name: flat[:, at : at + named[0][name].numel()].unflatten(1, named[0][name].shape)
        for name, at in places.items()
    }
    with torch.no_grad():
        for row, weights in enumerate(named):
            for name, value in weights.items():
                views[name][row].copy_(value)
                value.data = views[name][row]
    return flat, views


def stack(policies: list[DiffusionPolicy], views: dict[str, Tensor]) -> DiffusionPolicy:
    """A policy whose parts are those of all ``policies``, with the weights ``views`` of ``flat_views``."""
    whole = copy.deepcopy(policies[0]).to("meta")
    for name in list(part_names(whole)):
        part = whole.get_submodule(name)
        weights = {inner: views[f"{name}.{inner}"] for inner, _ in part.named_parameters()}
        whole.set_submodule(name, StackedPart(part, weights))
    return whole
