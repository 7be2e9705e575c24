"""Exported folders: whole or not at all, checked when read, saying what they hold."""

import json
import shutil
import threading
from dataclasses import asdict, fields, replace

import numpy as np
import pytest

from mp_lib.acting.exporting import export, step_arrays
from mp_lib.acting.exports import FACTS, FILES, checksum, is_exported, read_export
from mp_lib.acting.facts import PolicyFacts, facts_of, read_facts
from mp_lib.acting.seen import Seen
from mp_lib.learning.folder import kept_policy
from mp_lib.system.files import write_arrays, write_json
from mp_lib.system.folders import whole_folder
from tests.acting.exported import KINDS, make_policy, save_run


@pytest.fixture
def copy(exported, tmp_path):
    return shutil.copytree(exported, tmp_path / "copy")


def test_the_file_says_sizes_units_and_how_it_is_run(run, exported):
    config, found = run[0].config, json.loads((exported / FACTS).read_text())
    assert sorted(path.name for path in exported.iterdir()) == sorted(FILES)
    assert {key: found["facts"][key] for key in ("state_dim", "horizon", "num_points")} == {
        key: getattr(config, key) for key in ("state_dim", "horizon", "num_points")
    }
    assert (
        found["units"]["point_cloud"]["shape"] == [2, 32, 3]
        and found["units"]["actions"]["unit"] == "newtons of metaworld_drawer-open"
    )
    assert found["networks"]["denoiser.onnx"]["output"] == ["batch", 16, 4] and "clip(x0, -1, 1)" in found["how"]
    assert read_export(exported).facts.action_meaning.startswith("newtons")


