"""The benchmark on a machine that has torch, numpy, einops and safetensors alone, and on one with a GPU."""

import json
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, requires

import pytest
import torch

from mp_lib.presets import METHODS
from mp_lib.system.precision import use_precision
from mp_lib.timing.sheets import STACK
from mp_lib.timing.subjects import Subject
from mp_lib.timing.table import fill_table, read_rows
from mp_lib.timing.workloads import MAKERS
from tests import ROOT

NEEDED = ("torch", "numpy", "einops", "safetensors")
RUN = """
import sys
from dataclasses import replace

class Hiding:
    \"\"\"A finder of modules for which all packages but some are not installed.\"\"\"

    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        known = name.split(".")[0] in {*sys.stdlib_module_names, *PACKAGES} or name.startswith("_sysconfigdata")
        return self.finder.find_spec(name, path, target) if known else None

sys.meta_path = [Hiding(finder) for finder in sys.meta_path]

from mp_lib.__main__ import main
from mp_lib.timing import benchmark, subjects

benchmark.TURN_SECONDS, benchmark.ARRAY_BYTES = 0.0, 2**20
config = subjects.Subject.config
subjects.Subject.config = lambda self: replace(config(self), down_dims=(32, 64))
sys.exit(main(sys.argv[1:]))
"""


def with_what_it_requires(package):
    """A package and all that pip would install with it, by the names under which they are imported."""
    found, waiting = set(), [package]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        try:
            wanted = requires(name) or []
        except PackageNotFoundError:  # on another system
            continue
        waiting += [re.match(r"[\w-]+", each)[0].lower() for each in wanted if "extra ==" not in each]
    return {name.replace("-", "_") for name in found}


def test_the_table_needs_torch_numpy_einops_and_safetensors_alone(tmp_path):
    packages = {"mp_lib", "torchgen", "functorch"}.union(*map(with_what_it_requires, NEEDED))
    assert not packages & {"pandas", "tqdm", "psutil", "zarr", "mujoco"}
    only = ["chunk", "training", "decision", "dp3", "torch"]
    command = ["benchmark", "--table", "--device", "cpu", "--path", str(tmp_path / "table.csv"), "--only", *only]
    code = RUN.replace("PACKAGES", repr(packages))
    done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert rows == read_rows(tmp_path / "table.csv")
    assert {(row["what"], row["num_inference_steps"]) for row in rows} == {
        ("chunk", 10),
        ("chunk", 2),
        ("training", 10),
    }
    [left_out] = [line for line in done.stderr.splitlines() if line.startswith("left out")]
    assert "mujoco" in left_out and "decision" in left_out


@pytest.fixture
def precision():
    """float32 on the GPU; what was set before is set back."""
    switches = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [each.allow_tf32 for each in switches]
    use_precision("float32", torch.device("cuda"))
    yield
    for switch, value in zip(switches, before, strict=True):
        switch.allow_tf32 = value


@pytest.mark.cuda
@pytest.mark.parametrize("method", METHODS)
def test_all_forms_of_a_chunk_agree_on_a_gpu(method, precision):
    made = {
        name: MAKERS["chunk"][name](Subject(method, "paper", 16, "cuda"), 2)() for name in ("official", "torch", "cuda")
    }
    for name in ("torch", "cuda"):
        torch.testing.assert_close(made[name], made["official"], rtol=0, atol=1e-3)


@pytest.mark.cuda
def test_a_gpu_s_rows_name_it_its_precision_its_bandwidth_and_their_memory(tmp_path):
    rows = list(fill_table(tmp_path / "table.csv", "cuda", only=["training", "cuda", "simple_dp3"]))
    assert rows == read_rows(tmp_path / "table.csv")
    assert [(row["method"], row["stacked"]) for row in rows] == [("simple_dp3", 1), ("simple_dp3", STACK)]
    usual = "tf32" if torch.cuda.get_device_capability() >= (8, 0) else "float32"
    for row in rows:
        assert (row["device"], row["precision"], row["backend"]) == (torch.cuda.get_device_name(), usual, "cuda")
        assert row["bandwidth"] > 100 and 0 < row["floor_seconds"] < row["median_seconds"]
        assert row["ratio_to_dp3_same"] < 1 and row["peak_megabytes"] > row["stacked"] * 4 * 4 * 7.4
