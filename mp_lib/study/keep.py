"""``python -m mp_lib.study.keep``: keep the finished runs of data/runs/ in data/results/, which is part of the project.

A kept run of the same name is replaced. runs.csv has a row a run, curves.csv the training curves, thinned.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

import numpy as np
import pandas as pd

from mp_lib.config import SCALES
from mp_lib.insight.demonstrations import OTHER_DEMOS
from mp_lib.interfaces import look_up
from mp_lib.study.rows import CONFIG, MEASURED, curves_path, kept_path, load_kept, load_runs
from mp_lib.study.runs import load_metrics
from mp_lib.system.files import write_atomically

POINTS = 40  # that are kept of a training curve


def keep(scales: Sequence[str]) -> int:
    """Keep the finished runs of these scales, and return how many there were."""
    own = load_runs()
    own = own[own["scale"].isin(scales) & ~own["folder"].str.contains(OTHER_DEMOS, regex=False)]
    own = own[~own["changed"].str.contains("first_seed=")].drop_duplicates("name")
    before = load_kept()
    before = before[~before["name"].isin(own["name"])]
    curves = [load_metrics(before), *(thinned(rows) for _, rows in load_metrics(own).groupby("folder"))]
    if own.empty:
        return 0
    runs = pd.concat([each for each in (before, own) if len(each)]).sort_values("name")
    kept_path().parent.mkdir(parents=True, exist_ok=True)
    write_atomically(kept_path(), runs[[*CONFIG, *MEASURED]].to_csv(index=False).encode())
    columns = ["folder", "step", "loss", "success_rate"]
    table = pd.concat([each for each in curves if len(each)]).reindex(columns=columns)
    write_atomically(curves_path(), table.sort_values(["folder", "step"]).to_csv(index=False).encode())
    return len(own)


def thinned(rows: pd.DataFrame) -> pd.DataFrame:
    """A run's curve in at most about ``POINTS`` rows: means of neighbouring losses; every evaluation stays."""
    losses = rows[rows["loss"].notna()].reset_index(drop=True)
    means = losses.groupby(np.arange(len(losses)) // -(-max(len(losses), 1) // POINTS))[["step", "loss"]].mean()
    parts = [
        means.assign(step=means["step"].round().astype(int), loss=[float(f"{loss:.5g}") for loss in means["loss"]])
    ]
    if "success_rate" in rows:
        parts.append(rows.loc[rows["success_rate"].notna(), ["step", "success_rate"]])
    return pd.concat(parts).assign(folder=rows["folder"].iloc[0])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m mp_lib.study.keep", description=__doc__.splitlines()[0])
    parser.add_argument("--scales", nargs="+", default=["quick", "paper"], help=f"of: {', '.join(SCALES)}")
    options = parser.parse_args(arguments)
    try:
        for scale in options.scales:
            look_up(SCALES, scale, "scale")
        count = keep(options.scales)
    except (ValueError, OSError) as error:
        print(f"keep: {error}", file=sys.stderr)
        return 2
    print(json.dumps({"kept": count, "file": str(kept_path())}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
