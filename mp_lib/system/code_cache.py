"""Where compilers keep what they have made: machine code, and pickles, in a folder that nobody else can write.

It is the one place from which this project runs code that is not its own source: Triton and torch's compiler read
there what they wrote in another run.
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import logging
import os
import platform
import shutil
import stat
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from mp_lib.system.paths import package
from mp_lib.system.provenance import file_hash

log = logging.getLogger(__name__)

VARIABLES = {"TRITON_CACHE_DIR": "triton", "TORCHINDUCTOR_CACHE_DIR": "inductor"}  # and their folders in ours
COMPILED = ("model", "system/code_cache.py")  # what of the package the kept code is made from


@functools.cache
def keep_compiled_code() -> Path:
    """Let compilers keep what they make, from now on, in ``MP_CACHE``, or ``mp_lib`` in the user's cache folder.

    What is kept depends on the code, on torch and Triton, on GPU and processor. Where ``MP_CACHE`` is ``off``, or the
    folder is not the user's own alone, which the log says, a folder is used that is gone with this process.
    A compiler whose own variable is set already is left alone.
    """
    given = os.environ.get("MP_CACHE", "")
    folder = None
    if given != "off":
        usual = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mp_lib"
        top = Path(given).expanduser() if given else usual
        folder = top / fingerprint()
        if reason := refusal(top) or refusal(folder):
            log.warning("compiled code is not kept: %s", reason)
            folder = None
    if folder is None:
        folder = Path(tempfile.mkdtemp(prefix="mp_lib-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for variable, name in VARIABLES.items():
        os.environ.setdefault(variable, str(folder / name))
    return folder


def refusal(folder: Path) -> str:
    """Why a folder is no place for code, in words; empty if it is, which it is made to be if it is not there."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        return f"{folder} cannot be made ({error.strerror})"
    if not stat.S_ISDIR(found.st_mode):
        return f"{folder} is no folder"
    if hasattr(os, "getuid") and found.st_uid != os.getuid():
        return f"{folder} belongs to another user; set MP_CACHE to a folder of your own, or off"
    if stat.S_IMODE(found.st_mode) & 0o077:
        return f"others may look into {folder}, or write there; chmod 700 it, or set MP_CACHE"
    return ""


def fingerprint() -> str:
    """A digest of all that compiled code depends on."""
    parts = [*map(version_of, ("torch", "triton")), platform.machine(), processor_flags(), *gpus()]
    parts += [file_hash(package() / name) for name in COMPILED]
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=8).hexdigest()


def version_of(name: str) -> str:
    """The version of an installed package, or that there is none."""
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return f"no {name}"


def processor_flags() -> str:
    """The processor's instruction sets, as the system tells them."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


def gpus() -> list[str]:
    """Names and compute capabilities of the GPUs that torch sees."""
    import torch

    devices = range(torch.cuda.device_count() if torch.cuda.is_available() else 0)
    return [f"{torch.cuda.get_device_name(each)} {torch.cuda.get_device_capability(each)}" for each in devices]
