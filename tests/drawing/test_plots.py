"""Figures: each from a small made-up table, with the names it must show, saved as four files, twice the same bytes."""

import io
import json

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from mp_lib.drawing import chunks, networks, pictures, plots, schematic, style, success
from mp_lib.drawing.figures import publish, show
from mp_lib.insight import anatomy, film_strip
from mp_lib.insight.episode import Watched
from mp_lib.model.mixers import MIXERS
from mp_lib.presets import METHODS, PAPER_METHODS, kinds

TASKS = ["metaworld_drawer-open", "metaworld_assembly", "metaworld_stick-push", "metaworld_reach"]
KINDS = kinds()


def success_table(tasks):
    rows = []
    for t, task in enumerate(tasks):
        for k, (method, attention) in enumerate(KINDS):
            ours = (17 * k + 31 * t) % 101
            row = {"task": task, "method": method, "attention": attention, "ours": ours}
            row |= {"low": max(0, ours - 15), "high": min(100, ours + 15), "by_run": f"{ours} {ours / 2} 12.5"}
            rows.append(row | {"published": 50.0 if method == "dp3" else None, "comparable": True})
    return pd.DataFrame(rows)


def method_table():
    rows = success_table(TASKS[:1])
    rows = rows[rows["method"].isin(PAPER_METHODS)]  # the main table's
    costs = [300 - 20 * k for k in range(len(rows))]
    return rows.assign(parameters=[10**6 * cost for cost in costs], cost=costs)


def seeds_table(tasks):
    rows = success_table(tasks).drop(columns="by_run")
    tables = [rows.assign(seed=seed, success_rate=rows["ours"] / 100) for seed in (0, 1, 2)]
    table = pd.concat(tables, ignore_index=True)
    return table.assign(low=table["low"] / 100, high=table["high"] / 100)


def conditions_table():
    few = method_table().iloc[:4]
    frames = [few.assign(value=value, arm=str(value)) for value in (1, 2, 4)]
    return pd.concat(frames, ignore_index=True)


def strengths_table():
    shown = [("dp3", "DP3"), ("dp3_mamba", "Mamba-1")]
    changes = [
        ("noise on points", "mm", (0, 5, 50)),
        ("the camera turned", "degrees", (0, 10, 20)),
        ("late", "steps", (0, 1)),
    ]
    rows = [
        {"change": title, "title": title, "unit": unit, "strength": strength, "method": method, "attention": "paper"}
        | {"policy": name, "ours": 90 - strength, "low": 80 - strength, "high": 100 - strength}
        for method, name in shown
        for title, unit, strengths in changes
        for strength in strengths
    ]
    return pd.DataFrame(rows)


def peers_table():
    return pd.DataFrame({"method": ["HDP3"], "cost": [2.5], "success": [78.4], "task": ["ten"]})


def runs_table(tasks):
    rows = [
        {"task": task, "method": method, "attention": attention or "paper", "folder": f"{task}-{method}-{attention}"}
        for task in tasks
        for method, attention in KINDS
    ]
    return pd.DataFrame(rows)


def metrics_table(runs, evaluated):
    frames = []
    for k, folder in enumerate(runs["folder"]):
        step = np.arange(0, 600, 10)
        frame = pd.DataFrame({"step": step, "loss": np.exp(-step / (100 + 20 * k)) + 0.01 * (k + 1), "folder": folder})
        if evaluated:
            frame["success_rate"] = np.where(step % 200 == 0, step / 600, np.nan)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


CURVE = pd.DataFrame({"step": [120, 240, 360], "share": [30.0, 12.0, 9.0]})


def errors_table(numbers):
    rows = [
        {"who": who, "number": number, "step": step, "share": step * (1 + place)}
        for place, who in enumerate(chunks.LOOKS)
        for number in numbers
        for step in range(1, 9)
    ]
    return pd.DataFrame(rows)


