"""The search for quick's second recipe: `python search.py FILE UNITS`, one training and its rollouts a row of FILE.

UNITS are words LEVER:TASK:METHOD:SEED. What FILE holds is not done again, so several of these can run side by side.
Environment seeds from 20000 on.
"""

import fcntl
import json
import math
import sys
import time
from pathlib import Path

import torch

from mp_lib.config import scale_config
from mp_lib.data.recording import demonstrations_of
from mp_lib.learning.rollout import rollout
from mp_lib.learning.stages import policy_config, training_windows
from mp_lib.learning.trainer import Trainer
from mp_lib.model.checkpoint import save_policy
from mp_lib.sim.tasks import TASKS
from mp_lib.system.paths import root
from mp_lib.system.provenance import commit

SEEDS = range(20_000, 20_050)


class MuonTrainer(Trainer):
    """Muon for matrices of the denoiser and the encoder, AdamW for the rest; convolutions as matrices (out, in K)."""

    rate = 0.01

    def __init__(self, *given, **more):
        super().__init__(*given, **more)
        named = dict(self.policy.named_parameters())
        matrices = [w for name, w in named.items() if w.dim() == 2 and min(w.shape) >= 8 and "A_log" not in name]
        chosen = {id(w) for w in matrices}
        rest = [w for w in named.values() if id(w) not in chosen]
        self.muon = torch.optim.Muon(matrices, lr=self.rate, momentum=0.95, weight_decay=0.0)
        self.optimizer = torch.optim.AdamW(rest, lr=self.config.learning_rate, betas=self.config.betas, fused=True)

    def update(self):
        share = self.learning_rate(self.step) / self.config.learning_rate
        self.muon.param_groups[0]["lr"] = self.rate * share
        hook = self.optimizer.register_step_post_hook(lambda *_: (self.muon.step(), self.muon.zero_grad()))
        try:
            return super().update()
        finally:
            hook.remove()


class TurnedTrainer(Trainer):
    """Clouds turned around the vertical through their middle by up to 10 degrees."""

    def update(self):
        batch, windows = self.windows.batch, self.windows

        def turned(indices):
            found = batch(indices)
            cloud = found["point_cloud"]
            angle = (torch.rand(len(cloud), 1, 1, 1) - 0.5) * math.radians(20)
            middle = cloud.mean((1, 2), keepdim=True)
            x, y, z = (cloud - middle).split(1, dim=-1)
            cos, sin = angle.cos(), angle.sin()
            return found | {"point_cloud": torch.cat([cos * x - sin * y, sin * x + cos * y, z], dim=-1) + middle}

        windows.batch = turned
        try:
            return super().update()
        finally:
            del windows.batch


class LateTrainer(Trainer):
    """The rate stays up for four fifths of the steps and then falls to zero in a line."""

    def learning_rate(self, step):
        rate = self.config.learning_rate
        return min(
            rate, rate * step / self.config.warmup_steps, rate * (self.num_steps - step) / (0.2 * self.num_steps)
        )


class LineTrainer(Trainer):
    """After warm-up the rate falls to zero in a line."""

    def learning_rate(self, step):
        rate, warm = self.config.learning_rate, self.config.warmup_steps
        return rate * min(step / warm, (self.num_steps - step) / (self.num_steps - warm))


LEVERS = {  # trainer, changes
    "base": (Trainer, {"start": "released"}),
    "start": (Trainer, {}),
    "steps1200": (Trainer, {"num_steps": 1200}),
    "steps800": (Trainer, {"num_steps": 800}),
    "steps2400": (Trainer, {"num_steps": 2400}),
    "steps3200": (Trainer, {"num_steps": 3200}),
    "rate4": (Trainer, {"learning_rate": 4e-4}),
    "rate25": (Trainer, {"learning_rate": 2.5e-4}),
    "rate14": (Trainer, {"learning_rate": 1.4e-3}),
    "rate28": (Trainer, {"learning_rate": 2.8e-3}),
    "average90": (Trainer, {"ema_power": 0.9}),
    "average60": (Trainer, {"ema_power": 0.6}),
    "betas99": (Trainer, {"betas": (0.9, 0.99)}),
    "batch8": (Trainer, {"batch_size": 8, "num_steps": 2400}),
    "batch32": (Trainer, {"batch_size": 32, "num_steps": 1000}),
    "late": (LateTrainer, {}),
    "line": (LineTrainer, {}),
    "muon": (MuonTrainer, {}),
    "turned": (TurnedTrainer, {}),
}


def run(lever, task, method, seed):
    kind, changes = LEVERS[lever]
    config, spec = scale_config("quick", task, method, int(seed), **changes), TASKS[task]
    store = demonstrations_of(config, jobs=1)
    spec = spec.with_state(store.shapes["state"][0])
    trainer = kind(config, policy_config(config, spec), training_windows(config, store), torch.device("cpu"))
    began, losses = time.perf_counter(), []
    while trainer.step < trainer.num_steps:
        losses.append(float(trainer.update()))
    seconds = time.perf_counter() - began
    (root() / "policies").mkdir(exist_ok=True)
    save_policy(root() / "policies" / f"{lever}-{task}-{method}-{seed}.safetensors", trainer.average, task=task)
    episodes = rollout(trainer.average, spec, SEEDS)
    return {
        "seconds": round(seconds, 1),
        "solved": sum(each.success for each in episodes),
        "outcomes": "".join(str(int(each.success)) for each in episodes),
        "loss": round(sum(losses[-100:]) / 100, 5),
        "rollouts": round(time.perf_counter() - began - seconds, 1),
        "commit": commit(),
    }


def claimed(path, unit):
    """Whether this unit is ours to run; the claim of a process that has died does not count."""
    file = path.with_name(f"{path.stem}-{unit.replace(':', '-')}.claim").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return None
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return None if any(row["unit"] == unit for row in rows) else file


def main():
    torch.set_num_threads(1)
    path = Path(sys.argv[1])
    for unit in sys.argv[2:]:
        if file := claimed(path, unit):
            with file:
                row = {"unit": unit} | run(*unit.split(":"))
                with path.open("a") as out:
                    out.write(json.dumps(row) + "\n")
                print(row, flush=True)


if __name__ == "__main__":
    main()
