"""The ten tasks of the paper in one figure, each as picture and as cloud."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from mp_lib.drawing.figures import picture_bytes
from mp_lib.drawing.pictures import draw_points, project, view_of
from mp_lib.drawing.style import ORANGE, PAGE, bare, panels, styled
from mp_lib.point_cloud import without_padding
from mp_lib.sim.tasks import PAPER_TASKS, find_task
from mp_lib.system.files import write_atomically
from mp_lib.system.paths import results_path
from mp_lib.system.progress import track

COLUMNS, DPI = 5, 190
SUITES = {"adroit": "Adroit", "dexart": "DexArt, re-created", "metaworld": "MetaWorld"}
MOMENTS = {  # steps of the expert after which there is something to see
    "adroit_hammer": 40,
    "adroit_door": 45,
    "adroit_pen": 15,
    "dexart_laptop": 95,
    "dexart_faucet": 75,
    "dexart_toilet": 48,
    "dexart_bucket": 62,
    "metaworld_assembly": 30,
    "metaworld_disassemble": 25,
    "metaworld_stick-push": 40,
}


def look_at(task: str, seed: int = 0) -> dict[str, np.ndarray]:
    """A moment of the expert's episode of ``seed``: picture (H, W, 3), points that were seen and imagined (M, 3)."""
    spec = find_task(task)
    with contextlib.closing(spec.make_env(num_points=spec.num_points)) as env:
        env.reset(seed)
        expert = spec.make_expert()
        for _ in range(MOMENTS[task]):
            env.step(expert.act(env.truth()))
        cloud = env.observe().point_cloud
        seen, imagined = np.split(cloud, [len(cloud) - env.num_imagined])
        return {"picture": env.render(), "seen": without_padding(seen), "imagined": imagined}


@styled
def gallery(looks: dict[str, dict[str, np.ndarray]]) -> Figure:
    """Of each task the picture and below it the cloud, coloured by height, imagined points in orange."""
    rows = -(-len(looks) // COLUMNS)
    figure, axes = panels(2 * rows, COLUMNS, PAGE, 2.05 * rows)
    for place in axes.flat:
        bare(place)
    for number, (task, look) in enumerate(looks.items()):
        row, column = divmod(number, COLUMNS)
        picture, cloud = axes[2 * row, column], axes[2 * row + 1, column]
        suite, name = task.split("_")
        picture.imshow(look["picture"])
        picture.set_title(f"{name}\n{SUITES[suite]}")
        view = view_of(np.concatenate([look["seen"], look["imagined"]]))
        draw_points(cloud, look["seen"], view)
        cloud.scatter(*project(look["imagined"], view["axes"]).T, s=0.7, linewidths=0, color=ORANGE, rasterized=True)
    return figure


def keep() -> Path:
    """Draw the figure, which README and docs/suites.md show, into data/results."""
    looks = {}
    with track(len(PAPER_TASKS), "look at the tasks of the paper") as progress:
        for task in PAPER_TASKS:
            looks[task] = look_at(task)
            progress.advance()
    path = results_path("ten_tasks.png")
    write_atomically(path, picture_bytes(gallery(looks), "png", DPI))
    return path
