"""Damaged recordings: each gives what was written, or one line that names the file, and nothing else happens."""

import random
import re
import shutil

import numpy as np
import pytest

from mp_lib.exchange.formats import open_recording
from mp_lib.exchange.survey import survey
from mp_lib.system.errors import InputError
from tests import ROOT
from tests.exchange.layouts import LAYOUTS, made_up
from tests.test_damage import DAMAGES

FILES = 200  # damaged files a reader
THEIRS = ROOT / "tests" / "reference" / "lerobot_0_6_1"


def read_all(source):
    """What a recording has under the usual keys, by episode, as ``convert`` reads it; and its own facts."""
    recording = open_recording(source)
    found = survey(recording, recording.episodes, None)
    frames = {
        episode: {key: recording.read(episode, key, 0, length) for key in found.keys.all}
        for episode, length in found.lengths.items()
    }
    return frames, recording.fps, recording.kinds


def copied(folder, _):
    return shutil.copytree(THEIRS, folder)


# Whether whatever is read must be what was written: there are checksums. LeRobot writes none.
SAME = {"npz": True, "hdf5": False, "robomimic": False, "maniskill": False, "lerobot": False, "by LeRobot": False}
MAKERS = {**LAYOUTS, "by LeRobot": copied}


def equal(found, expected):
    return found.keys() == expected.keys() and all(
        np.array_equal(found[episode][key], values)
        for episode, frames in expected.items()
        for key, values in frames.items()
    )


def test_what_is_whole_is_read(tmp_path):
    for layout, make in MAKERS.items():
        frames, *_ = read_all(make(tmp_path / layout, made_up()))
        assert len(frames) == 3 and all(len(values) for each in frames.values() for values in each.values())


@pytest.mark.slow
@pytest.mark.parametrize("layout", MAKERS)
def test_what_is_damaged_is_read_as_before_or_refused_in_one_line(layout, tmp_path):
    source = MAKERS[layout](tmp_path / "source", made_up())
    expected, *_ = read_all(source)
    files = sorted(path for path in (tmp_path / "source").rglob("*") if path.is_file())
    chance, refused = random.Random(layout), 0
    for number in range(FILES):
        file = files[number % len(files)]
        whole = file.read_bytes()
        file.write_bytes(DAMAGES[number % len(DAMAGES)](whole, chance))
        try:
            found, *_ = read_all(source)
        except InputError as error:
            refused += 1
            assert re.match(rf"{re.escape(str(tmp_path))}\S*[:, ]", str(error)) and "\n" not in str(error)
        else:
            assert not SAME[layout] or equal(found, expected)
            shapes = [values.shape[1:] for each in found.values() for values in each.values()]
            assert len(shapes) == 0 or max(map(len, shapes)) <= 2
        file.write_bytes(whole)
    assert refused > FILES // 5
    assert equal(read_all(source)[0], expected)
