"""Sentences that hold whatever the numbers are, because they are made of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from mp_lib.learning.folder import stored_result
from mp_lib.learning.result import UNSAID, RunResult
from mp_lib.presets import recipe_of
from mp_lib.sim.tasks import remarks_on
from mp_lib.statistics import wilson_interval
from mp_lib.study.overview import protocol

BEST_COLUMN = "best five, %"


def of_rate(successes: int, episodes: int) -> str:
    """E.g. "17 of 20 episodes (85 %, 95 % interval 64 % to 95 % after Wilson)"."""
    rate, low, high = (100 * each for each in (successes / episodes, *wilson_interval(successes, episodes)))
    return f"{successes} of {episodes} episodes ({rate:.0f} %, 95 % interval {low:.0f} % to {high:.0f} % after Wilson)"


def of_ending(success: bool, steps: int | None = None) -> str:
    """How an episode ends, e.g. "succeeds after 40 steps"; without ``steps`` "succeeds"."""
    return ("succeeds" if success else "fails") + ("" if steps is None else f" after {steps} steps")


def with_interval(value: float | None, low: float, high: float, form: str = ".0f", unit: str = "") -> str:
    """E.g. "84 (71 to 93)", each number in this form; nothing for a value that is not known."""
    return "" if pd.isna(value) else f"{value:{form}}{unit} ({low:{form}} to {high:{form}})"


def join(names: Sequence[str]) -> str:
    """Names as one enumerates them: "a, b and c"; with semicolons if a name has a comma of its own."""
    names = list(map(str, names))
    if any("," in name for name in names):
        return "; ".join(names)
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def count(number: int, noun: str) -> str:
    """E.g. "1 task", "2 tasks"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def no_runs(scale: str) -> str:
    """What to do where there is no run of a scale yet."""
    return (
        f"There is no finished run of the scale `{scale}` yet. Train one in `03_train.ipynb`, "
        f"or all of them with `./run_all.sh {scale}`."
    )


def of_success(result: RunResult) -> str:
    """How often a run succeeded, or how far it is from demonstrations held out, and under which conditions."""
    config, final, held_out = result.config, result.final, result.held_out
    found = [of_rate(sum(final["successes"]), len(final["successes"]))] if final else []
    found += [of_held_out(held_out)] if held_out else []
    told = "; ".join(found) or "nothing was held out and nothing can be simulated, so that nothing is known of it"
    named = f"**{config['method']}** on **{config['task']}**, seed {config['seed']}"
    return f"{named}: {told}. Conditions: {protocol(config)}."


def of_held_out(held_out: dict) -> str:
    """How far a policy is from what was done in episodes held out, beside what learns nothing."""
    share = {name: f"{100 * value:.1f} %" for name, value in held_out["share"].items()}
    episodes = f"{count(len(held_out['episodes']), 'demonstration')} held out"
    return (
        f"on {episodes} its executed actions are off by {share['error']} of their range on average (the last action "
        f"repeated: {share['repeat_last']}; what was done from the nearest recorded state: {share['nearest_frame']}); "
        "this is no success rate"
    )


def of_demonstrations(found: dict) -> str:
    """How many demonstrations a run was trained on, and whose, by its result, such as "10 of dapg"."""
    whose = ", by whom is not said" if found["expert"] == UNSAID else f" of {found['expert']}"
    return f"{found['episodes']}{whose}"


def of_evaluation(found: dict, checkpoint: Path) -> str:
    """Whose evaluation it is, what it says beside its run's result.json, and what to know of task and expert."""
    return f"{of_policy(checkpoint, found['task'], found['method'])} {beside_run(found, checkpoint)}"


def of_policy(checkpoint: Path | None, task: str = "", method: str = "") -> str:
    """Method, task, seed and scale of the policy that a checkpoint holds, as far as its run or the arguments tell.

    Without a checkpoint it is the one whose episode is kept with the project.
    """
    if checkpoint is None:
        return "No trained policy is here: shown is the episode that is kept in `data/results/`."
    config = stored_result(checkpoint).get("config", {})
    method, task = method or config.get("method", ""), task or config.get("task", "")
    named = f"**{method}** on **{task}**, " if method and task else ""
    return f"{named}{of_training(checkpoint, task, method)}."


def beside_run(found: dict, checkpoint: Path) -> str:
    """What an evaluation says beside its run's result.json, and what to know of task and expert."""
    result = own_result(checkpoint, found["task"], found["method"])
    expert = result.get("demonstrations", {}).get("expert", "")
    return " ".join([beside_result(found, result), *(f"{remark}." for remark in remarks_on(found["task"], expert))])


def of_training(checkpoint: Path, task: str, method: str) -> str:
    """Which training of a method on a task saved a checkpoint: its seed, its scale and its folder."""
    config = own_result(checkpoint, task, method).get("config")
    if not config:
        return f"weights of `{checkpoint.name}`, whose seed and scale are not known"
    return f"seed {config['seed']}, scale `{config['scale']}` (run `{checkpoint.parent.name}`)"


def own_result(checkpoint: Path, task: str, method: str) -> dict:
    """The result.json of the run that saved a checkpoint; empty if there is none, or it is another's."""
    result = stored_result(checkpoint)
    given = {"task": task, "method": method}
    return result if result and all(result["config"][key] == value for key, value in given.items()) else {}


