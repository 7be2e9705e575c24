"""The archive: the same bytes from the same files; elsewhere the same runs and tables, or nothing is written."""

import csv
import hashlib
import io
import json
import shutil
import subprocess
import zipfile

import pandas as pd
import pytest

import mp_lib
from mp_lib.__main__ import main
from mp_lib.model.weights import CHECKPOINT, shipped
from mp_lib.publishing.archive import ROWS, RUNS, SUMS, TOP, pack
from mp_lib.publishing.unpacking import unpack
from mp_lib.study.documents import written
from mp_lib.study.rows import RESULT, load_kept, load_runs
from mp_lib.study.runs import keep
from mp_lib.system.errors import InputError
from mp_lib.system.files import read_json, write_json
from tests import ROOT


@pytest.fixture(scope="module", autouse=True)
def committed():
    """A package without changes, also while somebody works on it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mp_lib.publishing.archive.commit", lambda: "0123456789ab")
        yield


def at(folder, patch):
    """Let this folder be the root."""
    folder.mkdir(exist_ok=True)
    patch.setenv("MP_ROOT", str(folder))
    return folder


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """The archive of what is kept with the project, made where two of the runs that come with it lie in data/runs."""
    place = tmp_path_factory.mktemp("packed")
    with pytest.MonkeyPatch.context() as patch:
        root = at(place / "root", patch)
        for checkpoint in shipped()[:2]:
            shutil.copytree(checkpoint.parent, root / RUNS / checkpoint.parent.name)
        return pack(place / "one.zip")


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """An empty root with the project's checkout beside it."""
    return at(tmp_path / "elsewhere", monkeypatch)


def names_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def contents(path):
    with zipfile.ZipFile(path) as archive:
        return {name.removeprefix(f"{TOP}/"): archive.read(name) for name in archive.namelist()}


def repacked(path, files):
    """An archive of these files, under their names, in a new file beside ``path``."""
    changed = path.with_name("changed.zip")
    with zipfile.ZipFile(changed, "w") as archive:
        for name, content in files.items():
            archive.writestr(f"{TOP}/{name}", content)
    return changed


def test_the_same_files_give_the_same_bytes(packed, tmp_path, monkeypatch):
    monkeypatch.setenv("MP_ROOT", str(packed.path.parent / "root"))
    for path in (packed.path.parent / "root").rglob("*"):
        path.touch()  # whenever they were written
    strays = packed.path.parent / "root" / "data" / "results"
    strays.mkdir(parents=True)
    for name in (".runs.csv.77.partial", ".DS_Store", ".ipynb_checkpoints/x.csv", "notes.txt~"):
        (strays / name).parent.mkdir(exist_ok=True)
        (strays / name).write_text("stray")
    again = pack(tmp_path / "two.zip")
    assert (tmp_path / "two.zip").read_bytes() == packed.path.read_bytes() and again.sha256 == packed.sha256


def test_each_kept_row_is_told_with_its_policy_or_the_call_that_trains_it(packed):
    rows = [*csv.DictReader(io.StringIO(contents(packed.path)[ROWS].decode()))]
    kept = pd.concat([load_kept(), load_kept(earlier=True)])
    assert sorted(row["name"] for row in rows) == sorted(kept["name"]) and packed.rows == len(rows)
    assert sum(row["policy"] != "" for row in rows) == packed.policies >= 2
    assert all(row["policy"] in contents(packed.path) for row in rows if row["policy"])
    ways = {"mp_lib.train(": 0, "papermill notebooks/04_evaluate.ipynb ": 0}  # of evaluations without a training
    for row in rows:
        ways[next(way for way in ways if row["again"].startswith(way))] += 1
    assert all(ways.values())


