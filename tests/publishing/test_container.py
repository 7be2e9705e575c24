"""The container's recipe and the workflows name what is there, and commands that can be parsed. None is run here."""

import re
import shlex
import subprocess
import tomllib

import pytest
import yaml

from mp_lib.pipeline import options
from tests import ROOT

RECIPE = (ROOT / "Dockerfile").read_text()
LINES = [line for line in re.sub(r"\\\n", " ", RECIPE).splitlines() if line.strip() and not line.startswith("#")]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
SCRIPT_VERBS = ("setup", "lab", "demo", "test")


def of_kind(kind):
    return [line.split(maxsplit=1)[1] for line in LINES if line.startswith(f"{kind} ")]


def check_call(words):
    """That a call of run_all.sh is one."""
    assert words[0] == "./run_all.sh", words
    if words[1] not in SCRIPT_VERBS:
        options.parse(words[1:])


def test_what_is_copied_is_there():
    sources = [word for line in of_kind("COPY") for word in shlex.split(line)[:-1] if not word.startswith("--")]
    assert all((ROOT / source).exists() for source in sources) and "." in sources


def test_the_environment_is_one_layer_that_the_code_does_not_change():
    steps = [line for line in LINES if line.startswith(("COPY", "RUN"))]
    (made,) = [place for place, line in enumerate(steps) if "./run_all.sh setup" in line]
    before = " ".join(line for line in steps[:made] if line.startswith("COPY"))
    assert "pyproject.toml" in before and "constraints.txt" in before and "mp_lib/ " not in before
    assert [line.split()[-2] for line in steps[made + 1 :]] == ["."]


def test_its_lines_are_shell_and_it_ends_without_root():
    for line in of_kind("RUN"):
        assert subprocess.run(["bash", "-n", "-c", line], capture_output=True).returncode == 0, line
    assert LINES.index(f"USER {of_kind('USER')[-1]}") < LINES.index(next(line for line in LINES if "setup" in line))
    assert of_kind("USER")[-1] != "root" and {"NB_USER=jovyan", "NB_UID=1000"} <= {*of_kind("ARG")}


def test_what_it_runs_can_be_run():
    (command,) = of_kind("CMD")
    check_call([word.strip('[]", ') for word in command.split(",")])
    described = re.findall(r"mamba-policy (\./run_all\.sh .*)", RECIPE + (ROOT / "docs" / "publishing.md").read_text())
    assert described
    for line in described:
        check_call(shlex.split(line))


def test_nothing_that_is_made_goes_into_it():
    left_out = {line.strip("/*") for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] not in "#!"}
    made = {line.strip("/*") for line in (ROOT / ".gitignore").read_text().splitlines() if line[:1] not in "#!"}
    elsewhere = {name for name in made if name.startswith((".snakemake", "data/policies"))}
    assert made - elsewhere <= left_out


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_run_what_can_be_parsed(path):
    workflow = yaml.safe_load(path.read_text())
    calls = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    assert calls
    for call in calls:
        check_call(shlex.split(call, comments=True))
    assert all("timeout-minutes" in job or "run" not in str(job["steps"]) for job in workflow["jobs"].values())
    assert workflow["permissions"] == {"contents": "read"}  # what more a job needs it says itself


def test_every_python_that_is_allowed_is_tried():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text())
    tried = workflow["jobs"]["test"]["strategy"]["matrix"]["python"]
    allowed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    first, last = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", allowed).groups()
    assert tried == [f"3.{minor}" for minor in range(int(first), int(last))]
