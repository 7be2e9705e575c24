"""First values of weights: from the data of a training, or from a policy that it goes on from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

import torch

from mp_lib.data.windows import ActionWindows
from mp_lib.model.policy import DiffusionPolicy
from mp_lib.system.errors import InputError

# What two policies have in common if weights of the one are to fit the other, and to mean the same there.
SIZES = (
    *("method", "attention", "down_dims", "blocks_per_level", "step_embed_dim", "n_obs_steps", "num_train_steps"),
    *("state_dim", "action_dim", "actions"),
)
KINDS = ("state_kinds", "action_kinds")
MOST = 4  # differences that are told
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
    points, state_mlp = encoder.views(cloud, state), encoder.state_mlp
    of_cloud = [encoder.extractor.in_parts(each, points) for each in encoder.extractors()]
    last_layers = [*encoder.last_layers(), state_mlp[-1]]
    for last, features in zip(last_layers, [*of_cloud, state_mlp(state)], strict=True):
        deviation, mean = torch.std_mean(features, dim=0, correction=0)
        scale = torch.where(deviation > 1e-6 * features.abs().max(), 1 / deviation, 1.0)
        last.weight.mul_(scale.reshape(-1, *(last.weight.dim() - 1) * [1]))
        last.bias.copy_((last.bias - mean) * scale)


def size_of(named: tuple[str, torch.Tensor]) -> tuple[str, tuple[int, ...]]:
    """A tensor's name and shape, e.g. of a layer over the steps of a chunk, which depends on the horizon."""
    return named[0], tuple(named[1].shape)


@torch.no_grad()
def go_on_from(policy: DiffusionPolicy, init: DiffusionPolicy, normalizer: str) -> None:
    """Give a policy the weights of ``init``, and its normaliser where that is to be "kept".

    What the encoder has fitted to a normaliser goes with that. An InputError names what of the two differs, if
    weights of the one do not fit the other.
    """
    ours, theirs = asdict(policy.config), asdict(init.config)
    told = [key for key in KINDS if ours[key] and theirs[key]]  # mostly nobody has said it
    differ = [f"{key} {theirs[key]} there, {ours[key]} here" for key in (*SIZES, *told) if theirs[key] != ours[key]]
    sizes, others = (dict(map(size_of, each.state_dict().items())) for each in (policy, init))
    differ += [
        f"{name} {others[name]} there, {sizes[name]} here"
        for name in sizes
        if others.get(name, sizes[name]) != sizes[name]
    ]
    if differ:
        raise InputError(f"the weights given as init do not fit: {', '.join(differ[:MOST])}; give others, or none")
    given = init.state_dict()
    if normalizer != "kept":
        fitted = {name for name, _ in policy.named_buffers() if name.startswith(("normalizer.", "obs_encoder."))}
        given = {name: each for name, each in given.items() if name not in fitted}
    policy.load_state_dict(given, strict=normalizer == "kept")


def beyond(policy: DiffusionPolicy, windows: ActionWindows) -> dict[str, float]:
    """By key, which share of the numbers of windows lies beyond what a policy's normaliser takes for -1 to 1.

    An action's number that is constant there lies beyond wherever it has another value.
    """
    values = {key: each.to(policy.device) for key, each in windows.values().items()}
    return {key: float(policy.normalizer.beyond(key, each).float().mean()) for key, each in values.items()}


STARTS: dict[str, Callable[[DiffusionPolicy, ActionWindows], None]] = {
    "released": keep_weights,
    "standardised": standardise_features,
}
