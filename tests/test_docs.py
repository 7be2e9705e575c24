"""Documents name only what is there: links, anchors, paths, notebooks, modules, and command lines that parse.

What stands in backticks is meant as it stands. Not looked for are patterns (with ``<…>`` or ``*``) and what
.gitignore names, which is generated.
"""

import ast
import importlib
import inspect
import re
import shlex

import papermill
import pytest

import mp_lib
from mp_lib.commands.table import VERBS
from mp_lib.pipeline import options
from mp_lib.pipeline.parameters import parameters_of
from mp_lib.presets import SCALES
from tests import ROOT

NAMED = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/*.md", "data/*/README.md", "*/README.md"]
DOCUMENTS = sorted(path for pattern in NAMED for path in ROOT.glob(pattern))
GENERATED = tuple(line.rstrip("*/") for line in (ROOT / ".gitignore").read_text().splitlines() if line[:1] not in "*!#")
TRACKED = (".cff", ".csv", ".md", ".npz", ".png", ".sh", ".toml", ".txt", ".yml")  # endings of names without a folder
MADE = ("seen.npz", "policies.csv")  # such names of files that a run or an archive has
ELSEWHERE = ("http://", "https://", "mailto:")
ONE_PAGE = 130  # lines

every_document = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


def prose(path):
    """A document without its blocks of code."""
    return re.sub(r"^```.*?^```", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)


def spans(path):
    """What stands in backticks, each on one line, without brackets around what may be left out."""
    return [re.sub(r"\[(--.*?)\]", r"\1", " ".join(found.split())) for found in re.findall(r"`([^`]+)`", prose(path))]


def commands(path, name):
    """The arguments of every command of that name, in backticks or at the beginning of a line of code."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    lines = [*spans(path), *(line for block in blocks for line in block.splitlines())]
    return [shlex.split(line[len(name) :], comments=True) for line in lines if f"{line} ".startswith(f"{name} ")]


def anchors(path):
    """The anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", prose(path), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def is_pattern(name):
    return any(sign in name for sign in "<>*…")


@every_document
def test_links_lead_somewhere(path):
    links = re.findall(r"\]\(([^)\s]+)\)", prose(path))
    for link in (link for link in links if not link.startswith(ELSEWHERE)):
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@every_document
def test_paths_exist(path):
    folders = {each.name for each in ROOT.iterdir() if each.is_dir()}
    for name in (name for name in spans(path) if " " not in name and not is_pattern(name)):
        if name.split("/")[0] in folders and "/" in name:
            assert name.startswith(GENERATED) or (ROOT / name).exists(), name
        elif "/" not in name and name.endswith(TRACKED) and name not in (*TRACKED, *MADE):
            assert (ROOT / name).exists() or (path.parent / name).exists(), name
        elif re.fullmatch(r"0\d_\w+", name):
            assert (ROOT / "notebooks" / f"{name}.ipynb").exists(), name


@every_document
def test_modules_and_their_names_exist(path):
    for name in filter(None, (re.match(r"mp_lib(\.\w+)+", name) for name in spans(path))):
        module, rest = ROOT, name[0].split(".")
        while rest and any((module / f"{rest[0]}{kind}").exists() for kind in ("", ".py")):
            module = module / rest.pop(0)
        assert len(rest) < 2, name[0]
        if module == ROOT / "mp_lib" and rest:
            assert rest[0] in mp_lib.__all__, name[0]
        elif rest:
            text = module.with_suffix(".py").read_text()
            assert re.search(rf"^(def |class )?{rest[0]}\b", text, flags=re.MULTILINE), name[0]


def calls_of(block):
    """Each call in a block of Python of what comes from mp_lib, by its name: (function, node)."""
    tree, known = ast.parse(block), {"mp_lib": mp_lib}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "mp_lib":
            module = importlib.import_module(node.module)
            known |= {each.asname or each.name: getattr(module, each.name) for each in node.names}
    for node in (each for each in ast.walk(tree) if isinstance(each, ast.Call)):
        *owner, name = ast.unparse(node.func).split(".")
        if owner in ([], ["mp_lib"]) and (owner or name in known):
            yield getattr(mp_lib, name) if owner else known[name], node


@every_document
def test_calls_in_blocks_of_python_fit_what_they_call(path):
    blocks = re.findall(r"^```python\n(.*?)^```", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    assert [misfit for block in blocks for misfit in misfits(block)] == []


def misfits(source):
    """What is wrong with each call in a piece of Python that its function would not take."""
    for function, node in calls_of(source):
        try:
            inspect.signature(function).bind(*node.args, **{each.arg: each.value for each in node.keywords})
        except TypeError as error:
            yield f"{ast.unparse(node)}: {error}"


def test_a_call_of_a_name_that_is_none_of_its_function_does_not_fit():
    (said,) = misfits("from mp_lib import predicted_path as path\npath(1, 2, repeat=True)")
    assert said.startswith("path(1, 2, repeat=True): ") and "repeat" in said.partition(": ")[2]


@every_document
def test_command_lines_of_run_all_can_be_parsed(path):
    for arguments in commands(path, "./run_all.sh"):
        if arguments[:1] in (["lab"], ["demo"], ["test"], ["setup"]):  # the rest goes to JupyterLab, a verb, or pytest
            continue
        if "--env" in arguments:  # the script's own
            del arguments[arguments.index("--env") :][:2]
        given = options.parse([argument for argument in arguments if argument != "--help"])
        if not is_pattern("".join(arguments)):
            assert given.scale in SCALES
            options.experiment_of(given)


@every_document
def test_verbs_and_their_options_exist(path):
    for name in ("python -m mp_lib", "mp-lib"):
        for verb, *arguments in filter(None, commands(path, name)):
            assert verb in VERBS
            if arguments:  # else it is named and not called
                VERBS[verb].parse(arguments)


@every_document
def test_parameters_of_notebooks_exist(path):
    for notebook, _, *arguments in filter(None, commands(path, "papermill")):  # else it is named and not called
        known = parameters_of((ROOT / notebook).read_text())
        assert set(arguments[::3]) <= {"-p"} and set(arguments[1::3]) <= set(known), arguments


def test_the_table_of_parameters_is_what_the_notebooks_say():
    rows = ["| notebook | parameter | type | default | what |", "|---|---|---|---|---|"]
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for name, each in papermill.inspect_notebook(path).items():
            told = (f"`{each[key]}`" for key in ("inferred_type_name", "default"))
            rows.append(f"| `{path.stem}` | `{name}` | {' | '.join(told)} | {each['help']} |")
    assert "\n".join(["", *rows, ""]) in (ROOT / "docs" / "experiments.md").read_text()


def test_the_readme_is_one_page_and_leads_to_every_other():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= ONE_PAGE
    for path in (ROOT / "docs").glob("*.md"):
        assert f"(docs/{path.name})" in text, path.name


@pytest.mark.parametrize("path", sorted((ROOT / "docs").glob("*.md")), ids=lambda path: path.stem)
def test_a_document_begins_with_what_it_is_for(path):
    title, first, *_ = path.read_text().split("\n\n")
    assert title.startswith("# ") and re.match(r"This page says [^#|`]*; it\s+is\s+for\s+whoever", first)
