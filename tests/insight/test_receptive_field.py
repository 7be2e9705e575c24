"""Receptive fields are what autograd says of one entry after the other."""

import pandas as pd
import pytest
import torch

from mp_lib.insight import receptive_field
from mp_lib.insight.receptive_field import receptive_field as field_of
from mp_lib.model.policy import build_denoiser
from mp_lib.presets import METHODS, U_NETS

HORIZON, ACTIONS, COND = 8, 3, 10


@pytest.mark.parametrize("method", METHODS)
def test_a_row_is_what_autograd_says_of_single_entries(method, monkeypatch):
    monkeypatch.setattr(receptive_field, "ROWS", 7)  # does not divide the number of entries
    with torch.random.fork_rng():
        torch.manual_seed(0)
        widths = (32, 64, 64) if method in U_NETS else (32,)
        denoiser = build_denoiser(method, ACTIONS, COND, widths).double().eval().requires_grad_(False)
        actions, cond = torch.randn(2, HORIZON, ACTIONS).double(), torch.randn(2, COND).double()
    step = torch.tensor([3.0, 50.0]).double()
    found = field_of(denoiser, actions, step, cond)
    for to in (0, 5):
        row = torch.zeros(HORIZON, dtype=torch.float64)
        for number in range(ACTIONS):
            given = actions.clone().requires_grad_()
            denoiser(given, step, cond)[:, to, number].sum().backward()
            row += given.grad.abs().sum((0, 2))
        torch.testing.assert_close(found[to], row / (2 * ACTIONS**2), rtol=1e-9, atol=1e-12)


def test_a_running_sum_sees_itself_and_what_is_before():
    found = field_of(
        lambda actions, step, cond: actions.cumsum(1), torch.randn(2, 4, 3), torch.zeros(2), torch.zeros(2, 1)
    )
    torch.testing.assert_close(found, torch.ones(4, 4).tril() / 3)


def test_the_sentence_says_who_is_blind_to_later_steps():
    shares = {"DP3": [[0.5, 0.5], [0.5, 0.5]], "Mamba-1": [[1.0, 0.0], [0.5, 0.5]]}
    rows = [(name, t, s, found[t][s]) for name, found in shares.items() for t in (0, 1) for s in (0, 1)]
    said = receptive_field.sentence(pd.DataFrame(rows, columns=["label", "to", "source", "share"]))
    assert "(25 % if spread evenly): DP3 25 % and Mamba-1 0 %." in said
    assert "DP3 50 % and Mamba-1 75 %" in said and said.endswith("ignores later ones: Mamba-1.")
