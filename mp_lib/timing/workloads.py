"""What the benchmark times: denoiser calls, action chunks and training steps, each form of them as one call."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from mp_lib.config import PolicyConfig
from mp_lib.model.backends import FrozenPolicy, freeze, has_compiler
from mp_lib.model.graphs import Replay
from mp_lib.model.loops import use_loops
from mp_lib.model.policy import DiffusionPolicy, build_policy
from mp_lib.model.step_forms import make_optimizer
from mp_lib.system.extras import missing_modules

STATE_DIM, ACTION_DIM = 24, 26  # Adroit's hammer, at which the published parameter counts are given
EXAMPLES = 1  # seed of the inputs
MIXING_LAYERS = ("dt_proj", "dt_proj_b", "fc_D", "conv1d", "conv1d_b")  # parts of what mixes the steps


class Subject:
    """A method that is measured: it makes policies with fresh weights, always the same ones, at the paper's widths."""

    def __init__(self, method: str, attention: str, horizon: int, device: str = "cpu"):
        self.method, self.attention, self.horizon, self.device = method, attention, horizon, device
        self.frozen_policies: dict[str, FrozenPolicy] = {}

    def policy(self) -> DiffusionPolicy:
        """A policy of its own for a form that changes it."""
        sizes = {"horizon": self.horizon, "n_action_steps": min(8, self.horizon - 1)}
        config = PolicyConfig(self.method, STATE_DIM, ACTION_DIM, attention=self.attention or "paper", **sizes)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return build_policy(config).to(self.device)

    def frozen(self, backend: str) -> FrozenPolicy:
        """The policy under a backend, exported or compiled once for all that is timed of it."""
        if backend not in self.frozen_policies:
            self.frozen_policies[backend] = freeze(self.policy(), backend)
        return self.frozen_policies[backend]


def inputs_of(policy: DiffusionPolicy, batch: int) -> dict:
    """Random inputs of the policy's shapes, always the same: a history, noise, a condition and a diffusion step."""
    config, device = policy.config, policy.device
    with torch.random.fork_rng():
        torch.manual_seed(EXAMPLES)
        given = {
            "history": {
                "point_cloud": torch.rand(batch, config.n_obs_steps, config.num_points, 3),
                "state": torch.rand(batch, config.n_obs_steps, config.state_dim),
            },
            "noise": torch.randn(batch, config.horizon, config.action_dim),
            "cond": torch.randn(batch, config.n_obs_steps * policy.obs_encoder.size),
            "step": torch.arange(batch) % config.num_train_steps,
        }
    history = {key: value.to(device) for key, value in given.pop("history").items()}
    return {"history": history} | {key: value.to(device) for key, value in given.items()}


def official_denoiser(subject: Subject, batch: int) -> Callable[[], object]:
    """One call of the denoiser as the official code makes it: loop scans, the condition anew at every call."""
    policy = subject.policy()
    given, denoiser = inputs_of(policy, batch), use_loops(policy.eval().model)
    return torch.no_grad()(lambda: denoiser(given["noise"], given["step"], given["cond"]))


def official_chunk(subject: Subject, batch: int) -> Callable[[], object]:
    """One action chunk as the official code makes it: encoder, then ten whole denoiser calls."""
    policy = use_loops(subject.policy().eval())
    given = inputs_of(policy, batch)
    steps = [torch.full((batch,), step, device=policy.device) for step in policy.ddim.steps]

    @torch.no_grad()
    def act() -> torch.Tensor:
        cond = policy.encode(**given["history"])
        chunk = policy.ddim.sample(lambda actions, index: policy.model(actions, steps[index], cond), given["noise"])
        return policy.normalizer.unnormalize("action", chunk)

    return act


def frozen_denoiser(backend: str, subject: Subject, batch: int) -> Callable[[], object]:
    """One call of the denoiser under a backend, the condition's part already at hand."""
    frozen = subject.frozen(backend)
    given = inputs_of(frozen.policy, batch)
    with torch.no_grad():
        modulation = frozen.table[0] + frozen.policy.model.cond_modulation(given["cond"])
    return torch.no_grad()(lambda: frozen.run_denoise(given["noise"], modulation))


