"""Weights that people bring: read by their names, wherever they are held, or refused in one line that helps."""

import pickle
import re
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from mp_lib.config import PolicyConfig
from mp_lib.model.checkpoint import from_official, load_policy
from mp_lib.model.policy import DiffusionPolicy, build_policy
from mp_lib.presets import U_NETS
from mp_lib.system.errors import InputError
from mp_lib.system.unpickle import read_pickled_tensors
from tests.model.test_foreign_configs import released_config, weights_of
from tests.model.test_official import make_policy, narrow, official_state_dict, save_as_released


@pytest.mark.parametrize("method", U_NETS)
def test_the_method_is_known_by_names_and_shapes(method):
    policy = from_official(weights_of(method))
    # The two DP3 differ in widths alone; a quarter of the one's are the other's, a quarter of those are nobody's.
    # Both directions of Mamba-3 have the weights of one.
    alike = {"dp3": "dp3_narrow", "dp3_narrow": "dp3", "dp3_mamba_v3_bi": "dp3_mamba_v3"}
    assert policy.config.method == alike.get(method, method)
    expected = build_policy(PolicyConfig(method, 9, 4, attention="released", down_dims=narrow(method))).model
    bare = from_official(make_policy(method).model.state_dict())
    assert bare.state_dict().keys() == expected.state_dict().keys()


@pytest.mark.parametrize("wrapped", ["module.{}", "_orig_mod.{}", "module._orig_mod.{}"])
def test_names_behind_wrappers_are_read(wrapped):
    plain = weights_of("dp3_mamba")
    expected = from_official(plain).state_dict()
    found = from_official({"state_dicts": {"model": {wrapped.format(name): each for name, each in plain.items()}}})
    inner = {name.replace("model.", "model._orig_mod.", 1): each for name, each in plain.items()}
    for weights in (found.state_dict(), from_official(inner).state_dict()):
        assert weights.keys() == expected.keys()
        assert all(torch.equal(each, weights[name]) for name, each in expected.items())


HELD = {
    "behind policy.": lambda weights: {f"policy.{name}": each for name, each in weights.items()},
    "behind model.": lambda weights: {f"model.{name}": each for name, each in weights.items()},
    "behind two": lambda weights: {f"module.agent.policy.{name}": each for name, each in weights.items()},
    "as model": lambda weights: {"model": weights},
    "as state_dict": lambda weights: {"state_dict": weights, "epoch": 3},
    "as policy, behind policy.": lambda weights: {"policy": {f"policy.{name}": each for name, each in weights.items()}},
    "beside an optimiser": lambda weights: {
        "ema": weights,
        "optimizer": {"state": {0: {"step": torch.zeros(1)}}, "param_groups": [{"lr": 1e-4, "params": [0]}]},
    },
    "as another of the release's": lambda weights: {"state_dicts": {"policy": weights}},
}


@pytest.mark.parametrize("held", HELD)
def test_weights_that_can_be_meant_one_way_are_read_wherever_they_are(held, tmp_path):
    weights = weights_of("simple_dp3")
    expected = from_official(weights).state_dict()
    torch.save(HELD[held](weights), tmp_path / "x.ckpt")
    found = load_policy(tmp_path / "x.ckpt")[0].state_dict()
    assert all(torch.equal(each, found[name]) for name, each in expected.items())


def behind(prefix, weights):
    return {f"{prefix}{name}": each for name, each in weights.items()}


