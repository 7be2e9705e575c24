"""Parameters of notebooks: what papermill or a hand has given, checked before anything is made, as what it means.

Of a parameter that a notebook does not have papermill only warns, and types it does not know at all.
"""

from __future__ import annotations

import ast
import json
import shlex
from collections.abc import Mapping

from mp_lib.config import BOUNDS, PolicyConfig, TrainConfig, scale_config
from mp_lib.data.own_tasks import is_own
from mp_lib.interfaces import look_up
from mp_lib.learning.trainings import began
from mp_lib.model.backends import BACKENDS
from mp_lib.model.step_forms import FORMS, settle_form
from mp_lib.presets import METHODS, SCALES
from mp_lib.sim.changes import CHANGES
from mp_lib.sim.tasks import TASKS
from mp_lib.system.device import choose_device
from mp_lib.system.errors import MOST, InputError
from mp_lib.system.paths import notebooks_path
from mp_lib.system.precision import PRECISIONS, settle_precision
from mp_lib.system.values import check_bounds, example, meaning, within

INJECTED = "# Parameters"  # how the cell begins that papermill writes behind the notebook's own parameters
CHOICES = {  # what a parameter of that name, or an item of it, has to be one of, where a later step would trip over it
    **dict.fromkeys(("task", "tasks"), ("task", TASKS)),
    **dict.fromkeys(("method", "methods", "anew"), ("method", METHODS)),
    "scale": ("scale", SCALES),
    "changes": ("change", CHANGES),
    "form": ("form", FORMS),
    "backend": ("backend", BACKENDS | {"auto": None}),
    "backends": ("backend", BACKENDS),
    "precision": ("precision", PRECISIONS | {"auto": None}),
}
MAY_BE_EMPTY = (("04_evaluate", "task"), ("04_evaluate", "method"))  # of CHOICES: the weights say it themselves
OWN = {("03_train", "task"): "demos"}  # likewise: a name of the reader's own is allowed where that parameter is given
ALLOWED = {  # likewise, of numbers
    **dict.fromkeys(
        ("jobs", "episodes", "num_demos", "num_steps", "num_inference_steps", "num_windows", "block", "save_every"),
        within(1, MOST),
    ),
    **dict.fromkeys(("seed", "seeds"), BOUNDS["seed"]),
    "horizons": ("a multiple of 4 and at most 4,096", lambda value: value in range(4, 4097, 4)),
    **{name: BOUNDS[name] for name in ("first_seed", "demo_seed")},
    "diffusion_step": within(0, PolicyConfig.num_train_steps - 1),
}
NUMBERS = ("num_steps", "num_demos", "demo_episodes", "final_episodes")  # of a run, for which 03_train has parameters
PARAMETER_FOR = {"demonstrator": "expert", "final_episodes": "episodes"}  # fields that a notebook calls otherwise


def check_parameters(notebook: str, names: dict) -> None:
    """Put what each parameter means into ``names``, the globals of a notebook; an InputError for what means nothing.

    Types are those of the cell tagged "parameters" of the project's notebook; a notebook that is not among those is not
    looked at. ``In`` of the globals holds what was executed: what papermill has injected has to
    be one of those parameters, while names that are assigned by hand are the reader's own affair.
    """
    path = notebooks_path() / f"{notebook}.ipynb"
    if not path.exists():
        return
    kinds = parameters_of(path.read_text(encoding="utf-8"))
    for source in names.get("In", ()):
        for name in assigned(source) if source.startswith(INJECTED) else ():
            look_up(kinds, name, "parameter")
    known = ((name, kind) for name, kind in kinds.items() if kind and name in names)
    found = {name: parameter(notebook, name, kind, names[name], is_free(notebook, name, names)) for name, kind in known}
    for name in (name for name, value in found.items() if isinstance(value, dict)):
        for key in found[name]:
            if (own := PARAMETER_FOR.get(key, key)) in kinds:
                raise InputError(f"{notebook}: {name} has {key}; give that as the parameter {own}")
    for name, settle in (("form", settle_form), ("precision", settle_precision)):
        if name in found:
            settle(found[name], choose_device(found.get("device", "auto")))
    names.update(found)


def run_config(given: Mapping) -> TrainConfig:
    """The run that parameters of 03_train mean, such as its globals: a number that is None is the scale's."""
    numbers = {field: given.get(PARAMETER_FOR.get(field, field)) for field in NUMBERS}
    numbers = {field: number for field, number in numbers.items() if number is not None}
    kind = {field: given[field] for field in ("scale", "task", "method", "seed", "attention")}
    changes = numbers | given["overrides"] | began(given.get("init", ""), given.get("normalizer", ""))
    return scale_config(**kind, demonstrator=given["expert"], **changes)


def is_free(notebook: str, name: str, names: Mapping) -> bool:
    """Whether a parameter of ``CHOICES`` may be a name of the reader's own, which nothing here has."""
    return bool(names.get(OWN.get((notebook, name), ""))) and is_own(names[name])


def parameter(notebook: str, name: str, kind: str, value, free: bool = False):
    """What a parameter of that name and kind means; an InputError with the command that works.

    One that is ``free`` need not be one of ``CHOICES``.
    """
    noun, choices = ("", {}) if free else CHOICES.get(name, ("", {}))
    words = [each for each in value if each in [*choices]] if isinstance(value, list | tuple) else []
    word = next(iter([*words, *choices]), "")  # of several that were given for a single one, the first
    such_as = json.dumps([word] if "list" in kind else word) if word else example(kind, value)
    try:
        found = meaning(name, kind, value, such_as)
        check_bounds({name: found}, ALLOWED)
    except InputError as error:
        # papermill's -p takes 2024 for a number, -r does not.
        text = f"-r {name} {word or 'TEXT'}"
        command = text if "str" in kind else f"-p {name} {shlex.quote(such_as)}"
        raise InputError(f"{notebook}: {error}; by papermill: {command}") from None
    for each in found if isinstance(found, list) else [found]:
        if choices and (each or (notebook, name) not in MAY_BE_EMPTY):
            look_up(choices, each, noun)
    return found


def parameters_of(notebook: str) -> dict[str, str]:
    """The names that the cell tagged "parameters" of a notebook's JSON assigns, in order, each with its annotation.

    That is empty where there is none.
    """
    cells = [cell for cell in json.loads(notebook)["cells"] if "parameters" in cell["metadata"].get("tags", ())]
    source = "\n".join("".join(cell["source"]) for cell in cells)
    found = dict.fromkeys(assigned(source), "")
    for node in ast.parse(source).body:
        if isinstance(node, ast.AnnAssign):
            kind = node.annotation  # "int or None" is a text
            found[node.target.id] = kind.value if isinstance(kind, ast.Constant) else ast.unparse(kind)
    return found


def assigned(source: str) -> list[str]:
    """The names that statements at the top of a piece of Python assign, in order."""
    nodes = [node for node in ast.parse(source).body if isinstance(node, ast.Assign | ast.AnnAssign)]
    targets = [target for node in nodes for target in getattr(node, "targets", None) or [node.target]]
    return [target.id for target in targets if isinstance(target, ast.Name)]
