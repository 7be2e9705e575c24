"""What there is to see in demonstrations: a first look, a film, traces, and how often the expert succeeded."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from mp_lib.data.own_tasks import kinds_in
from mp_lib.data.recording import expert_record
from mp_lib.data.replay_buffer import ReplayBuffer
from mp_lib.geometry.kinds import Layout
from mp_lib.interfaces import Environment, TaskSpec
from mp_lib.learning.film import write_film
from mp_lib.sim.tasks import TASKS, remarks_on
from mp_lib.study.sentences import join, of_rate
from mp_lib.study.tables import facts_table
from mp_lib.system.progress import track

CLOUDS = 4  # of a demonstration that are shown where there is no simulator
DEXART_JOINTS = [f"arm {k}" for k in range(1, 7)]
DEXART_JOINTS += [f"{finger} {k}" for finger in ("index", "middle", "ring", "thumb") for k in range(4)]

# Names of the numbers of state and action, by suite; those of other suites are numbered.
NAMES = {
    "metaworld": (
        [f"{part} {axis} (m)" for part in ("hand", "right finger", "left finger") for axis in "xyz"],
        [*(f"move {axis} (cm)" for axis in "xyz"), "close gripper"],
    ),
    "dexart": (
        [
            *(f"{joint} (rad)" for joint in DEXART_JOINTS),
            *(f"palm v{axis} (m/s)" for axis in "xyz"),
            *(f"palm w{axis} (rad/s)" for axis in "xyz"),
            *(f"palm {axis} (m)" for axis in "xyz"),
            "time (share)",
        ],
        [
            *(f"move {axis} (m/s)" for axis in "xyz"),
            *(f"turn about {axis} (rad/s)" for axis in "xyz"),
            *DEXART_JOINTS[6:],
        ],
    ),
}


LETTERS = {"position": "xyz", "rotation_vector": "xyz", "quaternion": "wxyz", "quaternion_xyzw": "xyzw"}


def simulated_task(store: ReplayBuffer) -> TaskSpec | None:
    """The task in which demonstrations were recorded here, and can be played again; None for those of others."""
    spec, rows = TASKS.get(store.attributes.get("task")), store.attributes.get("episodes", [])
    played = spec and rows and all("seed" in row for row in rows)
    return spec.with_state(store.shapes["state"][0]) if played else None


def first_look(store: ReplayBuffer, spec: TaskSpec | None) -> dict[str, np.ndarray]:
    """The first demonstration's start: picture (H, W, 3), and the points seen, cropped and sampled (M, 3).

    Where there is no simulator, clouds (N, 3) from its first frame to its last.
    """
    if spec is None:
        first, end = frames_of(store, store.demo_episodes[0])
        chosen = np.linspace(first, end - 1, CLOUDS).astype(int)
        clouds = store.read(keys=["point_cloud"])["point_cloud"]
        return {f"frame {frame}": clouds[frame] for frame in np.unique(chosen)}
    with at_the_start(store, spec) as env:
        return {"picture": env.render(), **env.cloud_stages()}


@contextlib.contextmanager
def at_the_start(store: ReplayBuffer, spec: TaskSpec) -> Iterator[Environment]:
    """The environment at the start of the first demonstration."""
    with contextlib.closing(spec.make_env(num_points=store.shapes["point_cloud"][0])) as env:
        env.reset(store.attributes["episodes"][store.demo_episodes[0]]["seed"])
        yield env


def points_table(look: dict[str, np.ndarray]) -> pd.DataFrame:
    """The points of a first look as rows (stage, x, y, z), in metres; every tenth of those before sampling."""
    frames = []
    for stage, points in look.items():
        if stage != "picture":
            thinned = points[::10] if stage in ("seen", "cropped") else points
            frames.append(pd.DataFrame(thinned, columns=["x", "y", "z"]).round(4).assign(stage=stage))
    return pd.concat(frames, ignore_index=True)[["stage", "x", "y", "z"]]


def film_of(store: ReplayBuffer, spec: TaskSpec | None) -> Path | None:
    """The film of the first demonstration beside the store: its recorded actions played again, unless it is there.

    Its name tells what is in the store, which may have been recorded anew. None where there is no simulator.
    """
    if spec is None:
        return None
    path = store.path.with_name(f"{store.path.stem}-{store.content_hash()[:8]}.mp4")
    if path.exists():
        return path
    actions = store.read(keys=["action"])["action"][slice(*frames_of(store, store.demo_episodes[0]))]
    with at_the_start(store, spec) as env, track(len(actions), f"film {spec.name}") as progress:
        frames = [env.render()]
        for action in actions:
            env.step(action)
            frames.append(env.render())
            progress.advance()
    return write_film(path, frames)


def traces(store: ReplayBuffer, spec: TaskSpec | None) -> pd.DataFrame:
    """State and action of every frame: episode, step, and one column a number."""
    frames = store.read(keys=["state", "action"])
    states, actions = names_of(spec.suite if spec else "", frames["state"].shape[1], frames["action"].shape[1])
    lengths = np.diff(store.episode_ends, prepend=0)
    table = pd.DataFrame({"episode": np.repeat(np.arange(len(lengths)), lengths)})
    table["step"] = table.groupby("episode").cumcount()
    table = table.join(pd.DataFrame(np.hstack([frames["state"], frames["action"]]), columns=[*states, *actions]))
    return table[table["episode"].isin(store.demo_episodes)].reset_index(drop=True)


def frames_of(store: ReplayBuffer, episode: int) -> tuple[int, int]:
    """The first frame of an episode and the one behind its last."""
    return int(store.episode_ends[episode - 1]) if episode else 0, int(store.episode_ends[episode])


def names_of(suite: str, state_dim: int, action_dim: int) -> tuple[list[str], list[str]]:
    """What the numbers of state and action are called; numbered where the suite does not name so many."""
    sizes = {"state": state_dim, "action": action_dim}
    numbered = [[f"{noun} {number}" for number in range(1, size + 1)] for noun, size in sizes.items()]
    known = NAMES.get(suite, numbered)
    return tuple(names if len(names) == len(plain) else plain for names, plain in zip(known, numbered, strict=True))


def names_in(spec: TaskSpec) -> tuple[list[str], list[str]]:
    """What the numbers of a task's states and actions are called, by its suite or by their kinds, or numbered."""
    plain = names_of(spec.suite, spec.state_dim, spec.action_dim)
    kinds = ("", "") if spec.suite in NAMES else (spec.state_kinds, spec.action_kinds)
    return tuple(names_by_kinds(told) if told else names for told, names in zip(kinds, plain, strict=True))


