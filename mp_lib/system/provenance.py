"""Where a result comes from: commit, versions, machine."""

from __future__ import annotations

import contextlib
import hashlib
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from mp_lib.system.paths import package

PACKAGES = ("mp_lib", "torch", "mujoco", "metaworld", "gymnasium-robotics", "numpy", "zarr")


def commit() -> str:
    """The commit of this package's checkout, with "-changed" if files differ from it; "unknown" outside a checkout."""
    try:
        _git("ls-files", "--error-unmatch", "__init__.py")  # fails where another checkout holds an installed package
        head, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "--", ".")
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return head[:12] + ("-changed" if changes else "")


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(package()), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()


def versions(*others: str) -> dict[str, str]:
    """Versions of Python and of the packages that a result depends on, with ``others``."""
    return {"python": platform.python_version()} | installed(*PACKAGES, *others)


def installed(*packages: str) -> dict[str, str]:
    """Versions of those of the packages that are installed; an empty name is none."""
    found = {}
    for name in filter(None, packages):
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def file_hash(path: Path) -> str:
    """A digest of a file's bytes, or of a folder's files in the order of their names, but for bytecode."""
    digest = hashlib.blake2b(digest_size=16)
    files = [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file())
    files = [file for file in files if "__pycache__" not in file.parts]  # which changes under other processes
    for file in files:
        digest.update(f"{file.relative_to(path)} {file.stat().st_size} ".encode())
        with open(file, "rb") as content:
            while part := content.read(1 << 20):
                digest.update(part)
    return digest.hexdigest()
