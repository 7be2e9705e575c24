"""Reading tensors and plain values out of a pickle without running anything in it.

The only place in the project that unpickles, with ``unpickle_policy``. A pickle is a program; this reader knows how to
rebuild tensors, containers and numbers, NumPy's too, makes configuration objects (OmegaConf's, which the official
checkpoints carry) a tree of ``Record``, which hold what was stored and can do nothing, and refuses every other name.
"""

from __future__ import annotations

import collections
import io
import math
import pickle
import re
import zipfile
from pathlib import Path

import numpy as np
import torch

from mp_lib.system.errors import InputError

OLD_FORMAT = 0x1950A86A20F9469CFC6C  # torch/serialization.py, MAGIC_NUMBER
OLD_FILE = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the same as such a file begins with it
SAVE_WEIGHTS = "where it was made, save its weights alone: torch.save(policy.state_dict(), 'weights.ckpt')"


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


class Record(Inert):
    """Stands in for an object and keeps its attributes."""

    def __setstate__(self, state):
        if isinstance(state, dict):
            vars(self).update(state)


class NumberType(Inert):
    """Stands in for a dtype of NumPy's."""

    def __init__(self, code: str = "", *_):
        self.code, self.order = code, "="

    def __setstate__(self, state):
        self.order = {"<": "<", ">": ">"}.get(state[1], "=")

    def read(self, content: bytes | str, count: int) -> np.ndarray:
        """So many numbers, from their bytes; a ValueError if it is no type of numbers or there are more or fewer."""
        if not re.fullmatch(r"[fiu][1248]|b1", str(self.code)):
            raise ValueError(f"it holds an array of {self.code!r}, which are no numbers")
        content = content.encode("latin1") if isinstance(content, str) else content
        found = np.frombuffer(content, np.dtype(f"{self.order}{self.code}"))
        if len(found) != count:
            raise ValueError(f"an array of {count} numbers has {len(found)}")
        return found


class Array(Inert):
    """Stands in for an array of NumPy's; its ``values`` are an array again."""

    def __setstate__(self, state):
        _, shape, kind, columns_first, content = state
        numbers = kind.read(content, math.prod(shape))
        self.values = numbers.reshape(shape, order="F" if columns_first else "C").copy()


def rebuild_array(content: bytes, kind: NumberType, shape: tuple, order: str) -> Array:
    """An array of NumPy's as pickle's protocol 5 writes it."""
    found = Array()
    found.__setstate__((1, shape, kind, order == "F", bytes(content)))
    return found


def rebuild_number(kind: NumberType, content: bytes | str) -> float:
    """A number of NumPy's as one of Python's."""
    return kind.read(content, 1)[0].item()


class StorageType:
    """The element type of a storage, by the name of torch's storage class."""

    def __init__(self, dtype: torch.dtype):
        self.dtype = dtype

    def __call__(self, values: list) -> torch.Tensor:
        """A storage from its numbers, as torch 0.4 pickled it."""
        return torch.tensor(values, dtype=self.dtype)

    def from_bytes(self, content: bytes) -> torch.Tensor:
        """A storage from its bytes."""
        return torch.frombuffer(bytearray(content), dtype=self.dtype) if content else torch.empty(0)


def rebuild_tensor(storage: torch.Tensor, offset: int, size: tuple, stride: tuple, *more) -> torch.Tensor:
    """A tensor of the elements of a storage; a ValueError if it would reach beyond them or is larger than they are."""
    if len(more) > 2 and more[2]:  # behind requires_grad and hooks
        raise ValueError(f"a tensor is marked {more[2]!r}, which is not undone here; {SAVE_WEIGHTS}")
    if not all(isinstance(number, int) and number >= 0 for number in (offset, *size, *stride)):
        raise ValueError(f"a tensor with offset {offset}, size {size} and stride {stride} cannot be")
    last = offset + sum((count - 1) * step for count, step in zip(size, stride, strict=True))
    if 0 not in size and last >= len(storage):
        raise ValueError(f"a tensor of size {tuple(size)} reaches beyond its storage of {len(storage)} elements")
    if math.prod(size) > len(storage):
        raise ValueError(f"a tensor of size {tuple(size)} repeats the {len(storage)} elements of its storage")
    return storage.as_strided(size, stride, offset)


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
    ("numpy", "dtype"): NumberType,
    ("numpy", "ndarray"): Array,
    ("builtins", "bytes"): lambda *_: b"",  # as protocol 2 writes none
}
for place in ("numpy.core", "numpy._core"):  # before NumPy 2, and since
    KNOWN[f"{place}.multiarray", "scalar"] = rebuild_number
    KNOWN[f"{place}.multiarray", "_reconstruct"] = lambda *_: Array()
    KNOWN[f"{place}.numeric", "_frombuffer"] = rebuild_array
