"""The formats of recordings that are read, and which of them lies at a path."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mp_lib.data.container import HDF5, is_store
from mp_lib.exchange import hdf5, lerobot, npz
from mp_lib.exchange.aside import Aside
from mp_lib.exchange.reading import Recording, is_file_of
from mp_lib.interfaces import look_up
from mp_lib.system.errors import InputError, MissingFileError
from mp_lib.system.extras import require
from mp_lib.system.paths import from_home

ZIP = b"PK\x03\x04"


@dataclass(frozen=True)
class Format:
    """What reads recordings, and how they are told: by the first bytes of a file, or by what a folder holds."""

    kind: type
    layout: str
    needs: tuple[str, ...] = ()  # packages in C, whose parsers are kept aside
    magic: bytes = b""
    endings: tuple[str, ...] = ()
    inside: str = ""  # a file that a folder of it always has

    def open(self, path: Path) -> Recording:
        """The recording at a path; a MissingExtraError where a package is missing."""
        if not self.needs:
            return self.kind(path)
        require("import", *self.needs)
        return Aside(self.kind, path)

    def lies_at(self, path: Path) -> bool:
        """Whether a file or a folder looks like it."""
        if path.is_dir():
            if self.inside:
                return (path / self.inside).is_file()
            return any(is_file_of(each, self.endings) for each in path.iterdir())
        with open(path, "rb") as file:
            return bool(self.magic) and file.read(8).startswith(self.magic)


FORMATS: dict[str, Format] = {
    "lerobot": Format(
        lerobot.LeRobotRecording, "a LeRobot data set (meta/info.json)", ("pyarrow", "PIL"), inside=lerobot.INFO
    ),
    "hdf5": Format(
        hdf5.Hdf5Recording, "HDF5 (data/demo_N, traj_N, or a file an episode)", ("h5py",), HDF5, hdf5.ENDINGS
    ),
    "npz": Format(npz.NpzRecording, "a folder of .npz files, one an episode", (), ZIP, npz.ENDINGS),
}


def open_recording(path: str | Path, name: str = "") -> Recording:
    """Open what lies at a path, in the format of that name, or in the one that it looks like.

    Raises a MissingFileError if nothing is there, and an InputError if that is no recording, or could be several.
    """
    path = from_home("path", path)
    if not path.exists():
        raise MissingFileError(f"no recordings at {path}; correct the path")
    if name:
        return look_up(FORMATS, name, "format").open(path)
    if is_store(path):
        raise InputError(
            f"{path} is a zarr store, which needs no import; python -m mp_lib inspect says whether it fits"
        )
    found = [name for name, each in FORMATS.items() if each.lies_at(path)]
    if len(found) > 1:
        raise InputError(f"{path} holds {' and '.join(found)}; say which by --format")
    if not found:
        layouts = "; ".join(each.layout for each in FORMATS.values())
        raise InputError(f"{path} is no recording that is read; give one of: {layouts}")
    return FORMATS[found[0]].open(path)
