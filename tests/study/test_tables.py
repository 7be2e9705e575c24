"""From result.json files to tables and sentences that are true whatever the numbers are."""

import json

import numpy as np
import pandas as pd
import pytest

from mp_lib.config import FINAL_SEEDS
from mp_lib.data.recording import demonstrations_of
from mp_lib.learning import evaluation
from mp_lib.learning.folder import folder_of
from mp_lib.learning.result import RunResult
from mp_lib.learning.rollout import Episode
from mp_lib.learning.training import policy_config
from mp_lib.model import bfloat16
from mp_lib.model.checkpoint import save_policy
from mp_lib.model.policy import build_policy
from mp_lib.model.weights import find_checkpoint
from mp_lib.presets import SCALES
from mp_lib.sim.tasks import TASKS
from mp_lib.study import efficiency, overview, paper_tables, sentences, tables
from mp_lib.study.rows import count_unreadable, load_runs
from mp_lib.study.runs import choose_runs, count_changed, load_metrics, result_files
from mp_lib.system.paths import published_path, run_path
from mp_lib.timing.table import COLUMNS
from tests.study.finished import write_run

TASK, OTHER = "metaworld_assembly", "metaworld_reach"
PUBLISHED = (
    "table,method,task,value,spread,unit,evidence,source\n" + f"success,DP3,{TASK},99,1,percent,author,a source\n"
)


@pytest.fixture(autouse=True)
def own_root(empty_root):
    published_path().parent.mkdir(parents=True)
    published_path().write_text(PUBLISHED)


def test_without_runs_everything_is_empty_and_says_what_to_do():
    runs = choose_runs("smoke")
    assert runs.empty and tables.success_table(runs).empty and tables.method_table(runs).empty
    assert result_files(runs) == []
    assert "./run_all.sh smoke" in sentences.of_runs("smoke", runs)


def test_seeds_are_pooled_and_stand_beside_the_published_rate():
    write_run(TASK, "dp3", [1, 0, 1, 1])
    write_run(TASK, "dp3", [1, 1, 1, 1], seed=1)
    write_run(TASK, "dp3_mamba", [0, 0, 1, 0])
    table = tables.success_table(choose_runs("smoke")).set_index("method")
    assert table.loc["dp3", ["successes", "episodes", "seeds"]].tolist() == [7, 8, 2]
    assert table.loc["dp3", "ours"] == pytest.approx(87.5) and table.loc["dp3", "published"] == 99
    assert table.loc["dp3", "over_seeds"] == pytest.approx(100 * np.std([0.75, 1.0], ddof=1))
    assert pd.isna(table.loc["dp3_mamba", "published"]) and table.loc["dp3_mamba", "attention"] == "paper"
    shown = tables.reading_table(table.reset_index())
    assert shown["published, %"].tolist() == ["99 ± 1", ""] and shown["episodes; by seed, %"].tolist() == [
        "8: 75, 100",
        "4",
    ]
    assert len(shown.columns) <= 8 and sentences.BEST_COLUMN not in shown
    compare, who = sentences.remarks(table)
    assert "no run here was evaluated during its training" in compare and "somebody" in who
    assert "1 of 2 rows have no published rate." in compare
    assert "are from a source. A cell is empty" in paper_tables.how_to_fill()


def test_the_score_of_the_paper_stands_where_runs_were_evaluated_on_the_way():
    found = [2] * 5, [0, 4, 4, 2, 0, 0], [4] * 4  # the last has too few for the best five
    curves = [[{"step": k, "successes": won, "episodes": 4} for k, won in enumerate(each)] for each in found]
    for seed, curve in enumerate(curves[:2]):
        write_run(TASK, "dp3", [1, 0], seed, curve)
    write_run(TASK, "dp3_mamba", [1, 0], 0, curves[0])
    write_run(TASK, "dp3_mamba", [1, 0], 1, curves[2])
    table = tables.success_table(choose_runs("smoke"))
    assert table["best_five"].tolist()[:1] == [50] and table["best_five_over_seeds"].tolist()[:1] == [0]
    assert table["best_five"].isna().tolist() == [False, True]
    shown = tables.reading_table(table)
    assert shown[sentences.BEST_COLUMN].tolist() == ["50 ± 0", ""] and len(shown.columns) <= 8
    assert sentences.BEST_COLUMN in sentences.remarks(table)[0]


