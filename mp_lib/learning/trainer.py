"""A training in progress: policy, average, optimiser and step; can be saved and resumed to the bit.

Step k is a function of k, the weights before it and what ``mp_lib.learning.streams`` says: its batch comes from the
epoch's own permutation and its noise from a generator that is seeded anew. So there is no generator state to save, and
a resumed training ends in the same weights as one that was never stopped.
"""

from __future__ import annotations

import copy
import math
from dataclasses import asdict
from pathlib import Path

import torch

from mp_lib.config import PolicyConfig, TrainConfig
from mp_lib.data.windows import ActionWindows
from mp_lib.learning.start import STARTS, go_on_from
from mp_lib.learning.streams import BATCHES, NOISE, VERSION, WEIGHTS, Streams
from mp_lib.model.average import decay, move
from mp_lib.model.checkpoint import load_tensors, save_tensors
from mp_lib.model.policy import DiffusionPolicy, build_policy
from mp_lib.model.step_forms import make_optimizer, settle_form
from mp_lib.system.code_cache import keep_compiled_code
from mp_lib.system.errors import InputError


def drawn_points(clouds: torch.Tensor, count: int, generator: torch.Generator | None = None) -> torch.Tensor:
    """Of clouds (…, N, 3) the same ``count`` places of all, drawn at random; all where there are no more."""
    keys = torch.rand(clouds.shape[-2], device=clouds.device, generator=generator)
    return clouds[..., keys.argsort()[:count], :]


class Trainer:
    """Trains one policy on windows of demonstrations.

    It seeds torch's default generator, so whoever owns that wraps it in ``torch.random.fork_rng``. ``form`` is one
    of FORMS: how a step is run, not what it computes. In form cuda its steps are taken by ``mp_lib.learning.group``.
    It begins with the weights of ``init`` if given, on the CPU; an InputError if those do not fit.
    """

    def __init__(
        self,
        config: TrainConfig,
        policy_config: PolicyConfig,
        windows: ActionWindows,
        device: torch.device,
        form: str = "torch",
        init: DiffusionPolicy | None = None,
    ):
        self.config, self.device, self.form = config, device, settle_form(form, device)
        self.streams = Streams(policy_config, windows, config.seed, config.init)
        self.windows = windows if self.form == "cuda" else windows.to(device)
        torch.manual_seed(self.streams.seed(WEIGHTS, 0))
        self.policy = build_policy(policy_config)
        self.policy.normalizer.fit(windows.values())
        self.policy.obs_encoder.fit(self.policy.normalizer, windows.hand)
        if init:
            go_on_from(self.policy, init, config.normalizer)
            self.policy.obs_encoder.fit(self.policy.normalizer, windows.hand)
        else:
            STARTS[config.start](self.policy, windows)
        self.policy.to(device).train()
        self.average = copy.deepcopy(self.policy).eval().requires_grad_(False)
        settings = {"betas": tuple(map(float, config.betas)), "weight_decay": float(config.weight_decay)}
        self.optimizer = make_optimizer(self.policy, self.form, float(config.learning_rate), **settings)
        self.steps_per_epoch = math.ceil(len(windows) / config.batch_size)
        self.num_steps = config.num_steps or config.num_epochs * self.steps_per_epoch
        self.step = 0
        if self.form == "compiled":  # not the encoder, of which a CPU computes another number of points at each step
            keep_compiled_code()
            self.policy.model.compile(dynamic=False)

    def update(self) -> torch.Tensor:
        """One gradient step and one step of the average; returns the loss, a scalar."""
        batch = self.windows.batch(self.batch_indices())
        torch.manual_seed(self.streams.seed(NOISE, self.step))
        (settings,) = self.optimizer.param_groups
        settings["lr"] = self.learning_rate(self.step)
        if self.config.train_points:
            batch["point_cloud"] = drawn_points(batch["point_cloud"], self.config.train_points)
        loss = self.policy.loss(batch)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.update_average()
        self.step += 1
        return loss.detach()

    def start_optimizer(self) -> None:
        """Let the optimiser hold what it would make at its first step, so that this can be recorded."""
        for weight in self.policy.parameters():
            if not self.optimizer.state[weight]:
                moments = {"exp_avg": torch.zeros_like(weight), "exp_avg_sq": torch.zeros_like(weight)}
                self.optimizer.state[weight] = {"step": torch.zeros((), device=self.device), **moments}

    def batch_indices(self) -> torch.Tensor:
        """The windows of this step's batch; every epoch is a permutation of all windows."""
        epoch, place = divmod(self.step, self.steps_per_epoch)
        order = self.epoch_order(epoch)
        return order[place * self.config.batch_size : (place + 1) * self.config.batch_size]

    def epoch_order(self, epoch: int) -> torch.Tensor:
        """The permutation of all windows (windows,) in which an epoch draws them."""
        generator = torch.Generator().manual_seed(self.streams.seed(BATCHES, epoch))
        return torch.randperm(len(self.windows), generator=generator)

    def learning_rate(self, step: int) -> float:
        """Linear warm-up, then a half cosine to zero (diffusers' "cosine" schedule, counted in steps)."""
        warmup = self.config.warmup_steps
        if step < warmup:
            return self.config.learning_rate * step / warmup
        progress = (step - warmup) / max(1, self.num_steps - warmup)
        return self.config.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))

    def decay(self, step: int) -> float:
        """How much of the average stays at a step."""
        return decay(step, self.config.ema_power, self.config.ema_max)

    def update_average(self) -> None:
        """Move the average towards the weights."""
        move(self.average, self.policy, self.decay(self.step))

    def ends_epoch(self) -> int | None:
        """The number of the epoch, from 0, that the last step has ended, if it has ended one."""
        epoch, rest = divmod(self.step, self.steps_per_epoch)
        return epoch - 1 if epoch and not rest else None

    def save(self, path: Path, beside: dict[str, torch.Tensor] | None = None, **facts) -> None:
        """Save all that the next step depends on, and for whoever resumes tensors ``beside`` it and ``facts``."""
        tensors = {f"policy.{name}": value for name, value in self.policy.state_dict().items()}
        tensors |= {f"average.{name}": value for name, value in self.average.state_dict().items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": value for name, value in state.items()}
        tensors |= {f"beside.{name}": value for name, value in (beside or {}).items()}
        header = {"config": asdict(self.config), "step": self.step, "streams": VERSION, "facts": facts}
        save_tensors(path, tensors, header)

    def resume(self, path: Path) -> tuple[dict, dict[str, torch.Tensor]]:
        """Go on from a file that ``save`` wrote, and return its facts, and the tensors beside.

        An InputError for a training that began with other random numbers than it would go on with.
        """
        tensors, header = load_tensors(path)
        if header.get("streams") != VERSION:
            raise InputError(f"{path} is of a release that drew other random numbers: finish it with that one")
        for prefix, module in (("policy.", self.policy), ("average.", self.average)):
            module.load_state_dict(
                {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
            )
        saved = self.optimizer.state_dict()
        for name in (name for name in tensors if name.startswith("optimizer.")):
            _, index, key = name.split(".")
            saved["state"].setdefault(int(index), {})[key] = tensors[name]
        self.optimizer.load_state_dict(saved)
        self.step = header["step"]
        beside = {name.removeprefix("beside."): each for name, each in tensors.items() if name.startswith("beside.")}
        return header["facts"], beside
