"""Runs as rows: kept ones read like fresh ones, stand in only where nothing was run, and evaluations are rows, too."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from mp_lib.__main__ import main
from mp_lib.config import EARLIER_FINAL_SEEDS, FINAL_SEEDS
from mp_lib.drawing.display import Markdown
from mp_lib.learning.evaluation import evaluation_path
from mp_lib.learning.how import deviation
from mp_lib.learning.result import How
from mp_lib.model.backends import BACKENDS
from mp_lib.presets import METHODS, recipe_of
from mp_lib.sim.tasks import PAPER_TASKS
from mp_lib.study import ablations, claims, paper_tables, tables
from mp_lib.study.designs import ABLATIONS, DESIGNS
from mp_lib.study.rows import COLUMNS, CONFIG, MEASURED, count_unreadable, curves_path, kept_path, load_kept, load_runs
from mp_lib.study.runs import POINTS, choose_runs, count_changed, keep, load_metrics, result_files, runs_of_design
from mp_lib.system.errors import InputError
from mp_lib.system.paths import published_path, run_path
from mp_lib.system.provenance import file_hash
from tests import ROOT
from tests.study.finished import write_run

TASK, COST = "metaworld_drawer-open", "parameters of the denoiser (M)"


@pytest.fixture(autouse=True)
def own_root(empty_root):
    published_path().parent.mkdir(parents=True)
    header = "table,method,task,value,spread,unit,evidence,source"
    published_path().write_text(f"{header}\nsuccess,DP3,adroit_pen,43,6,percent,author,a source\n")


def forget_runs():
    """Delete what was run here."""
    for path in run_path("").glob("*/*.json*"):
        path.unlink()


def write_design(name, methods, rates, seeds=3, episodes=20, scale="smoke"):
    """Runs of an experiment with these rates: one a method, or a function of method and arm's value."""
    rng = np.random.default_rng(0)
    for seed in range(seeds):
        for arm, config in DESIGNS[name].configs(scale, [TASK], methods, [seed]):
            rate = rates(config.method, arm.value) if callable(rates) else rates[config.method]
            won = rng.binomial(1, rate, episodes).tolist()
            usual = {key: value for key, value in vars(config).items() if key in ("horizon", "n_action_steps")}
            write_run(TASK, config.method, won, seed, scale=scale, attention=config.attention, **usual)


def test_kept_runs_read_as_they_were():
    write_run(TASK, "dp3", [1, 0, 1])
    write_run(TASK, "dp3_mamba", [0, 0, 1], 1, [{"step": 8, "successes": 1, "episodes": 2}], attention="released")
    write_run("adroit_pen", "dp3", [1], demonstrator="dapg")
    write_run("adroit_pen", "dp3", [1], ema_power=1, betas=[0, 0.9], num_points=20_000)
    before = load_runs()
    assert keep(["smoke"])[0] == 4
    after = load_kept()
    assert after["kept"].all() and not before["kept"].any()
    columns = [column for column in COLUMNS if column != "kept"]
    pd.testing.assert_frame_equal(
        after[columns].reset_index(drop=True), before[columns].reset_index(drop=True), check_dtype=False
    )
    content = kept_path().read_bytes(), curves_path().read_bytes()
    forget_runs()
    assert keep(["smoke"])[0] == 0 and (kept_path().read_bytes(), curves_path().read_bytes()) == content


BEYOND = {
    "num_points": 10**7,
    "horizon": 10,
    "final_episodes": 10**8,
    "width_divisor": 7,
    "split": "half",
    "seed": 2**130,
}


@pytest.mark.parametrize("key", BEYOND)
def test_results_are_read_whatever_is_refused_today(key):
    usual = write_run(TASK, "dp3", [1, 0])
    path = run_path(usual.name) / "result.json"
    result = json.loads(path.read_text())
    result["config"][key] = BEYOND[key]
    path.write_text(json.dumps(result))
    (row,) = load_runs().to_dict("records")
    assert row[key] == BEYOND[key] and str(BEYOND[key]) in row["name"] and count_unreadable() == 0
    with pytest.raises(InputError):
        replace(usual, **{key: BEYOND[key]})
    assert runs_of_design(DESIGNS["horizon"], "smoke").empty
    keep(["smoke"])
    assert load_kept()["name"].tolist() == [row["name"]]


