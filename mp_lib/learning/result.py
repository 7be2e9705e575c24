"""What a training found, and how it was computed."""

from __future__ import annotations

from dataclasses import dataclass, field

UNSAID = "unknown"  # the expert of demonstrations that do not say who has shown them


@dataclass(frozen=True)
class How:
    """How a run is computed: form of its steps, precision of a GPU's products, backend of its rollouts, runs stacked.

    It decides rounding and speed, so it is in no name and no configuration.
    The values by default are those of results that were written before there were others.
    """

    form: str = "torch"
    precision: str = "float32"
    backend: str = "torch"
    group: int = 1


@dataclass(frozen=True)
class RunResult:
    """What one training run found; result.json holds it.

    ``curve`` has a row an evaluation during training, {step, successes, episodes}; ``final`` is the last
    checkpoint on fresh seeds: {seeds, successes (0 or 1 each), interval}, None for a task that cannot be simulated.
    ``held_out`` says how far its actions are from those of demonstrations that were held out
    (``mp_lib.learning.held_out``), None where none were; ``origin`` which weights it went on from, empty if none.
    ``loss`` is the last one logged, ``parameters`` counts the policy's, all of which run; ``seconds`` by stage;
    ``threads`` are torch's on the CPU, whose number decides the last bits of a training there; 0 where it was not
    noted. ``how`` it was computed is as of ``How``, whose defaults hold where it is empty.
    """

    config: dict
    demonstrations: dict
    curve: list[dict]
    final: dict | None
    loss: float
    parameters: int
    seconds: dict[str, float]
    peak_memory_bytes: int
    device: str
    commit: str
    versions: dict[str, str]
    threads: int = 0
    how: dict = field(default_factory=dict)
    held_out: dict | None = None
    origin: dict = field(default_factory=dict)