def chunks_table():
    rows = [
        {"moment": f"demonstration {episode}, frame {30 * episode}", "number": number, "step": step}
        | {"recorded": np.sin(step / 4 + episode), "predicted": np.cos(step / 4)}
        for episode in (1, 4, 9)
        for number in ("rotation vector x", "gripper")
        for step in range(1, 9)
    ]
    return pd.DataFrame(rows)


def costs_table():
    rows = []
    for quantity in ("parameters, that run", "multiply-adds, T = 4", "latency, T = 16"):
        for k, (method, attention) in enumerate(KINDS):
            share = 1.0 if method == "dp3" else 0.15 * k
            eager = share / 2 if quantity.startswith("latency") else float("nan")
            rows.append((method, attention, quantity, 100 * share, share, eager, f"{100 * share:.0f} M"))
    return pd.DataFrame(rows, columns=["method", "attention", "quantity", "value", "share", "share_eager", "text"])


def parts_table():
    rows = [(m.name, m.label, part, 1000 * (k + 1)) for m in METHODS.values() for k, part in enumerate(anatomy.PARTS)]
    return pd.DataFrame(rows, columns=["method", "label", "part", "parameters"])


def reach_table():
    rows = [
        (structure, horizon, part, 200, 10 * k)
        for structure in anatomy.STRUCTURES
        for horizon in (4, 16)
        for k, part in enumerate(anatomy.PARTS)
    ]
    return pd.DataFrame(rows, columns=["structure", "horizon", "part", "parameters", "reached"])


