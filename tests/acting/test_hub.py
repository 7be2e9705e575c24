"""Folders for model hubs: read back to the bit, honest on their first page, refused where they are no policy's."""

import json
import shutil

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file

from mp_lib.__main__ import main
from mp_lib.acting.engine import load_engine
from mp_lib.acting.hub import export_hub
from mp_lib.insight.inspection import inspect
from mp_lib.insight.trained import load
from mp_lib.model.checkpoint import load_policy
from mp_lib.model.weights import shipped
from mp_lib.system.files import write_arrays, write_json
from tests.acting.exported import by_torch, make_policy, observed, save_run

FINAL = {"seeds": [70000, 70001, 70002, 70003], "successes": [1, 0, 1, 1], "interval": [0.3006, 0.9544]}
RESULT = {"final": FINAL, "demonstrations": {"episodes": 10}, "config": {"seed": 2}}


@pytest.fixture
def hub(run, tmp_path):
    export_hub(run[1], tmp_path / "hub", RESULT, remarks=["The expert is ours."])
    return tmp_path / "hub"


def card(folder):
    """The front matter and the rest of a folder's first page."""
    _, front, text = (folder / "README.md").read_text().split("---\n", 2)
    return yaml.safe_load(front), text


def test_a_folder_is_read_back_to_the_bit(run, hub):
    policy = run[0]
    assert sorted(path.name for path in hub.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    found, facts = load_policy(hub)
    assert found.config == policy.config and facts["task"] == "metaworld_drawer-open"
    assert all(torch.equal(value, found.state_dict()[name]) for name, value in policy.state_dict().items())
    given = observed(policy.config)
    assert np.array_equal(load_engine(hub, "torch").predict(*given), by_torch(policy, *given))
    assert load(str(hub)).name == "hub" and load_engine(hub, "torch").facts.name == "hub"
    assert inspect(hub)["what"].startswith("weights of simple_dp3")


def test_front_matter_has_what_hubs_read_and_a_score_with_interval_and_seeds(hub):
    front, text = card(hub)
    assert front["license"] == "mit" and front["library_name"] == "mp_lib" and front["pipeline_tag"] == "robotics"
    assert {"robotics", "point-cloud"} <= {*front["tags"]} and front["datasets"] == ["metaworld_drawer-open"]
    (model,) = front["model-index"]
    (found,) = model["results"]
    assert {"type", "name"} <= found["task"].keys() and {"type", "name"} <= found["dataset"].keys()
    (metric,) = found["metrics"]
    assert metric["type"] == "success_rate" and metric["value"] == 0.75
    assert metric["args"] == {
        "episodes": 4,
        "seeds": FINAL["seeds"],
        "interval": pytest.approx([0.3006, 0.9544], abs=1e-4),
        "training_seed": 2,
    }
    for said in ("3 of 4 episodes", "70000 to 70003", "0.301 to 0.954", "one training (seed 2)", "The expert is ours."):
        assert said in text


def test_errors_on_held_out_episodes_are_called_no_success_rate(run, tmp_path):
    result = {"final": None, "held_out": {"episodes": [2], "share": {"error": 0.125, "repeat_last": 0.5}}}
    export_hub(run[1], tmp_path / "hub", result)
    front, text = card(tmp_path / "hub")
    metrics = front["model-index"][0]["results"][0]["metrics"]
    assert {metric["type"]: metric["value"] for metric in metrics} == {
        "held_out_error": 0.125,
        "held_out_repeat_last": 0.5,
    }
    assert "They are no success rate." in text and "success_rate" not in text


def test_of_what_nothing_was_measured_nothing_is_said(run, tmp_path):
    export_hub(run[1], tmp_path / "hub")
    front, text = card(tmp_path / "hub")
    assert "model-index" not in front and "Nothing was measured" in text


def test_a_name_cannot_break_out_of_the_front_matter(run, tmp_path):
    policy = make_policy()
    task = 'arm"\n---\nlicense: other # é \U0001f600'
    export_hub(save_run(tmp_path / "run", policy, task), tmp_path / "hub", RESULT)
    front, _ = card(tmp_path / "hub")
    assert front["license"] == "mit" and front["datasets"] == [task]


def test_official_weights_become_such_a_folder(tmp_path):
    policy = make_policy()
    torch.save({"state_dicts": {"ema_model": policy.state_dict()}}, tmp_path / "latest.ckpt")
    export_hub(tmp_path / "latest.ckpt", tmp_path / "hub")
    expected = load_policy(tmp_path / "latest.ckpt")[0]
    found = load_policy(tmp_path / "hub")[0]
    assert found.config == expected.config
    assert all(torch.equal(value, found.state_dict()[name]) for name, value in expected.state_dict().items())
    assert sorted(path.name for path in (tmp_path / "hub").iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]


def test_what_a_policy_has_seen_goes_along_and_is_checked(run, tmp_path):
    checkpoint = save_run(tmp_path / "run", run[0])
    write_arrays(checkpoint.with_name("seen.npz"), {"state_low": np.arange(9, dtype=np.float32)})
    export_hub(checkpoint, tmp_path / "hub")
    assert load_engine(tmp_path / "hub", "torch").seen.state_low[8] == 8
    write_arrays(tmp_path / "hub" / "seen.npz", {"state_low": np.zeros(9, np.float32)})
    with pytest.raises(ValueError, match="seen.npz is missing or damaged, as config.json beside it says"):
        load_engine(tmp_path / "hub", "torch")
    (tmp_path / "hub" / "seen.npz").unlink()
    with pytest.raises(ValueError, match="seen.npz is missing or damaged"):
        load_engine(tmp_path / "hub", "torch")


def test_an_existing_target_is_refused(run, hub):
    with pytest.raises(ValueError, match="hub exists already; choose another name"):
        export_hub(run[1], hub)
    assert card(hub)[0]["model-index"]


def test_an_edited_config_is_refused_and_a_missing_one_is_not_needed(run, hub):
    config = json.loads((hub / "config.json").read_text())
    write_json(hub / "config.json", config | {"policy": config["policy"] | {"num_inference_steps": 2}})
    with pytest.raises(ValueError, match="says another policy than the weights, which count"):
        load_policy(hub)
    write_json(hub / "config.json", config | {"architectures": ["mine"]})
    assert load_policy(hub)[0].config == run[0].config
    write_json(hub / "config.json", {"model_type": "bert"})
    with pytest.raises(ValueError, match="is of another library than mp_lib"):
        load_policy(hub)
    (hub / "config.json").write_text("{")
    with pytest.raises(ValueError, match="config.json is damaged"):
        load_policy(hub)
    (hub / "config.json").unlink()
    assert load_policy(hub)[0].config == run[0].config


def test_an_unrelated_model_of_a_hub_is_refused(hub, tmp_path):
    other = tmp_path / "bert"
    other.mkdir()
    write_json(other / "config.json", {"model_type": "bert", "hidden_size": 8})
    with pytest.raises(ValueError, match="holds no weights"):
        load_engine(other)
    save_file({"embeddings.weight": torch.zeros(3, 8)}, other / "model.safetensors", {"format": "pt"})
    for read in (load_policy, lambda path: load_engine(path, "torch"), lambda path: load(str(path))):
        with pytest.raises(ValueError, match="model.safetensors.* official") as error:
            read(other)
        assert len(str(error.value).splitlines()) == 1
    shutil.copy(hub / "config.json", other / "config.json")
    with pytest.raises(ValueError, match="has no header of ours, as config.json says"):
        load_policy(other)


def test_policies_that_come_with_the_project_can_go_to_a_hub(tmp_path):
    for checkpoint in shipped():
        result = json.loads(checkpoint.with_name("result.json").read_text())
        hub = tmp_path / checkpoint.parent.name
        export_hub(checkpoint, hub, result)
        assert f"{sum(result['final']['successes'])} of 50 episodes" in card(hub)[1]
        assert load_policy(hub)[0].config == load_policy(checkpoint)[0].config


def test_the_verb_writes_both_and_says_in_one_line_what_is_wrong(run, same_networks, tmp_path, capsys):
    for target in ("onnx", "hub"):
        assert main(["export", str(run[1].parent), str(tmp_path / target), "--to", target]) == 0
        assert capsys.readouterr().out == f"{tmp_path / target}\n"
    assert "1 is 1 cm a step" in load_engine(tmp_path / "onnx").facts.action_meaning  # of the task's row
    wrong = {
        "exists already": [str(run[1]), str(tmp_path / "hub"), "--to", "hub"],
        "unknown target 'hug'; choose one of: onnx, hub": [str(run[1]), str(tmp_path / "new"), "--to", "hug"],
        "but there is no": [str(tmp_path / "nothing"), str(tmp_path / "new"), "--to", "hub"],
    }
    for said, arguments in wrong.items():
        assert main(["export", *arguments]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert said in line and line.startswith("mp_lib export: ")
    assert not (tmp_path / "new").exists()
