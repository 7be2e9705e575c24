"""What the notebooks say about networks: parts add up, lengths and gradients are measured."""

import pandas as pd
import pytest
import torch

from mp_lib.insight import anatomy
from mp_lib.model.policy import build_denoiser
from mp_lib.presets import METHODS, mixers_of

BARE = [row for row in METHODS.values() if row.frame == "unet" and not row.mixer]


@pytest.mark.parametrize("method", METHODS)
def test_parts_are_all_parameters_and_none_twice(method):
    with torch.device("meta"):
        denoiser = build_denoiser(method, 4, 128, (32, 64, 64) if METHODS[method] in BARE else None)
    parts = [parameter for parameters in anatomy.parts_of(denoiser).values() for parameter in parameters]
    assert len({id(parameter) for parameter in parts}) == len(parts) == len(list(denoiser.parameters()))


def test_totals_are_the_official_counts():
    totals = anatomy.parameters_by_part().groupby("method")["parameters"].sum()
    # Counted from the official code at action size 26, condition 256.
    assert totals["dp3"] == 255_153_306 and totals["simple_dp3"] == 7_394_970
    assert totals["dp3_mamba"] == 47_872_794 and totals["dp3_mamba_hydra"] == 48_313_450


def test_the_blocks_of_the_release_see_these_lengths():
    table = anatomy.sequence_lengths("dp3_mamba_v2")
    seen = {horizon: list(rows["length"]) for horizon, rows in table.groupby("horizon")}
    assert seen == {4: [4, 4, 2, 2, 1, 1, 1, 1, 1, 1, 2, 2], 16: [16, 16, 8, 8, 4, 4, 4, 4, 4, 4, 8, 8]}
    assert "horizon 4, of 12 blocks 2 see length 4, 4 see length 2 and 6 see length 1." in anatomy.lengths_sentence(
        table
    )


def test_attention_gets_gradients_only_where_it_runs(monkeypatch):
    narrow = lambda method, action, cond, horizon: build_denoiser(method, action, cond, (32, 64, 64))  # noqa: E731
    monkeypatch.setattr(anatomy, "build_denoiser", narrow)
    table = anatomy.gradient_reach("dp3_mamba_v2", horizons=(16,))
    found = table[table["part"].str.contains("attention")].groupby("structure")[["parameters", "reached"]].sum()
    assert found.loc["as the release runs", "reached"] == 0
    assert found.loc["as the paper draws it", "reached"] == found.loc["as the paper draws it", "parameters"] > 0
    others = table[~table["part"].str.contains("attention")]
    assert (others["reached"] > 0.99 * others["parameters"]).all()
    assert "0 at horizon 16" in anatomy.reach_sentence("dp3_mamba_v2", table)


@pytest.mark.parametrize("method", [name for name in METHODS if not mixers_of(name, "paper")])
def test_a_method_without_attention_says_so(method):
    assert "has no attention" in anatomy.reach_sentence(method, pd.DataFrame({"part": []}))
