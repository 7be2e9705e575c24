"""One try of the search for pocket_mamba: python search_pocket.py NAME TASK SEED [key=value ...]; a row to stdout's file."""

import csv
import json
import sys
import time
from pathlib import Path

import torch

from mp_lib.config import scale_config
from mp_lib.data.recording import demonstrations_of
from mp_lib.learning.held_out import windows_of
from mp_lib.learning.rollout import rollout
from mp_lib.learning.trainer import Trainer
from mp_lib.learning.training import policy_config
from mp_lib.model import encoder, pocket
from mp_lib.sim.tasks import find_task
from mp_lib.system.provenance import commit

ROWS = Path("tries.csv")
if __name__ == "__main__":
    name, task, seed, *changes = sys.argv[1:]
    given = dict(each.split("=", 1) for each in changes)
    read = {key: json.loads(value) for key, value in given.items()}
    for key in [key for key in read if key.startswith("_")]:  # constants of modules
        module = encoder if hasattr(encoder, key[1:]) else pocket
        setattr(module, key[1:], read.pop(key))
    method = read.pop("method", "pocket_mamba")
    torch.set_num_threads(1)
    config, spec = scale_config("pocket", task, method, int(seed), **read), find_task(task)
    store = demonstrations_of(config, jobs=1, demos=f"demos/{task}.zarr")
    windows, _ = windows_of(config, store, spec)
    trainer = Trainer(config, policy_config(config, spec), windows, torch.device("cpu"))
    began, total = time.process_time(), 0.0
    while trainer.step < trainer.num_steps:
        total += float(trainer.update())
        if trainer.step % 500 == 0:
            print(name, task, trainer.step, total / 500, round(time.process_time() - began), flush=True)
            total = 0.0
    trained = time.process_time() - began
    torch.save(trainer.average.state_dict(), f"weights/{name}-{method}-{task}-{seed}.pt")
    began = time.process_time()
    episodes = rollout(trainer.average, spec, range(20000, 20050))
    parameters = sum(each.numel() for each in trainer.policy.parameters())
    row = [
        f"{name}:{method}",
        task,
        seed,
        " ".join(changes),
        sum(each.success for each in episodes),
        len(episodes),
        round(trained),
        round(time.process_time() - began),
        parameters,
        commit(),
    ]
    with ROWS.open("a", newline="") as file:
        csv.writer(file).writerow(row)
    print(row)