def test_runs_can_be_chosen_by_seed_and_attention():
    write_run(TASK, "dp3", [1])
    write_run(TASK, "dp3", [1], seed=1)
    for attention in ("paper", "released"):
        write_run(TASK, "dp3_mamba", [0], attention=attention)
    assert choose_runs("smoke", seeds=[1])["method"].tolist() == ["dp3"]
    for attention in ("paper", "released"):
        runs = choose_runs("smoke", attention=attention)
        assert runs["method"].tolist() == ["dp3", "dp3", "dp3_mamba"] and runs["attention"].iloc[-1] == attention
    shown = tables.reading_table(tables.success_table(choose_runs("smoke")))
    assert shown["method"].tolist() == ["DP3", "Mamba-1", "Mamba-1, no attention"]
    with pytest.raises(ValueError, match="unknown attention 'none'; choose one of: paper, released"):
        choose_runs("smoke", attention="none")


def test_no_attention_is_told_of_methods_that_have_none_either_way():
    """As in a run of a version that kept what was asked for."""
    config = write_run(TASK, "dp3", [1])
    old = run_path(f"{config.name}-attention=released")
    old.mkdir()
    result = json.loads((run_path(config.name) / "result.json").read_text())
    result["config"]["attention"] = "released"
    (old / "result.json").write_text(json.dumps(result))
    runs = choose_runs("smoke", attention="paper")
    assert len(runs) == len(tables.success_table(runs)) == len(tables.method_table(runs)) == 1


@pytest.mark.parametrize("damage", ["half", "method", "key", "kind", "empty"])
def test_a_run_that_cannot_be_read_is_counted_and_left_out(damage):
    write_run(TASK, "dp3", [1])
    path = run_path(write_run(TASK, "dp3_mamba", [1]).name) / "result.json"
    result = json.loads(path.read_text())
    changed = {"method": {"method": "dp4"}, "key": {"colour": 3}}.get(damage, {})
    text = json.dumps(result | {"config": result["config"] | changed})
    path.write_text({"half": text[:99], "kind": "[]", "empty": json.dumps(result | {"final": {}})}.get(damage, text))
    runs = choose_runs("smoke")
    assert runs["method"].tolist() == ["dp3"] and count_unreadable() == 1
    assert sentences.of_runs("smoke", runs, 0, 1).endswith("1 run folder left out, since unreadable.")
    assert "left out" in sentences.of_runs("smoke", runs[:0], 0, 1)


def test_curves_that_cannot_be_read_are_left_out():
    first, second = write_run(TASK, "dp3", [1]), write_run(TASK, "dp3_mamba", [1])
    (run_path(second.name) / "metrics.jsonl").write_text('{"step": 0, "lo')
    runs = load_runs()
    assert set(load_metrics(runs)["folder"]) == {first.name}
    assert load_metrics(runs[runs["folder"] == second.name]).empty


def test_a_run_on_a_given_store_has_its_own_folder_and_is_no_run_of_the_scale(toy_demos):
    config = write_run(TASK, "dp3", [1])
    folder = folder_of(config, toy_demos, "somewhere")
    assert folder.name == f"{config.name}-demos={toy_demos.content_hash()[:8]}"
    assert folder_of(config, toy_demos) == run_path(config.name)
    run_path(config.name).rename(folder)
    assert choose_runs("smoke").empty and count_changed("smoke") == 1
    with pytest.raises(ValueError, match=f"holds toy .*{TASK}"):
        demonstrations_of(config, demos=str(toy_demos.path))


def test_runs_with_changed_numbers_are_left_out():
    write_run(TASK, "dp3", [1, 0])
    write_run(TASK, "dp3", [1, 1], num_steps=10)
    write_run(TASK, "dp3_mamba", [1, 1], attention="released")
    runs = choose_runs("smoke")
    assert runs["successes"].tolist() == [1, 2] and set(runs["changed"]) == {""}
    assert set(load_runs()["changed"]) == {"", "num_steps=10"}
    said = sentences.of_runs("smoke", runs, count_changed("smoke"))
    assert "2 finished runs of 2 methods" in said and "1 run with other numbers" in said


def test_runs_on_demonstrations_of_another_expert_are_a_table_of_their_own():
    write_run("adroit_pen", "dp3", [1, 0])
    write_run("adroit_pen", "dp3", [1, 1], demonstrator="dapg")
    assert choose_runs("smoke")["successes"].tolist() == [1]
    assert choose_runs("smoke", expert="dapg")["successes"].tolist() == [2]
    assert set(load_runs()["changed"]) == {""}


def test_a_remark_on_an_expert_stands_under_tables_that_rest_on_it():
    spec = TASKS["adroit_pen"]
    names = [spec.expert_name, spec.with_expert("dapg").expert_name, "somebody"]
    table = pd.DataFrame({"task": ["adroit_pen", "adroit_pen", TASK], "expert": names})
    said = sentences.who_demonstrated(table)
    assert all(name in said for name in names) and said.count("VRL3") == 1
    assert "VRL3" not in sentences.who_demonstrated(table[2:])


