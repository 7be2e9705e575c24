"""The whole table of ``mp_lib.timing.benchmark``, made once and kept.

Sheets are measured in the order of what they tell, each is written as soon as it is whole, and the next call goes on
where one was stopped. All methods of a sheet are timed in turn, so that every two rows of it can be compared. Rows
that a GPU would fill stay out where there is none.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, fields
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from mp_lib.config import METHODS, kinds
from mp_lib.system.files import write_atomically
from mp_lib.system.paths import results_path, supplied
from mp_lib.system.provenance import commit, versions
from mp_lib.timing.benchmark import Measurement, measure

if TYPE_CHECKING:
    from mp_lib.timing.workloads import Subject

KEY = ["what", "batch", "threads", "backend", "method", "attention", "horizon", "device"]
COLUMNS = [
    *KEY,
    *(each.name for each in fields(Measurement) if each.name not in KEY),
    *("peak_megabytes", "torch", "commit"),
]


@dataclass(frozen=True)
class Sheet:
    """Measurements of one kind and horizon, for each of ``methods`` and attention.

    ``memory`` names the backends whose peak memory is measured, too, each in a process of its own.
    """

    what: str
    batch: int
    threads: int
    backends: tuple[str, ...]
    horizon: int
    turns: int = 5
    memory: tuple[str, ...] = ()
    methods: tuple[str, ...] = tuple(METHODS)

    def usable_backends(self, device: str) -> list[str]:
        """Those of its backends that can run here."""
        from mp_lib.timing.workloads import usable

        return [name for name in self.backends if name == "official" or usable(name, device)]

    def keys(self, device: str, device_name: str) -> list[tuple]:
        """The keys of its rows on a device."""
        return [
            (self.what, self.batch, self.threads, name, *kind, self.horizon, device_name)
            for kind in kinds(self.methods)
            for name in self.usable_backends(device)
        ]


def sheets() -> Iterator[Sheet]:
    """All sheets, those that tell most first.

    Training by loop scans keeps every step's states for the gradient: beyond horizon 16, a batch of 128 does not fit
    into 20 GB with Mamba-2's, so there the official formulation is left out.
    """
    yield calls(16)
    yield from chunks(16)
    yield Sheet("chunk", 1, 2, ("official", "torch", "onnx"), 16, 3)
    yield Sheet("encoder_step", 128, 1, ("official", "torch"), 16, methods=("dp3",))  # that of all
    yield calls(4)
    yield from chunks(4)
    yield calls(32)
    yield from steps(16, ("official", "torch", "cuda", "matrix_products"))
    yield calls(64)
    yield from steps(4, ("official", "torch", "cuda"))
    for horizon in (32, 64):
        yield from chunks(horizon)
        yield from steps(horizon, ("torch", "cuda"))
    yield Sheet("chunk", 1, 1, ("compiled",), 16, 3)  # compiling takes minutes a row


def calls(horizon: int) -> Sheet:
    """Single denoiser calls at a horizon, and their floors."""
    backends = ("official", "torch", "onnx", "matrix_products", "weight_traffic")
    return Sheet("denoiser", 1, 1, backends, horizon, turns_at(horizon))


def chunks(horizon: int) -> Iterator[Sheet]:
    """Action chunks at a horizon, and many denoiser calls at once."""
    backends = ("official", "torch", "onnx", "cuda")
    yield Sheet("chunk", 1, 1, backends, horizon, turns_at(horizon), memory=("torch",))
    yield Sheet("denoiser", 64, 2, ("torch", "onnx"), horizon, 3)


def turns_at(horizon: int) -> int:
    """How often each call is measured: fewer times where it takes long."""
    return 5 if horizon <= 16 else 3


def steps(horizon: int, backends: tuple[str, ...]) -> Iterator[Sheet]:
    """Training steps at a horizon, in two sheets: the optimisers of all methods do not fit into 24 GB."""
    for methods in (tuple(METHODS)[:5], tuple(METHODS)[5:]):
        yield Sheet("train_step", 128, 2, backends, horizon, 3, memory=("torch",), methods=methods)


def kept_path() -> Path:
    """Where the table is kept."""
    return results_path("benchmark.csv")


def read_table(path: Path) -> pd.DataFrame:
    """The rows that were measured before, also those that come with the project; none if there is no such file."""
    path = supplied(path)
    if not path.exists():
        return pd.DataFrame(columns=COLUMNS)
    numbers = ("peak_megabytes", "ratio_to_official")
    return pd.read_csv(path, keep_default_na=False, na_values={name: [""] for name in numbers})


def fill_table(path: Path, device: str = "cpu") -> Iterator[Sheet]:
    """Measure the sheets that ``path`` lacks and write each when it is whole; yields one before it is measured."""
    import torch

    from mp_lib.system.device import choose_device, device_name
    from mp_lib.system.workers import check_main
    from mp_lib.timing.workloads import Subject

    check_main()  # now rather than when peaks are measured
    device = str(choose_device(device))
    name, subjects = device_name(torch.device(device)), {}
    for sheet in sheets():
        keys, table = sheet.keys(device, name), read_table(path)
        if {*keys} <= {*table[KEY].itertuples(index=False, name=None)}:
            continue
        yield sheet
        # What was exported serves all sheets of a horizon; training needs the memory.
        places = [(*kind, sheet.horizon, device) for kind in kinds(sheet.methods) if sheet.what != "train_step"]
        subjects = {place: subjects.get(place) or Subject(*place) for place in places}
        rows = measure_sheet(sheet, device, list(subjects.values()))
        origin = {"device": name, "torch": versions()["torch"], "commit": commit()}
        added = pd.DataFrame([row | origin for row in rows], columns=COLUMNS)
        # A row that is measured again replaces what was there.
        table = table[[key not in {*keys} for key in table[KEY].itertuples(index=False, name=None)]]
        write_atomically(path, pd.concat([table, added] if len(table) else [added]).to_csv(index=False).encode())


def measure_sheet(sheet: Sheet, device: str, subjects: list[Subject]) -> Iterator[dict]:
    """A dictionary a row: the measurement, and peak_megabytes where the sheet asks for it."""
    import torch

    from mp_lib.timing.workloads import Subject

    torch.set_num_threads(sheet.threads)
    subjects = subjects or [Subject(*kind, sheet.horizon, device) for kind in kinds(sheet.methods)]
    rows = list(measure(subjects, sheet.what, sheet.usable_backends(device), sheet.batch, sheet.turns))
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        for row in rows:
            peak = None
            if row.backend in sheet.memory:
                kind = (sheet.what, row.backend, row.method, row.attention, row.horizon, row.threads, row.batch)
                peak = pool.submit(measure_peak, *kind, device).result()
            yield asdict(row) | {"peak_megabytes": peak}


def measure_peak(what, backend, method, attention, horizon, threads, batch, device) -> float | None:
    """Megabytes that a call needs: the most that this process holds meanwhile, less what it held before the policy.

    On a GPU the most that its tensors take. None where the system does not tell.
    """
    import torch

    from mp_lib.timing.workloads import MAKERS, Subject

    torch.set_num_threads(threads)
    held = memory_of_process("VmRSS")
    call = MAKERS[what][backend](Subject(method, attention, horizon, device), batch)
    call()
    if device.startswith("cuda"):
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
