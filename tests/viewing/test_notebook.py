"""08_explore by papermill, at scale smoke: figures stand where there are no controls; no batch run executes it."""

import nbformat
import papermill
import pytest

from mp_lib.pipeline.experiment import Experiment
from mp_lib.study.designs import DESIGNS
from mp_lib.system.paths import notebooks_path
from tests import ROOT
from tests.insight.trained import write_trained


@pytest.fixture
def by_papermill(monkeypatch, tmp_path):
    """Execute the notebook with some parameters, where two runs are finished; its outputs."""
    monkeypatch.setenv("MP_ROOT", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    runs = [write_trained(method, scale="smoke") for method in ("dp3_mamba_hydra", "dp3_narrow")]

    def execute(**given):
        out = tmp_path / "out.ipynb"
        papermill.execute_notebook(notebooks_path() / "08_explore.ipynb", out, given, progress_bar=False)
        cells = nbformat.read(out, as_version=4).cells
        return [output for cell in cells for output in cell.get("outputs", ())]

    return execute, runs


def test_figures_stand_for_both_views(by_papermill, tmp_path):
    execute, (policy, other) = by_papermill
    outputs = execute(policy=policy, other=other, seed=70000)
    pages = [output.data["text/html"] for output in outputs if "text/html" in output.get("data", {})]
    assert not [output for output in outputs if output.get("name") == "stderr"]
    episode, demonstration = (page for page in pages if "data:image/png" in page)
    assert episode.count("data:image/png") == demonstration.count("data:image/png") == 2
    assert "a seed of the final tables; those for exploring begin at 80000" in episode and other in episode
    assert "demonstration 0 of" in demonstration and "dashed: recorded" in demonstration
    assert not (tmp_path / "figures").exists()


@pytest.mark.parametrize("name", DESIGNS)
def test_no_batch_run_executes_it(name, empty_root):
    steps = Experiment("smoke", DESIGNS[name], device="cpu").steps(cores=2)
    assert steps and not any("08_explore" in step.notebook for step in steps)
