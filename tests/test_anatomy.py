"""What the notebooks say about networks: matrices are exact, parts add up, lengths and gradients are measured."""

import pandas as pd
import pytest
import torch
from einops import rearrange
from torch.nn import functional

from mp_lib import anatomy
from mp_lib.config import METHODS, mixers_of
from mp_lib.model.mixers import MIXERS, short_conv
from mp_lib.model.policy import build_denoiser

LENGTH = 6


def apply(matrix, values):
    """y = M x with matrix (B, H, L, L) or one a channel (B, D, L, L)."""
    heads = rearrange(values, "b l (h p) -> b h l p", h=matrix.shape[1])
    return rearrange(matrix @ heads, "b h l p -> b l (h p)")


def finish_mamba1(mixer, x, matrix):
    values, z = mixer.in_proj(x).chunk(2, dim=-1)
    values = short_conv(values, mixer.conv1d, left=mixer.conv1d.kernel_size[0] - 1)
    return mixer.out_proj(apply(matrix, values) * functional.silu(z))


def finish_bimamba(mixer, x, matrix):
    values, z = mixer.in_proj(x).chunk(2, dim=-1)
    left = mixer.conv1d.kernel_size[0] - 1
    forward = short_conv(values, mixer.conv1d, left=left)
    backward = short_conv(values.flip(1), mixer.conv1d_b, left=left).flip(1)
    ahead, back = anatomy.mamba1_matrix(mixer, x), anatomy.mamba1_matrix(mixer, x, "_b")
    assert torch.equal(matrix, ahead + back)
    both = apply(ahead, forward) + apply(back, backward)
    return mixer.out_proj(both * functional.silu(z))


def finish_mamba2(mixer, x, matrix):
    z, xBC, _ = mixer.in_proj(x).split(mixer.sizes, dim=-1)
    xBC = short_conv(xBC, mixer.conv1d, left=mixer.conv1d.kernel_size[0] - 1)
    return mixer.out_proj(mixer.norm(apply(matrix, xBC[..., : z.shape[-1]]) * functional.silu(z)))


def finish_hydra(mixer, x, matrix):
    z, xBC, *_ = mixer.in_proj(x).split(mixer.sizes, dim=-1)
    xBC = short_conv(xBC, mixer.conv1d, left=mixer.conv1d.kernel_size[0] // 2)
    return mixer.out_proj(mixer.norm(apply(matrix, xBC[..., : z.shape[-1]])) * functional.silu(z))


def finish_attention(mixer, x, matrix):
    return mixer.proj(apply(matrix, mixer.qkv(x).chunk(3, dim=-1)[2]))


FINISH = {
    "mamba1": finish_mamba1,
    "bimamba": finish_bimamba,
    "mamba2": finish_mamba2,
    "hydra": finish_hydra,
    "attention": finish_attention,
}


@pytest.mark.parametrize("name", MIXERS)
@torch.no_grad()
def test_multiplying_with_the_matrix_is_what_the_mixer_does(name):
    torch.manual_seed(0)
    mixer, x = MIXERS[name](d_model=64), torch.randn(2, LENGTH, 64)
    found = FINISH[name](mixer, x, anatomy.MATRICES[name](mixer, x))
    torch.testing.assert_close(found, mixer(x), rtol=1e-4, atol=1e-6)


def test_only_mamba_1_and_2_are_causal():
    table = anatomy.mixing_table(length=LENGTH, d_model=64)
    later = table[table["source"] > table["to"]].groupby("mixer")["weight"].max()
    assert set(later.index[later == 0]) == {"mamba1", "mamba2"}
    assert table["weight"].between(0, 1).all()


@pytest.mark.parametrize("method", METHODS)
def test_parts_are_all_parameters_and_none_twice(method):
    with torch.device("meta"):
        denoiser = build_denoiser(method, 4, 128, (32, 64, 64) if METHODS[method].mixer is None else None)
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


def test_attention_gets_gradients_only_where_it_runs(monkeypatch):
    narrow = lambda method, action, cond, attention: build_denoiser(  # noqa: E731
        method, action, cond, (32, 64, 64), attention=attention
    )
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
