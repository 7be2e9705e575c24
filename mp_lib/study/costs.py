"""Tables of what a method costs, in Markdown: times from the kept benchmark, memory as counted."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable

import pandas as pd

from mp_lib.model.bfloat16 import round_layers
from mp_lib.presets import kinds
from mp_lib.study import efficiency
from mp_lib.study.sentences import join
from mp_lib.study.tables import markdown
from mp_lib.timing.floors import denoiser_weights, size
from mp_lib.timing.memory import what_fits
from mp_lib.timing.subjects import Subject


def on_cpu(**where) -> pd.DataFrame:
    """Such rows of the benchmark, of the processor on which ONNX Runtime was measured last."""
    rows = efficiency.every_timing()
    return efficiency.pick(rows, **rows.loc[rows["backend"] == "onnx", ["device", "precision"]].iloc[-1], **where)


def by_backend(*backends: str, **where) -> dict[str, pd.DataFrame]:
    """Such rows of the benchmark at horizon 16 for each backend, found by method and attention."""
    rows = on_cpu(**{"horizon": 16} | where)
    return {each: efficiency.pick(rows, backend=each).set_index(["method", "attention"]) for each in backends}


def kinds_in(*known: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The kinds of methods of which all of these have rows, in their usual order."""
    shared = set.intersection(*map(set, known))
    return [kind for kind in kinds() if kind in shared]


def below(*tables: pd.DataFrame) -> str:
    """The line below a table from the benchmark: where, at which commit and how evenly its rows were measured."""
    rows = pd.concat(tables)
    low, high = 100 * rows["spread"].min(), 100 * rows["spread"].max()
    return (
        f"\nMeasured on {efficiency.device_text(rows)}, commit {join(sorted({*rows['commit']}))}.\nSpread of the turns "
        f"(slowest less fastest, over the median): {low:.0f} to {high:.0f} %.\n"
    )


def by_kind(names: Iterable[str], rows: Iterable[tuple[tuple[str, str], list[str]]]) -> str:
    """A table with a row a method and structure."""
    shown = [(f"`{method}`", attention, *cells) for (method, attention), cells in rows]
    return markdown(pd.DataFrame(shown, columns=["method", "structure", *names]))


def chunks() -> str:
    """An action chunk of each method, fastest first."""
    by, rows = by_backend("official", "torch", "onnx", **efficiency.CHUNK), []
    for kind, row in by["onnx"].sort_values("median_seconds").iterrows():
        times = [milliseconds(table, kind, ".0f") for table in by.values()]
        same, eager = (one_part_of(row[f"ratio_to_dp3_{other}"]) for other in ("same", "eager"))
        rows.append((kind, [*times, same, eager, f"{1 / row['ratio_to_official']:.1f} times"]))
    names = [
        "official formulation",
        "PyTorch here",
        "ONNX Runtime",
        "of DP3 by ONNX Runtime",
        "of DP3 in eager PyTorch",
        "faster than official",
    ]
    return by_kind(names, rows) + below(*by.values())


def horizons() -> str:
    """An action chunk of each method by ONNX Runtime at every horizon, against DP3 and the official formulation."""
    kept = on_cpu(backend="onnx", **efficiency.CHUNK)
    cells = {
        (row.method, row.attention, row.horizon): f"{one_part_of(row.ratio_to_dp3_same)} "
        f"({one_part_of(row.ratio_to_dp3_eager)}; {1 / row.ratio_to_official:.1f} times)"
        for row in kept.itertuples()
    }
    lengths = sorted({*kept["horizon"]})
    measured = {kind for kind, count in Counter(key[:2] for key in cells).items() if count > 1}
    rows = [(kind, [cells.get((*kind, length), "") for length in lengths]) for kind in kinds_in(measured)]
    return by_kind([f"horizon {length}" for length in lengths], rows) + below(kept)


def backends() -> str:
    """Long chunks and calls of many samples, where PyTorch can be faster than ONNX Runtime."""
    asked = {"chunk at horizon 64": efficiency.CHUNK | {"horizon": 64}, "call of 64 samples": efficiency.MANY}
    by = {
        f"{what}, {efficiency.BACKEND_LABELS[name]}": table
        for what, where in asked.items()
        for name, table in by_backend("torch", "onnx", **where).items()
    }
    rows = [
        (kind, [milliseconds(table, kind, ".0f") for table in by.values()])
        for kind in kinds_in(*(table.index for table in by.values()))
    ]
    return by_kind(by, rows) + below(*by.values())


def steps() -> str:
    """A training step of each method's denoiser, against Simple DP3's and the official formulation."""
    by, rows = by_backend("torch", "matrix_products", **efficiency.STEP), []
    ours, products = (table["median_seconds"] for table in by.values())
    unit = ours["simple_dp3", ""]
    for kind in kinds_in(ours.index, products.index):
        times = [f"{ours[kind]:.2f} s", f"{ours[kind] / unit:.1f}", f"{products[kind] / unit:.1f}"]
        rows.append((kind, [*times, f"{1 / by['torch'].loc[kind, 'ratio_to_official']:.1f} times"]))
    names = [
        "a step",
        "in steps of Simple DP3",
        "its matrix products alone, in the same",
        "as fast as the official formulation",
    ]
    return by_kind(names, rows) + below(*by.values())


def floors() -> str:
    """A call of each method's denoiser beside what it cannot do without."""
    names = {
        "torch": "PyTorch",
        "onnx": "ONNX Runtime",
        "weight_traffic": "reading the weights",
        "matrix_products": "bare products",
    }
    by = by_backend(*names, **efficiency.CALL)
    shared = kinds_in(*(table.index for table in by.values()))
    rows = [(kind, [milliseconds(table, kind, ".1f") for table in by.values()]) for kind in shared]
    return by_kind(names.values(), rows) + below(*by.values())


@functools.cache  # it takes seconds
def weights() -> str:
    """Megabytes of weights that a call of each method's denoiser reads, in float32 and by the backend bfloat16."""
    rows = []
    for kind in kinds():
        policy = Subject(*kind, 16).sketch()
        before = size(denoiser_weights(policy.model))
        after = size(denoiser_weights(round_layers(policy).model))
        rows.append((kind, [f"{each / 1e6:.{int(each < 1e7)}f}" for each in (before, after)]))
    return by_kind(["float32", "`bfloat16`"], rows)


@functools.cache  # it takes seconds
def fits() -> str:
    """How much of a GPU's memory trainings need, in gigabytes, and how many of them fit one."""
    table = pd.DataFrame(what_fits()).round({"weights": 1, "activations": 1})
    names = {"weights": "weights, five times", "activations": "kept for the gradient"}
    return markdown(table.assign(method=[f"`{name}`" for name in table["method"]]).rename(columns=names))


def milliseconds(table: pd.DataFrame, kind: tuple[str, str], form: str) -> str:
    """E.g. "12.7 ms"."""
    return f"{1e3 * table.loc[kind, 'median_seconds']:{form}} ms"


def one_part_of(ratio: float) -> str:
    """E.g. "1/8.4"."""
    return "1" if ratio == 1 else f"1/{1 / ratio:.1f}"
