"""Official checkpoints: read strictly, every weight accounted for, and nothing in them run."""

import collections
import os
import pickle
import sys
import types
import zipfile

import pytest
import torch

from mp_lib.config import PolicyConfig
from mp_lib.model.checkpoint import from_official
from mp_lib.model.policy import build_denoiser, build_policy
from mp_lib.presets import METHODS, U_NETS
from mp_lib.system.unpickle import read_pickled_tensors

MAMBAS = [name for name, method in METHODS.items() if method.mixer]


def narrow(method):
    return tuple(width // 4 for width in METHODS[method].down_dims)


def official_state_dict(policy):
    """The policy's weights under official names, with all that an official policy carries besides."""
    weights = {"mask_generator._dummy_variable": torch.zeros(0), "_dummy_variable": torch.zeros(0)}
    weights["obs_encoder.extractor.decoder.0.weight"] = torch.ones(128, 256)
    for name, tensor in policy.state_dict().items():
        if not name.startswith("normalizer."):
            weights[name] = tensor
            continue
        key, kind = name.removeprefix("normalizer.").rsplit("_", 1)
        key = {"state": "agent_pos"}.get(key, key)
        coloured = torch.cat([tensor, torch.full((3,), 7.0)]) if key == "point_cloud" else tensor
        weights[f"normalizer.params_dict.{key}.{kind}"] = coloured
        weights[f"normalizer.params_dict.{key}.input_stats.mean"] = coloured
    return weights


def make_policy(method, seed=0):
    """A policy as the release holds it, attention included, with a normaliser that is no identity."""
    torch.manual_seed(seed)
    policy = build_policy(PolicyConfig(method, 9, 4, down_dims=narrow(method))).eval()
    policy.normalizer.fit({"point_cloud": torch.rand(5, 3), "state": torch.rand(5, 9), "action": torch.rand(5, 4)})
    return policy


def save_as_released(path, policy, **more):
    weights = collections.OrderedDict(official_state_dict(policy))
    last = {name: torch.zeros_like(tensor) for name, tensor in weights.items()}
    torch.save(
        {"cfg": None, "state_dicts": {"model": last, "ema_model": weights}, "pickles": {"epoch": b"\x80"}} | more, path
    )


@pytest.mark.parametrize("method", U_NETS)
def test_policy_file_gives_the_same_actions_as_its_weights(method, tmp_path):
    policy = make_policy(method)
    save_as_released(tmp_path / "x.ckpt", policy)
    imported = from_official(tmp_path / "x.ckpt", method)
    released = build_policy(PolicyConfig(method, 9, 4, attention="released", down_dims=narrow(method))).eval()
    released.load_state_dict({key: value for key, value in policy.state_dict().items() if key in released.state_dict()})
    history = {"point_cloud": torch.rand(2, 2, 30, 3), "state": torch.rand(2, 2, 9)}
    noise = torch.randn(2, imported.config.horizon, 4)
    assert torch.equal(imported.predict(history, noise), released.predict(history, noise))
    assert imported.config.attention == "released"
    assert not imported.training


@pytest.mark.parametrize("method", MAMBAS)
def test_attention_is_named_as_never_run(method, tmp_path, caplog):
    weights = official_state_dict(make_policy(method))
    with caplog.at_level("INFO"):
        policy = from_official(weights, method)
    attention = {name for name in weights if ".blocks.2." in name}
    assert attention
    assert attention <= policy.import_report["left_out"].keys()
    assert policy.import_report["never_run_parameters"] == sum(weights[name].numel() for name in attention)
    assert str(policy.import_report["never_run_parameters"]) in caplog.text
    assert len(weights) == policy.import_report["loaded"] + len(policy.import_report["left_out"])


@pytest.mark.parametrize("method", U_NETS)
def test_bare_unet_gives_a_denoiser(method):
    policy = make_policy(method)
    denoiser = from_official(policy.model.state_dict(), method)
    assert type(denoiser) is type(build_denoiser(method, 4, 256, narrow(method)))
    inputs = torch.randn(2, 16, 4), torch.tensor([3, 90]), torch.randn(2, 256)
    assert denoiser(*inputs).shape == (2, 16, 4)


def test_full_size_report_counts_the_known_number_of_dead_parameters():
    weights = build_denoiser("dp3_mamba_v2", 26, 256).state_dict()
    denoiser = from_official(weights, "dp3_mamba_v2")
    assert denoiser.import_report["never_run_parameters"] == 16_550_912
    assert sum(each.numel() for each in denoiser.parameters()) == 31_646_138


def test_horizon_and_executed_steps_follow_the_method():
    mamba, dp3 = (from_official(official_state_dict(make_policy(name)), name).config for name in ("dp3_mamba", "dp3"))
    assert (mamba.horizon, mamba.n_obs_steps, mamba.n_action_steps) == (4, 2, 3)
    assert (dp3.horizon, dp3.n_obs_steps, dp3.n_action_steps) == (16, 2, 8)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda weights: weights.pop("obs_encoder.state_mlp.2.bias"), "state_mlp.2.bias is missing"),
        (lambda weights: weights.update({"model.surprise": torch.zeros(1)}), "model.surprise is not known"),
        (lambda weights: weights.update({"model.final_conv.1.bias": torch.zeros(9)}), "has shape"),
        (lambda weights: weights.pop("model.diffusion_step_encoder.3.weight"), "diffusion_step_encoder.3.weight"),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name(change, word):
    weights = official_state_dict(make_policy("dp3_mamba"))
    change(weights)
    with pytest.raises(ValueError, match=word):
        from_official(weights, "dp3_mamba")