def test_rates_of_a_task_that_is_re_created_are_not_compared_with_published_ones():
    config = write_run("dexart_laptop", "dp3", [1, 0])
    write_run(TASK, "dp3", [1, 0])
    table = tables.success_table(choose_runs("smoke"))
    assert table.set_index("task")["comparable"].to_dict() == {"dexart_laptop": False, TASK: True}
    shown = tables.reading_table(table.assign(published=83, published_spread=1))
    assert dict(zip(table["task"], shown["published, %"], strict=True)) == {"dexart_laptop": "(83 ± 1)", TASK: "83 ± 1"}
    compare, who = sentences.remarks(table.assign(published=83))
    assert "in brackets" in compare and "re-creation of DexArt" in who
    assert "in brackets" not in sentences.remarks(table)[0]  # nothing is known of the laptop here
    result = RunResult(**json.loads((run_path(config.name) / "result.json").read_text()))
    assert "re-creation of DexArt" in tables.result_table(result).set_index("fact").loc["remark", "value"]


def test_runs_can_be_chosen_by_task_and_method():
    write_run(TASK, "dp3", [1])
    write_run(OTHER, "dp3_mamba", [0])
    assert choose_runs("smoke", tasks=[OTHER])["method"].tolist() == ["dp3_mamba"]
    assert choose_runs("smoke", methods=["dp3"])["task"].tolist() == [TASK]
    assert choose_runs("quick").empty
    for wrong in ({"scale": "huge"}, {"scale": "smoke", "tasks": ["nope"]}, {"scale": "smoke", "methods": ["nope"]}):
        with pytest.raises(ValueError, match="choose one of"):
            choose_runs(**wrong)


def test_methods_are_compared_on_the_tasks_that_all_have():
    write_run(TASK, "dp3", [1, 1])
    write_run(OTHER, "dp3", [0, 0])
    write_run(TASK, "dp3_mamba", [1, 0])
    table = tables.method_table(choose_runs("smoke"))
    assert table["ours"].tolist() == [100, 50] and table["tasks"].tolist() == [1, 1]


def test_methods_without_a_common_task_are_not_compared():
    write_run(TASK, "dp3", [1])
    write_run(OTHER, "dp3_mamba", [1])
    table = tables.method_table(choose_runs("smoke"))
    assert table.empty


def test_metrics_know_their_run():
    config = write_run(TASK, "dp3", [1])
    metrics = load_metrics(load_runs())
    assert metrics["loss"].tolist() == [1.0, 0.5] and set(metrics["folder"]) == {config.name}


@pytest.mark.parametrize("scale", SCALES)
def test_what_a_scale_changes_is_listed(scale):
    table = overview.differences(scale)
    assert table.empty == (scale == "paper")
    assert len(table) == 0 or f"in {len(table)} numbers" in overview.what_differs(scale)
    assert set(SCALES) < set(overview.scales_table().columns)
    assert overview.tasks_table()["tasks"].sum() == len(TASKS)


def make_checkpoint(config, monkeypatch, successes):
    """A checkpoint beside a run's result, and rollouts that find these successes; returns its path and the calls."""
    path, calls = run_path(config.name) / "policy.safetensors", []
    save_policy(path, build_policy(policy_config(config, TASKS[TASK])), task=TASK)

    def play(policy, spec, seeds, *, jobs, films, journal):
        assert policy.device.type == "cpu"
        calls.append((list(seeds), policy.config.num_inference_steps))
        journal.add(0, [], [np.zeros((8, 8, 3), np.uint8)] * 3)
        return [Episode(seed, bool(successes[k]), 5) for k, seed in enumerate(seeds)]

    monkeypatch.setattr(evaluation, "rollout", play)
    monkeypatch.setattr(evaluation, "commit", lambda: "this")
    return path, calls


def test_an_evaluation_is_written_once_and_compared_seed_by_seed(monkeypatch):
    config = write_run(TASK, "simple_dp3", [1, 0, 1])
    path, calls = make_checkpoint(config, monkeypatch, [1, 0, 0])
    assert find_checkpoint() == path
    found = evaluation.evaluate(path, device="cpu")
    assert evaluation.evaluate(path, device="cpu") == json.loads(json.dumps(found)) and len(calls) == 1
    assert calls[0][0] == [FINAL_SEEDS, FINAL_SEEDS + 1, FINAL_SEEDS + 2]
    assert sorted(file.name for file in (path.parent / "evaluations").glob("[!.]*")) == [
        f"{FINAL_SEEDS}-3.json",
        f"{FINAL_SEEDS}-3.mp4",
    ]
    assert "Of 3 seeds in common, 2 ended alike" in sentences.of_evaluation(found, path)
    assert tables.episodes_table(found)["success"].tolist() == [True, False, False]


