"""What tests of the pipeline share: notebooks of their own."""

import shutil

import pytest

from tests import ROOT


@pytest.fixture
def own_notebooks(empty_root):
    """A root with notebooks of its own, which are as the project has them."""
    shutil.copytree(ROOT / "notebooks", empty_root / "notebooks")
    return empty_root
