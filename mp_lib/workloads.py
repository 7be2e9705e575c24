"""What the benchmark times: denoiser calls, action chunks and training steps, each form of them as one call."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from mp_lib.config import PolicyConfig

STATE_DIM, ACTION_DIM = 24, 26  # Adroit's hammer, at which the published parameter counts are given


def make_policy(method: str, attention: str, horizon: int, device: str):
    """A policy at the paper's widths with fresh weights, always the same ones."""
    import torch

    from mp_lib.model.policy import build_policy

    config = PolicyConfig(
        method, STATE_DIM, ACTION_DIM, attention=attention, horizon=horizon, n_action_steps=min(8, horizon - 1)
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build_policy(config).to(device)


def inputs_of(policy, batch: int) -> dict:
    """Random inputs of the policy's shapes: a history, noise, a condition and a diffusion step."""
    import torch

    config, device = policy.config, policy.device
    return {
        "history": {
            "point_cloud": torch.rand(batch, config.n_obs_steps, config.num_points, 3, device=device),
            "state": torch.rand(batch, config.n_obs_steps, config.state_dim, device=device),
        },
        "noise": torch.randn(batch, config.horizon, config.action_dim, device=device),
        "cond": torch.randn(batch, config.n_obs_steps * policy.obs_encoder.size, device=device),
        "step": torch.arange(batch, device=device) % config.num_train_steps,
    }


def official_denoiser(policy, batch: int) -> Callable[[], None]:
    """One call of the denoiser as the official code makes it: loop scans, the condition anew at every call."""
    import torch

    from mp_lib.model.loops import use_loops

    given, denoiser = inputs_of(policy, batch), use_loops(policy.eval().model)
    return torch.no_grad()(lambda: denoiser(given["noise"], given["step"], given["cond"]))


def official_chunk(policy, batch: int) -> Callable[[], None]:
    """One action chunk as the official code makes it: encoder, then ten whole denoiser calls."""
    import torch

    from mp_lib.model.loops import use_loops

    given, policy = inputs_of(policy, batch), use_loops(policy.eval())
    steps = [torch.full((batch,), step, device=policy.device) for step in policy.ddim.steps]

    @torch.no_grad()
    def act() -> None:
        cond = policy.encode(**given["history"])
        chunk = policy.ddim.sample(lambda actions, index: policy.model(actions, steps[index], cond), given["noise"])
        policy.normalizer.unnormalize("action", chunk)

    return act


def frozen_denoiser(backend: str, policy, batch: int) -> Callable[[], None]:
    """One call of the denoiser under a backend, the condition's part already at hand."""
    import torch

    from mp_lib.model.backends import freeze

    given, frozen = inputs_of(policy, batch), freeze(policy, backend)
    with torch.no_grad():
        modulation = frozen.table[0] + frozen.policy.model.cond_modulation(given["cond"])
    return torch.no_grad()(lambda: frozen.run_denoise(given["noise"], modulation))


def weight_traffic(policy, batch: int) -> Callable[[], None]:
    """Read the weights of a denoiser call once: what it cannot be faster than at batch 1.

    Those that make the modulation are left out, since ``frozen_denoiser`` has that at hand.
    """
    import torch

    made_once = ("cond_encoder", "diffusion_step_encoder")
    named = policy.model.named_parameters()
    weights = [each.detach().flatten() for name, each in named if not any(part in name for part in made_once)]

    def read() -> None:
        for weight in weights:
            torch.sum(weight)

    return read


def matrix_products(policy, batch: int) -> Callable[[], None]:
    """The matrix products of a denoiser call and nothing else: each linear layer and convolution as one product.

    What mixes the steps, norms, activations and moving data come on top of this floor; the modulation is at hand
    as in ``frozen_denoiser``.
    """
    import torch

    given, denoiser, shapes = inputs_of(policy, batch), policy.eval().model, []

    def note(layer, inputs, output) -> None:
        transposed = isinstance(layer, torch.nn.ConvTranspose1d)
        inner, out = layer.weight.flatten(1).shape if transposed else layer.weight.flatten(1).T.shape
        shapes.append((inputs[0].numel() // inner if transposed else output.numel() // out, inner, out))

    kinds = (torch.nn.Linear, torch.nn.Conv1d, torch.nn.ConvTranspose1d)
    layers = [each for each in denoiser.modules() if isinstance(each, kinds)]
    hooks = [layer.register_forward_hook(note) for layer in layers]
    with torch.no_grad():
        modulation = policy.step_table()[:1] + denoiser.cond_modulation(given["cond"])
        shapes.clear()  # of the modulation
        denoiser.denoise(given["noise"], modulation)
    for hook in hooks:
        hook.remove()
    products = [(torch.randn(rows, inner), torch.randn(inner, out)) for rows, inner, out in shapes]
    products = [(left.to(policy.device), right.to(policy.device)) for left, right in products]

    def multiply() -> None:
        for left, right in products:
            torch.mm(left, right)

    return multiply


def frozen_chunk(backend: str, policy, batch: int) -> Callable[[], None]:
    """One action chunk under a backend."""
    from mp_lib.model.backends import freeze

    given, frozen = inputs_of(policy, batch), freeze(policy, backend)
    return lambda: frozen.act(given["history"], given["noise"])


def train_step(form: str, policy, batch: int) -> Callable[[], None]:
    """One training step of the denoiser: prediction, mean squared error, gradient, AdamW."""
    import torch

    from mp_lib.model.loops import use_loops

    forms = {"official": use_loops, "torch": lambda module: module, "compiled": partial(torch.compile, dynamic=False)}
    given, denoiser = inputs_of(policy, batch), policy.train().model
    optimizer = torch.optim.AdamW(denoiser.parameters(), lr=1e-4, fused=True)
    run = forms[form](denoiser)

    def step() -> None:
        torch.nn.functional.mse_loss(run(given["noise"], given["step"], given["cond"]), given["noise"]).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def encoder_step(plain: bool, policy, batch: int) -> Callable[[], None]:
    """Forward and backward pass of the encoder; ``plain`` without the search for critical points."""
    given, encoder = inputs_of(policy, batch)["history"], policy.train().obs_encoder
    if plain:
        extractor = encoder.extractor
        extractor.forward = lambda points: extractor.final_projection(extractor.mlp(points).amax(1))

    def step() -> None:
        encoder(**given).square().mean().backward()
        encoder.zero_grad()

    return step


MAKERS: dict[str, dict[str, Callable]] = {
    "denoiser": {
        "official": official_denoiser,
        "weight_traffic": weight_traffic,
        "matrix_products": matrix_products,
        **{name: partial(frozen_denoiser, name) for name in ("torch", "compiled", "onnx")},
    },
    "chunk": {
        "official": official_chunk,
        **{name: partial(frozen_chunk, name) for name in ("torch", "compiled", "onnx", "cuda")},
    },
    "train_step": {
        "official": partial(train_step, "official"),
        "torch": partial(train_step, "torch"),
        "compiled": partial(train_step, "compiled"),
    },
    "encoder_step": {"official": partial(encoder_step, True), "torch": partial(encoder_step, False)},
}


def usable(backend: str, device: str) -> bool:
    """Whether a backend can run on this device here."""
    from mp_lib.model.backends import has_compiler, missing_onnx

    available = {
        "torch": True,
        "weight_traffic": True,
        "matrix_products": True,
        "compiled": device != "cpu" or has_compiler(),
        "onnx": device == "cpu" and not missing_onnx(),
        "cuda": device.startswith("cuda"),
    }
    return available[backend]
