"""The matrices of mixers are exact: on what a whole policy gives them, M x is what the mixer does."""

import numpy as np
import pandas as pd
import pytest
import torch

from mp_lib.config import PolicyConfig
from mp_lib.drawing.networks import MIXER_LABELS
from mp_lib.insight import mixing
from mp_lib.insight.mixing import TAKE_APART
from mp_lib.model.mixers import MIXERS
from mp_lib.model.policy import build_policy
from mp_lib.presets import METHODS

HORIZON, ACTIONS, WIDTHS = 16, 3, (32, 64, 64)
OWNERS = {row.mixer: row.name for row in METHODS.values() if row.mixer} | {"attention": "dp3_mamba_v2"}
CAUSAL = {"mamba1", "mamba2", "mamba3"}
BLOCKS = (1, 3, 7, 12)  # first of full length, halved, middle, last


def caught(name, block, batch=2):
    """A mixer of a new policy in float64, and what it gets there."""
    with torch.random.fork_rng():
        torch.manual_seed(block)
        policy = build_policy(PolicyConfig(OWNERS[name], 5, ACTIONS, down_dims=WIDTHS)).double().eval()
        inputs = (
            torch.randn(batch, HORIZON, ACTIONS).double(),
            torch.arange(batch).double(),
            torch.randn(batch, 2 * policy.obs_encoder.size).double(),
        )
    return mixing.captured(policy, inputs, block, name)


def test_every_mixer_can_be_taken_apart():
    assert TAKE_APART.keys() == MIXERS.keys() == OWNERS.keys() == MIXER_LABELS.keys()


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("name", MIXERS)
@torch.no_grad()
def test_multiplying_with_the_matrix_is_what_the_mixer_does(name, block):
    mixer, x = caught(name, block)
    apart = TAKE_APART[name](mixer, x)
    assert isinstance(mixer, MIXERS[name]) and apart.matrix.shape[-2:] == (x.shape[1],) * 2
    torch.testing.assert_close(apart.output(), mixer(x), rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", MIXERS)
@torch.no_grad()
def test_only_causal_mixers_are_zero_above_the_diagonal_and_exactly(name):
    matrix = TAKE_APART[name](*caught(name, 1)).matrix
    later = matrix[..., *torch.triu_indices(HORIZON, HORIZON, 1)]
    assert not later.any() if name in CAUSAL else later.abs().amax((0, 1)).all()


@torch.no_grad()
def test_each_direction_of_the_bidirectional_variant_looks_one_way():
    ahead, back = TAKE_APART["bimamba"](*caught("bimamba", 1)).matrices
    assert torch.equal(ahead, ahead.tril()) and torch.equal(back, back.triu())


@torch.no_grad()
def test_rows_of_attention_are_shares():
    matrix = TAKE_APART["attention"](*caught("attention", 1)).matrix
    torch.testing.assert_close(matrix.sum(-1), torch.ones_like(matrix[..., 0]))


def test_a_block_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="block 13 given; it must be from 1 to 12"):
        caught("hydra", 13)


def test_the_sentence_names_the_causal_mixers_and_the_shares():
    squares = {"mamba1": np.tril(np.ones((2, 2))), "hydra": np.array([[1.0, 1.0], [0.0, 1.0]])}
    rows = [(name, t, s, found[t, s], 3e-16) for name, found in squares.items() for t, s in np.ndindex(2, 2)]
    said = mixing.sentence(pd.DataFrame(rows, columns=["mixer", "to", "source", "weight", "error"]))
    assert "later ones: Mamba-1. Share of |M| on later steps: Hydra 25 %;" in said
    assert "Mamba-1 75 % and Hydra 75 %" in said and "to 3e-16 of" in said
