"""What comes with the extras of pyproject.toml, and what to do where it is missing."""

from __future__ import annotations

from importlib.util import find_spec

from mp_lib.system.errors import InOneLine

MODULES = {  # of each extra, by the names under which they are imported
    "sim": ("mujoco", "metaworld", "gymnasium_robotics", "imageio_ffmpeg"),
    "lab": (
        *("IPython", "ipykernel", "ipywidgets", "jupyterlab", "matplotlib", "mistune", "nbconvert", "pandas"),
        *("papermill", "psutil", "scipy"),
    ),
    "view": ("anywidget",),
    "track": ("wandb",),
    "deploy": ("onnx", "onnxruntime", "onnxscript"),
    "import": ("h5py", "pyarrow", "PIL"),
    "serve": ("msgpack", "websockets"),
    "cluster": ("snakemake", "snakemake_executor_plugin_slurm"),
}
# Locks, which whatever records, trains or runs steps holds.
WITHOUT_FCNTL = "fcntl is missing, which Windows does not have; run this in WSL (wsl --install), on Linux or on macOS"


class MissingExtraError(InOneLine, ModuleNotFoundError, ValueError):
    """Something is asked for that an extra brings which is not installed; the message has the command."""


def missing_modules(extra: str) -> list[str]:
    """Those modules of an extra that are not installed."""
    return [name for name in MODULES[extra] if find_spec(name) is None]


def require(extra: str, *names: str) -> None:
    """Raise a MissingExtraError, in one line with the command that helps, unless these modules of an extra are there.

    All of its modules if none are named.
    """
    missing = [name for name in missing_modules(extra) if name in (names or MODULES[extra])]
    if missing:
        raise MissingExtraError(how_to_install(extra, missing), name=missing[0])


def how_to_install(extra: str, missing: list[str]) -> str:
    """One line about missing modules of an extra."""
    named = f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed"
    return f"{named}; in the project's folder: python -m pip install -e '.[{extra}]'"


def explain(error: ModuleNotFoundError) -> str:
    """The error in one line; with what helps where an extra or another system brings what is missing."""
    module = (error.name or "").split(".")[0]
    if module == "fcntl":
        return WITHOUT_FCNTL
    extra = next((extra for extra, names in MODULES.items() if module in names), None)
    return how_to_install(extra, [module]) if extra else f"{error}; use .venv/bin/python, or python -m pip install -e ."
