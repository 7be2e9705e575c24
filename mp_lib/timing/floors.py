"""What a call cannot be faster than: reading its weights, and its matrix products alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import Tensor, nn

from mp_lib.model.loops import use_loops
from mp_lib.model.policy import DiffusionPolicy
from mp_lib.timing.subjects import Subject, inputs_of

MIXING_LAYERS = ("dt_proj", "dt_proj_b", "fc_D", "conv1d", "conv1d_b")  # parts of what mixes the steps
MADE_ONCE = ("cond_encoder", "diffusion_step_encoder", "of_cond", "of_step")  # parts of what makes the modulation
# A training step reads them for the prediction, for the gradient and in AdamW, there with gradient and two moments.
READS_OF_A_STEP, READS_OF_A_GRADIENT = 6, 2


def denoiser_weights(denoiser: nn.Module) -> list[Tensor]:
    """The weights of a denoiser call to which the modulation is at hand."""
    named = denoiser.named_parameters()
    return [each.detach() for name, each in named if not any(part in name for part in MADE_ONCE)]


def bytes_read(policy: DiffusionPolicy, what: str) -> int:
    """Bytes of weights that a call of that kind reads at least, whatever its batch; a sketch of the policy is enough.

    Weights that fit into a cache may be read from there, so a chunk of a small method can be below its floor.
    """
    encoder = [*policy.obs_encoder.parameters()]
    once = size([*encoder, *policy.model.cond_weights(policy.config.n_obs_steps * policy.obs_encoder.size)])
    call = size(denoiser_weights(policy.model))
    chunk = once + policy.config.num_inference_steps * call
    read = {
        "denoiser": call,
        "chunk": chunk,
        "decision": chunk,
        "train_step": READS_OF_A_STEP * size(policy.model.parameters()),
        "training": READS_OF_A_STEP * size(policy.parameters()),
        "encoder_step": READS_OF_A_GRADIENT * size(encoder),
    }
    return read[what]


def size(tensors: Iterable[Tensor]) -> int:
    """Bytes that these tensors take."""
    return sum(each.nbytes for each in tensors)


def weight_traffic(subject: Subject, batch: int) -> Callable[[], object]:
    """Read the weights of a denoiser call once: what it cannot be faster than at batch 1.

    Those that make the modulation are left out, since ``frozen_denoiser`` has that at hand.
    """
    weights = [each.flatten() for each in denoiser_weights(subject.policy().model)]

    def read() -> None:
        for weight in weights:
            torch.sum(weight)

    return read


def matrix_products(subject: Subject, batch: int) -> Callable[[], object]:
    """The matrix products of a denoiser call and nothing else: each linear layer and convolution as one product.

    What mixes the steps (with Mamba-1's dt_proj and Hydra's fc_D, which belong to it), norms, activations and moving
    data come on top of this floor; the modulation is at hand as in ``frozen_denoiser``.
    """
    policy = calling_layers(subject).eval()
    given = inputs_of(policy, batch)
    with torch.no_grad():
        modulation = policy.step_table()[:1] + policy.model.cond_modulation(given["cond"])
        shapes = product_shapes(policy.model, lambda: policy.model.denoise(given["noise"], modulation))
    products = factors(shapes, policy.device)

    def multiply() -> None:
        for left, right in products:
            torch.mm(left, right)

    return multiply


def calling_layers(subject: Subject) -> DiffusionPolicy:
    """A policy whose products are all called as layers: on a GPU in its slow form, since fused kernels call none."""
    policy = subject.policy()
    return policy if policy.device.type == "cpu" else use_loops(policy)


def product_shapes(module: torch.nn.Module, call: Callable[[], object]) -> list[tuple[int, int, int]]:
    """(rows, inner, out) of each linear layer and convolution that runs during ``call``, as one matrix product.

    Those of MIXING_LAYERS are left out.
    """
    shapes = []

    def note(name, layer, inputs, output) -> None:
        if name.endswith(MIXING_LAYERS):  # whether they are called as layers depends on what is installed
            return
        transposed = isinstance(layer, torch.nn.ConvTranspose1d)
        inner, out = layer.weight.flatten(1).shape if transposed else layer.weight.flatten(1).T.shape
        shapes.append((inputs[0].numel() // inner if transposed else output.numel() // out, inner, out))

    kinds = (torch.nn.Linear, torch.nn.Conv1d, torch.nn.ConvTranspose1d)
    hooks = [
        each.register_forward_hook(partial(note, name))
        for name, each in module.named_modules()
        if isinstance(each, kinds)
    ]
    call()
    for hook in hooks:
        hook.remove()
    return shapes


def factors(shapes: list[tuple[int, int, int]], device: torch.device) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Random matrices to multiply, (rows, inner) and (inner, out) each."""
    return [(torch.randn(rows, inner).to(device), torch.randn(inner, out).to(device)) for rows, inner, out in shapes]


def step_products(subject: Subject, batch: int) -> Callable[[], object]:
    """The matrix products of a training step and nothing else: of each layer the value and both gradients.

    Their sizes are those of one step, in which stochastic depth has left out a fifth of the samples on a CPU.
    """
    policy = calling_layers(subject).train()
    given = inputs_of(policy, batch)
    with torch.no_grad():
        shapes = product_shapes(policy.model, lambda: policy.model(given["noise"], given["step"], given["cond"]))
    products = factors(shapes, policy.device)

    def multiply() -> None:
        for left, right in products:
            out = torch.mm(left, right)
            torch.mm(out, right.T)
            torch.mm(left.T, out)

    return multiply
