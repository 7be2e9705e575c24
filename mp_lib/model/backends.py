"""Ways to run a finished policy: eager PyTorch, compiled, ONNX Runtime, one CUDA graph, weights in bfloat16.

All of them condition on the history once and then denoise step by step with the same update, so they
differ in who multiplies the matrices and not in what is computed, but for bfloat16, which rounds more and so
runs only where it is asked for. What depends on the diffusion step alone is a table made once.
"""

from __future__ import annotations

import copy
import io
import logging
import os
import warnings
from collections.abc import Callable
from shutil import which

import torch
from torch import Tensor, nn

from mp_lib.interfaces import look_up
from mp_lib.model.bfloat16 import check_processor, round_layers
from mp_lib.model.graphs import Replay
from mp_lib.model.onnx_session import start_session
from mp_lib.model.policy import DiffusionPolicy
from mp_lib.system.code_cache import keep_compiled_code
from mp_lib.system.errors import InputError
from mp_lib.system.extras import missing_modules, require

log = logging.getLogger(__name__)


class Condition(nn.Module):
    """The part of a policy that runs once a chunk: history -> modulation (B, F)."""

    def __init__(self, policy: DiffusionPolicy):
        super().__init__()
        self.policy = policy

    def forward(self, point_cloud: Tensor, state: Tensor) -> Tensor:
        return self.policy.condition(point_cloud, state)


class Denoise(nn.Module):
    """The part of a policy that runs at every denoising step: actions (B, T, A), modulation (B, F) -> (B, T, A)."""

    def __init__(self, policy: DiffusionPolicy):
        super().__init__()
        self.unet = policy.model

    def forward(self, actions: Tensor, modulation: Tensor) -> Tensor:
        return self.unet.denoise(actions, modulation)


class FrozenPolicy:
    """A policy whose weights do not change any more; ``act`` and ``predict`` as ``DiffusionPolicy`` has them.

    ``condition`` and ``denoise`` are the two parts above, run by some backend.
    """

    def __init__(self, policy: DiffusionPolicy, backend: str, condition: Callable, denoise: Callable):
        self.backend, self.config, self.device = backend, policy.config, policy.device
        self.policy, self.run_condition, self.run_denoise = policy, condition, denoise
        with torch.no_grad():
            self.table = policy.step_table()

    def eval(self) -> FrozenPolicy:
        """It always is in evaluation mode; returns itself."""
        return self

    @torch.no_grad()
    def refresh(self, weights: dict[str, Tensor]) -> FrozenPolicy:
        """Take a state dict of a policy of this shape, in place, so that what was recorded holds; returns itself."""
        self.policy.load_state_dict(weights)
        self.table.copy_(self.policy.step_table())
        return self

    def with_steps(self, num_inference_steps: int) -> FrozenPolicy:
        """The same with another number of denoising steps, as ``DiffusionPolicy`` has it."""
        return FrozenPolicy(
            self.policy.with_steps(num_inference_steps), self.backend, self.run_condition, self.run_denoise
        )

    @torch.no_grad()
    def predict(self, history: dict[str, Tensor], noise: Tensor) -> Tensor:
        """The whole action chunk (B, T, A), in the actions' units, denoised from ``noise`` (B, T, A)."""
        given = self.run_condition(history["point_cloud"], history["state"])
        chunk = self.policy.ddim.sample(
            lambda actions, index: self.run_denoise(actions, self.table[index] + given), noise
        )
        return self.policy.normalizer.unnormalize("action", chunk)

    act = DiffusionPolicy.act


def run_eagerly(policy: DiffusionPolicy) -> FrozenPolicy:
    """Plain PyTorch."""
    return FrozenPolicy(policy, "torch", Condition(policy), Denoise(policy))


def run_compiled(policy: DiffusionPolicy) -> FrozenPolicy:
    """torch.compile of the two parts, once for each batch size; a ValueError on a CPU without a C++ compiler."""
    if policy.device.type == "cpu" and not has_compiler():
        raise ValueError("backend compiled needs a C++ compiler (g++ or clang++), none was found; choose torch or onnx")
    keep_compiled_code()
    # Every policy is another structure of the same classes: beyond this number of them torch compiles no more.
    torch._dynamo.config.recompile_limit = max(64, torch._dynamo.config.recompile_limit)
    parts = [torch.compile(part.requires_grad_(False), dynamic=False) for part in (Condition(policy), Denoise(policy))]
    return FrozenPolicy(policy, "compiled", *parts)


def export_onnx(part: nn.Module, inputs: tuple[Tensor, ...]) -> bytes:
    """An ONNX model of one of the parts, for inputs of these shapes and batches of any size."""
    # The exporter tells of packages that it does not need, and its tracing of what torch will change.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    pair = tuple(torch.cat([each[:1], each[:1]]) for each in inputs)  # a batch of 1 would be taken for a constant
    free = tuple({0: torch.export.Dim("batch")} for _ in pair)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Unoptimised: ONNX Runtime does that itself, in a second instead of up to a minute, and runs as fast.
        program = torch.onnx.export(part.eval(), pair, dynamic_shapes=free, dynamo=True, optimize=False, verbose=False)
    buffer = io.BytesIO()
    program.save(buffer)
    return buffer.getvalue()


