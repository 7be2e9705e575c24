"""Damaged recordings: each gives what was written, or one line that names the file, and nothing else happens."""

import random
import re
import shutil

import numpy as np
import pytest

from mp_lib.exchange.aside import Aside
from mp_lib.exchange.formats import FORMATS, open_recording
from mp_lib.exchange.survey import survey
from mp_lib.system.errors import InputError
from tests import ROOT
from tests.exchange.fragile import Fragile
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


# The layouts of each format; npz alone has checksums, so that whatever is read of it must be what was written.
FORMATS_OF = {
    "npz": {"npz": LAYOUTS["npz"]},
    "hdf5": {name: LAYOUTS[name] for name in ("hdf5", "robomimic", "maniskill")},
    "lerobot": {"lerobot": LAYOUTS["lerobot"], "by LeRobot": copied},
}


def equal(found, expected):
    return found.keys() == expected.keys() and all(
        np.array_equal(found[episode][key], values)
        for episode, frames in expected.items()
        for key, values in frames.items()
    )


def test_every_format_is_damaged_and_what_is_whole_is_read(tmp_path):
    assert FORMATS_OF.keys() == FORMATS.keys()
    for layouts in FORMATS_OF.values():
        for layout, make in layouts.items():
            frames, *_ = read_all(make(tmp_path / layout, made_up()))
            assert len(frames) == 3 and all(len(values) for each in frames.values() for values in each.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_what_is_damaged_is_read_as_before_or_refused_in_one_line(name, tmp_path):
    made = [make(tmp_path / layout, made_up()) for layout, make in FORMATS_OF[name].items()]
    expected = [read_all(source)[0] for source in made]
    chance, refused = random.Random(name), 0
    for number in range(FILES):
        place = number % len(made)
        files = sorted(path for path in (tmp_path / [*FORMATS_OF[name]][place]).rglob("*") if path.is_file())
        file = chance.choice(files)
        whole = file.read_bytes()
        file.write_bytes(DAMAGES[number % len(DAMAGES)](whole, chance))
        try:
            found, *_ = read_all(made[place])
        except InputError as error:
            refused += 1
            assert re.match(rf"{re.escape(str(tmp_path))}[^:;]*[:;, ]", str(error)) and "\n" not in str(error)
        else:
            assert name != "npz" or equal(found, expected[place])
            assert all(values.ndim in (2, 3) for each in found.values() for values in each.values())
        file.write_bytes(whole)
    assert refused > FILES // 5
    assert all(equal(read_all(source)[0], frames) for source, frames in zip(made, expected, strict=True))


def test_a_file_that_ends_its_reader_is_damaged_in_one_line(tmp_path):
    recording = Aside(Fragile, tmp_path / "arm.h5")
    assert recording.episodes == ["ep0"]
    for _ in range(2):
        with pytest.raises(InputError, match=r"arm.h5 is damaged: reading it ended the reader \(exit -11\)"):
            recording.read("ep0", "action", 0, 1)


def test_a_fault_of_our_own_is_no_damage(tmp_path):
    recording = Aside(Fragile, tmp_path / "arm.h5")
    with pytest.raises(RuntimeError, match="(?s)Traceback .*a fault of our own"):
        recording.entries("ep0")


def test_readers_end_with_what_they_read(tmp_path):
    recording = Aside(Fragile, tmp_path / "arm.h5")
    process = recording.process
    assert process.poll() is None
    del recording
    assert process.poll() == 0
