"""Reading tensors and plain values out of a pickle without running anything in it.

The only place in the project that unpickles. A pickle is a program; this reader knows how to rebuild
tensors, containers and numbers, replaces configuration objects (OmegaConf's, which the official
checkpoints carry) by inert stand-ins, and refuses every other name by a ValueError.
"""

from __future__ import annotations

import collections
import io
import pickle
import zipfile
from pathlib import Path

import torch


class Inert:
    """Stands in for an object of a class that is not loaded: takes whatever is given and does nothing with it."""

    def __new__(cls, *_, **__):
        return super().__new__(cls)

    def __init__(self, *_, **__):
        pass

    def __setstate__(self, state):
        pass

    def __setitem__(self, key, value):
        pass

    def __call__(self, *_, **__):
        return self

    def __hash__(self):
        return id(self)

    def append(self, value):
        """Take an item of a list."""

    def extend(self, values):
        """Take items of a list."""


class StorageType:
    """The element type of a storage, by the name of torch's storage class."""

    def __init__(self, dtype: torch.dtype):
        self.dtype = dtype


def rebuild_tensor(storage: torch.Tensor, offset: int, size: tuple, stride: tuple, *_) -> torch.Tensor:
    """A tensor of the elements of a storage; a ValueError if it would reach beyond them."""
    if not all(isinstance(number, int) and number >= 0 for number in (offset, *size, *stride)):
        raise ValueError(f"a tensor with offset {offset}, size {size} and stride {stride} cannot be")
    last = offset + sum((count - 1) * step for count, step in zip(size, stride, strict=True))
    if 0 not in size and last >= len(storage):
        raise ValueError(f"a tensor of size {tuple(size)} reaches beyond its storage of {len(storage)} elements")
    return storage.as_strided(size, stride, offset).clone()


def rebuild_parameter(data: torch.Tensor, *_) -> torch.Tensor:
    """A parameter's values."""
    return data


def encode_latin1(text: str, encoding: str) -> bytes:
    """Bytes, as pickle's protocol 2 writes them."""
    if encoding != "latin1":
        raise ValueError(f"bytes in {encoding!r} are not pickle's own way to write bytes")
    return text.encode("latin1")


STORAGES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
KNOWN = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("collections", "defaultdict"): lambda *_: {},
    ("_codecs", "encode"): encode_latin1,
    ("torch._utils", "_rebuild_tensor_v2"): rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): rebuild_parameter,
    ("torch", "Size"): tuple,
    **{("torch", name): StorageType(dtype) for name, dtype in STORAGES.items()},
}
OLD_NAMES = {"__builtin__": "builtins", "copy_reg": "copyreg"}  # protocol 2, which torch.save uses, says Python 2's
# Whole packages of configuration objects, and how dill and pickle name the types in them.
INERT_PACKAGES = ("omegaconf",)
INERT = {("dill._dill", "_load_type"), ("typing", "Any"), ("typing", "Union"), ("typing", "Optional")}
INERT |= {("builtins", name) for name in ("dict", "list", "tuple", "set", "int", "float", "str", "bool", "bytes")}
INERT |= {("pathlib", "PosixPath"), ("pathlib", "Path"), ("copyreg", "_reconstructor"), ("builtins", "object")}


class TensorUnpickler(pickle.Unpickler):
    """Unpickles tensors and plain values; ``storages`` maps a storage's key to its bytes."""

    def __init__(self, file: io.BufferedIOBase, storages: dict[str, bytes]):
        super().__init__(file)
        self.storages = storages

    def find_class(self, module: str, name: str):
        module = OLD_NAMES.get(module, module)
        if (module, name) in KNOWN:
            return KNOWN[module, name]
        if (module, name) in INERT or module.split(".")[0] in INERT_PACKAGES:
            return Inert
        raise ValueError(f"it asks for {module}.{name}, which is no tensor and no plain value; nothing of it was run")

    def persistent_load(self, pid) -> torch.Tensor:
        kind, storage_type, key, _, count = pid
        if kind != "storage" or not isinstance(storage_type, StorageType) or key not in self.storages:
            raise ValueError(f"it refers to {pid!r}, which is no storage in it")
        content = self.storages[key]
        if len(content) != count * storage_type.dtype.itemsize:
            raise ValueError(f"storage {key} has {len(content)} bytes, {count} elements are announced")
        return torch.frombuffer(bytearray(content), dtype=storage_type.dtype) if count else torch.empty(0)


def read_pickled_tensors(path: Path):
    """What a file written by ``torch.save`` holds, with tensors on the CPU.

    Raises a ValueError, in one line that names the file and the reason, if the file is damaged, in
    torch's old format, or holds anything but tensors and plain values.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            (program,) = (name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl"))
            folder = program.removesuffix("data.pkl") + "data/"
            storages = {
                name.removeprefix(folder): archive.read(name) for name in archive.namelist() if name.startswith(folder)
            }
            return TensorUnpickler(io.BytesIO(archive.read(program)), storages).load()
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such file") from None
    except Exception as error:
        # Whatever a hostile or broken pickle provokes inside the reader is the file's fault.
        reason = str(error) or type(error).__name__
        raise ValueError(f"{path} was not read as a checkpoint: {reason}") from error
