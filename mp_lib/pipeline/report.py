"""One HTML page from executed notebooks; it needs no network, and forbids the browser to ask one or to run scripts."""

from __future__ import annotations

import html
from pathlib import Path

from mp_lib.pipeline.experiment import Experiment
from mp_lib.pipeline.steps import Step
from mp_lib.system.files import write_atomically
from mp_lib.system.notebook import MARK

ORDER = (
    "05_tables",
    "07_ablations",
    "00_overview",
    "01_demonstrations",
    "02_model",
    "03_train",
    "04_evaluate",
    "06_efficiency",
)

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; media-src data:;
 style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'">
<title>{title}</title>
<style>
body {{ font: 16px/1.55 system-ui, sans-serif; color: #222; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }}
h1, h2, h3 {{ line-height: 1.2; }} h1 {{ border-top: 2px solid #888; padding-top: 1rem; margin-top: 3rem; }}
nav {{ background: #f4f4f4; padding: .7rem 1rem; }} nav a {{ margin-right: 1.2rem; }}
img, video {{ max-width: 100%; height: auto; }}
table {{ border-collapse: collapse; font-size: .85rem; display: block; overflow-x: auto; }}
th, td {{ padding: .25rem .6rem; text-align: right; border-bottom: 1px solid #ddd; }}
th:first-child, td:first-child {{ text-align: left; }}
pre {{ font-size: .8rem; overflow-x: auto; white-space: pre-wrap; }}
.jp-OutputPrompt, .jp-InputPrompt, .anchor-link {{ display: none; }}
.edited {{ background: #fdd; padding: .7rem 1rem; }}
</style></head><body>
{edited}<nav>{links}</nav>
{body}
</body></html>
"""


def build_report(experiment: Experiment, steps: list[Step]) -> Path:
    """Write the page of an experiment and return its path: tables first, then how each number was obtained.

    Of trainings and evaluations, whose notebooks lie beside their results, the last one stands for all. Before all else
    it names the notebooks that were executed as somebody had edited them.
    """
    shown: dict[str, Step] = {}
    for step in steps:
        if step.executed.exists():
            page = step.executed if step.executed.parent == experiment.folder else Path(step.notebook)
            shown[page.stem] = step
    names = sorted(
        shown, key=lambda name: next((i for i, start in enumerate(ORDER) if name.startswith(start)), len(ORDER))
    )
    bodies = [f'<section id="{name}">{notebook_body(shown[name].executed)}</section>' for name in names]
    links = "".join(f'<a href="#{name}">{html.escape(name.replace("_", " "))}</a>' for name in names)
    told = html.escape("; ".join(dict.fromkeys(filter(None, (step.edited() for step in steps)))))
    edited = f'<p class="edited">Not the project\'s own code, but as edited: {told}.</p>\n' if told else ""
    path = experiment.folder / "report.html"
    title = f"Mamba Policy, reproduced: {experiment.name}"
    write_atomically(path, PAGE.format(title=title, edited=edited, links=links, body="\n".join(bodies)).encode())
    return path


def notebook_body(path: Path) -> str:
    """The text and outputs of a notebook as HTML, without code and progress bars."""
    from nbconvert import HTMLExporter
    from nbconvert.preprocessors import RegexRemovePreprocessor
    from traitlets.config import Config

    settings = Config()
    settings.HTMLExporter.exclude_input = True
    settings.HTMLExporter.exclude_input_prompt = settings.HTMLExporter.exclude_output_prompt = True
    settings.TagRemovePreprocessor.remove_cell_tags = ["parameters", "injected-parameters"]
    exporter = HTMLExporter(template_name="basic", config=settings)
    exporter.register_preprocessor("nbconvert.preprocessors.TagRemovePreprocessor", enabled=True)
    exporter.register_preprocessor(RegexRemovePreprocessor(patterns=[r"\s*\Z"]), enabled=True)
    exporter.register_preprocessor(drop_progress, enabled=True)
    return exporter.from_filename(str(path))[0]


def drop_progress(notebook, resources):
    """Leave out bars, and what was printed to stderr."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            shown = [output for output in cell.outputs if output.get("name") != "stderr"]
            cell.outputs = [output for output in shown if output.get("metadata") != MARK]
    return notebook, resources