def frozen_chunk(backend: str, subject: Subject, batch: int) -> Callable[[], object]:
    """One action chunk under a backend: the history's condition, then ten denoising steps."""
    frozen = subject.frozen(backend)
    given = inputs_of(frozen.policy, batch)
    return lambda: frozen.predict(given["history"], given["noise"])


def weight_traffic(subject: Subject, batch: int) -> Callable[[], object]:
    """Read the weights of a denoiser call once: what it cannot be faster than at batch 1.

    Those that make the modulation are left out, since ``frozen_denoiser`` has that at hand.
    """
    made_once = ("cond_encoder", "diffusion_step_encoder")
    named = subject.policy().model.named_parameters()
    weights = [each.detach().flatten() for name, each in named if not any(part in name for part in made_once)]

    def read() -> None:
        for weight in weights:
            torch.sum(weight)

    return read


def matrix_products(subject: Subject, batch: int) -> Callable[[], object]:
    """The matrix products of a denoiser call and nothing else: each linear layer and convolution as one product.

    What mixes the steps (with Mamba-1's dt_proj and Hydra's fc_D, which belong to it), norms, activations and moving
    data come on top of this floor; the modulation is at hand as in ``frozen_denoiser``.
    """
    policy = subject.policy().eval()
    given = inputs_of(policy, batch)
    with torch.no_grad():
        modulation = policy.step_table()[:1] + policy.model.cond_modulation(given["cond"])
        shapes = product_shapes(policy.model, lambda: policy.model.denoise(given["noise"], modulation))
    products = factors(shapes, policy.device)

    def multiply() -> None:
        for left, right in products:
            torch.mm(left, right)

    return multiply


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

    Their sizes are those of one step, in which stochastic depth has left out a fifth of the samples.
    """
    policy = subject.policy().train()
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


STEP_FORMS: dict[str, Callable] = {  # (step, denoiser) -> step
    "official": lambda step, denoiser: use_loops(denoiser) and step,  # every part has its slow form
    "torch": lambda step, denoiser: step,
    "compiled": lambda step, denoiser: denoiser.compile(dynamic=False) or step,
    "cuda": lambda step, denoiser: Replay(step),
}


def train_step(form: str, subject: Subject, batch: int) -> Callable[[], object]:
    """One training step of the denoiser: prediction, mean squared error, gradient, AdamW; in one of STEP_FORMS."""
    policy = subject.policy().train()
    given, denoiser = inputs_of(policy, batch), policy.model
    optimizer = make_optimizer(denoiser, form, 1e-4)

    def step(noise, index, cond) -> torch.Tensor:
        loss = torch.nn.functional.mse_loss(denoiser(noise, index, cond), noise)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss

    run = STEP_FORMS[form](step, denoiser)
    return lambda: run(given["noise"], given["step"], given["cond"])


def encoder_step(plain: bool, subject: Subject, batch: int) -> Callable[[], object]:
    """Forward and backward pass of the encoder; ``plain`` without the search for critical points."""
    policy = subject.policy().train()
    given, encoder = inputs_of(policy, batch)["history"], policy.obs_encoder
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
        "matrix_products": step_products,
        **{name: partial(train_step, name) for name in ("official", "torch", "compiled", "cuda")},
    },
    "encoder_step": {"official": partial(encoder_step, True), "torch": partial(encoder_step, False)},
}
ONLY_WHEN_ASKED = {("train_step", "compiled", "cpu")}  # minutes a method to compile, and slower than the native loops


def usable(backend: str, device: str) -> bool:
    """Whether a backend can run on this device here."""
    available = {
        "torch": True,
        "weight_traffic": True,
        "matrix_products": True,
        "compiled": device != "cpu" or has_compiler(),
        "onnx": device == "cpu" and not missing_modules("deploy"),
        "cuda": device.startswith("cuda"),
    }
    return available[backend]
