"""``python -m mp_lib.benchmark_table``: the whole table of ``mp_lib.benchmark``, made once and kept.

Cells are measured in the order of what they tell, each is written as soon as it is whole, and the next call
goes on where one was stopped. Rows that a GPU would fill stay out where there is none.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, fields
from multiprocessing import get_context
from pathlib import Path

import pandas as pd

from mp_lib.benchmark import Measurement, benchmark
from mp_lib.config import ATTENTION, METHODS
from mp_lib.files import write_atomically
from mp_lib.paths import root
from mp_lib.provenance import commit, versions
from mp_lib.workloads import MAKERS, make_policy, usable

KEY = ["what", "batch", "threads", "backend", "method", "attention", "horizon", "device"]
COLUMNS = [
    *KEY,
    *(each.name for each in fields(Measurement) if each.name not in KEY),
    *("peak_megabytes", "torch", "commit"),
]
HORIZONS = (16, 4, 32, 64)  # DP3's first


@dataclass(frozen=True)
class Sheet:
    """Measurements of one kind, for every method, attention and horizon."""

    what: str
    batch: int
    threads: int
    backends: tuple[str, ...]
    horizons: tuple[int, ...] = HORIZONS
    memory: bool = False  # whether peak memory is measured, too: in a process of its own, which takes as long again


SHEETS = (
    Sheet("chunk", 1, 1, ("official", "torch", "onnx", "cuda"), memory=True),
    Sheet("denoiser", 1, 1, ("official", "torch", "onnx", "matrix_products", "weight_traffic")),
    Sheet("train_step", 128, 2, ("official", "torch"), memory=True),
    Sheet("denoiser", 64, 2, ("torch", "onnx")),
    Sheet("chunk", 1, 2, ("official", "torch", "onnx"), (16,)),
    Sheet("encoder_step", 128, 2, ("official", "torch"), (16,)),
    Sheet("train_step", 128, 2, ("compiled",), (16,)),
    Sheet("chunk", 1, 1, ("compiled",), (16,)),  # compiling takes minutes a row
)


@dataclass(frozen=True)
class Cell:
    """What is measured and written at once: the backends of one sheet for one method and horizon."""

    sheet: Sheet
    horizon: int
    method: str
    attention: str  # "" for a method that has none

    def keys(self, device: str, device_name: str) -> list[tuple]:
        """The keys of its rows on a device."""
        sheet = self.sheet
        return [
            (sheet.what, sheet.batch, sheet.threads, name, self.method, self.attention, self.horizon, device_name)
            for name in sheet.backends
            if name == "official" or usable(name, device)
        ]


def cells() -> Iterator[Cell]:
    """All cells, those that tell most first."""
    for horizon in HORIZONS:
        for sheet in SHEETS:
            for method in METHODS if horizon in sheet.horizons else ():
                # The encoder is that of all methods.
                if sheet.what == "encoder_step" and method != "dp3":
                    continue
                for attention in ATTENTION if METHODS[method].mixer else ("",):
                    yield Cell(sheet, horizon, method, attention)


def kept_path() -> Path:
    """Where the table is kept."""
    return root() / "data" / "results" / "benchmark.csv"


def read_table(path: Path) -> pd.DataFrame:
    """The rows that were measured before; none if there is no such file."""
    if not path.exists():
        return pd.DataFrame(columns=COLUMNS)
    return pd.read_csv(path, keep_default_na=False, na_values={"peak_megabytes": [""]})


def fill_table(path: Path, device: str = "cpu", turns: int = 5) -> Iterator[Cell]:
    """Measure the cells that ``path`` lacks and write each when it is whole; yields a cell before it is measured."""
    from mp_lib.device import choose_device, device_name

    name = device_name(choose_device(device))
    for cell in cells():
        keys, table = cell.keys(device, name), read_table(path)
        if {*keys} <= {*table[KEY].itertuples(index=False, name=None)}:
            continue
        yield cell
        rows = measure_cell(cell, device, turns)
        origin = {"device": name, "torch": versions()["torch"], "commit": commit()}
        added = pd.DataFrame([row | origin for row in rows], columns=COLUMNS)
        write_atomically(path, pd.concat([table, added] if len(table) else [added]).to_csv(index=False).encode())


def measure_cell(cell: Cell, device: str, turns: int) -> Iterator[dict]:
    """A dictionary a backend: the measurement, and peak_megabytes where the sheet asks for it."""
    sheet, attention = cell.sheet, cell.attention or "paper"
    backends = [name for name in sheet.backends if name != "official" and usable(name, device)]
    sizes = {"threads": sheet.threads, "batch": sheet.batch}
    for row in benchmark(
        [cell.method],
        [cell.horizon],
        sheet.what,
        attention=attention,
        backends=backends,
        turns=turns,
        device=device,
        **sizes,
    ):
        if row.backend not in sheet.backends:
            continue
        peak = None
        if sheet.memory:
            arguments = (sheet.what, row.backend, cell.method, attention, cell.horizon, *sizes.values(), device)
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                peak = pool.submit(measure_peak, *arguments).result()
        yield asdict(row) | {"peak_megabytes": peak}


def measure_peak(what, backend, method, attention, horizon, threads, batch, device) -> float | None:
    """Megabytes that a call needs: the most that this process holds meanwhile, less what it held before the policy.

    On a GPU the most that its tensors take. None where the system does not tell.
    """
    import torch

    torch.set_num_threads(threads)
    make = MAKERS[what][backend]
    held = memory_of_process("VmRSS")
    call = make(make_policy(method, attention, horizon, device), batch)
    call()
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        call()
        return round(torch.cuda.max_memory_allocated() / 1e6, 1)
    if held is None:
        return None
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak, which exporting has raised
    call()
    return round((memory_of_process("VmHWM") - held) / 1e6, 1)


def memory_of_process(name: str) -> int | None:
    """Bytes by a name of /proc/self/status; None where there is no such file."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m mp_lib.benchmark_table", description=__doc__.split("\n\n")[0])
    parser.add_argument("--path", type=Path, default=kept_path(), help="default: data/results/benchmark.csv")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args(arguments)
    # Spinning threads slow small operations down; read when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        for cell in fill_table(options.path, options.device):
            place = f"{cell.sheet.what}, batch {cell.sheet.batch}, horizon {cell.horizon}"
            print(f"{place}, {cell.method} {cell.attention}".rstrip(), flush=True)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
