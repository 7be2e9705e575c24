"""Reading tensors and plain values out of a pickle without running anything in it.

The only place in the project that unpickles. A pickle is a program; this reader knows how to rebuild
tensors, containers and numbers, replaces configuration objects (OmegaConf's, which the official
checkpoints carry) by inert stand-ins, and refuses every other name by a ValueError. A pickled policy
(mjrl's) becomes a tree of ``Record``, which hold what was stored and can do nothing.
"""

from __future__ import annotations

import collections
import io
import math
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


class Record(Inert):
    """Stands in for an object and keeps its attributes."""

    def __setstate__(self, state):
        if isinstance(state, dict):
            vars(self).update(state)


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


def rebuild_tensor(storage: torch.Tensor, offset: int, size: tuple, stride: tuple, *_) -> torch.Tensor:
    """A tensor of the elements of a storage; a ValueError if it would reach beyond them or is larger than they are."""
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
}
OLD_NAMES = {"__builtin__": "builtins", "copy_reg": "copyreg"}  # protocol 2, which torch.save uses, says Python 2's
# Whole packages of configuration objects, and how dill and pickle name the types in them.
INERT_PACKAGES = ("omegaconf",)
INERT = {("dill._dill", "_load_type"), ("typing", "Any"), ("typing", "Union"), ("typing", "Optional")}
INERT |= {("builtins", name) for name in ("dict", "list", "tuple", "set", "int", "float", "str", "bool", "bytes")}
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
        if (key, storage_type.dtype) not in self.tensors:
            self.tensors[key, storage_type.dtype] = storage_type.from_bytes(content)
        return self.tensors[key, storage_type.dtype]


class StorageUnpickler(TensorUnpickler):
    """Unpickles the parts of torch's old format, in which a storage is named before its bytes follow."""

    def persistent_load(self, pid):
        return pid


def read_storage(content: bytes | str) -> torch.Tensor:
    """A storage that torch pickled by itself: its old file format within the pickle."""
    file = io.BytesIO(content.encode("latin1") if isinstance(content, str) else content)
    magic, _, _, pid, keys = (StorageUnpickler(file, {}).load() for _ in range(5))
    kind, storage_type, key, _, count = pid[:5]
    if (magic, kind, keys) != (OLD_FORMAT, "storage", [key]) or any(pid[5:]):
        raise ValueError(f"it holds {pid!r} in torch's old format, which is no whole storage")
    size = count * storage_type.dtype.itemsize
    announced, stored = int.from_bytes(file.read(8), "little"), file.read(size)
    if announced != count or len(stored) != size:
        raise ValueError(f"a storage of {count} elements has {len(stored)} bytes")
    return storage_type.from_bytes(stored)


class PolicyUnpickler(TensorUnpickler):
    """Unpickles objects of a policy as ``Record``; ``pickle.dump`` wrote it, not ``torch.save``."""

    def find_class(self, module: str, name: str):
        place = (OLD_NAMES.get(module, module), name)
        if place in KNOWN_IN_POLICIES:
            return KNOWN_IN_POLICIES[place]
        if module.split(".")[0] in POLICY_PACKAGES:
            return Record
        return super().find_class(module, name)


OLD_FORMAT = 0x1950A86A20F9469CFC6C  # torch/serialization.py, MAGIC_NUMBER
POLICY_PACKAGES = ("mjrl", "torch", "numpy")
KNOWN_IN_POLICIES = KNOWN | {
    ("torch.storage", "_load_from_bytes"): read_storage,
    ("torch._utils", "_rebuild_tensor"): rebuild_tensor,
    ("torch.nn.parameter", "Parameter"): rebuild_parameter,
    ("copyreg", "_reconstructor"): lambda kind, *_: kind(),
    ("builtins", "getattr"): Inert,  # names a function of torch, such as tanh
}


def read_pickled_policy(content: bytes, name: str) -> Record:
    """The object that a pickle holds, as a ``Record`` of its attributes, and so are the objects in it.

    Raises a ValueError that begins with ``name`` if it is damaged or asks for anything but tensors, plain values
    and objects of POLICY_PACKAGES; of these nothing is run either.
    """
    try:
        # Python 2 wrote bytes as text.
        found = PolicyUnpickler(io.BytesIO(content), {}, encoding="latin1").load()
    except Exception as error:  # as below
        raise ValueError(f"{name} was not read as a policy: {str(error) or type(error).__name__}") from error
    if not isinstance(found, Record):
        raise ValueError(f"{name} was not read as a policy: it holds a {type(found).__name__}")
    return found


def read_pickled_tensors(path: Path):
    """What a file written by ``torch.save`` holds, with tensors on the CPU.

    Raises a ValueError, in one line that names the file and the reason, if the file is damaged, in
    torch's old format, or holds anything but tensors and plain values.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if any(each.compress_type != zipfile.ZIP_STORED for each in members):
                raise ValueError("it is compressed, which torch.save never does")
            if sum(each.file_size for each in members) > path.stat().st_size:
                raise ValueError("its parts announce more bytes than it has")
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