class OnnxPart:
    """One of the parts under ONNX Runtime, exported when it is first called; a session for each number of threads."""

    def __init__(self, part: nn.Module):
        self.part, self.model = part, None
        self.sessions: dict[int, object] = {}

    def __call__(self, *inputs: Tensor) -> Tensor:
        self.model = self.model or export_onnx(self.part, inputs)
        threads = torch.get_num_threads()
        if threads not in self.sessions:
            self.sessions[threads] = start_session(self.model, threads)
        session = self.sessions[threads]
        names = [each.name for each in session.get_inputs()]
        feeds = {name: value.contiguous().numpy() for name, value in zip(names, inputs, strict=True)}
        return torch.from_numpy(session.run(None, feeds)[0])


def has_compiler() -> bool:
    """Whether torch.compile finds a C++ compiler."""
    return bool(which(os.environ.get("CXX", "g++")) or which("clang++"))


def run_onnx(policy: DiffusionPolicy) -> FrozenPolicy:
    """ONNX Runtime on the CPU (extra ``[deploy]``); a ValueError says how to get it where it is missing."""
    require("deploy")
    if policy.device.type != "cpu":
        raise ValueError(f"backend onnx runs on the CPU, the policy is on {policy.device}; move it or choose cuda")
    return FrozenPolicy(policy, "onnx", OnnxPart(Condition(policy)), OnnxPart(Denoise(policy)))


def run_bfloat16(policy: DiffusionPolicy) -> FrozenPolicy:
    """Large layers with weights in bfloat16; an InputError off the CPU, or where the processor has no such products."""
    if policy.device.type != "cpu":
        raise InputError(
            f"backend bfloat16 runs on device cpu, the policy is on {policy.device}; move it or choose auto"
        )
    check_processor()
    round_layers(policy)
    return FrozenPolicy(policy, "bfloat16", Condition(policy), Denoise(policy))


class GraphPolicy(FrozenPolicy):
    """Encoder and all denoising steps as one CUDA graph for each batch size: one launch a chunk."""

    def __init__(self, policy: DiffusionPolicy):
        eager = run_eagerly(policy)  # another than this one, which would hold itself: graphs are to end with it
        super().__init__(policy, "cuda", eager.run_condition, eager.run_denoise)
        self.table = eager.table
        self.replay = Replay(lambda cloud, state, noise: eager.predict({"point_cloud": cloud, "state": state}, noise))

    def with_steps(self, num_inference_steps: int) -> GraphPolicy:
        return GraphPolicy(self.policy.with_steps(num_inference_steps))

    def predict(self, history: dict[str, Tensor], noise: Tensor) -> Tensor:
        return self.replay(history["point_cloud"], history["state"], noise).clone()


def run_graph(policy: DiffusionPolicy) -> FrozenPolicy:
    """One CUDA graph; a ValueError where the policy is not on a CUDA GPU."""
    if policy.device.type != "cuda":
        raise ValueError(
            f"backend cuda needs the policy on a CUDA GPU, it is on {policy.device}; choose another backend"
        )
    return GraphPolicy(policy)


BACKENDS: dict[str, Callable[[DiffusionPolicy], FrozenPolicy]] = {
    "torch": run_eagerly,
    "compiled": run_compiled,
    "onnx": run_onnx,
    "cuda": run_graph,
    "bfloat16": run_bfloat16,
}


def freeze(policy: DiffusionPolicy, backend: str = "auto") -> FrozenPolicy:
    """A copy of ``policy`` that runs under a backend; "auto" is cuda on a GPU, onnx where it is installed, torch else.

    Raises a ValueError that lists the backends if it is unknown, or says what it lacks.
    """
    chosen = automatic_backend(policy) if backend == "auto" else backend
    run = look_up(BACKENDS, chosen, "backend")
    frozen = run(copy.deepcopy(policy).eval().requires_grad_(False))
    log.info("%s runs under %s", policy.config.method, chosen)
    return frozen


def scoring_backend(backend: str, device: torch.device) -> str:
    """The backend that is meant where a success rate is counted: "auto" is cuda on a CUDA GPU, else torch.

    Of the CPU's backends it is always the same one, so that a score does not depend on what is installed.
    """
    return ("cuda" if device.type == "cuda" else "torch") if backend == "auto" else backend


def automatic_backend(policy: DiffusionPolicy) -> str:
    """The backend that "auto" stands for here."""
    if policy.device.type == "cuda":
        return "cuda"
    return "onnx" if policy.device.type == "cpu" and not missing_modules("deploy") else "torch"
