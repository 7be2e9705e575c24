"""Rows of acting policies are read as they were written, or refused in a line; tables say what they hold."""

from dataclasses import asdict, replace

import pytest

from mp_lib.study import acting_tables
from mp_lib.study.acting_rows import AHEAD, IN_TURN, ROLLOUT, Deadlines, Delays, keep_row, path_of, read_rows
from mp_lib.system.errors import InputError

pytestmark = pytest.mark.usefixtures("empty_root")
ORIGIN = {"device": "a processor", "commit": "0123456789ab", "date": "2026-01-01"}
DEADLINES = Deadlines(
    scale="quick",
    method="dp3_mamba_v2",
    num_inference_steps=10,
    schedule=IN_TURN,
    backend="onnx",
    threads=1,
    rate=50,
    steps=2000,
    missed=7,
    held=0,
    late=0,
    answer_median=0.25,
    answer_longest=31.0,
    chunk_median=18.4,
    chunk_longest=30.5,
    cores=2,
    **ORIGIN,
)
DELAYS = Delays(
    schedule=IN_TURN,
    policy="my_run",
    checkpoint="00ff",
    task="metaworld_reach",
    method="dp3_mamba",
    delay=0,
    backend="onnx",
    first_seed=80000,
    episodes=4,
    outcomes="0111",
    lengths="9 5 6 7",
    **ORIGIN,
)
ROWS = {Deadlines: DEADLINES, Delays: DELAYS}
every_kind = pytest.mark.parametrize("kind", ROWS, ids=lambda kind: kind.__name__)


@every_kind
def test_a_row_is_read_as_it_was_written_and_replaces_the_one_with_its_key(kind):
    row = ROWS[kind]
    assert read_rows(kind) == []
    keep_row(row)
    other = replace(row, schedule=AHEAD)
    keep_row(other)
    keep_row(again := replace(row, commit="ba9876543210"))
    assert read_rows(kind) == [other, again]


def damaged(kind):
    """Contents of a file that are not those of rows, by what is wrong."""
    keep_row(ROWS[kind])
    head, line = path_of(kind).read_text().splitlines()
    yield "nothing", ""
    yield "no head", f"{line}\n"
    yield "a column less", f"{head.partition(',')[2]}\n{line.partition(',')[2]}\n"
    yield "cut", f"{head}\n{line[: len(line) // 2]}"
    yield "a value more", f"{head}\n{line},1\n"
    yield "no number", f"{head}\n{line}\n{line.replace('onnx,', 'onnx,x', 1)}\n"
    yield "no schedule", f"{head}\n{line.replace(IN_TURN, 'sideways')}\n"
    yield "bytes", "\0\1\2" + head
    yield "nulls", f"{head}\n{line[:9]}\0{line[9:]}\n\0\n"


@every_kind
def test_a_damaged_file_is_refused_in_a_line_that_names_it(kind):
    for what, content in damaged(kind):
        path_of(kind).write_text(content)
        with pytest.raises(InputError) as caught:
            read_rows(kind)
        assert kind.FILE in str(caught.value) and "restore it" in str(caught.value), what
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("changes", [{"outcomes": "011"}, {"outcomes": "01x1"}, {"lengths": "1 2 3"}])
def test_outcomes_are_those_of_all_episodes(changes):
    with pytest.raises(InputError, match="not those of 4 episodes"):
        replace(DELAYS, **changes)


@pytest.mark.parametrize("name", ["deadlines", "delays", "actor_and_rollouts"])
def test_without_rows_a_table_has_its_heads_alone_and_says_so(name):
    table = getattr(acting_tables, name)()
    assert table.endswith("\nNot measured yet.\n") and table.count("\n") == 4


def test_deadlines_are_told_with_how_they_were_measured():
    keep_row(DEADLINES)
    keep_row(replace(DEADLINES, schedule=AHEAD, missed=0, held=3, late=1))
    table = acting_tables.deadlines()
    assert "| `dp3_mamba_v2`, quick | 10 | in turn | 7 of 2000 | 0 | 0 | 0.25 ms (31 ms) | 18 ms (30 ms) |\n" in table
    assert "| ahead | 0 of 2000 | 3 | 1 |" in table
    assert table.endswith("\nMeasured on a processor, 2 cores, 1 of them for a chunk, commit 0123456789ab.\n")


def test_delays_are_columns_and_without_one_both_schedules_are_the_same():
    for row in (DELAYS, replace(DELAYS, delay=2, outcomes="0000"), replace(DELAYS, schedule=ROLLOUT, outcomes="0000")):
        keep_row(row)
    keep_row(replace(DELAYS, schedule=AHEAD, delay=2, outcomes="1111"))
    lines = acting_tables.delays().splitlines()
    assert lines[0] == "| task | method | schedule | 0 steps late | 2 steps late |"
    assert lines[2] == "| `metaworld_reach` | Mamba-1 | in turn | 75 (30 to 95) | 0 (0 to 49) |"
    assert lines[3] == "| `metaworld_reach` | Mamba-1 | ahead | 75 (30 to 95) | 100 (51 to 100) |"
    assert "4 episodes each, on environment seeds from 80000 on" in lines[-1]


def test_an_actor_stands_beside_rollouts_of_the_same_policy():
    keep_row(DELAYS)
    keep_row(replace(DELAYS, policy="another"))  # of which there are no rollouts
    keep_row(replace(DELAYS, schedule=ROLLOUT, backend="torch", outcomes="0110", lengths="9 5 6 9"))
    lines = acting_tables.actor_and_rollouts().splitlines()
    assert lines[2] == "| `metaworld_reach` | Mamba-1 | 3 of 4 | 2 of 4 | 3 of 4 | 3 of 4 |" and lines[3] == ""


OTHER_PLAY = (
    {"episodes": 6, "outcomes": "000000", "lengths": "9 9 9 9 9 9"},
    {"first_seed": 90000, "outcomes": "0000"},
    {"checkpoint": "ff00", "outcomes": "0000"},
)


@pytest.mark.parametrize("other", OTHER_PLAY, ids=lambda other: [*other][0])
def test_other_episodes_and_weights_of_a_policy_are_rows_of_their_own(other):
    for changes in ({}, other):
        for row in (DELAYS, replace(DELAYS, schedule=ROLLOUT, backend="torch"), replace(DELAYS, delay=2)):
            keep_row(replace(row, **changes))
    compared = acting_tables.actor_and_rollouts().splitlines()[2:4]
    assert {line.split(" | ")[2] for line in compared} == {"3 of 4", f"0 of {other.get('episodes', 4)}"}
    assert all(len({*line.removesuffix(" |").split(" | ")[2:4]}) == 1 for line in compared), "each with its own"
    late = [line.split(" | ") for line in acting_tables.delays().splitlines()[2:6]]
    assert len({cells[0] for cells in late}) == 2 and all(
        cells[3] == cells[4].removesuffix(" |") for cells in late[::2]
    )


def test_a_row_has_all_that_a_file_has():
    for kind, row in ROWS.items():
        keep_row(row)
        assert path_of(kind).read_text().splitlines()[0].split(",") == [*asdict(row)]
