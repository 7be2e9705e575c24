"""Mixers equal the public implementations, whose parameters load by name."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mp_lib.model.mixer import inverse_softplus_dt
from mp_lib.model.mixers import MIXERS, Attention

REFERENCE = Path(__file__).parents[1] / "reference"
STATE_SPACES = [name for name in MIXERS if name != "attention"]
PUBLISHED = [name for name in STATE_SPACES if name != "bimamba3"]
LENGTHS = (1, 2, 4, 16, 37, 128)
CAUSAL = {"mamba1", "mamba2", "mamba3"}


def test_every_published_state_space_mixer_has_a_reference():
    assert {path.stem for path in REFERENCE.glob("*.npz")} >= set(PUBLISHED)


@pytest.fixture(scope="module", params=PUBLISHED)
def official(request):
    """A mixer with the official parameters, and the reference file."""
    with np.load(REFERENCE / f"{request.param}.npz") as file:
        arrays = {key: torch.from_numpy(values) for key, values in file.items()}
    mixer = MIXERS[request.param](d_model=64)
    parameters = {key.removeprefix("param:"): values for key, values in arrays.items() if key.startswith("param:")}
    mixer.load_state_dict(parameters, strict=True)
    return mixer, arrays


@pytest.mark.parametrize("length", LENGTHS)
def test_outputs_equal_the_public_implementations(official, length):
    mixer, arrays = official
    expected = arrays[f"out:y{length}"]
    with torch.no_grad():
        found = mixer(arrays[f"in:x{length}"])
    assert (found - expected).norm() < 1e-5 * expected.norm()
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()


def test_a_traced_mixer_is_the_same(official, monkeypatch):
    mixer, arrays = official
    with torch.no_grad():
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
        found = mixer(arrays["in:x16"])
    torch.testing.assert_close(found, arrays["out:y16"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", MIXERS)
def test_only_the_causal_mixers_are_blind_to_what_comes_later(name):
    torch.manual_seed(0)
    mixer, x = MIXERS[name](d_model=64), torch.randn(1, 12, 64)
    later = torch.cat([x[:, :8], torch.randn(1, 4, 64)], dim=1)
    with torch.no_grad():
        difference = (mixer(x) - mixer(later))[:, :8].abs().amax(dim=(0, 2))
    if name in CAUSAL:
        assert difference.max() < 1e-6
    else:
        assert difference.min() > 1e-6


@pytest.mark.parametrize("name", MIXERS)
def test_sequences_of_a_batch_do_not_touch(name):
    torch.manual_seed(0)
    mixer, x = MIXERS[name](d_model=64), torch.randn(3, 6, 64)
    with torch.no_grad():
        torch.testing.assert_close(mixer(x)[1:2], mixer(x[1:2]), rtol=1e-5, atol=1e-6)


def test_attention_is_that_of_torch():
    torch.manual_seed(0)
    ours, oracle = Attention(64), nn.MultiheadAttention(64, num_heads=8, batch_first=True)
    with torch.no_grad():
        oracle.in_proj_weight.copy_(ours.qkv.weight)
        oracle.in_proj_bias.zero_()
        oracle.out_proj.load_state_dict(ours.proj.state_dict())
        for length in LENGTHS:
            x = torch.randn(2, length, 64)
            torch.testing.assert_close(ours(x), oracle(x, x, x, need_weights=False)[0], rtol=1e-5, atol=1e-6)


def test_step_sizes_begin_log_uniform_between_a_thousandth_and_a_tenth():
    torch.manual_seed(0)
    dt = nn.functional.softplus(inverse_softplus_dt(10_000))
    assert 0.999e-3 < dt.min() < 1.01e-3
    assert 0.99e-1 < dt.max() < 1.001e-1
    assert abs(dt.log10().mean() + 2) < 0.02


def test_states_begin_as_in_the_public_implementations():
    torch.manual_seed(0)
    for suffix in ("A_log", "A_b_log"):
        decay = dict(MIXERS["bimamba"](d_model=64).named_parameters())[suffix].exp()
        torch.testing.assert_close(decay, torch.arange(1.0, 17).repeat(128, 1))
    many = MIXERS["mamba2"](d_model=512).A_log.exp()
    assert 1 <= many.min() < 5 and 12 < many.max() <= 16
    assert (MIXERS["hydra"](d_model=512).A_log == 0).all()
    for name in STATE_SPACES:
        assert (MIXERS[name](d_model=64).D == 1).all()


@pytest.mark.parametrize(("name", "d_model"), [("attention", 20), ("attention", 4), ("hydra", 16), ("mamba2", 24)])
def test_sizes_that_heads_do_not_divide_are_refused(name, d_model):
    with pytest.raises(ValueError, match="cannot be divided into .*heads.*choose a multiple of it"):
        MIXERS[name](d_model=d_model)
