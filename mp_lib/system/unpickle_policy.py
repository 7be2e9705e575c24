"""Reading a pickled policy (mjrl's) into a tree of ``Record``, which keep what was stored and can do nothing."""

from __future__ import annotations

import io

import torch

from mp_lib.system.unpickle import (
    KNOWN,
    OLD_FORMAT,
    OLD_NAMES,
    Inert,
    Record,
    TensorUnpickler,
    rebuild_parameter,
    rebuild_tensor,
)


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
