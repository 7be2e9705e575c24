"""What the README shows in Python runs as it stands there."""

import re

import numpy as np
import pytest

from tests import ROOT

(BLOCK,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
SMALL = {"num_steps=200": 'scale="smoke", num_steps=2', "episodes=10": "episodes=1", "samples=16": "samples=2"}


def run(block):
    names = {}
    exec(compile(block, "README.md", "exec"), names)
    return names


def test_it_is_ten_lines_and_runs_small(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("MP_ROOT", str(tmp_path))
    lines = [line for line in BLOCK.splitlines() if line]
    assert len(lines) <= 10
    small = BLOCK
    for words, instead in SMALL.items():
        assert words in small
        small = small.replace(words, instead)
    names = run(small)
    assert names["paths"].shape == (2, 15, 3) and np.isfinite(names["paths"]).all()
    assert "difference on the same seeds" in capsys.readouterr().out


@pytest.mark.slow
def test_it_runs_as_it_stands(monkeypatch, tmp_path):
    monkeypatch.setenv("MP_ROOT", str(tmp_path))
    assert run(BLOCK)["paths"].shape == (16, 15, 3)