def lengths_table():
    rows = [(horizon, block, max(1, horizon // block), 8) for horizon in (4, 16) for block in (1, 2, 4)]
    return pd.DataFrame(rows, columns=["horizon", "block", "length", "channels"])


def mixing_table():
    rows = [
        (mixer, t, s, float(s <= t) / (1 + t - s) if s <= t else 0.0)
        for mixer in MIXERS
        for t in range(4)
        for s in range(4)
    ]
    return pd.DataFrame(rows, columns=["mixer", "to", "source", "weight"])


def field_table():
    rows = [(m.name, m.label, t, s, 0.25) for m in METHODS.values() for t in range(4) for s in range(4)]
    return pd.DataFrame(rows, columns=["method", "label", "to", "source", "share"])


def cloud(points):
    return np.random.default_rng(0).normal(size=(points, 3)).astype(np.float32)


def look():
    return {
        "picture": np.zeros((24, 32, 3), np.uint8),
        "seen": cloud(500),
        "cropped": cloud(100),
        "sampled": np.concatenate([cloud(10), np.zeros((3, 3))]),
    }


def watched():
    draw = np.random.default_rng(0).normal
    return Watched(
        task=TASKS[0],
        method="dp3",
        seed=7,
        success=True,
        steps=np.array([0, 8]),
        pictures=np.zeros((2, 24, 32, 3), np.uint8),
        clouds=np.stack([cloud(32), cloud(32)]),
        chunks=draw(size=(2, 16, 4)),
        noisy=draw(size=(11, 16, 4)),
        levels=np.linspace(1, 0, 11),
        executed=(1, 9),
    )


def traces_table():
    rows = {"episode": np.repeat([0, 1], 5), "step": np.tile(np.arange(5), 2)}
    return pd.DataFrame(rows | {f"state {k}": np.linspace(0, k, 10) for k in range(7)})


RUNS, ONE = runs_table(TASKS), runs_table(TASKS[:1])
LABELS = [row.label for row in METHODS.values()]
FIGURES = {  # name: (how to draw it, what must be written on it)
    "method": (schematic.method_figure, ["2 blocks", "x + attention(norm x)", "condition"]),
    "cloud": (lambda: pictures.camera_and_cloud(look()), ["camera", "seen: 500 points", "sampled: 10 points"]),
    "traces": (lambda: pictures.traces(traces_table()), ["state 0", "state 6", "step"]),
    "strip": (lambda: film_strip.film_strip(watched()), ["step 0", "step 8", "move x (cm)", "close gripper"]),
    "denoising": (
        lambda: film_strip.denoising(watched()),
        ["noise\nnoise 100 %", "after 10 of 10\nnoise 0 %", "move x (cm)", "close gripper"],
    ),
    "episodes": (
        lambda: plots.episodes(pd.DataFrame({"seed": [1, 2, 3], "success": [True, False, True], "steps": [9, 200, 7]})),
        ["success", "failure", "steps"],
    ),
    "parts": (lambda: networks.parameters_by_part(parts_table()), [*LABELS, *anatomy.PARTS]),
    "lengths": (lambda: networks.sequence_lengths(lengths_table()), ["horizon 4", "horizon 16"]),
    "reach": (lambda: networks.gradient_reach(reach_table()), [*anatomy.STRUCTURES, *anatomy.PARTS, "horizon 4"]),
    "mixing": (lambda: networks.mixing_matrices(mixing_table()), ["Mamba-1", "Hydra", "attention", "from step"]),
    "field": (lambda: networks.receptive_fields(field_table()), [*LABELS, "from step", "share of a row (%)"]),
    "losses": (lambda: plots.curves(metrics_table(RUNS, False), RUNS), [*LABELS, "Hydra, no attention", "loss"]),
    "curves": (lambda: plots.curves(metrics_table(ONE, True), ONE), [*LABELS, "loss", "success (%)"]),
    "errors": (
        lambda: chunks.errors(errors_table(["position x", "gripper"]), CURVE),
        ["policy", "last action again", "nearest recorded state", "position x", "gripper", "step of the training"],
    ),
    "many_errors": (
        lambda: chunks.errors(errors_table([f"joint {number}" for number in range(24)]), CURVE),
        ["number of the action", "step of the chunk", chunks.OFF],
    ),
    "chunks": (
        lambda: chunks.chunks(chunks_table()),
        ["recorded", "predicted", "demonstration 4, frame 120", "gripper", "rotation\nvector x"],
    ),
    "success": (lambda: success.by_task(success_table(TASKS)), [*LABELS, *TASKS, "Mamba-1, no attention"]),
    "one_task": (lambda: success.by_task(success_table(TASKS[:1])), [*LABELS, TASKS[0]]),
    "peers": (lambda: success.against_cost(method_table(), peers_table(), "cost"), ["Hydra", "HDP3, published"]),
    "seeds": (
        lambda: success.by_seed(seeds_table(TASKS)),
        [*LABELS, *TASKS, "success (%); from top to bottom: seed 0, seed 1, seed 2"],
    ),
    "one_seed": (lambda: success.by_seed(seeds_table(TASKS[:1])[:3]), [LABELS[0], TASKS[0]]),
    "no_peers": (
        lambda: success.against_cost(method_table(), peers_table()[:0], "cost"),
        [*LABELS[: len(PAPER_METHODS)], "cost"],
    ),
    "strengths": (
        lambda: success.by_strength(strengths_table()),
        ["DP3", "Mamba-1", "noise on points", "mm", "50", "the camera turned", "degrees", "success (%)"],
    ),
    "one_change": (lambda: success.by_strength(strengths_table()[:3]), ["DP3", "noise on points", "mm"]),
    "many_changes": (lambda: success.by_strength(strengths_table(), columns=2), ["Mamba-1", "late", "steps"]),
    **{
        f"ablation_{drawn}": (lambda draw=draw: draw(conditions_table(), "what is varied"), ["success (%)"])
        for drawn, draw in success.DRAWN.items()
    },
    "costs": (
        lambda: plots.costs(costs_table()),
        [*LABELS, "multiply-adds\nT = 4", "as a share of DP3; ticks: of DP3 in eager PyTorch"],
    ),
}


@pytest.fixture(autouse=True)
def own_root(monkeypatch, tmp_path):
    monkeypatch.setenv("MP_ROOT", str(tmp_path))


def words(figure):
    """Everything that is written on a figure and can be seen."""
    figure.draw_without_rendering()
    return {text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")) if text.get_text()}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_names_what_it_shows_and_cuts_nothing_off(name):
    draw, expected = FIGURES[name]
    figure = draw()
    assert isinstance(figure, Figure)
    assert not set(expected) - words(figure)
    assert figure.get_figwidth() in (style.COLUMN, style.PAGE)
    drawn, page, slack = figure.get_tightbbox(), figure.bbox_inches, 0.03  # inches
    assert min(drawn.x0, drawn.y0) > -slack, drawn
    assert drawn.x1 < page.x1 + slack and drawn.y1 < page.y1 + slack, f"{drawn} beyond {page}"


def publish_into(folder, figure, table):
    """The files of a published figure by their endings; its provenance names a source, its name is 09_test."""
    (folder / "source.csv").write_text("a\n1\n")
    publish(figure, "09_test", table, [folder / "source.csv"], {"scale": "smoke"})
    return {path.suffix: path.read_bytes() for path in (folder / "figures").glob("09_test.*")}


@pytest.mark.parametrize("name", ["method", "strip"])
def test_a_saved_figure_is_four_files_with_the_same_bytes_twice(name, tmp_path):
    first, second = (publish_into(tmp_path, FIGURES[name][0](), success_table(TASKS)) for _ in range(2))
    assert set(first) == {".png", ".pdf", ".csv", ".json"} and first == second
    assert len(list((tmp_path / "figures").iterdir())) == len(first)


def test_the_table_behind_a_figure_comes_back(tmp_path):
    table = success_table(TASKS)
    content = publish_into(tmp_path, success.by_task(table), table)[".csv"]
    pd.testing.assert_frame_equal(pd.read_csv(io.BytesIO(content), keep_default_na=True), table.replace("", np.nan))


def test_a_saved_figure_says_where_it_comes_from(tmp_path):
    origin = json.loads(publish_into(tmp_path, schematic.method_figure(), pd.DataFrame({"a": [1]}))[".json"])
    assert origin["parameters"] == {"scale": "smoke"}
    assert list(origin["inputs"]) == ["source.csv"] and origin["versions"]["matplotlib"] and origin["commit"]


def test_fonts_of_a_pdf_are_embedded_as_outlines(tmp_path):
    content = publish_into(tmp_path, schematic.method_figure(), pd.DataFrame())[".pdf"]
    assert b"/FontFile2" in content and b"/Type3" not in content and b"CreationDate" not in content


def test_publish_without_saving_writes_nothing(tmp_path):
    picture = publish(schematic.method_figure(), "09_test", pd.DataFrame(), save=False)
    assert picture.data[:4] == b"\x89PNG" == show(schematic.method_figure()).data[:4]
    assert not (tmp_path / "figures").exists()


def test_the_users_own_style_changes_nothing():
    import matplotlib

    usual = show(success.by_task(success_table(TASKS))).data
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "pink"}):
        assert show(success.by_task(success_table(TASKS))).data == usual


def test_every_method_has_its_own_colour_and_marker():
    assert set(style.COLORS) == set(METHODS)
    assert len(set(style.COLORS.values())) == len(set(style.MARKERS.values())) == len(METHODS)


def test_spread_keeps_the_order_and_the_gap():
    values = np.array([0.5, 0.1, 0.52, 0.9, 0.51])
    moved = style.spread(values, 0.1)
    assert np.array_equal(np.argsort(moved), np.argsort(values))
    assert np.diff(np.sort(moved)).min() > 0.1 - 1e-9
    assert moved[[1, 3]] == pytest.approx([0.1, 0.9])


def test_a_matrix_whose_entries_are_of_one_size_has_a_scale_of_its_own():
    table = mixing_table()
    attention = table["mixer"] == "attention"
    table.loc[attention, "weight"] = np.linspace(0.7, 1, attention.sum())
    figure = networks.mixing_matrices(table)
    limits = {axes.get_title("left"): axes.images[0].get_clim() for axes in figure.axes if axes.images}
    assert limits.pop("attention") == (0.7, 1) and set(limits.values()) == {(1e-5, 1)}