AMBIGUOUS = {
    "two state dicts": lambda old, mean: {"model": old, "ema_model": mean},
    "two of the release's": lambda old, mean: {"state_dicts": {"policy": old, "average": mean}},
    "two prefixes": lambda old, mean: behind("policy.", old) | behind("ema_policy.", mean),
    "a prefix and none": lambda old, mean: old | behind("ema.", mean),
    "others beside them": lambda _, mean: behind("policy.", mean) | {"loss.weight": torch.ones(1)},
    "Lightning's": lambda _, mean: {"pytorch-lightning_version": "2", "state_dict": behind("agent.", mean)},
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_where_several_may_be_meant_a_line_chooses(name, tmp_path):
    """The line of code that is given saves one of them, which is read."""
    mean = weights_of("simple_dp3")
    old = {key: torch.zeros_like(each) for key, each in mean.items()}
    payload = AMBIGUOUS[name](old, mean)
    torch.save(payload, tmp_path / "x.ckpt")
    with pytest.raises(InputError, match="x.ckpt .*with torch") as error:
        load_policy(tmp_path / "x.ckpt")
    code = re.search(r"torch\.save\(.*, new\)", str(error.value))[0]
    exec(code, {"torch": torch, "old": tmp_path / "x.ckpt", "new": tmp_path / "new.ckpt", "weights": payload})
    found = load_policy(tmp_path / "new.ckpt")[0].state_dict()
    assert all(torch.equal(each, found[key]) for key, each in from_official(mean).state_dict().items())


@pytest.mark.parametrize("header", ["notes of mine", '{"epoch": 3}', "", "null", "["])
def test_a_header_of_somebody_else_is_not_ours(header, tmp_path):
    kept = {name: each.clone() for name, each in weights_of("simple_dp3").items() if each.numel()}
    save_file(kept, tmp_path / "x.safetensors", {"header": header, "format": "pt"})
    assert load_policy(tmp_path / "x.safetensors")[0].config.method == "simple_dp3"


@pytest.mark.parametrize("attention", ["paper", "released"])
def test_bare_weights_in_safetensors_are_read(attention, tmp_path):
    official, ours = make_policy("dp3_mamba"), make_policy("dp3_mamba")
    kept = {name: each.clone() for name, each in official_state_dict(official).items() if each.numel()}
    save_file(kept, tmp_path / "official.safetensors", {"format": "pt"})
    save_file(ours.state_dict(), tmp_path / "ours.safetensors")
    name = {"paper": "ours", "released": "official"}[attention]
    policy, facts = load_policy(tmp_path / f"{name}.safetensors")
    assert policy.config.attention == attention and policy.config.method == "dp3_mamba"
    noise = torch.randn(1, policy.config.horizon, 4)
    seen = {"point_cloud": torch.rand(1, 2, 512, 3), "state": torch.rand(1, 2, 9)}
    if attention == "paper":
        assert torch.equal(policy.predict(seen, noise), ours.predict(seen, noise))


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_numbers_of_numpy_are_read(protocol, tmp_path):
    columns = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    kept = {"best": np.float32(0.5), "count": np.int64(7), "table": columns, "big": np.arange(3, dtype=">i2")}
    torch.save(kept, tmp_path / "x.ckpt", pickle_protocol=protocol)
    found = read_pickled_tensors(tmp_path / "x.ckpt")
    assert (found["best"], found["count"]) == (0.5, 7)
    assert np.array_equal(found["table"].values, columns) and found["big"].values.tolist() == [0, 1, 2]
    save_as_released(tmp_path / "x.ckpt", make_policy("simple_dp3"), best=np.float64(0.9), history=np.zeros(3))
    assert isinstance(from_official(tmp_path / "x.ckpt"), DiffusionPolicy)


def test_weights_as_arrays_are_weights(tmp_path):
    weights = weights_of("simple_dp3")
    torch.save({name: each.numpy() for name, each in weights.items()}, tmp_path / "x.ckpt")
    expected, found = from_official(weights).state_dict(), from_official(tmp_path / "x.ckpt").state_dict()
    assert all(torch.equal(each, found[name]) for name, each in expected.items())


@pytest.mark.parametrize("content", [np.array(["text"]), np.array([{}], dtype=object)])
def test_arrays_of_anything_but_numbers_are_refused(content, tmp_path):
    torch.save({"a": content}, tmp_path / "x.ckpt")
    with pytest.raises(InputError, match="which are no numbers|object"):
        read_pickled_tensors(tmp_path / "x.ckpt")


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (
            {"pytorch-lightning_version": "2.4.0", "state_dict": {"model.a": torch.zeros(1)}},
            "Lightning's; with torch: ",
        ),
        ({"state_dict": {"a": torch.zeros(1)}, "epoch": 3}, "nor tensors by name, but state_dict; where it was made"),
        ([torch.zeros(1)], "no weights by name but a list"),
        ({}, "no weights by name"),
    ],
)
def test_other_files_are_told_apart_in_one_line_that_helps(payload, said, tmp_path):
    torch.save(payload, tmp_path / "x.ckpt")
    with pytest.raises(InputError, match=said) as error:
        load_policy(tmp_path / "x.ckpt")
    assert "x.ckpt" in str(error.value) and "torch.save(" in str(error.value) and "\n" not in str(error.value)


