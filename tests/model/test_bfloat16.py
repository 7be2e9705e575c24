"""Large layers in bfloat16 act nearly as the policy does, read fewer bytes, and run only where they are asked for.

The arithmetic runs on every processor, slowly without instructions for it; which instructions there are is given here.
"""

import pytest
import torch

from mp_lib.config import PolicyConfig
from mp_lib.model import bfloat16
from mp_lib.model.backends import freeze, scoring_backend
from mp_lib.model.bfloat16 import ONCE, ROUNDED, SMALLEST, round_layers
from mp_lib.model.policy import build_policy
from mp_lib.presets import ATTENTION, METHODS
from mp_lib.system.errors import InputError
from tests.model.test_backends import history, make_policy

EVERY = [
    (method, attention) for method, row in METHODS.items() for attention in (ATTENTION if row.mixer else ["paper"])
]
LOW, HIGH = -3.0, 7.0  # of the actions


@pytest.fixture
def able(monkeypatch):
    """A processor with the instructions."""
    monkeypatch.setattr(bfloat16, "processor_flags", lambda: "flags: fpu amx_bf16")


def normalized(method, attention="paper"):
    policy = make_policy(method, attention)
    policy.normalizer.fit({"action": torch.tensor([[LOW] * 4, [HIGH] * 4])})
    return policy


def bytes_read(policy):
    """Of the weights that a call of the denoiser reads."""
    return sum(each.nbytes for name, each in policy.model.named_parameters() if not {*ONCE} & {*name.split(".")})


@pytest.mark.parametrize(("method", "attention"), EVERY)
def test_large_layers_alone_are_rounded_and_chunks_stay_within_a_hundredth_of_the_actions_range(
    method, attention, able, monkeypatch
):
    monkeypatch.setattr(bfloat16, "SMALLEST", 64)
    policy = normalized(method, attention)
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    frozen = freeze(policy, "bfloat16")
    rounded = [layer.weight for layer in frozen.policy.modules() if type(layer) in ROUNDED.values()]
    assert frozen.backend == "bfloat16" and rounded
    assert all(each.dtype == torch.bfloat16 and min(each.flatten(1).shape) >= 64 for each in rounded)
    assert sum(each.dtype != torch.float32 for each in frozen.policy.parameters()) == len(rounded)
    for batch in (1, 3):
        seen, noise = history(batch), torch.randn(batch, 16, 4)
        ours, theirs = frozen.predict(seen, noise), policy.predict(seen, noise)
        assert ours.dtype == torch.float32 and not torch.equal(ours, theirs)
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-2 * (HIGH - LOW))
    after = policy.state_dict()
    assert all(torch.equal(after[name], value) and after[name].dtype == value.dtype for name, value in before.items())


@pytest.mark.parametrize(("method", "attention"), EVERY)
def test_every_layer_that_may_be_rounded_is_only_called(method, attention, able, monkeypatch):
    """Whoever read its weight beside it would multiply float32 with bfloat16, which torch refuses."""
    monkeypatch.setattr(bfloat16, "SMALLEST", 1)
    policy = make_policy(method, attention)
    seen, noise = history(3), torch.randn(3, 16, 4)
    acted = freeze(policy, "bfloat16").act(seen, noise)
    torch.testing.assert_close(acted, policy.act(seen, noise), rtol=0, atol=0.1)


@pytest.mark.parametrize(("attention", "megabytes"), [("released", (114.9, 75.2)), ("paper", (181.1, 116.3))])
def test_bytes_of_weights_fall_by_half_of_those_of_large_layers(attention, megabytes):
    with torch.device("meta"):
        policy = build_policy(PolicyConfig("dp3_mamba_v2", 9, 4, attention=attention))
    before, weights = bytes_read(policy), [each for each in policy.model.parameters() if each.dim() > 1]
    large = sum(each.nbytes for each in weights if min(each.flatten(1).shape) >= SMALLEST)
    after = bytes_read(round_layers(policy))
    assert after == before - large / 2
    assert (round(before / 1e6, 1), round(after / 1e6, 1)) == megabytes


def test_weights_that_are_taken_in_place_are_rounded(able, monkeypatch):
    monkeypatch.setattr(bfloat16, "SMALLEST", 64)
    frozen, other = freeze(make_policy("dp3_mamba_v2"), "bfloat16"), make_policy("dp3_mamba_v2")
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.01)
    seen, noise = history(1), torch.randn(1, 16, 4)
    expected = freeze(other, "bfloat16").act(seen, noise)
    assert not torch.equal(frozen.act(seen, noise), expected)
    assert torch.equal(frozen.refresh(other.state_dict()).act(seen, noise), expected)


@pytest.mark.parametrize(
    "flags", ["flags : fpu avx512f avx512_bf16", "flags\t: amx_bf16 amx_tile", "Features: fp bf16"]
)
def test_processors_with_such_products_are_known(flags, monkeypatch):
    monkeypatch.setattr(bfloat16, "processor_flags", lambda: flags)
    assert freeze(make_policy("simple_dp3"), "bfloat16").backend == "bfloat16"


@pytest.mark.parametrize("flags", ["flags: fpu avx2 avx512f avx512_fp16", "Features: fp asimd", ""])
def test_a_processor_without_them_is_refused_in_one_line(flags, monkeypatch):
    monkeypatch.setattr(bfloat16, "processor_flags", lambda: flags)
    monkeypatch.setattr(bfloat16, "processor_model", lambda: "Some Processor")
    with pytest.raises(
        InputError, match=r"Some Processor.* none of amx_bf16, avx512_bf16, bf16.*choose torch"
    ) as caught:
        freeze(make_policy("simple_dp3"), "bfloat16")
    assert "\n" not in str(caught.value)


def test_a_torch_without_them_and_other_devices_are_refused(able, monkeypatch):
    with pytest.raises(InputError, match="runs on device cpu, the policy is on meta"):
        freeze(make_policy("simple_dp3").to("meta"), "bfloat16")
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    with pytest.raises(InputError, match="without oneDNN.*choose torch"):
        freeze(make_policy("simple_dp3"), "bfloat16")


def test_nobody_gets_it_unasked(able):
    assert freeze(make_policy("simple_dp3"), "auto").backend != "bfloat16"
    for device in ("cpu", "cuda", "mps"):
        assert scoring_backend("auto", torch.device(device)) != "bfloat16"