def test_weights_of_another_method_are_refused():
    weights = official_state_dict(make_policy("dp3_mamba"))
    with pytest.raises(ValueError, match="dp3_mamba_hydra"):
        from_official(weights, "dp3_mamba_hydra")
    with pytest.raises(ValueError, match="simple_dp3"):
        from_official(weights, "mamba")


def test_configuration_objects_are_not_loaded(tmp_path, monkeypatch):
    """A checkpoint of the release carries an OmegaConf node, and dill's names for plain types."""
    omegaconf, dill = types.ModuleType("omegaconf"), types.ModuleType("dill._dill")

    class DictConfig:
        def __init__(self):
            self.content = {"horizon": 4, "kind": dict}

        def __setstate__(self, state):
            raise AssertionError("the object was built")

    DictConfig.__module__, DictConfig.__qualname__ = "omegaconf", "DictConfig"
    omegaconf.DictConfig = DictConfig
    monkeypatch.setitem(sys.modules, "omegaconf", omegaconf)
    monkeypatch.setitem(sys.modules, "dill._dill", dill)
    save_as_released(tmp_path / "x.ckpt", make_policy("dp3_mamba"), cfg=DictConfig())
    assert from_official(tmp_path / "x.ckpt", "dp3_mamba").config.method == "dp3_mamba"


class Hostile:
    """Pickles as a call of ``function(*arguments)``."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "hostile",
    [
        Hostile(os.system, "echo run > {marker}"),
        Hostile(eval, "open('{marker}', 'w')"),
        Hostile(exec, "open('{marker}', 'w')"),
        Hostile(getattr, torch.Tensor, "numpy"),
        Hostile(torch.load, "{marker}"),
        Hostile(__import__, "antigravity"),
        Hostile(pickle.loads, b"x"),
        Hostile(open, "{marker}", "w"),
    ],
    ids=lambda hostile: hostile.call[0].__name__,
)
def test_file_that_tries_to_run_something_is_refused_with_its_reason(hostile, tmp_path):
    marker = tmp_path / "marker"
    function, arguments = hostile.call
    hostile.call = function, tuple(each.format(marker=marker) if isinstance(each, str) else each for each in arguments)
    save_as_released(tmp_path / "x.ckpt", make_policy("simple_dp3"), cfg=hostile)
    with pytest.raises(ValueError, match=f"x.ckpt.*{function.__name__}.*nothing of it was run"):
        from_official(tmp_path / "x.ckpt", "simple_dp3")
    assert not marker.exists()


def test_tensor_beyond_its_storage_is_refused(tmp_path):
    torch.save({"a": torch.arange(10.0)}, tmp_path / "good")
    program = zipfile.ZipFile(tmp_path / "good").read("good/data.pkl")
    with zipfile.ZipFile(tmp_path / "bad", "w") as archive:
        archive.writestr("bad/data.pkl", program)
        archive.writestr("bad/data/0", b"\0" * 8)
    with pytest.raises(ValueError, match="8 bytes, 10 elements"):
        read_pickled_tensors(tmp_path / "bad")


def write_program(path, program, *storages, compression=zipfile.ZIP_STORED):
    """A file of torch.save's format with this pickle."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("bad/data.pkl", program)
        for key, content in enumerate(storages):
            archive.writestr(f"bad/data/{key}", content)