def test_an_evaluation_is_made_again_if_anything_about_it_is_not_as_it_was(monkeypatch):
    config = write_run(TASK, "simple_dp3", [1, 0])
    path, calls = make_checkpoint(config, monkeypatch, [1, 0])
    found = evaluation.evaluate(path, device="cpu")
    assert found["commit"] == "this"
    kept = path.parent / "evaluations"
    (kept / found["film"]).unlink()
    evaluation.evaluate(path, device="cpu")
    assert len(calls) == 2 and (kept / found["film"]).exists()
    monkeypatch.setattr(evaluation, "commit", lambda: "another")
    assert evaluation.evaluate(path, device="cpu")["commit"] == "another" and len(calls) == 3
    (kept / found["file"]).write_text('{"checkpoint"')
    evaluation.evaluate(path, device="cpu")
    evaluation.evaluate(path, device="cpu")
    assert len(calls) == 4


@pytest.mark.parametrize("wrong", [{"episodes": 0}, {"episodes": -1}, {"num_inference_steps": 0}])
def test_numbers_below_one_are_refused(monkeypatch, wrong):
    path, calls = make_checkpoint(write_run(TASK, "simple_dp3", [1]), monkeypatch, [1])
    (name, number), *_ = wrong.items()
    with pytest.raises(ValueError, match=f"{name} {number} given; it must be at least 1"):
        evaluation.evaluate(path, **wrong)
    assert not calls


def test_other_denoising_steps_are_another_evaluation(monkeypatch):
    config = write_run(TASK, "simple_dp3", [1, 0])
    path, calls = make_checkpoint(config, monkeypatch, [1, 0])
    found = evaluation.evaluate(path, num_inference_steps=2, device="cpu")
    assert calls[0][1] == 2 and found["file"] == f"{FINAL_SEEDS}-2-2denoising.json"
    assert "Not comparable seed by seed" in sentences.of_evaluation(found, path)


def test_another_backend_is_another_evaluation_which_is_no_row_and_is_compared_seed_by_seed(monkeypatch):
    monkeypatch.setattr(bfloat16, "processor_flags", lambda: "flags: avx512_bf16")
    path, calls = make_checkpoint(write_run(TASK, "simple_dp3", [1, 0, 1, 1]), monkeypatch, [1, 0, 1, 1])
    under = evaluation.evaluate(path, num_inference_steps=2, device="cpu", backend="bfloat16")
    assert under["backend"] == "bfloat16" and under["file"] == f"{FINAL_SEEDS}-4-2denoising-bfloat16.json"
    assert len(load_runs()) == 1
    found = evaluation.compare_backends(path, "bfloat16", episodes=4, device="cpu")
    assert found["successes"] == {"bfloat16": 3, "torch": 3} and found["alike"] == found["episodes"] == 4
    assert found["difference"].value == 0 and found["difference"].low < 0 < found["difference"].high
    assert len(calls) == 3 and calls[1] == calls[2]
    (name,) = (path.parent / "evaluations").glob(f"{FINAL_SEEDS}-4-bfloat16.json")
    name.write_text(json.dumps(json.loads(name.read_text()) | {"successes": [0, 0, 1, 0]}))
    worse = evaluation.compare_backends(path, "bfloat16", episodes=4, device="cpu")
    assert worse["successes"] == {"bfloat16": 1, "torch": 3} and worse["alike"] == 2
    assert worse["difference"].value == -0.5 and len(calls) == 3


def test_without_a_run_there_is_no_checkpoint():
    assert find_checkpoint() is None


def test_costs_are_those_counted_from_the_official_code():
    table = efficiency.cost_table(horizon=16).set_index(["method", "attention"])
    million = table[["parameters", "parameters_that_run", "multiply_adds"]] / 1e6
    assert million.loc[("dp3", "")].round(1).tolist() == [255.2, 255.2, 1174.5]
    assert million.loc[("dp3_mamba", "released"), ["parameters", "parameters_that_run"]].round(3).tolist() == [
        47.873,
        31.322,
    ]
    shown = efficiency.relative_costs({16: table.reset_index()}, pd.DataFrame(columns=COLUMNS), [])
    assert set(shown["quantity"]) == {"parameters, that run", "multiply-adds, T = 16"}
    assert (shown.loc[shown["method"] == "dp3", "share"] == 1).all()


def test_enumerations_read_well():
    assert sentences.join(["a"]) == "a" and sentences.join("abc") == "a, b and c" and sentences.join([]) == ""
    assert sentences.join(["a, b", "c"]) == "a, b; c"
    assert sentences.count(1, "task") == "1 task" and sentences.count(0, "task") == "0 tasks"
    assert sentences.of_rate(17, 20) == "17 of 20 episodes (85 %, 95 % interval 64 % to 95 % after Wilson)"