def beside_result(found: dict, result: dict) -> str:
    """An evaluation and the result of the run, which may be empty, seed by seed where both have played."""
    said = f"Now: {of_rate(sum(found['successes']), len(found['successes']))}."
    if not result:
        return f"{said} There is no result of its run beside the checkpoint to compare with."
    if not (final := result["final"]):
        return f"{said} Its run was not rolled out."
    said += f" The run's own: {of_rate(sum(final['successes']), len(final['successes']))}."
    if found["num_inference_steps"] != result["config"]["num_inference_steps"]:
        usual = result["config"]["num_inference_steps"]
        return f"{said} Not comparable seed by seed: {found['num_inference_steps']} denoising steps now, {usual} then."
    before = dict(zip(final["seeds"], final["successes"], strict=True))
    now = dict(zip(found["seeds"], found["successes"], strict=True))
    common = sorted(before.keys() & now.keys())
    same = sum(before[seed] == now[seed] for seed in common)
    if not common:
        return f"{said} They have no seed in common."
    ending = "." if same == len(common) else ": rounding differs between machines and batches, and decides close calls."
    return f"{said} Of {len(common)} seeds in common, {same} ended alike{ending}"


def of_runs(scale: str, runs: pd.DataFrame, changed: int = 0, unreadable: int = 0) -> str:
    """Which runs a page of tables was made from.

    ``changed`` ones, of other numbers or demonstrations, and ``unreadable`` ones are left out.
    """
    damaged = f" {count(unreadable, 'run folder')} left out, since unreadable." if unreadable else ""
    if runs.empty:
        return no_runs(scale) + damaged
    return (
        f"Scale `{scale}`: {of_origin(runs, f'./run_all.sh {scale}')} "
        f"{count(changed, 'run')} with other numbers than the scale's left out.{damaged}"
    )


def of_origin(runs: pd.DataFrame, command: str) -> str:
    """Whose runs these are: the reader's own, or those that are kept with the project."""
    if runs.empty:
        return f"Not run yet: `{command}` does."
    seeds, tasks = (sorted(set(runs[column])) for column in ("seed", "task"))
    number, methods = count(len(runs), "finished run"), count(runs["method"].nunique(), "method")
    told = f"{number} of {methods} on {join(tasks)}, training {of_numbers(seeds, 'seed')}"
    if not runs["kept"].any():
        return f"{told}, run here."
    devices, commits = (join(sorted(set(runs[column]))) for column in ("device", "commit"))
    recipes = sorted({run.recipe for run in runs.itertuples() if run.recipe < recipe_of(run.scale)})
    told += f", by an earlier {of_numbers(recipes, 'recipe')}" if recipes else ""
    return (
        f"{told}, as kept in `data/results`: measured on {devices} at commit {commits}, since nothing of it "
        f"was run here; `{command}` does."
    )


def headline(table: pd.DataFrame) -> str:
    """How often each method succeeds, over the tasks that all have; ``table`` as ``tables.method_table``."""
    if table.empty:
        return "Nothing was run at this scale yet, and nothing is kept of it."
    rates = (f"{row.label} {with_interval(row.ours, row.low, row.high)}" for row in table.itertuples())
    return f"Success in percent over {count(table['tasks'].iloc[0], 'task')}, with 95 % intervals: {join([*rates])}."


def of_numbers(numbers: Sequence[int], noun: str) -> str:
    """E.g. "seed 0", "seeds 0, 1 and 2"."""
    return f"{noun if len(numbers) == 1 else noun + 's'} {join(numbers)}"


def remarks(table: pd.DataFrame) -> list[str]:
    """What a reader of ``tables.reading_table`` has to know; ``table`` as ``tables.success_table``."""
    return [how_to_compare(table), who_demonstrated(table)]


def how_to_compare(table: pd.DataFrame) -> str:
    """Which of our numbers published rates are to be compared with, and how many rows have none."""
    said = "Published rates are means of the best five evaluations during a training."
    if table["best_five"].notna().any():
        said += f' They are to be compared with the column "{BEST_COLUMN}", where it is filled.'
    else:
        said += (
            " That is higher than what one fixed checkpoint reaches, and no run here was evaluated during its "
            "training, so nothing here is the same measure."
        )
    if table.loc[~table["comparable"], "published"].notna().any():
        said += " Rates in brackets belong to the original of a task that is re-created here: they cannot be compared."
    return f"{said} {table['published'].isna().sum()} of {len(table)} rows have no published rate."


def who_demonstrated(table: pd.DataFrame) -> str:
    """Whose demonstrations the policies learned from, which a comparison with published rates depends on."""
    pairs = sorted(set(zip(table["expert"], table["task"], strict=True)))
    experts = ", ".join(dict.fromkeys(expert for expert, _ in pairs))
    remarks = dict.fromkeys(remark for expert, task in pairs for remark in remarks_on(task, expert))
    return (
        f"Demonstrations here come from: {experts}. {''.join(f'{remark}. ' for remark in remarks)}"
        "Published rates rest on the demonstrations of their own authors; "
        "another expert, another simulator version or other seeds shift a success rate by themselves."
    )
