"""One source of dependencies: pyproject.toml; environment.yml and constraints.txt follow it."""

import re
import subprocess
import sys
import tomllib

import pytest
import yaml

from mp_lib.presets import METHODS, SCALES, SPECIAL, recipe_of
from mp_lib.study.designs import DESIGNS
from tests import ROOT
from tests.test_architecture import imports

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]


def package_name(requirement: str) -> str:
    return re.match(r"[A-Za-z0-9._-]+", requirement)[0].lower().replace("_", "-")


def conda_environment() -> list:
    return yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]


def test_environment_asks_conda_for_python_and_pip_alone():
    names = [package_name(entry) for entry in conda_environment() if isinstance(entry, str)]
    assert sorted(names) == ["pip", "python"]


def test_environment_installs_the_project_with_extras_that_exist():
    (pip,) = (entry["pip"] for entry in conda_environment() if isinstance(entry, dict))
    (editable,) = (line for line in pip if line.startswith("-e"))
    extras = re.fullmatch(r"-e \.\[(.*)\]", editable)[1].split(",")
    assert set(extras) <= set(EXTRAS)
    assert f"\nextras={','.join(extras)}\n" in (ROOT / "run_all.sh").read_text()


def test_environment_python_is_allowed():
    (python,) = (entry for entry in conda_environment() if isinstance(entry, str) and entry.startswith("python"))
    assert python == "python=3.11"
    assert PROJECT["requires-python"] == ">=3.11,<3.14"


INSTALLED = [group for group in EXTRAS if group not in ("cuda", "all")]  # by run_all.sh, [cluster] on first use


@pytest.mark.parametrize("group", ["dependencies", *INSTALLED])
def test_every_dependency_is_pinned(group):
    pinned = {package_name(line) for line in (ROOT / "constraints.txt").read_text().splitlines()}
    wanted = PROJECT["dependencies"] if group == "dependencies" else EXTRAS[group]
    assert {package_name(requirement) for requirement in wanted} <= pinned


def test_no_file_of_tests_needs_an_oracle_to_be_imported():
    """Where one is missing, its own tests are skipped, and no others."""
    needed = {"pytest", "pyyaml"}  # the one runs tests, the other comes with zarr
    oracles = {package_name(requirement) for requirement in EXTRAS["test"]} - needed | {"pip"}
    assert "diffusers" in oracles
    for path in (ROOT / "tests").rglob("*.py"):
        assert not oracles & {name.split(".")[0] for name in imports(path, only_at_the_top=True)}, path


def test_all_is_all_that_needs_no_compiler():
    assert EXTRAS["all"] == [f"mp_lib[{','.join(INSTALLED)}]"]


def test_owner_packages_are_dependencies():
    named = {"jupyterlab", "papermill", "torch", "matplotlib", "pandas", "zarr", "mujoco", "wandb"}
    groups = (PROJECT["dependencies"], *(EXTRAS[group] for group in INSTALLED))
    assert named <= {package_name(requirement) for group in groups for requirement in group}
    assert {"mamba-ssm", "causal-conv1d"} == {package_name(requirement) for requirement in EXTRAS["cuda"]}


def test_the_documents_state_the_numbers_of_the_quick_scale():
    text, quick = (ROOT / "docs" / "experiments.md").read_text(), SCALES["quick"]
    assert not re.search(r"@[A-Z_]+@", text)
    rate = f"{quick['learning_rate']:.0e}".replace("e-0", "e-")
    assert f"{SPECIAL['quick', recipe_of('quick'), 'dexart']['num_steps']} steps" in text
    assert f"{quick['num_steps']} steps of batch {quick['batch_size']} at {rate} instead of" in text
    assert all(f"`{name}`" in text for name in (*METHODS, *DESIGNS))


def test_import_is_quiet_and_light():
    code = "import sys, mp_lib; print(sorted({'torch', 'numpy', 'mujoco', 'pandas'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")
