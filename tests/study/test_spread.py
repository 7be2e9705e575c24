"""The spread between trainings is what single episodes do not explain, on environment seeds of no final table."""

import numpy as np
import pytest

from mp_lib.__main__ import main
from mp_lib.config import CURVE_SEEDS, FINAL_SEEDS
from mp_lib.learning.evaluation import evaluation_path
from mp_lib.study import spread
from mp_lib.study.spread import CHOICE_SEEDS, EPISODES, kept_rows, spread_table, write_rows
from mp_lib.system.files import write_json
from mp_lib.system.paths import run_path
from mp_lib.system.provenance import file_hash
from tests.study.finished import write_run

pytestmark = pytest.mark.usefixtures("empty_root")
TASK = "metaworld_drawer-open"


def make_rows(rates, method="dp3", episodes=EPISODES):
    rng = np.random.default_rng(0)
    drawn = ("".join(map(str, rng.binomial(1, rate, episodes))) for rate in rates)
    named = {"task": TASK, "method": method, "scale": "quick", "recipe": "2", "first_seed": str(CHOICE_SEEDS)}
    return [named | {"seed": str(seed), "outcomes": outcomes} for seed, outcomes in enumerate(drawn)]


def test_the_seeds_are_none_of_the_tables():
    seeds = range(CHOICE_SEEDS, CHOICE_SEEDS + EPISODES)
    assert seeds.start >= CURVE_SEEDS + 10_000 and seeds.stop <= FINAL_SEEDS


@pytest.mark.parametrize("true", [0.0, 0.1, 0.3])
def test_the_deviation_is_that_of_the_rates_without_the_noise_of_episodes(true):
    rates = np.clip(0.5 + true * np.random.default_rng(1).normal(size=300), 0, 1)
    write_rows(make_rows(rates))
    row = spread_table().set_index("method").loc["dp3"]
    assert row["deviation"] == pytest.approx(100 * rates.std(ddof=1) if true else 0, abs=3)
    assert row["trainings"] == 300 and row["success"] == pytest.approx(50, abs=4)


def test_all_methods_together_have_the_root_mean_square():
    write_rows(make_rows([0.1, 0.9]) + make_rows([0.5, 0.5, 0.5], "dp3_mamba"))
    table = spread_table().set_index("method")
    alone = table.loc[["dp3", "dp3_mamba"], "deviation"]
    assert table.loc["all", "deviation"] == pytest.approx(np.sqrt((alone**2).mean())) and alone["dp3"] > 40
    assert table.loc["all", "trainings"] == 5


def test_runs_are_played_once_and_their_outcomes_kept_beside_others(monkeypatch, capsys):
    write_rows(make_rows([0.5, 0.5], "simple_dp3"))
    played = []

    def evaluate(checkpoint, episodes, first_seed, **how):
        played.append((checkpoint.parent.name, episodes, first_seed))
        found = {"successes": [1] * episodes, "checkpoint": file_hash(checkpoint)}
        path = evaluation_path(checkpoint, episodes, first_seed, None)
        path.parent.mkdir(exist_ok=True)
        write_json(path, found)
        return found

    monkeypatch.setattr(spread, "evaluate", evaluate)
    config = write_run(TASK, "dp3", [1, 0], scale="quick")
    (run_path(config.name) / "policy.safetensors").write_bytes(b"")
    for _ in range(2):
        assert main(["keep-spread", "--scale", "quick"]) == 0
    assert played == [(config.name, EPISODES, CHOICE_SEEDS)] and "1 runs in" in capsys.readouterr().out
    assert [row["method"] for row in kept_rows()] == ["dp3", "simple_dp3", "simple_dp3"]
    assert kept_rows()[0]["outcomes"] == "1" * EPISODES


def test_without_rows_there_is_an_empty_table():
    assert spread_table().empty