def test_what_a_policy_has_seen_comes_from_its_normaliser_or_the_file_beside(run, exported, same_networks, tmp_path):
    seen, normal = read_export(exported).seen, run[0].normalizer
    assert seen.cloud is None and seen.centre_low is None
    for name in ("state", "action"):
        scale, offset = (getattr(normal, f"{name}_{part}").numpy() for part in ("scale", "offset"))
        for end, side in (("low", -1), ("high", 1)):
            found = getattr(seen, f"{name}_{end}") * scale + offset
            moved = scale != 0
            np.testing.assert_allclose(found[moved], side, atol=1e-5)
    assert seen.action_low[2] == seen.action_high[2] == np.float32(0.25)
    drawn = np.random.default_rng(0)
    sizes = {"cloud": (5, 3), "open_closed": (2, 4)}
    sizes |= {f"{key}_{end}": (size,) for key, size in (("state", 9), ("action", 4)) for end in ("low", "high")}
    arrays = {field.name: drawn.normal(size=sizes.get(field.name, 3)) for field in fields(Seen)}
    arrays = {name: values.astype(np.float32) for name, values in arrays.items()}
    checkpoint = save_run(tmp_path / "run", run[0])
    write_arrays(checkpoint.with_name("seen.npz"), arrays)
    export(checkpoint, tmp_path / "export")
    found = read_export(tmp_path / "export").seen.arrays
    assert found.keys() == arrays.keys() and all(np.array_equal(found[name], arrays[name]) for name in arrays)
    kept = kept_policy(checkpoint.parent, 400)  # of the same run, on the way
    kept.parent.mkdir()
    shutil.copyfile(checkpoint, kept)
    export(kept, tmp_path / "kept")
    again = read_export(tmp_path / "kept").seen.arrays
    assert all(np.array_equal(again[name], arrays[name]) for name in arrays)
    write_arrays(checkpoint.with_name("seen.npz"), arrays | {"state_low": np.zeros(3)})
    with pytest.raises(ValueError, match="seen.npz: state_low is no array of 9 finite numbers"):
        export(checkpoint, tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(copy, name):
    (copy / name).unlink()
    assert is_exported(copy)
    with pytest.raises(ValueError, match=f"{name} missing in this export; export the run anew"):
        read_export(copy)


def test_other_files_in_the_folder_are_left_alone(copy, exported):
    (copy / "notes.txt").write_text("mine")
    (copy / "model.onnx").write_bytes(b"another")
    assert read_export(copy).facts == read_export(exported).facts


def rewrite(folder, **changes):
    """Change policy.json with a checksum that fits, as somebody would who wants to."""
    found = json.loads((folder / FACTS).read_text()) | changes
    found.pop("checksum")
    write_json(folder / FACTS, found | {"checksum": checksum(found)})


def test_what_was_edited_or_made_to_fit_badly_is_refused(copy):
    found = json.loads((copy / FACTS).read_text())
    write_json(copy / FACTS, found | {"units": {}})
    with pytest.raises(ValueError, match="damaged or was edited"):
        read_export(copy)
    write_json(copy / FACTS, found)
    facts = found["facts"]
    wrong = [
        ({"facts": facts | {"state_dim": 8}}, "state_scale does not fit"),
        ({"facts": facts | {"state_dim": -8}}, "state_dim -8 given"),
        ({"facts": facts | {"num_train_steps": 10}}, "alphas does not fit"),
        ({"facts": facts | {"horizon": "long"}}, "horizon 'long' given"),
        ({"facts": facts | {"colour": "red"}}, "another version of this project \\(colour\\)"),
        ({"facts": [1]}, "facts \\[1\\] given"),
        ({"files": {"../../secret": "0"}}, "does not name the files of an export"),
        ({"files": None}, "does not name the files of an export"),
        ({"kind": "another"}, "none of an export of this version"),
    ]
    for changes, said in wrong:
        write_json(copy / FACTS, found)
        rewrite(copy, **changes)
        with pytest.raises(ValueError, match=said) as error:
            read_export(copy)
        assert len(str(error.value).splitlines()) == 1


def test_an_existing_target_is_refused_and_nothing_half_written_is_left(run, tmp_path, monkeypatch):
    (tmp_path / "there").mkdir()
    with pytest.raises(ValueError, match="there exists already; choose another name"):
        export(run[1], tmp_path / "there")
    monkeypatch.setattr("mp_lib.acting.exporting.export_onnx", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        export(run[1], tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_of_two_who_write_one_folder_the_second_is_refused(tmp_path):
    """The name is taken while the second one writes."""
    with pytest.raises(ValueError, match="exists already"), whole_folder(tmp_path / "new") as draft:
        (draft / "file").write_text("second")
        other = threading.Thread(target=lambda: (tmp_path / "new").mkdir())
        other.start()
        other.join()
    assert [path.name for path in tmp_path.iterdir()] == ["new"] and not list((tmp_path / "new").iterdir())


def test_a_policy_of_many_training_steps_has_rows_of_its_own_steps_alone():
    arrays = step_arrays(make_policy(num_train_steps=5000, num_inference_steps=4))
    assert arrays["steps"].tolist() == [3750, 2500, 1250, 0] and len(arrays["table"]) == 4
    assert arrays["alphas"].shape == (5000,)


def test_steps_that_an_export_has_no_rows_for_are_refused(run, exported):
    found = read_export(exported)
    arrays = found.arrays | {"steps": np.array([50, 0]), "table": found.arrays["table"][[50, 0]]}
    few = replace(found, arrays=arrays)
    assert len([*few.with_steps(2).steps()]) == 2
    with pytest.raises(ValueError, match="has no row for training step 66"):
        [*few.with_steps(3).steps()]


def test_facts_that_no_policy_can_have_are_refused():
    facts = facts_of(make_policy(state_dim=8, action_dim=10).config, {}, "")
    assert facts.robot_dim == 10 and facts.relative is None and read_facts(asdict(facts)) == facts
    relative = replace(facts, actions="relative", robot_dim=8, **KINDS)
    assert relative.relative.size == 10
    wrong = [
        ({"robot_dim": 8}, "absolute actions of 8 numbers given"),
        ({"actions": "relativ"}, "unknown actions 'relativ'"),
        ({"actions": "relative"}, "do not say what their numbers are"),
        ({"actions": "relative", **KINDS}, "name 8 numbers, but there are 10"),
        ({"state_kinds": "position:7 gripper:1"}, "size '7' of position given"),
        ({"n_action_steps": 16}, "exceeds the horizon 16"),
        ({"num_inference_steps": 0}, "num_inference_steps 0 given"),
    ]
    for changes, said in wrong:
        with pytest.raises(ValueError, match=said):
            replace(facts, **changes)
    assert isinstance(facts.told({"task": "my_arm"}), PolicyFacts) and facts.told({"task": "my_arm"}).task == "my_arm"
