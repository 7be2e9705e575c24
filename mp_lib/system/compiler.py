"""C sources of this package, compiled when they are first needed, for the very processor that runs them."""

from __future__ import annotations

import ctypes
import functools
import logging
import os
import platform
import subprocess
import tempfile
from pathlib import Path
from shutil import which

log = logging.getLogger(__name__)

FLAGS = ("-O3", "-std=gnu11", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")


def find_compiler() -> str | None:
    """The C compiler: that of CC, else cc, gcc or clang; None if there is none."""
    return next((path for name in (os.environ.get("CC", ""), "cc", "gcc", "clang") if (path := which(name))), None)


@functools.cache
def build(source: Path, *flags: str) -> ctypes.CDLL | None:
    """The functions of a C file, compiled with FLAGS and ``flags``; None, with a line in the log that says why, if
    they cannot be had. ``MP_NATIVE=off`` leaves them out.

    Built in a folder that only this process sees and that is gone afterwards: so nothing stale, nothing of others and
    nothing of another machine is ever loaded.
    """
    compiler = find_compiler()
    if os.environ.get("MP_NATIVE") == "off" or compiler is None:
        reason = "no C compiler was found" if compiler is None else "MP_NATIVE=off"
        log.info("%s is not used: %s", source.name, reason)
        return None
    processor = "-mcpu=native" if platform.machine() in ("arm64", "aarch64") else "-march=native"
    try:
        with tempfile.TemporaryDirectory(prefix="mp_lib-") as folder:
            target = Path(folder) / f"{source.stem}.so"
            command = [compiler, *FLAGS, processor, *flags, str(source), "-o", str(target)]
            subprocess.run(command, check=True, capture_output=True, text=True, errors="replace", timeout=60)
            loaded = ctypes.CDLL(str(target))
    except (OSError, subprocess.SubprocessError) as error:
        log.info("%s is not used: %s %s", source.name, error, getattr(error, "stderr", None) or "")
        return None
    log.info("%s is used, built by %s", source.name, compiler)
    return loaded
