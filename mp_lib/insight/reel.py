"""The films of a report: two policies on one environment seed, a failure, a turning cloud, a chunk being denoised."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from mp_lib.config import EXPLORING_SEEDS
from mp_lib.drawing.pictures import turning
from mp_lib.insight.episode import Watched, moments_of
from mp_lib.insight.film_strip import denoising_in_time
from mp_lib.insight.playing import Played, play
from mp_lib.insight.trained import Trained, load
from mp_lib.interfaces import FINE
from mp_lib.learning.film import write_film
from mp_lib.model.weights import CHECKPOINT, shipped
from mp_lib.presets import METHODS, PAPER_METHODS, kind_name
from mp_lib.study.designs import MAMBA
from mp_lib.study.rows import load_runs
from mp_lib.study.sentences import of_ending
from mp_lib.system.files import read_json, write_json
from mp_lib.system.paths import run_path

LIST = "films.json"  # beside the films: a row a film, as of ``Film``
EPISODES = ("episode-1.mp4", "episode-2.mp4")  # one a policy
FAILURE, CLOUD, DENOISING = "failure.mp4", "cloud.mp4", "denoising.mp4"
STARS = tuple(reversed(MAMBA))  # Hydra first
RIVALS = tuple(name for name in PAPER_METHODS if not METHODS[name].mixer)  # DP3 first
ORDER = tuple(dict.fromkeys((*STARS, *RIVALS, *METHODS)))
MOST_TRIES = 3  # episodes that failed in an evaluation, until one fails again: rounding decides close calls
WIDE = {"width": FINE.shape[1], "height": FINE.shape[0]}


@dataclass(frozen=True)
class Film:
    """A film beside ``LIST``: its ``file``, its ``place`` (pair, failure, cloud or denoising), and what it shows."""

    file: str
    place: str
    title: str
    said: str


def cast(runs: Iterable[Mapping]) -> list[Mapping]:
    """Which of the runs (method, task, seed, …) are filmed: one of Mamba Policy and its rival on the same task.

    Hydra and DP3 where they are among them, else whichever comes next, of the lowest seed; a single one if there is no
    pair on one task, none if there is no run.
    """
    ranked = sorted(runs, key=lambda run: (ORDER.index(run["method"]), run["seed"]))
    stars = [run for run in ranked if run["method"] in STARS]
    pairs = [
        [star, rival]
        for star in stars
        for rival in sorted(ranked, key=lambda run: run["seed"] != star["seed"])
        if rival["method"] in RIVALS and rival["task"] == star["task"]
    ]
    first = {RIVALS.index(rival["method"]): [star, rival] for star, rival in reversed(pairs)}
    return first[min(first)] if first else ranked[:1]


def cast_here(scale: str) -> list[Path]:
    """The weights of ``cast`` among a scale's finished runs, or of the first policy that comes with the project."""
    columns = ["method", "task", "seed", "folder"]
    rows = load_runs().query("scale == @scale and attention == 'paper'").drop_duplicates("folder")
    here = [row for row in rows[columns].to_dict("records") if (run_path(row["folder"]) / CHECKPOINT).exists()]
    found = [run_path(row["folder"]) / CHECKPOINT for row in cast(here)]
    return found or shipped()[:1]


def shoot(checkpoints: Sequence[str | Path], folder: Path) -> list[Film]:
    """Play one or two policies, given by runs or files, and write the films and ``LIST`` into a folder.

    An earlier list goes first: it would describe films that are written over.
    """
    (folder / LIST).unlink(missing_ok=True)
    policies = [load(str(given)) for given in checkpoints]
    seed = common_seed(policies)
    played = [play(policy, seed, picture=FINE) for policy in policies]
    films = [save(each, folder, name, "pair") for each, name in zip(played, EPISODES, strict=False)]
    if all(each.success for each in played) and (failed := failure(policies, seed)):
        films.append(save(failed, folder, FAILURE, "failure"))
    watched = moments_of(played[0])
    films += [turning_cloud(watched, folder), denoised_chunk(watched, folder)]
    write_json(folder / LIST, {"films": [asdict(film) for film in films]})
    return films


def always(policies: int) -> list[str]:
    """The films that ``shoot`` writes of so many policies whatever comes of them; one of a failure it may add."""
    return [*EPISODES[:policies], CLOUD, DENOISING]


def films_table(films: Sequence[Film]) -> pd.DataFrame:
    """One row a film: file, place, title, said."""
    return pd.DataFrame([asdict(film) for film in films])


def films_in(folder: Path) -> list[Film]:
    """The films that ``shoot`` has left in a folder; none where it has not."""
    path = folder / LIST
    return [Film(**row) for row in read_json(path)["films"]] if path.exists() else []


def common_seed(policies: Sequence[Trained]) -> int:
    """The first environment seed that all of the policies' own evaluations have played."""
    played = [set(policy.facts["final"]["seeds"]) for policy in policies if policy.facts]
    return min(set.intersection(*played), default=EXPLORING_SEEDS) if played else EXPLORING_SEEDS


def failure(policies: Sequence[Trained], shown: int) -> Played | None:
    """The first episode in which one of the policies failed, and fails again; None if there is none."""
    finals = [policy.facts.get("final", {}) for policy in policies]
    failed = sorted(
        (seed, place)
        for place, final in enumerate(finals)
        for seed, success in zip(final.get("seeds", ()), final.get("successes", ()), strict=True)
        if not success and seed != shown
    )
    tries = (play(policies[place], seed, picture=FINE) for seed, place in failed[:MOST_TRIES])
    return next((each for each in tries if not each.success), None)


def save(played: Played, folder: Path, name: str, place: str) -> Film:
    """The film of an episode, and what to say of it."""
    policy = played.policy
    title = kind_name(policy.method, policy.config.attention)
    said = f"{policy_words(policy)}; environment seed {played.seed}: {of_ending(played.success, played.steps)}"
    return Film(played.save(folder / name).name, place, f"{title}: {of_ending(played.success)}", said)


def policy_words(policy: Trained) -> str:
    """E.g. "dp3_mamba_hydra on metaworld_drawer-open, training seed 0, scale quick"."""
    run = policy.facts.get("config", {})
    trained = f", training seed {run['seed']}, scale {run['scale']}" if run else ""
    return f"{policy.method} on {policy.task}{trained}"


def turning_cloud(watched: Watched, folder: Path) -> Film:
    """What the policy sees in the middle of its episode, from all sides."""
    path = write_film(folder / CLOUD, [*turning(watched.clouds[watched.middle], **WIDE)])
    said = (
        f"the {watched.clouds.shape[1]} points that {watched.method} gets at step {watched.steps[watched.middle]} on "
        f"environment seed {watched.seed}; colours are heights"
    )
    return Film(path.name, "cloud", "What the policy sees", said)


def denoised_chunk(watched: Watched, folder: Path) -> Film:
    """The chunk that it predicts there, on its way from noise."""
    path = write_film(folder / DENOISING, [*denoising_in_time(watched, **WIDE)])
    said = (
        f"the {watched.chunks.shape[1]} actions that it predicts there, from noise in {len(watched.noisy) - 1} steps; "
        "grey is where they end, the part on grey is executed"
    )
    return Film(path.name, "denoising", "How a chunk is denoised", said)
