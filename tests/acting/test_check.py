"""What a camera gives beside what was trained on: found out what is otherwise, named, drawn."""

from types import SimpleNamespace

import numpy as np
import pytest

from mp_lib.acting.check import SHOWN_BEFORE, SHOWN_NOW
from mp_lib.point_cloud import draw_cloud, draw_clouds
from mp_lib.system.errors import InputError
from tests.acting.fake import POINTS, FakeEngine, actor_of

CLOUD = np.random.default_rng(0).uniform(-1, 1, (4 * POINTS, 3)).astype(np.float32)
STATE = np.array([0.5, 0, 2], np.float32)


def seen_of(cloud, state):
    middle, extent = (cloud.min(0) + cloud.max(0)) / 2, np.ptp(cloud, axis=0)
    ranges = {"cloud": (cloud.min(0), cloud.max(0)), "centre": (middle - 0.1, middle + 0.1)}
    ranges |= {"extent": (extent - 0.1, extent + 0.1), "state": (state - 0.1, state + 0.1)}
    ranges |= {"action": (np.zeros(2), np.ones(2))}
    found = {f"{name}_{end}": pair[k] for name, pair in ranges.items() for k, end in enumerate(("low", "high"))}
    return SimpleNamespace(**found, cloud=cloud)


ACTOR = actor_of(FakeEngine(seen=seen_of(CLOUD, STATE)))


def wrong(cloud=CLOUD, state=STATE):
    """What does not fit."""
    return {finding.what for finding in ACTOR.check(cloud, state).findings if not finding.ok}


def test_the_training_data_fit():
    found = ACTOR.check(CLOUD, STATE)
    assert found.ok and len(repr(found).splitlines()) == len(found.findings) == 1 + 3 + 3 + 1 + 3
    assert not wrong(np.concatenate([CLOUD, np.zeros((50, 3)), np.full((2, 3), np.nan)]).astype("f8"))


OTHERWISE = {
    "few points": (CLOUD[:3], STATE, "points"),
    "millimetres": (1000 * CLOUD, STATE, "extent in x"),
    "shifted": (CLOUD + np.array([0, 0, 0.5], "f4"), STATE, "centre in z"),
    "axes swapped": (CLOUD * np.array([1, 0.2, 1], "f4"), STATE, "extent in y"),
    "another crop": (np.concatenate([CLOUD, CLOUD[:20] + 5]), STATE, "points outside their box"),
    "another state": (CLOUD, STATE + np.array([0, 1, 0], "f4"), "state 1"),
    "no number": (CLOUD, STATE * np.nan, "state 0"),
}


@pytest.mark.parametrize("name", OTHERWISE)
def test_what_is_otherwise_is_named(name):
    cloud, state, what = OTHERWISE[name]
    assert what in wrong(cloud, state)
    assert f"LOOK  {what}: " in repr(ACTOR.check(cloud, state)) and not ACTOR.check(cloud, state).ok


def test_an_empty_cloud_is_said_and_drawn():
    found = ACTOR.check(np.zeros((POINTS, 3)), STATE)
    assert not found.ok and found.picture().shape == (512, 512, 3)


def test_a_policy_of_which_less_is_known_is_compared_with_what_there_is():
    for seen in (None, SimpleNamespace(**dict.fromkeys(vars(ACTOR.engine.seen)))):
        found = actor_of(FakeEngine(seen=seen)).check(CLOUD, STATE)
        assert found.ok and [each.what for each in found.findings] == ["points"] and found.training is None


def test_another_size_is_refused():
    with pytest.raises(InputError, match="has colours"):
        ACTOR.check(np.zeros((9, 6)), STATE)


def test_both_clouds_are_drawn_in_one_frame_and_saved_as_a_picture(tmp_path):
    found = ACTOR.check(CLOUD + np.array([3, 0, 0], "f4"), STATE)
    picture = found.picture(size=200)
    colors = {tuple(each) for each in picture.reshape(-1, 3).tolist()}
    assert colors == {(255, 255, 255), SHOWN_BEFORE, SHOWN_NOW}
    columns = [np.flatnonzero((picture == color).all(2).any(0)) for color in (SHOWN_BEFORE, SHOWN_NOW)]
    assert columns[0].max() < columns[1].min() or columns[1].max() < columns[0].min()
    path = found.save(tmp_path / "look.png", size=200)
    plt = pytest.importorskip("matplotlib.image")
    np.testing.assert_array_equal((plt.imread(path)[..., :3] * 255).round().astype(np.uint8), picture)


def test_a_picture_is_replaced_and_nothing_else_is(tmp_path):
    first, second = ACTOR.check(CLOUD, STATE), ACTOR.check(CLOUD[:9], STATE)
    path = first.save(tmp_path / "look.png", size=50)
    written = second.save(path, size=60).read_bytes()
    assert written == second.save(tmp_path / "other.PNG", size=60).read_bytes()
    assert [each.name for each in tmp_path.glob(".*")] == []
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "text.png").write_text("my notes")
    (tmp_path / "empty.png").touch()
    (tmp_path / "picture.bin").write_bytes(written)
    for name in ("folder.png", "text.png", "empty.png", "picture.bin"):
        before = {each: each.is_file() and each.read_bytes() for each in tmp_path.iterdir()}
        with pytest.raises(InputError, match="exists already"):
            first.save(tmp_path / name)
        assert before == {each: each.is_file() and each.read_bytes() for each in tmp_path.iterdir()}


def test_one_cloud_among_several_lies_where_it_lies_alone():
    alone = (draw_cloud(CLOUD, 100) != 255).any(2)
    np.testing.assert_array_equal((draw_clouds([CLOUD], [SHOWN_NOW], 100) != 255).any(2), alone)
