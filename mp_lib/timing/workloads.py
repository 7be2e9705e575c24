"""What the benchmark times: denoiser calls, action chunks and training steps, each form of them as one call."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from mp_lib.model.backends import has_compiler
from mp_lib.model.bfloat16 import has_bfloat16
from mp_lib.model.loops import use_loops
from mp_lib.model.step_forms import make_optimizer
from mp_lib.system.extras import missing_modules
from mp_lib.timing.floors import matrix_products, step_products, weight_traffic
from mp_lib.timing.subjects import EXAMPLES, TASK, Subject, inputs_of
from mp_lib.timing.trainings import official_training, training


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


STEP_FORMS: dict[str, Callable] = {  # (step, denoiser) -> step
    "official": lambda step, denoiser: use_loops(denoiser) and step,  # every part has its slow form
    "torch": lambda step, denoiser: step,
    "compiled": lambda step, denoiser: denoiser.compile(dynamic=False) or step,
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


def decision(make_chunk: Callable, subject: Subject, batch: int) -> Callable[[], object]:
    """What an episode repeats, in each of ``batch`` simulators of TASK: a chunk, its actions, and looking at the end.

    A MissingExtraError where the simulator is missing.
    """
    from mp_lib.sim.tasks import TASKS

    config, chunk = subject.config(), make_chunk(subject, batch)
    envs = [TASKS[TASK].make_env(num_points=config.num_points) for _ in range(batch)]
    start = config.n_obs_steps - 1
    looking = config.n_action_steps - config.n_obs_steps  # from this action on, as rollouts do

    def decide() -> None:
        for env, actions in zip(envs, chunk()[:, start : start + config.n_action_steps].cpu().numpy(), strict=True):
            env.reset(EXAMPLES)  # actions of fresh weights lead nowhere that an episode would be
            for index, action in enumerate(actions):
                env.step(action)
                if index >= looking:
                    env.observe()

    return decide


CHUNKS: dict[str, Callable] = {
    "official": official_chunk,
    **{name: partial(frozen_chunk, name) for name in ("torch", "compiled", "onnx", "bfloat16", "cuda")},
}
# By what is timed and by form: a maker takes a subject and a batch and returns the call. One that trains several
# policies at once takes their number from the subject.
MAKERS: dict[str, dict[str, Callable]] = {
    "denoiser": {
        "official": official_denoiser,
        "weight_traffic": weight_traffic,
        "matrix_products": matrix_products,
        **{name: partial(frozen_denoiser, name) for name in ("torch", "compiled", "onnx")},
    },
    "chunk": CHUNKS,
    "train_step": {
        "matrix_products": step_products,
        **{name: partial(train_step, name) for name in ("official", "torch", "compiled")},
    },
    "training": {
        "official": official_training,
        **{name: partial(training, name) for name in ("torch", "compiled", "cuda")},
    },
    "encoder_step": {"official": partial(encoder_step, True), "torch": partial(encoder_step, False)},
    "decision": {name: partial(decision, make) for name, make in CHUNKS.items()},
}
NEEDED_EXTRAS = {"decision": "sim"}  # by what is timed
ONLY_WHEN_ASKED = {
    ("train_step", "compiled", "cpu"),
    ("training", "compiled", "cpu"),
}  # minutes a method to compile, and slower than the native loops


def usable(backend: str, device: str) -> bool:
    """Whether a backend can run on this device here."""
    available = {
        "torch": True,
        "weight_traffic": True,
        "matrix_products": True,
        "compiled": device != "cpu" or has_compiler(),
        "onnx": device == "cpu" and not missing_modules("deploy"),
        "bfloat16": device == "cpu" and has_bfloat16(),
        "cuda": device.startswith("cuda"),
    }
    return available[backend]
