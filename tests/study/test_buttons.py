"""Buttons of the README: none without an address, and both from it."""

import ast
import re

import nbformat
import pytest

from mp_lib.study import buttons as module
from mp_lib.study.buttons import buttons, colab_notebook, keep_colab, repository
from mp_lib.system.errors import InputError
from mp_lib.system.files import read_json

ADDRESS = "https://github.com/somebody/mamba-policy"


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout whose pyproject.toml has the given text below [project.urls]."""
    monkeypatch.setattr(module, "checkout", lambda: tmp_path)
    (tmp_path / "docs").mkdir()

    def fill(text):
        (tmp_path / "pyproject.toml").write_text(f'[project]\nname = "x"\n[project.urls]\n{text}\n')
        return tmp_path

    return fill


def test_there_are_none_without_an_address(checkout):
    folder = checkout("# nothing")
    assert repository() == buttons(repository()) == "" and keep_colab() is None
    assert [*(folder / "docs").iterdir()] == []


@pytest.mark.parametrize("ending", ["", "/", ".git"])
def test_both_are_made_from_the_address(checkout, ending):
    folder = checkout(f'Repository = "{ADDRESS}{ending}"')
    line = buttons(repository())
    links = re.findall(r"\]\((https://[^)]+)\)\]\((https://[^)]+)\)", line)
    assert len(links) == 2 and line.count("\n") == 1
    assert all("/somebody/mamba-policy/" in link for _, link in links)
    assert keep_colab() == folder / "docs" / "colab.ipynb" and links[1][1].endswith("docs/colab.ipynb")
    assert read_json(folder / "docs" / "colab.ipynb") == colab_notebook(f"{ADDRESS}{ending}")


@pytest.mark.parametrize("address", ["https://example.org/a/b", "somebody/mamba-policy", "https://github.com/somebody"])
def test_an_address_elsewhere_is_refused(checkout, address):
    checkout(f'Repository = "{address}"')
    with pytest.raises(InputError, match=re.escape(address)):
        repository()


def test_the_notebook_is_one_and_its_code_is_python():
    notebook = nbformat.from_dict(colab_notebook(ADDRESS))
    nbformat.validate(notebook)
    sources = [cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert any(ADDRESS in source for source in sources)
    for source in sources:
        ast.parse("\n".join(line for line in source.splitlines() if not line.startswith(("!", "%"))))