def test_the_lines_of_code_that_are_given_help(tmp_path):
    """Torch's old format and Lightning's, saved again as the refusal says, are read."""
    weights = weights_of("simple_dp3")
    expected = from_official(weights).state_dict()
    torch.save(weights, tmp_path / "old.ckpt", _use_new_zipfile_serialization=False)
    lightning = {
        "pytorch-lightning_version": "2",
        "state_dict": {f"model.{name}": each for name, each in weights.items()},
    }
    torch.save(lightning, tmp_path / "lightning.ckpt")
    for name in ("old", "lightning"):
        with pytest.raises(InputError) as error:
            load_policy(tmp_path / f"{name}.ckpt")
        code = str(error.value).split("with torch: ")[1]
        exec(code, {"torch": torch, "old": tmp_path / f"{name}.ckpt", "new": tmp_path / "new.ckpt"})
        found = load_policy(tmp_path / "new.ckpt")[0].state_dict()
        assert all(torch.equal(each, found[key]) for key, each in expected.items())


def test_a_program_is_no_policy(tmp_path):
    torch.jit.script(torch.nn.Linear(2, 2)).save(tmp_path / "x.pt")
    with pytest.raises(InputError, match="TorchScript"):
        load_policy(tmp_path / "x.pt")
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(InputError, match=r"no file of torch.save's"):
        load_policy(tmp_path / "x.pkl")


def test_the_u_net_alone_is_no_policy(tmp_path):
    save_file(make_policy("dp3_mamba").model.state_dict(), tmp_path / "x.safetensors")
    with pytest.raises(InputError, match="holds the U-Net alone, which cannot act"):
        load_policy(tmp_path / "x.safetensors")


def test_a_given_method_has_to_fit():
    with pytest.raises(InputError, match="weights of dp3_mamba_v2: "):
        from_official(weights_of("dp3_mamba"), "dp3_mamba_v2")
    assert from_official(weights_of("dp3"), "dp3").config.method == "dp3"


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("module.model.final_conv.1.bias", lambda each: each, "are one weight; give one of them"),
        ("model.final_conv.1.bias", lambda each: each * torch.nan, "final_conv.1.bias holds what is not finite"),
        ("model.final_conv.1.bias", lambda each: each.to(torch.int8), "final_conv.1.bias holds torch.int8"),
        ("obs_encoder.state_mlp.0.weight", lambda each: each[0], "not taken as official weights"),
    ],
)
def test_weights_that_would_be_wrong_in_silence_are_refused(name, change, said):
    weights = weights_of("simple_dp3")
    plain = weights[name.removeprefix("module.")]
    with pytest.raises(InputError, match=said):
        from_official(weights | {name: change(plain)})


def test_a_missing_encoder_and_another_policy_are_named():
    weights = weights_of("simple_dp3")
    config = released_config(policy___target_="flow_policy_3d.policy.flowpolicy.FlowPolicy")
    with pytest.raises(InputError, match=r"policy._target_: flow_policy_3d.*DP3 and SimpleDP3 are supported"):
        from_official({"cfg": config, "state_dicts": {"model": weights}})
    del weights["obs_encoder.state_mlp.0.weight"]
    with pytest.raises(InputError, match=r"'obs_encoder.state_mlp.0.weight' is missing"):
        from_official(weights)


def test_tensors_that_are_marked_or_stored_the_other_way_round_are_refused(tmp_path):
    torch.save({"a": torch.conj(torch.ones(3, dtype=torch.complex64)).imag}, tmp_path / "negative.ckpt")
    with pytest.raises(InputError, match="marked .*neg"):
        read_pickled_tensors(tmp_path / "negative.ckpt")
    torch.save({"a": torch.ones(3)}, tmp_path / "x.ckpt")
    with zipfile.ZipFile(tmp_path / "x.ckpt") as old, zipfile.ZipFile(tmp_path / "big.ckpt", "w") as new:
        for each in old.namelist():
            new.writestr(each, b"big" if each.endswith("byteorder") else old.read(each))
    with pytest.raises(InputError, match="the other way round"):
        read_pickled_tensors(tmp_path / "big.ckpt")


def test_a_file_cannot_ask_for_more_memory_than_it_has_tensors(tmp_path):
    weights = {name: each.clone() for name, each in weights_of("simple_dp3").items() if each.numel()}
    weights["model.down_modules.0.0.blocks.0.block.0.weight"] = torch.zeros(80_000, 4, 5)
    save_file(weights, tmp_path / "x.safetensors")
    with pytest.raises(InputError, match=r"x.safetensors .*has shape|x.safetensors"):
        load_policy(tmp_path / "x.safetensors")
