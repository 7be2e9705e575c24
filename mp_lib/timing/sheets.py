"""The sheets of the benchmark's table, those that tell most first; a GPU's differ from a processor's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mp_lib.interfaces import look_up
from mp_lib.presets import ATTENTION, METHODS, kinds

if TYPE_CHECKING:
    from mp_lib.timing.subjects import Subject

PAIR = ("dp3_mamba_v2", "dp3")
PAPER, RELEASED = ("paper",), ("released",)
STACK = 9  # trainings in a group: three seeds of three tasks


@dataclass(frozen=True)
class Sheet:
    """Measurements of one kind and horizon, for each of ``methods`` and ``attention``.

    ``memory`` names the backends whose peak memory is measured, too.
    """

    what: str
    batch: int
    threads: int
    backends: tuple[str, ...]
    horizon: int
    turns: int = 5
    memory: tuple[str, ...] = ()
    methods: tuple[str, ...] = tuple(METHODS)
    attention: tuple[str, ...] = tuple(ATTENTION)
    num_inference_steps: int = 10
    stacked: int = 1

    @property
    def title(self) -> str:
        """What it measures, in a line."""
        shape = f"horizon {self.horizon}, batch {self.batch}, threads {self.threads}, steps {self.num_inference_steps}"
        return f"{self.what}, {shape}, {' '.join(self.backends)}: {' '.join(self.methods)}"

    def kinds(self) -> list[tuple[str, str]]:
        """(method, attention) of its rows."""
        return [kind for kind in kinds(self.methods) if kind[1] in ("", *self.attention)]

    def usable_backends(self, device: str) -> list[str]:
        """Those of its backends that can run here."""
        from mp_lib.timing.workloads import usable

        return [name for name in self.backends if name == "official" or usable(name, device)]

    def keys(self, device: str, device_name: str, precision: str) -> list[tuple]:
        """The keys of its rows on a device, in the order of ``table.KEY``."""
        ending = (device_name, precision, self.num_inference_steps, self.stacked)
        return [
            (self.what, self.batch, self.threads, name, *kind, self.horizon, *ending)
            for kind in self.kinds()
            for name in self.usable_backends(device)
        ]

    def places(self, device: str) -> list[tuple]:
        """What its subjects are made of."""
        return [(*kind, self.horizon, device, self.num_inference_steps, self.stacked) for kind in self.kinds()]

    def subjects(self, device: str) -> list[Subject]:
        """What it measures."""
        from mp_lib.timing.subjects import Subject

        return [Subject(*place) for place in self.places(device)]


def chosen_sheets(device: str, only: Sequence[str] = ()) -> list[Sheet]:
    """The sheets of a device; of kinds of row, methods and forms (backends) those that ``only`` names.

    All of each of these three of which it names none. An InputError lists what can be named.
    """
    every = [*(gpu_sheets() if device.startswith("cuda") else cpu_sheets())]
    names = {
        "what": dict.fromkeys(sheet.what for sheet in every),
        "methods": dict.fromkeys(name for sheet in every for name in sheet.methods),
        "backends": dict.fromkeys(name for sheet in every for name in sheet.backends),
    }
    for word in only:
        look_up({name: word for choices in names.values() for name in choices}, word, "part of the table")
    named = {field: {*choices} & {*only} or choices for field, choices in names.items()}
    parts = [
        replace(
            sheet,
            methods=tuple(name for name in sheet.methods if name in named["methods"]),
            backends=tuple(name for name in sheet.backends if name in named["backends"]),
        )
        for sheet in every
        if sheet.what in named["what"]
    ]
    return [sheet for sheet in parts if sheet.methods and sheet.backends]


def cpu_sheets() -> Iterator[Sheet]:
    """All sheets of a processor.

    Training by loop scans keeps every step's states for the gradient: beyond horizon 16, a batch of 128 does not fit
    into 20 GB with Mamba-2's, so there the official formulation is left out.
    """
    yield calls(16)
    yield from chunks(16)
    yield Sheet("chunk", 1, 2, ("official", "torch", "onnx"), 16, 3)
    yield Sheet("chunk", 1, 1, ("official", "torch", "onnx", "bfloat16"), 16, num_inference_steps=2)
    yield Sheet("encoder_step", 128, 1, ("official", "torch"), 16, methods=("dp3",))  # that of all
    yield calls(4)
    yield from chunks(4)
    yield calls(32)
    yield from steps(16, ("official", "torch", "matrix_products"))
    yield calls(64)
    yield from steps(4, ("official", "torch"))
    for horizon in (32, 64):
        yield from chunks(horizon)
        yield from steps(horizon, ("torch",))
    yield from steps(16, ("torch",), "training")
    yield Sheet("chunk", 1, 1, ("compiled",), 16, 3)  # compiling takes minutes a row
    yield Sheet("decision", 1, 1, ("official", "torch", "onnx"), 16, 3, methods=PAIR, attention=RELEASED)


def gpu_sheets() -> Iterator[Sheet]:
    """All sheets of a GPU: small ones first, each of which takes a minute or less.

    A training step is one CUDA graph, which is how trainings run there; eager and official ones follow.
    """
    forms, others = ("official", "torch", "cuda"), tuple(name for name in METHODS if name not in PAIR)
    mamba = tuple(name for name, method in METHODS.items() if method.mixer)
    for count in (10, 2):
        yield Sheet("chunk", 1, 1, forms, 16, 5, (), PAIR, RELEASED, count)
    for methods, stacked in (
        (PAIR, 1),
        (PAIR[:1], STACK),
        (("dp3_mamba", "dp3_mamba_bi"), 1),
        (("dp3_mamba_hydra", "simple_dp3", "dp3_narrow"), 1),
        *(((name,), STACK) for name in METHODS if name not in PAIR[:1]),
    ):
        yield Sheet("training", 128, 1, ("cuda",), 16, 5, ("cuda",), methods, PAPER, stacked=stacked)
    for count in (10, 2):
        yield Sheet("chunk", 1, 1, forms, 16, 5, (), others, RELEASED, count)
        yield Sheet("chunk", 1, 1, forms, 16, 5, (), mamba, PAPER, count)
    yield Sheet("training", 128, 1, ("cuda",), 16, 5, ("cuda",), mamba, RELEASED)
    for method in METHODS:  # the optimisers of few fit together
        yield Sheet("training", 128, 1, ("official", "torch"), 16, 3, ("torch",), (method,))
    yield Sheet("denoiser", 64, 1, ("torch",), 16)
    yield Sheet("denoiser", 1, 1, ("official", "torch", "matrix_products", "weight_traffic"), 16)
    for horizon in (4, 32, 64):
        yield Sheet("chunk", 1, 1, ("torch", "cuda"), horizon)
        yield Sheet("denoiser", 1, 1, ("official", "torch", "matrix_products", "weight_traffic"), horizon)
    yield Sheet("chunk", 1, 1, ("compiled",), 16, 3, methods=PAIR, attention=RELEASED)  # minutes to compile
    yield Sheet("training", 128, 1, ("compiled",), 16, 3, methods=PAIR, attention=PAPER)
    yield Sheet("decision", 1, 1, ("official", "torch", "cuda"), 16, 3, methods=PAIR, attention=RELEASED)


def calls(horizon: int) -> Sheet:
    """Single denoiser calls at a horizon, and their floors."""
    backends = ("official", "torch", "onnx", "matrix_products", "weight_traffic")
    return Sheet("denoiser", 1, 1, backends, horizon, turns_at(horizon))


def chunks(horizon: int) -> Iterator[Sheet]:
    """Action chunks at a horizon, and many denoiser calls at once."""
    forms = ("official", "torch", "onnx", "bfloat16")
    yield Sheet("chunk", 1, 1, forms, horizon, turns_at(horizon), memory=("torch",))
    yield Sheet("denoiser", 64, 2, ("torch", "onnx"), horizon, 3)


def turns_at(horizon: int) -> int:
    """How often each call is measured: fewer times where it takes long."""
    return 5 if horizon <= 16 else 3


def steps(horizon: int, backends: tuple[str, ...], what: str = "train_step") -> Iterator[Sheet]:
    """Training steps at a horizon, in two sheets: the optimisers of all methods do not fit into 24 GB."""
    for methods in (tuple(METHODS)[:5], tuple(METHODS)[5:]):
        yield Sheet(what, 128, 2, backends, horizon, 3, memory=("torch",), methods=methods)