def test_a_run_that_is_kept_again_replaces_the_earlier_one_of_its_name():
    for won in ([0, 0], [1, 1]):
        config = write_run(TASK, "dp3", won)
        keep(["smoke"])
        forget_runs()
        run_path(config.name).rmdir()
    assert load_kept()["successes"].tolist() == [2] and curves_path().read_text().count(config.name) == 2


def test_kept_runs_stand_in_only_where_nothing_was_run():
    write_run(TASK, "dp3", [1, 0])
    keep(["smoke"])
    forget_runs()
    assert choose_runs("smoke")["kept"].tolist() == [True] and choose_runs("quick").empty
    assert result_files(choose_runs("smoke")) == [kept_path()]
    write_run("adroit_pen", "dp3", [1])
    assert choose_runs("smoke")["task"].tolist() == ["adroit_pen"]
    assert choose_runs("smoke", tasks=[TASK])["kept"].tolist() == [True]


def test_a_run_on_a_store_of_somebodys_hides_no_kept_one_of_its_name():
    config = write_run(TASK, "dp3", [1, 0])
    keep(["smoke"])
    run_path(config.name).rename(run_path(f"{config.name}-demos=01234567"))
    assert load_runs()["changed"].tolist() == ["demos=01234567"]
    assert choose_runs("smoke", kept=True)["kept"].tolist() == [True]


