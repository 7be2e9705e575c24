"""Mamba Policy, reproduced: models, data and simulation behind the numbered notebooks.

The rooms from the ground up, and what each may import of the others; arrows go down only:

    system     what any long-running program needs, nothing of robots in it     -
    ground     the files beside this one: nouns, numbers, intervals, clouds     system
    geometry   what numbers of states and actions mean; rotations               system
    sim        tasks as MuJoCo environments with clouds; their experts          geometry ground system
    data       demonstrations: recorded, stored, cut into windows               sim geometry ground system
    model      mixers and their scans, one U-Net, policy, sampler, backends     geometry ground system
    drawing    tables in, figures out                                           ground system
    exchange   other people's recordings in, ours out                           data geometry ground system
    acting     a policy at work without a simulator: actor, exports, engines    model geometry ground system
    learning   one run: training, rollouts, checkpoint, result                  model data sim geometry ground system
    timing     the benchmark: what a call takes, and against what               learning model data sim ground system
    study      many runs: experiments, rows, comparisons, verdicts, tables      learning timing drawing model sim ground system
    insight    looking inside: demonstrations, networks, episodes               study learning drawing acting model data sim geometry ground system
    viewing    a page with controls over what insight finds                     insight model system
    pipeline   what ``./run_all.sh`` does: notebooks as steps                   insight study learning drawing model data sim ground system
    publishing  a site and an archive, for whoever installs nothing             pipeline insight study learning model ground system
    front      the names below, for whoever plays with policies by hand         all
    commands   the verbs of ``python -m mp_lib``                                all

The model and the simulators know nothing of each other, and simulation knows no torch. Importing this package imports
nothing heavy: its names are looked up when they are first asked for, in ``mp_lib.front`` but for ``Actor``, which needs
no torch.
"""  # noqa: E501 (a row of the table is a line)

__version__ = "0.1.0"

_FRONT = "compare extend live load methods play predict predicted_path runs tasks train view"
_WHERE = {**dict.fromkeys(_FRONT.split(), "mp_lib.front"), "Actor": "mp_lib.acting.actor"}  # the module of each name
__all__ = sorted(_WHERE)


def __getattr__(name: str):
    """One of the names that are offered, from its module."""
    if name not in __all__:
        from mp_lib.system.errors import MissingNameError
        from mp_lib.system.names import nearest

        offered = ", ".join(nearest(name, __all__, len(__all__), 0))
        raise MissingNameError(f"module {__name__!r} has no attribute {name!r}; it offers: {offered}")
    from importlib import import_module

    return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    """What Tab shows."""
    return __all__
