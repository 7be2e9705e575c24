"""What a policy is called with: checked by name and shape, converted, and completed where that can be meant one way."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from mp_lib.config import PolicyConfig
from mp_lib.model.arrays import as_numbers, check_count, check_size, complete_cloud
from mp_lib.system.errors import InputError

AXES = {"point_cloud": "(B, To, N, 3)", "state": "(B, To, S)", "noise": "(B, T, A)"}
SEEN = ("point_cloud", "state")


def prepare(history: Mapping, config: PolicyConfig, device: torch.device, repeat: bool = False) -> dict[str, Tensor]:
    """``history`` as the policy's tensors: point_cloud (B, To, N, 3), state (B, To, S), float32 on its device.

    Arrays and tensors of any kind of number are taken. More points are sampled down, fewer filled up with padding,
    points that are not finite left out; with ``repeat`` the first frame of a short history is repeated. Tensors on a
    GPU are checked by shape alone: looking at their numbers would wait for the GPU. A cloud of padding alone is taken,
    since a camera that is covered for a moment ends no episode, with one warning.

    Raises an InputError for anything else: what was found, what is allowed, and what to write.
    """
    missing = [key for key in SEEN if not isinstance(history, Mapping) or key not in history]
    if missing:
        raise InputError(
            f"the history has no {', '.join(missing)}; give point_cloud (B, To, N, 3) and state (B, To, S)"
        )
    found = {key: as_tensor(key, history[key]) for key in SEEN}
    sizes = {"point_cloud": 3, "state": config.state_dim}
    for key, values in found.items():
        check_axes(key, values, sizes[key])
        found[key] = complete_frames(key, values, config.n_obs_steps, repeat)
    if len(found["state"]) != len(found["point_cloud"]):
        raise InputError(
            f"the batch has {len(found['point_cloud'])} clouds and {len(found['state'])} states; give as many"
        )
    if found["state"].device.type == "cpu" and not bool(torch.isfinite(found["state"]).all()):
        raise InputError("the state has a number that is not finite; leave that call out, or give the last good state")
    found["point_cloud"] = complete_points(found["point_cloud"], config.num_points)
    if found["point_cloud"].device.type == "cpu" and not bool(found["point_cloud"].flatten(2).any(-1).all()):
        warnings.warn("a cloud is padding alone, (0, 0, 0): the policy sees nothing there", stacklevel=3)
    return {key: values.to(device) for key, values in found.items()}


def as_tensor(key: str, values) -> Tensor:
    """Numbers as float32; an InputError for what are none."""
    if isinstance(values, Tensor) and not values.is_complex() and values.layout is torch.strided:
        return values.detach().float()
    return torch.from_numpy(as_numbers(key, values, AXES[key]))


def check_finite(actions: Tensor, given: Mapping[str, Tensor]) -> None:
    """Raise an InputError that names the largest numbers given if actions are not finite; on a GPU nobody looks."""
    if actions.device.type != "cpu" or bool(torch.isfinite(actions).all()):
        return
    largest = ", ".join(f"{key} {values.abs().max():.3g}" for key, values in given.items())
    raise InputError(
        f"the actions are not finite; the largest numbers given are {largest}: give them in the units of the "
        "demonstrations; if they are, the policy's weights are not finite"
    )


def check_axes(key: str, values: Tensor, size: int) -> None:
    """Refuse a missing batch axis, colours and other sizes by their names."""
    shape, axes = tuple(values.shape), AXES[key]
    rank = axes.count(",") + 1
    if 0 in shape and len(shape) == rank and shape[1]:
        raise InputError(f"{key} has the shape {shape}, which holds nothing; the policy takes {axes}")
    if len(shape) == rank - 1:
        raise InputError(f"{key} {shape} has no batch axis; the policy takes {axes}: give {key}[None]")
    check_size(key, shape, axes, size)


def complete_frames(key: str, values: Tensor, n_obs_steps: int, repeat: bool) -> Tensor:
    """As many frames as the policy observes; an InputError unless a short history may be repeated."""
    given = values.shape[1]
    if given == n_obs_steps:
        return values
    if given > n_obs_steps or given == 0:
        raise InputError(f"{key} has {given} frames, the policy observes {n_obs_steps}; give {key}[:, -{n_obs_steps}:]")
    if not repeat:
        raise InputError(
            f"{key} has {given} frames, the policy observes {n_obs_steps}; act(history, repeat=True) repeats the first"
        )
    return torch.cat([values[:, :1].expand(-1, n_obs_steps - given, *values.shape[2:]), values], dim=1)


def complete_points(clouds: Tensor, num_points: int) -> Tensor:
    """Clouds (B, To, N, 3) of ``num_points`` points; an InputError if one has less than a quarter of them."""
    looked = clouds.device.type == "cpu"
    whole = not looked or bool(torch.isfinite(clouds).all())
    if clouds.shape[2] == num_points and whole:
        return clouds
    frames = [points[np.isfinite(points).all(1)] for points in clouds.flatten(0, 1).cpu().numpy()]
    check_count(min(map(len, frames), default=num_points), num_points)
    chosen = np.stack([complete_cloud(points, num_points) for points in frames])
    return torch.from_numpy(chosen).unflatten(0, clouds.shape[:2]).to(clouds.device)