def names_by_kinds(text: str) -> list[str]:
    """Names of numbers by their kinds, such as "position x"; of several parts of a kind each has a letter."""
    parts, names, seen = Layout.parse(text).parts, [], Counter()
    often = Counter(part.kind.name for part in parts)
    for part in parts:
        kind = part.kind.name
        seen[kind] += 1
        said = kind.replace("_", " ") + (f" {chr(ord('@') + seen[kind])}" if often[kind] > 1 else "")
        letters = LETTERS.get(kind, "") if part.size > 1 else ""
        ends = letters if len(letters) == part.size else range(1, part.size + 1)
        names += [said] if part.size == 1 else [f"{said} {end}" for end in ends]
    return names


def expert_sentence(store: ReplayBuffer) -> str:
    """How often the expert succeeded while these demonstrations were recorded, and how many episodes were kept."""
    solved, tries = expert_record(store.attributes)
    if not tries:
        return "This store does not say who demonstrated, nor how often that failed."
    rows = store.attributes["episodes"]
    left_out = [seed for row in rows for seed in row["failed_seeds"]]
    needed = store.attributes["settings"]["min_success_steps"]
    seeds = f"Seeds left out: {join(left_out)}." if left_out else "None was left out."
    return (
        f"By the rule that judges policies, too, the expert succeeded in {of_rate(solved, tries)}. Demonstrations are "
        f"those in which the goal was met in at least {needed} steps: {len(rows)} of {tries}. {seeds} Recording stops "
        "when enough are kept, so the interval is approximate."
    )


def facts(store: ReplayBuffer) -> pd.DataFrame:
    """What the store says of itself: fact, value."""
    return facts_table(known_facts(store))


def known_facts(store: ReplayBuffer) -> dict:
    """What is known of a store, by name: of one of others what its arrays tell, and what reading has left out.

    An InputError where it names kinds that do not fit its numbers, as a training would say.
    """
    lengths = np.diff(store.episode_ends, prepend=0)[list(store.demo_episodes)]
    found = {
        "demonstrations": store.num_episodes if store.chosen is None else f"{store.num_demos} of {store.num_episodes}",
        "frames": int(lengths.sum()),
        "steps an episode": f"{lengths.min()} to {lengths.max()}" if len(lengths) else "",
        **{f"{key}, a frame": " x ".join(map(str, shape)) for key, shape in store.shapes.items()},
        "left out": "; ".join(store.notes),
        "digest": store.content_hash(),
    }
    attributes, rows = store.attributes, store.attributes.get("episodes", [])
    task, expert = attributes.get("task", ""), attributes.get("expert", "")
    kinds = kinds_in(store)
    said = {"task": task, "expert": expert, "remark": ". ".join(remarks_on(task, expert))}
    return {
        **said,
        "source": attributes.get("source", ""),
        **found,
        "frames a second": attributes.get("fps", ""),
        "kinds of a state": kinds.get("state_kinds", ""),
        "kinds of an action": kinds.get("action_kinds", ""),
        "numbers of an action": TASKS[task].action_meaning if task in TASKS else "",
        "seeds": join([row["seed"] for row in rows if "seed" in row]),
        "depth images from": attributes.get("settings", {}).get("depth_backend", ""),
        "versions": ", ".join(map(" ".join, attributes.get("versions", {}).items())),
        "commit": join(dict.fromkeys(row["commit"] for row in rows if "commit" in row)),
    }