OLD_NAMES = {"__builtin__": "builtins", "copy_reg": "copyreg"}  # protocol 2, which torch.save uses, says Python 2's
# Whole packages of configuration objects, and how dill and pickle name the types in them.
RECORDED_PACKAGES = ("omegaconf",)
INERT = {("dill._dill", "_load_type"), ("typing", "Any"), ("typing", "Union"), ("typing", "Optional")}
INERT |= {("builtins", name) for name in ("dict", "list", "tuple", "set", "int", "long", "float", "str", "bool")}
INERT |= {("torch", "device"), *(("torch", str(dtype).removeprefix("torch.")) for dtype in STORAGES.values())}
INERT |= {("pathlib", "PosixPath"), ("pathlib", "Path"), ("copyreg", "_reconstructor"), ("builtins", "object")}


class TensorUnpickler(pickle._Unpickler):
    """Unpickles tensors and plain values; ``storages`` maps a storage's key to its bytes.

    It is pickle's reader in Python, whose one step that sets attributes (BUILD) is replaced: a pickle could otherwise
    give a tensor other memory, or change the functions that read it.
    """

    dispatch = dict(pickle._Unpickler.dispatch)

    def __init__(self, file: io.BufferedIOBase, storages: dict[str, bytes], encoding: str = "ASCII"):
        super().__init__(file, encoding=encoding)
        self.storages = storages
        # So that a storage takes its memory once, however often it is named.
        self.tensors: dict[tuple, torch.Tensor] = {}

    def load_build(self) -> None:
        """Give an inert object its state; that of a dictionary is torch's note of versions and is left out."""
        state, built = self.stack.pop(), self.stack[-1]
        if isinstance(built, Inert):
            built.__setstate__(state)
        elif not isinstance(built, dict):
            raise ValueError(f"it sets attributes of a {type(built).__name__}; nothing was set")

    dispatch[pickle.BUILD[0]] = load_build

    def find_class(self, module: str, name: str):
        module = OLD_NAMES.get(module, module)
        if (module, name) in KNOWN:
            return KNOWN[module, name]
        if module.split(".")[0] in RECORDED_PACKAGES:
            return Record
        if (module, name) in INERT:
            return Inert
        raise ValueError(
            f"it asks for {module}.{name}, which is no tensor and no plain value; nothing of it was run; {SAVE_WEIGHTS}"
        )

    def persistent_load(self, pid) -> torch.Tensor:
        kind, storage_type, key, _, count = pid
        if kind != "storage" or not isinstance(storage_type, StorageType) or key not in self.storages:
            raise ValueError(f"it refers to {pid!r}, which is no storage in it")
        content = self.storages[key]
        if len(content) != count * storage_type.dtype.itemsize:
            raise ValueError(f"storage {key} has {len(content)} bytes, {count} elements are announced")
        if (key, storage_type.dtype) not in self.tensors:
            self.tensors[key, storage_type.dtype] = storage_type.from_bytes(content)
        return self.tensors[key, storage_type.dtype]


def read_pickled_tensors(path: Path):
    """What a file written by ``torch.save`` holds, with tensors on the CPU, configurations as ``Record``.

    Raises an InputError, in one line that names the file, the reason and what helps, if the file is damaged, in
    torch's old format, or holds anything but tensors, numbers and plain values.
    """
    try:
        with open(path, "rb") as file:
            old = file.read(len(OLD_FILE)) == OLD_FILE
        if old:
            new = "torch.save(torch.load(old, map_location='cpu', weights_only=True), new)"
            raise ValueError(f"it is in torch's old format; with torch: {new}")
        if not zipfile.is_zipfile(path):
            raise ValueError("it is no file of torch.save's, nor safetensors; give such a file or its folder")
        with zipfile.ZipFile(path) as archive:
            return read_archive(archive, path.stat().st_size)
    except FileNotFoundError:
        raise InputError(
            f"{path}: there is no such checkpoint; give the path of a .safetensors or .ckpt file"
        ) from None
    except Exception as error:
        # Whatever a hostile or broken pickle provokes inside the reader is the file's fault.
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f"{path} was not read as a checkpoint: {reason}") from error


def read_archive(archive: zipfile.ZipFile, size: int):
    """What an archive of ``torch.save`` holds; ``size`` are its bytes."""
    members, names = archive.infolist(), archive.namelist()
    if any("/code/" in name for name in names):
        raise ValueError(f"it is a program (TorchScript), which is not run; {SAVE_WEIGHTS}")
    if any(each.compress_type != zipfile.ZIP_STORED for each in members):
        raise ValueError("it is compressed, which torch.save never does")
    if sum(each.file_size for each in members) > size:
        raise ValueError("its parts announce more bytes than it has")
    programs = [name for name in names if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(programs) != 1:
        raise ValueError(f"it is a zip but no file of torch.save's; {SAVE_WEIGHTS}")
    top = programs[0].removesuffix("data.pkl")
    folder = f"{top}data/"
    if f"{top}byteorder" in names and archive.read(f"{top}byteorder") != b"little":
        raise ValueError(f"its numbers are stored the other way round (big-endian); {SAVE_WEIGHTS}")
    storages = {name.removeprefix(folder): archive.read(name) for name in names if name.startswith(folder)}
    return TensorUnpickler(io.BytesIO(archive.read(programs[0])), storages).load()