def test_it_can_be_checked_with_what_every_system_has(packed, tmp_path):
    with zipfile.ZipFile(packed.path) as archive:
        archive.extractall(tmp_path)
    done = subprocess.run(["sha256sum", "--check", "--quiet", SUMS], cwd=tmp_path / TOP, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    listed = {line.split("  ")[1] for line in (tmp_path / TOP / SUMS).read_text().splitlines()}
    assert listed == {*contents(packed.path)} - {SUMS} and {"LICENSE", "README.md", "CITATION.cff"} <= listed


def test_unpacked_it_gives_the_same_runs_and_the_same_tables(packed, elsewhere):
    found = unpack(packed.path)
    assert len(found.runs) == packed.policies == len(mp_lib.runs()) == load_runs()["name"].nunique()
    kept = load_kept().set_index("name")["outcomes"]
    assert all(row.outcomes == kept[row.folder] for row in load_runs().itertuples())
    assert str(mp_lib.load(found.runs[0]).checkpoint).startswith(str(elsewhere / RUNS))
    again = unpack(packed.path)
    assert again.runs == again.files == () and again.there == found.there + len(found.files) + len(
        [name for name in contents(packed.path) if name.startswith(f"{RUNS}/")]
    )


def test_tables_come_from_the_archive_where_nothing_else_is_kept(packed, elsewhere, monkeypatch):
    monkeypatch.setattr("mp_lib.system.paths.checkout", lambda: None)  # so that no kept row is the checkout's
    assert load_kept().empty
    unpack(packed.path)
    assert len(load_kept()) + len(load_kept(earlier=True)) == packed.rows
    text = (ROOT / "README.md").read_text()
    assert written(text) == text and "<!-- verdicts" in text


def test_what_is_kept_and_packed_is_of_the_run_itself(packed, tmp_path, monkeypatch):
    """A run of the same name with other outcomes is not the row's."""
    root = at(tmp_path / "root", monkeypatch)
    monkeypatch.setattr("mp_lib.publishing.archive.SHIPPED", "nowhere")
    source = shipped()[0].parent
    shutil.copytree(source, root / RUNS / source.name)
    assert pack(tmp_path / "its.zip").policies == 1
    result = read_json(root / RUNS / source.name / RESULT)
    result["final"]["successes"][0] = 1 - result["final"]["successes"][0]
    write_json(root / RUNS / source.name / RESULT, result)
    assert pack(tmp_path / "other.zip").policies == 0


def broken(kind, files):
    """Files of an archive, damaged in some way."""
    run = next(name for name in files if name.endswith(CHECKPOINT))
    if kind == "a byte":
        return files | {run: bytes([files[run][0] ^ 1]) + files[run][1:]}
    if kind == "a file less":
        return {name: content for name, content in files.items() if name != run}
    if kind == "a file more":
        return files | {"data/results/more.csv": b"a"}
    if kind == "no digests":
        return {name: content for name, content in files.items() if name != SUMS}
    line = b"0" * 64 + b"  ../../outside.csv\n"
    return files | {"../../outside.csv": b"a", SUMS: files[SUMS] + line}


def with_digests(files):
    """Files with a list of their digests."""
    files = {name: content for name, content in files.items() if name != SUMS}
    lines = [f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in files.items()]
    return files | {SUMS: "".join(lines).encode()}


STRANGE = (  # names that no archive of this project has, with digests that fit
    *("/etc/x.csv", "../x.csv", "data/results/../../x.csv", "data/results/./x.csv", "data//results/x.csv", "a\\b.csv"),
    *("data/results/", "data/runs/x", "data/runs/./x/policy.safetensors", "data/runs/x/03_train.ipynb"),
    *("data/runs/x/policy.ckpt", "data/runs/x/evaluations/deeper/a-denoising.json", "data/runs/x/../../y.csv"),
)


@pytest.mark.parametrize("name", STRANGE)
def test_a_strange_name_is_refused_and_nothing_is_written(packed, elsewhere, name, tmp_path):
    changed = repacked(tmp_path / "x.zip", with_digests(contents(packed.path) | {name: b"strange"}))
    with pytest.raises(InputError, match="do not use it"):
        unpack(changed)
    assert names_in(elsewhere) == []


def test_one_that_was_packed_anew_and_smaller_is_refused(packed, elsewhere, tmp_path):
    """So that no file is larger than the archive, and a list of digests fits into memory."""
    for only in (SUMS, "data/results/runs.csv"):
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
            for name, content in contents(packed.path).items():
                kind = zipfile.ZIP_DEFLATED if name == only else zipfile.ZIP_STORED
                archive.writestr(f"{TOP}/{name}", content, kind)
        with pytest.raises(InputError):
            unpack(tmp_path / "x.zip")
    assert names_in(elsewhere) == []


@pytest.mark.parametrize("lines", [b"", b"\n", b"no digest  a\n", b"\xff\xfe"])
def test_a_list_of_digests_that_is_none_is_refused(elsewhere, tmp_path, lines):
    with pytest.raises(InputError):
        unpack(repacked(tmp_path / "x.zip", {SUMS: lines}))


def test_a_file_where_a_folder_has_to_be_is_told_and_nothing_is_written(packed, elsewhere):
    (elsewhere / "data").mkdir()
    (elsewhere / "data" / "runs").write_text("a file")
    with pytest.raises(InputError, match="is a file, where"):
        unpack(packed.path)
    assert names_in(elsewhere) == ["data", "data/runs"]


def test_changes_that_no_commit_holds_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("mp_lib.publishing.archive.commit", lambda: "0123456789ab-changed")
    with pytest.raises(InputError, match="commit them first"):
        pack(tmp_path / "new.zip")


@pytest.mark.parametrize("kind", ["a byte", "a file less", "a file more", "no digests", "a name that leads elsewhere"])
def test_a_damaged_one_is_refused_and_nothing_is_written(packed, elsewhere, kind, tmp_path):
    changed = repacked(tmp_path / "x.zip", broken(kind, contents(packed.path)))
    with pytest.raises(InputError) as raised:
        unpack(changed)
    assert str(changed) in str(raised.value) and "\n" not in str(raised.value)
    assert names_in(elsewhere) == [] and not (tmp_path / "outside.csv").exists()


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut"])
def test_what_is_no_archive_is_refused(elsewhere, tmp_path, content, capsys):
    (tmp_path / "x.zip").write_bytes(content)
    assert main(["keep", "--unpack", str(tmp_path / "x.zip")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("mp_lib keep: ") and said.count("\n") == 1 and names_in(elsewhere) == []


def test_one_that_is_not_there_is_refused(elsewhere, tmp_path, capsys):
    assert main(["keep", "--unpack", str(tmp_path / "gone.zip")]) == 2
    assert "gone.zip" in capsys.readouterr().err


def test_what_lies_there_stays_and_nothing_is_written_beside_it(packed, elsewhere):
    own = elsewhere / "data" / "results" / "runs.csv"
    own.parent.mkdir(parents=True)
    own.write_text("task\n")
    with pytest.raises(InputError, match=r"data/results/runs.csv is here, and differs .*MP_ROOT"):
        unpack(packed.path)
    assert own.read_text() == "task\n" and not (elsewhere / "data" / "runs").exists()


def test_a_run_of_ones_own_stays(packed, elsewhere):
    name = next(name for name in contents(packed.path) if name.endswith(CHECKPOINT))
    own = elsewhere / name
    own.parent.mkdir(parents=True)
    own.with_name(RESULT).write_text("{}")
    with pytest.raises(InputError, match="is here, and differs"):
        unpack(packed.path)
    assert names_in(own.parent) == [RESULT]
    own.with_name(RESULT).unlink()
    own.with_name("notes.txt").write_text("mine")
    with pytest.raises(InputError, match="move it away"):
        unpack(packed.path)
    assert names_in(own.parent) == ["notes.txt"]


def test_a_taken_name_is_refused_and_so_is_an_archive_of_nothing(packed, empty_root, tmp_path):
    with pytest.raises(InputError, match="exists already"):
        pack(packed.path)
    with pytest.raises(InputError, match="no rows are kept"):
        pack(tmp_path / "new.zip")
    assert not (tmp_path / "new.zip").exists()


def test_an_interrupted_one_leaves_nothing(packed, tmp_path, monkeypatch):
    monkeypatch.setenv("MP_ROOT", str(packed.path.parent / "root"))
    monkeypatch.setattr("mp_lib.publishing.archive.copied", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        pack(tmp_path / "cut.zip")
    assert names_in(tmp_path) == []


def test_the_verb_packs_and_unpacks_and_does_one_of_them(packed, elsewhere, tmp_path, capsys):
    assert main(["keep", "--pack", str(tmp_path / "a.zip"), "--unpack", str(tmp_path / "b.zip")]) == 2
    assert "give one of them" in capsys.readouterr().err
    assert main(["keep", "--pack", str(tmp_path / "a.zip"), "--scales", "paper"]) == 2
    assert "has all rows" in capsys.readouterr().err
    assert main(["keep", "--pack", str(tmp_path / "a.zip")]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["path"] == str(tmp_path / "a.zip") and said["rows"] == packed.rows
    assert main(["keep", "--unpack", str(tmp_path / "a.zip")]) == 0
    assert {*json.loads(capsys.readouterr().out)["runs"]} == {path.parent.name for path in shipped()}


def test_what_was_unpacked_can_be_kept_again_without_a_change(packed, elsewhere):
    unpack(packed.path)
    before = load_kept()
    count, path = keep(["pocket"])
    assert count == packed.policies and path.is_relative_to(elsewhere)
    pd.testing.assert_frame_equal(load_kept().reset_index(drop=True), before.reset_index(drop=True))
