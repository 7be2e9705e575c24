"""Trainings of one shape as one: what is random is drawn a run, everything else is computed for all runs together.

A step reads its batches, learning rates and averages from tables that lie on the device, so that on a GPU it is
recorded as one graph: the host only seeds the generators and replays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mp_lib.learning.streams import NOISE
from mp_lib.learning.trainer import Trainer, drawn_points
from mp_lib.model import graphs
from mp_lib.model.stacking import flat_views, stack


def stepper(trainers: Sequence[Trainer]) -> Callable[[], Tensor]:
    """What takes the next step of all trainers and returns their losses (K,): a Group in form cuda, else their own."""
    if trainers[0].form == "cuda":
        return Group(trainers).update

    def update() -> Tensor:
        with graphs.RECORDING:  # it draws from the default generator, of which the graph of an evaluation takes hold
            return torch.stack([trainer.update() for trainer in trainers])

    return update


class Tables:
    """What the steps of one training read on the device: frames, normalised, and numbers by step."""

    def __init__(self, trainer: Trainer):
        self.trainer, device, batch = trainer, trainer.device, trainer.config.batch_size
        windows, normalizer = trainer.windows, trainer.policy.normalizer
        self.point_cloud, self.state, self.action = (
            normalizer.normalize(key, getattr(windows, key).to(device)) for key in ("point_cloud", "state", "action")
        )
        self.frames, self.rows = windows.frames.to(device), windows.places.to(device)
        self.order = torch.zeros(trainer.steps_per_epoch * batch, dtype=torch.int64, device=device)
        self.places = torch.arange(batch, device=device)
        steps = range(trainer.num_steps)
        self.rates = torch.tensor([trainer.learning_rate(step) for step in steps], device=device)
        self.shares = torch.tensor([1 - trainer.decay(step) for step in steps], device=device)
        self.step = torch.tensor([trainer.step], device=device)  # with an axis: without, the host would read an index
        self.generator = torch.Generator(device)
        self.epoch = None

    def prepare(self) -> None:
        """Set what the next step draws from: the order of the epoch's windows, and the generator."""
        trainer = self.trainer
        epoch = trainer.step // trainer.steps_per_epoch
        if epoch != self.epoch:
            order = trainer.epoch_order(epoch)
            self.order[: len(order)].copy_(order)
            self.epoch = epoch
        self.generator.manual_seed(trainer.streams.seed(NOISE, trainer.step))

    def batch(self) -> tuple[Tensor, ...]:
        """Clouds, states, actions, and the weight of each sample: those beyond the end of an epoch have none."""
        places = self.places + self.step % self.trainer.steps_per_epoch * len(self.places)
        windows = self.order[places]
        seen = self.frames[windows, : self.trainer.windows.n_obs_steps]
        weights = (places < len(self.frames)).float()
        return self.point_cloud[seen], self.state[seen], self.action[self.rows[windows]], weights / weights.sum()


class Group:
    """Trainers of one shape (policy and batch size), whose steps are taken together.

    Weights and averages of all lie in one tensor each, of which theirs are views from now on. At the end of an epoch
    a batch is filled up with samples that count nothing, so what is drawn there differs from ``Trainer.update``'s.
    """

    def __init__(self, trainers: Sequence[Trainer]):
        shapes = {(trainer.policy.config, trainer.config.batch_size) for trainer in trainers}
        assert len(shapes) == 1, f"{len(shapes)} shapes of policy and batch in one group"
        self.trainers, self.device = trainers, trainers[0].device
        self.flat, views = flat_views([trainer.policy for trainer in trainers])
        self.average, _ = flat_views([trainer.average for trainer in trainers])
        self.weights = {name: view.requires_grad_() for name, view in views.items()}
        self.policy = stack([trainer.policy for trainer in trainers], self.weights).train()
        self.tables = [Tables(trainer) for trainer in trainers]
        self.take: Callable[[], Tensor] | None = None

    def update(self) -> Tensor:
        """One step of every training; returns their losses (K,), which the next step overwrites on a GPU."""
        if self.take is None:
            self.take = self.record() if self.device.type == "cuda" else self.descend
        for table in self.tables:
            table.prepare()
        losses = self.take()
        for trainer in self.trainers:
            trainer.step += 1
        return losses

    def record(self) -> Callable[[], Tensor]:
        """The step as a graph; weights and optimisers are as before."""
        for trainer, table in zip(self.trainers, self.tables, strict=True):
            trainer.start_optimizer()
            table.prepare()
        graph, losses = graphs.capture(self.descend, self.rehearse, [table.generator for table in self.tables])

        def take() -> Tensor:
            graphs.replay(graph)
            return losses

        return take

    def rehearse(self) -> None:
        """Do all that a step does, and change nothing."""
        self.gradients(self.losses())
        weight = torch.zeros(4, device=self.device, requires_grad=True)
        weight.grad = torch.zeros_like(weight)
        options = {key: self.trainers[0].optimizer.defaults[key] for key in ("fused", "capturable")}
        torch.optim.AdamW([weight], lr=torch.zeros((), device=self.device), **options).step()

    def losses(self) -> Tensor:
        """The loss of every run (K,) on its next batch."""
        draws, batches = [], []
        for trainer, table in zip(self.trainers, self.tables, strict=True):
            cloud, *others = table.batch()
            if count := trainer.config.train_points:
                cloud = drawn_points(cloud, count, table.generator)
            views = trainer.policy.obs_encoder.views  # what is no weight is not stacked
            batches.append((views(cloud, others[0]), *others))
            draws.append(trainer.policy.draw(trainer.config.batch_size, table.generator))
        noise, step, kept = map(torch.stack, zip(*draws, strict=True))
        cloud, state, actions, weights = map(torch.stack, zip(*batches, strict=True))
        policy = self.policy
        cond = policy.obs_encoder(cloud, state)
        predicted = policy.model(policy.ddim.add_noise(actions, noise, step), step, cond, kept)
        return ((predicted - actions).square().mean((-1, -2)) * weights).sum(-1)

    def gradients(self, losses: Tensor) -> dict[str, Tensor]:
        """The gradient (K, …) of each weight by name, packed; zero for one on which no loss depends."""
        found = torch.autograd.grad(losses.sum(), list(self.weights.values()), materialize_grads=True)
        # Of stacked layers they come transposed: here all K are packed by one kernel.
        return {name: each.contiguous() for name, each in zip(self.weights, found, strict=True)}

    def descend(self) -> Tensor:
        """One step of all: gradients, optimisers and averages; returns the losses (K,)."""
        losses = self.losses()
        gradients = self.gradients(losses)
        with torch.no_grad():
            for row, (trainer, table) in enumerate(zip(self.trainers, self.tables, strict=True)):
                for name, weight in trainer.policy.named_parameters():
                    weight.grad = gradients[name][row]
                (settings,) = trainer.optimizer.param_groups
                settings["lr"].copy_(table.rates[table.step][0])
                trainer.optimizer.step()
            self.average.lerp_(self.flat, torch.stack([table.shares[table.step] for table in self.tables]))
            for table in self.tables:
                table.step += 1
        return losses.detach()
