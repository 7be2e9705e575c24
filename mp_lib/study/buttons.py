"""Buttons that open the project elsewhere, made from its address; there are none while nobody has filled that in.

The one place is ``Repository`` below ``[project.urls]`` in pyproject.toml.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from mp_lib.system.errors import InputError
from mp_lib.system.files import write_json
from mp_lib.system.paths import checkout

GITHUB = re.compile(r"https://github\.com/([\w.-]+)/([\w.-]+?)(\.git)?/?")
COLAB = "docs/colab.ipynb"  # below the checkout
WORDS = """# A policy at work, in Colab

The project is fetched and installed beside Colab's own PyTorch, which takes two minutes; then a policy that comes
with it plays an episode."""
FETCH = """!git clone -q {repository} mamba-policy
%cd mamba-policy
!pip install -q -e '.[sim,lab,view]'

import sys

from google.colab import output

output.enable_custom_widget_manager()
sys.path.insert(0, '.')"""
PLAY = """import mp_lib

policy = mp_lib.load('pocket_mamba')
mp_lib.play(policy)"""
CELLS = (("markdown", WORDS), ("code", FETCH), ("code", PLAY), ("code", "mp_lib.view(policy)"))


def repository() -> str:
    """Where the project lives on GitHub; empty if that is not filled in. An InputError for an address elsewhere."""
    text = (checkout() / "pyproject.toml").read_text(encoding="utf-8")
    given = tomllib.loads(text)["project"].get("urls", {}).get("Repository", "")
    if given and not GITHUB.fullmatch(given):
        raise InputError(
            f"pyproject.toml has Repository = {given!r}; Binder and Colab take https://github.com/OWNER/NAME"
        )
    return given


def buttons(address: str) -> str:
    """Links to Binder and Colab, as README has them; empty without an address."""
    if not address:
        return ""
    owner, name = GITHUB.fullmatch(address).groups()[:2]
    binder = f"https://mybinder.org/v2/gh/{owner}/{name}/HEAD?urlpath=lab/tree/notebooks/08_explore.ipynb"
    colab = f"https://colab.research.google.com/github/{owner}/{name}/blob/HEAD/{COLAB}"
    badges = {
        "Binder": ("https://mybinder.org/badge_logo.svg", binder),
        "Colab": ("https://colab.research.google.com/assets/colab-badge.svg", colab),
    }
    return " ".join(f"[![Open in {name}]({badge})]({link})" for name, (badge, link) in badges.items()) + "\n"


def colab_notebook(address: str) -> dict:
    """The notebook that Colab's button opens."""
    shown = [(kind, source.format(repository=address)) for kind, source in CELLS]
    code = {"execution_count": None, "outputs": []}
    cells = [
        {"cell_type": kind, "id": f"cell-{place}", "metadata": {}, "source": source} | (code if kind == "code" else {})
        for place, (kind, source) in enumerate(shown)
    ]
    return {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


def keep_colab() -> Path | None:
    """Write that notebook where there is an address; returns its path if so."""
    if not (address := repository()):
        return None
    path = checkout() / COLAB
    write_json(path, colab_notebook(address))
    return path