NAMES = {"storage type": b"ctorch\nFloatStorage\n", "function": b"ctorch._utils\n_rebuild_parameter\n"}


@pytest.mark.parametrize("name", NAMES)
def test_the_reader_itself_cannot_be_changed(name, tmp_path):
    write_program(tmp_path / "bad", b"\x80\x02" + NAMES[name] + b"}U\x05dtypeU\x01xsb.")
    with pytest.raises(ValueError, match="sets attributes of a (StorageType|function); nothing was set"):
        read_pickled_tensors(tmp_path / "bad")
    torch.save({"a": torch.arange(3.0)}, tmp_path / "good")
    assert read_pickled_tensors(tmp_path / "good")["a"].tolist() == [0, 1, 2]


def test_a_small_file_cannot_fill_the_memory(tmp_path):
    torch.save({"a": torch.zeros(1).expand(10**6)}, tmp_path / "repeated")
    with pytest.raises(ValueError, match="repeats the 1 elements"):
        read_pickled_tensors(tmp_path / "repeated")
    write_program(tmp_path / "packed", b"\x80\x02N.", bytes(10**6), compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match="compressed"):
        read_pickled_tensors(tmp_path / "packed")
    with pytest.warns(UserWarning, match="Duplicate name"):
        write_program(tmp_path / "doubled", b"\x80\x02N.")
        with zipfile.ZipFile(tmp_path / "doubled", "a") as archive:
            archive.writestr("bad/data.pkl", b"")
            archive.infolist()[0].file_size = 10**9
            archive._didModify = True
    with pytest.raises(ValueError, match="more bytes than it has"):
        read_pickled_tensors(tmp_path / "doubled")


def test_a_tensor_cannot_be_given_other_memory(tmp_path):
    class Moved:
        """Pickles as a tensor with a state, which torch would put into ``set_``."""

        def __reduce__(self):
            return torch._utils._rebuild_tensor_v2, (*parts, False, {}), (storage, 0, (10**12,), (0,))

    storage = torch.zeros(1)._typed_storage()
    parts = (storage, 0, (1,), (1,))
    torch.save({"a": Moved()}, tmp_path / "moved")
    with pytest.raises(ValueError, match="sets attributes of a Tensor"):
        read_pickled_tensors(tmp_path / "moved")


@pytest.mark.parametrize("seed", range(20))
def test_damaged_file_is_refused_or_read(seed, tmp_path):
    save_as_released(tmp_path / "x.ckpt", make_policy("simple_dp3"))
    content = bytearray((tmp_path / "x.ckpt").read_bytes())
    generator = torch.Generator().manual_seed(seed)
    cut = int(torch.randint(len(content), (), generator=generator))
    damaged = content[:cut] if seed % 2 else content[:cut] + bytes([content[cut] ^ 255]) + content[cut + 1 :]
    (tmp_path / "x.ckpt").write_bytes(damaged)
    try:
        from_official(tmp_path / "x.ckpt", "simple_dp3")
    except ValueError as error:
        assert "x.ckpt" in str(error)
        assert len(str(error).splitlines()) == 1
    else:
        assert seed % 2 == 0  # a byte between the archive's members says nothing