def test_a_long_curve_is_kept_thinned_and_every_evaluation_stays():
    config = write_run(TASK, "dp3", [1])
    rows = [{"step": step, "loss": 1 / (1 + step)} for step in range(0, 5000, 10)]
    rows += [{"step": 999, "success_rate": 0.25}, {"step": 1999, "success_rate": 0.5}]
    (run_path(config.name) / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    keep(["smoke"])
    forget_runs()
    curve = load_metrics(load_kept())
    assert curve["success_rate"].dropna().tolist() == [0.25, 0.5]
    losses = curve[curve["loss"].notna()]
    assert POINTS / 2 < len(losses) <= POINTS and losses["step"].is_monotonic_increasing
    assert set(curve["folder"]) == {config.name}


def test_an_evaluation_with_fewer_denoising_steps_is_a_row_of_its_own():
    config = write_run(TASK, "dp3", [1, 0])
    folder = run_path(config.name) / "evaluations"
    folder.mkdir()
    (run_path(config.name) / "policy.safetensors").write_bytes(b"weights")
    found = {"num_inference_steps": 2, "backend": "torch", "successes": [0, 0], "device": "cpu", "commit": "def"}
    found |= {
        "seeds": [FINAL_SEEDS, FINAL_SEEDS + 1],
        "checkpoint": file_hash(run_path(config.name) / "policy.safetensors"),
    }
    for name, change in (
        ("usual", {}),
        ("other-seeds", {"seeds": [0, 1]}),
        ("fewer", {"seeds": [FINAL_SEEDS], "successes": [0]}),
        ("same", {"num_inference_steps": 10}),
        ("other-checkpoint", {"checkpoint": "0"}),
    ):
        (folder / f"{name}-2denoising.json").write_text(json.dumps(found | change))
    (folder / "damaged-2denoising.json").write_text('{"seeds"')
    for backend in {*BACKENDS} - {"torch"}:
        under = deviation(How(backend=backend), torch.device("cpu"))
        path = evaluation_path(run_path(config.name) / "policy.safetensors", 2, FINAL_SEEDS, 2, under)
        path.write_text(json.dumps(found | {"backend": backend}))
    rows = load_runs()
    assert rows["num_inference_steps"].tolist() == [10, 2] and rows["successes"].tolist() == [1, 0]
    assert rows["changed"].tolist() == ["", "num_inference_steps=2"] and rows["commit"].tolist() == ["abc", "def"]
    assert choose_runs("smoke")["successes"].tolist() == [1] and count_changed("smoke") == count_unreadable() == 0
    runs = runs_of_design(DESIGNS["denoising"], "smoke")
    assert dict(zip(runs["arm"], runs["successes"], strict=True)) == {"10": 1, "2": 0}
    assert folder / "usual-2denoising.json" in result_files(runs) and len(result_files(runs[runs["arm"] == "10"])) == 1


def test_an_experiment_of_which_one_condition_was_run_was_not_run():
    write_run(TASK, "dp3_mamba", [1, 0])
    assert runs_of_design(DESIGNS["horizon"], "smoke").empty
    assert len(runs_of_design(DESIGNS["variants"], "smoke")) == 1
    write_run(TASK, "dp3_mamba", [1, 0], horizon=32, n_action_steps=16)
    write_run(TASK, "dp3", [1, 1])  # in a single condition
    runs = runs_of_design(DESIGNS["horizon"], "smoke")
    assert sorted(runs["arm"]) == ["16", "32"] and set(runs["method"]) == {"dp3_mamba"}


def test_every_claim_is_judged_where_nothing_was_run_and_where_all_was():
    kept_path().parent.mkdir(parents=True)
    shutil.copy(ROOT / "data" / "results" / "benchmark.csv", kept_path().parent)
    empty = claims.claims_table("smoke")
    assert {claim.letter for claim in claims.CLAIMS} == {text[1] for text in empty["claim"]} == set("abcdef")
    lines = claims.verdict_lines(empty).splitlines()
    assert [claims.NOTHING in line for line in lines] == [True, False, True, True, True, False]
    write_design("attention", (), lambda method, on: 0.9 if on else 0.3)
    write_design("horizon", (), lambda method, T: 0.95 if METHODS[method].mixer or T < 64 else 0.05)
    table = claims.claims_table("smoke").set_index("claim")
    found = {says[1]: claims.together(rows["verdict"].tolist()) for says, rows in table.groupby("claim")}
    assert found["b"] == found["c"] == claims.HOLDS and not set(found.values()) & {claims.NOTHING}
    attention = table[table["compared"].str.startswith("with attention")].iloc[0]
    assert attention["verdict"] == claims.HOLDS and attention["low"] > 30
    assert attention["compared"].endswith("mean of Mamba-1, Mamba-2, bidirectional and Hydra")
    assert attention["basis"].startswith(f"{TASK}; at least 3 trainings each; 20 environment seeds")
    shown = claims.reading_table(claims.claims_table("smoke"))
    assert shown.iloc[:, 0].ne("").sum() == len(claims.CLAIMS)


def test_ablations_show_what_was_run_and_name_the_command_for_what_was_not(tmp_path):
    write_design("attention", (), lambda method, on: 0.9 if on else 0.3)
    shown = list(ablations.show("smoke", figures=True))
    heads = [each.data for each in shown if isinstance(each, Markdown)]
    assert len(heads) == len(ABLATIONS)
    for name, head in zip(ABLATIONS, heads, strict=True):
        assert ("Not run yet" in head) == (name not in ("attention", "variants", "width"))
        assert f"--experiment {name}" in head or "run here" in head
    assert (tmp_path / "figures" / "07_attention_smoke.pdf").exists()
    table = ablations.arm_table(DESIGNS["attention"], runs_of_design(DESIGNS["attention"], "smoke"))
    assert table["difference"].notna().tolist() == (table["arm"] == "paper").tolist()
    assert (
        table["difference"].max() > 30 and table["difference_over_runs"].tolist() == (table["arm"] == "paper").tolist()
    )
    with pytest.raises(ValueError, match="unknown experiment 'heights'; choose one of: first, main"):
        list(ablations.show("smoke", ["heights"]))


def test_conditions_are_compared_on_the_tasks_that_all_of_them_have():
    """DP3 is better on a task that has no other horizon: that must not enter the difference of a horizon's row."""
    rng = np.random.default_rng(0)
    for seed in (0, 1, 2):
        for T in (4, 16):
            for method, share in (("dp3", 0.4), ("dp3_mamba", 0.6)):
                changes = {"horizon": 4, "n_action_steps": 2} if T == 4 else {}
                write_run(TASK, method, rng.binomial(1, share, 20).tolist(), seed, **changes)
        write_run("adroit_pen", "dp3", [1] * 20, seed)
        write_run("adroit_pen", "dp3_mamba", [0] * 20, seed)
    runs = runs_of_design(DESIGNS["horizon"], "smoke")
    table = ablations.arm_table(DESIGNS["horizon"], runs).set_index(["method", "arm"])
    assert [arm for _, arm in table.index] == ["4", "16"] * 2 and set(table["tasks"]) == {1}
    for arm in ("4", "16"):
        row = table.loc["dp3_mamba", arm]
        assert row["difference"] == pytest.approx(row["ours"] - table.loc["dp3", arm]["ours"])


def test_tasks_with_several_trainings_of_every_kind_count_alone():
    for seed in (0, 1):
        for method in ("dp3", "dp3_mamba"):
            write_run(TASK, method, [1, 0], seed)
    write_run("adroit_pen", "dp3", [1, 1])
    runs = choose_runs("smoke")
    assert tables.common_tasks(runs) == [TASK]
    write_run("adroit_pen", "dp3_mamba", [0, 0])
    assert tables.common_tasks(choose_runs("smoke")) == [TASK]
    assert set(tables.method_table(choose_runs("smoke"))["ours"]) == {50}
    assert tables.common_tasks(choose_runs("smoke", seeds=[0])) == ["adroit_pen", TASK]


def test_runs_on_other_environment_seeds_are_not_those_of_the_scale():
    config = write_run(TASK, "dp3", [1, 0])
    path = run_path(config.name) / "result.json"
    result = json.loads(path.read_text())
    result["final"]["seeds"] = [20_000, 20_001]
    path.write_text(json.dumps(result))
    assert load_runs()["changed"].tolist() == ["first_seed=20000"] and choose_runs("smoke").empty
    assert runs_of_design(DESIGNS["variants"], "smoke").empty and keep(["smoke"])[0] == 0 and not kept_path().exists()


def test_several_seeds_give_an_interval_over_runs():
    for seed, won in enumerate(([1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0])):
        write_run(TASK, "dp3", won, seed)
    write_run(TASK, "dp3_narrow", [1, 1, 1, 0])
    several, single = tables.success_table(choose_runs("smoke")).to_dict("records")
    assert several["over_runs"] and not single["over_runs"]
    assert several["ours"] == several["iqm"] == 50 and several["by_run"] == "75 50 25" and several["expert_rate"] == 0.5
    assert single["iqm"] is None or np.isnan(single["iqm"])
    assert several["high"] - several["low"] > single["high"] - single["low"]


def test_the_papers_tables_have_a_row_a_task_that_was_run_and_what_is_typed_in_appears():
    assert paper_tables.main_table("smoke")["task"].tolist() == [*PAPER_TASKS]
    for seed in (0, 1):
        write_run("adroit_pen", "dp3", [1, 1, 0, 0], seed)
        write_run("dexart_laptop", "dp3_mamba", [1, 0, 0, 0], seed)
    main_table = paper_tables.main_table("smoke").set_index("task")
    assert main_table.index.tolist() == ["adroit_pen", "dexart_laptop"]
    assert main_table.loc["adroit_pen", ["DP3, published", "expert here, %"]].tolist() == ["43 ± 6", "50"]
    assert main_table.loc["adroit_pen", "DP3, here"].startswith("50 (")
    assert main_table.loc["dexart_laptop", "Mamba Policy, here"].startswith("25 (")
    assert set(main_table["Mamba Policy, published"]) == {""}
    with published_path().open("a") as file:
        for row in (
            "success,{},dexart_laptop",
            "variants,{},Hydra",
            "horizon,{},T = 16",
            "costs,{},parameters of the denoiser (M)",
        ):
            file.write(row.format("Mamba Policy") + ",7,,unit,author,a source\n")
    main_table = paper_tables.main_table("smoke").set_index("task")
    assert main_table.loc["dexart_laptop", "Mamba Policy, published"] == "(7)"  # a re-created task
    assert paper_tables.variants_table("smoke")["published"].tolist() == ["", "", "", "7"]
    assert paper_tables.horizon_table("smoke")["Mamba Policy, published"].tolist() == ["", "7", "", ""]
    assert paper_tables.costs_table()["Mamba Policy, published"].tolist() == ["7", "", ""]


def test_keeping_refuses_an_unknown_scale_in_one_line(capsys):
    assert main(["keep", "--scales", "huge"]) == 2
    assert "unknown scale 'huge'; choose one of: smoke, quick, pocket, standard, paper" in capsys.readouterr().err
    assert not kept_path().exists()


@pytest.mark.parametrize("earlier", [False, True])
def test_the_kept_runs_of_the_project_can_be_read_and_belong_to_its_scales(monkeypatch, earlier):
    monkeypatch.undo()
    runs = load_kept(earlier)
    assert len(runs) and set(runs["name"]) == set(runs["folder"]) and not runs["name"].duplicated().any()
    first = EARLIER_FINAL_SEEDS if earlier else FINAL_SEEDS
    assert (runs["outcomes"].str.len() == runs["episodes"]).all() and (runs["first_seed"] == first).all()
    assert [run.recipe < recipe_of(run.scale) for run in runs.itertuples()] == len(runs) * [earlier]
    assert set(load_metrics(runs)["folder"]) <= {*runs["name"]}
    header = kept_path(earlier).read_text().splitlines()[0].split(",")
    assert {*header} <= {*CONFIG, *MEASURED} and (earlier or header == [*CONFIG, *MEASURED])
