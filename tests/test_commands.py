"""One command: it lists its verbs, says what each takes, and answers what was given wrongly in one line."""

import os
import re
import subprocess
import sys
import tomllib
from dataclasses import replace
from importlib.metadata import packages_distributions

import pytest

from mp_lib.__main__ import main
from mp_lib.commands.table import VERBS
from mp_lib.system import extras
from tests import ROOT

GONE = (
    "pipeline",
    "cluster",
    "demos",
    "benchmark",
    "benchmark_table",
    "fetch",
    "imitate",
    "gallery",
    "keep",
    "watch",
    "scaling",
)


def test_no_verb_and_help_list_all_of_them_with_a_line_each(capsys):
    for arguments in ([], ["--help"], ["help"]):
        assert main(arguments) == 0
        lines = capsys.readouterr().out.splitlines()
        for verb in VERBS.values():
            assert sum(line.startswith(f"  {verb.name} ") and line.endswith(verb.does) for line in lines) == 1
    maintainers = lines.index("For who maintains the project:")
    shown = [line.split()[0] for line in lines[maintainers + 1 :]]
    assert shown == [verb.name for verb in VERBS.values() if verb.maintains]


@pytest.mark.parametrize(("given", "nearest"), [("chek", "check"), ("bench", "benchmark"), ("keeps", "keep")])
def test_an_unknown_verb_is_answered_with_all_of_them_the_nearest_first(given, nearest, capsys):
    assert main([given]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    named = line.partition("choose one of: ")[2].split(", ")
    assert named[0] == nearest and {*named} == {*VERBS} and repr(given) in line


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_every_verb_needs_no_package_but_pythons_own(verb):
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import mp_lib.__main__ as m; m.main([{verb!r}, '--help'])"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: ")


@pytest.mark.parametrize("verb", [name for name in VERBS if name != "lab"])  # which passes them on to JupyterLab
def test_an_unknown_option_is_answered_in_one_line_that_lists_those_there_are(verb, capsys):
    with pytest.raises(SystemExit) as left:
        main([verb, "--no-such-option"])
    (line,) = capsys.readouterr().err.splitlines()
    assert left.value.code == 2 and "the options are: -h, --help" in line


@pytest.mark.parametrize("name", GONE)
def test_no_module_runs_beside_it(name):
    done = subprocess.run([sys.executable, "-m", f"mp_lib.{name}", "--help"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode != 0


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", [[], ["info"], ["run", "--help"]])
def test_a_reader_that_is_gone_is_no_trouble(arguments, unbuffered, monkeypatch):
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    command = f"'{sys.executable}' -m mp_lib {' '.join(arguments)} | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode in (0, 141) and done.stderr == ""  # argparse does not say that its help was not read


def test_a_run_ends_with_its_reader(monkeypatch, empty_root):
    read, write = os.pipe()
    os.close(read)
    with open(write, "w") as unread:
        monkeypatch.setattr(sys, "stdout", unread)
        monkeypatch.setattr("mp_lib.pipeline.driver.notebooks_there", list)
        monkeypatch.setattr("mp_lib.pipeline.driver.Runner", lambda *_: pytest.fail("it goes on"))
        assert main(["run", "smoke", "--device", "cpu", "--edited"]) == 141


def test_a_pipe_that_breaks_elsewhere_is_said(monkeypatch, capfd):
    broken = VERBS["info"]
    monkeypatch.setitem(
        VERBS, "info", replace(broken, act=lambda _: (_ for _ in ()).throw(BrokenPipeError("a worker")))
    )
    assert main(["info"]) == 2 and capfd.readouterr().err == "mp_lib info: a worker\n"


def test_info_says_what_a_bug_report_needs(capsys):
    assert main(["info"]) == 0
    named = {line.partition(": ")[0] for line in capsys.readouterr().out.splitlines()}
    assert {"mp_lib", "versions", "device", "C compiler", "depth images", "root (MP_ROOT)"} <= named


@pytest.mark.parametrize(
    ("verb", "missing", "extra"),
    [
        (["check", "metaworld_reach", "--episodes", "1"], "mujoco", "sim"),
        (["check", "adroit_pen", "--episodes", "1"], "gymnasium_robotics", "sim"),
        (["keep"], "pandas", "lab"),
        (["serve", "my_run"], "websockets", "serve"),
        (["serve", "my_run"], "msgpack", "serve"),
        (["export", "run", "folder", "--to", "onnx"], "onnxscript", "deploy"),
        (["run", "smoke", "--engine", "snakemake"], "snakemake", "cluster"),
    ],
)
def test_what_an_extra_misses_is_one_line_with_the_command_that_installs_it(verb, missing, extra, tmp_path):
    hide = f"import sys; sys.modules[{missing!r}] = None; import importlib.util as u; find = u.find_spec"
    hide += f"; u.find_spec = lambda name: None if name == {missing!r} else find(name)"
    code = f"{hide}; import mp_lib.__main__ as m; sys.exit(m.main({verb!r}))"
    variables = os.environ | {"MP_ROOT": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=variables)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert missing in line and f"python -m pip install -e '.[{extra}]'" in line


NOT_IMPORTED = {"ipython"}  # comes with ipykernel, and is what figures are shown by


def test_extras_name_the_modules_of_pyprojects_packages():
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    packages = packages_distributions()
    for extra, names in extras.MODULES.items():
        asked = {re.match(r"[\w-]+", line)[0].lower().replace("_", "-") for line in wanted[extra]}
        there = {each.lower().replace("_", "-") for name in names for each in packages.get(name, [name])}
        assert there - NOT_IMPORTED == asked, extra
    named = [name for names in extras.MODULES.values() for name in names]
    assert len(named) == len({*named})
