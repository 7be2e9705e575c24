"""What can mean one thing is taken as that, whatever it came as; all else is refused in one line with an example."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from mp_lib.system.errors import InputError
from mp_lib.system.values import EXAMPLES, READERS, example, literal, meaning, read_fields

TAKEN = [
    *(("int", given, 4) for given in (4, 4.0, "4", "4.0", " 4 ", "4e0", np.int64(4), np.float32(4), np.array(4))),
    ("int", str(10**30), 10**30),
    *(("float", given, 1e-4) for given in (1e-4, "1e-4", "0.0001", np.float64(1e-4))),
    *(("float", given, 1) for given in (1, "1", np.int64(1))),  # which tells how it was given
    *(("float", given, 0.0) for given in (-0.0, "-0.0")),
    *(("float", given, 0) for given in (-0, "-0")),
    *(("bool", given, False) for given in (False, "false", "False", "no", "off", 0, 0.0, "0", np.bool_(False))),
    *(("bool", given, True) for given in (True, "true", "TRUE", "yes", "on", 1, "1")),
    ("str", "a b", "a b"),
    ("str", "None", "None"),
    ("str", Path("a") / "b", "a/b"),
    ("str", None, ""),
    *(("list[str]", given, ["a"]) for given in ("a", ["a"], ("a",), '["a"]', "['a']", "('a',)", np.array(["a"]))),
    *(("list[int]", given, [0]) for given in (0, 0.0, "0", [0], ["0"], "[0]", "0,", range(1), np.arange(1))),
    ("list[int]", "0, 1", [0, 1]),
    *((kind, given, []) for kind in ("list[str]", "list[int]") for given in ([], None, "", "None", "[]")),
    *(("dict", given, {"a": None}) for given in ({"a": None}, '{"a": null}', "{'a': None}")),
    *(("dict", given, {}) for given in ({}, None, "", "null", "{}")),
    *((f"int {word} None", given, None) for word in ("|", "or") for given in (None, "None", "none", "null", "", " ")),
    *((f"int {word} None", given, 4) for word in ("|", "or") for given in (4, "4", 4.0)),
    *(("tuple[float, float]", given, (0.5, 1)) for given in ((0.5, 1), [0.5, "1"], "(0.5, 1)", "[0.5, 1]")),
    *(("tuple[int, ...] | None", given, (0, 3)) for given in ([0, 3], (0.0, 3), "[0, 3]", "0,3")),
    ("tuple[int, ...] | None", 3, (3,)),
    ("tuple[int, ...] | None", [10**30, 2**53 + 1], (10**30, 2**53 + 1)),
    ("list[int] or None", [], []),
]
REFUSED = [
    *(("int", given) for given in (0.5, "0.5", True, "True", None, "", "four", [4], {}, float("nan"), float("inf"))),
    *(("float", given) for given in ("nan", "inf", float("nan"), float("inf"), 10**400, True, None, "", [0.5], 1j)),
    *(("bool", given) for given in (2, 0.5, None, "", "maybe", [], [True])),
    *(("str", given) for given in (5, 0.5, True, ["a"], {}, b"a")),
    *(("list[str]", given) for given in (5, [5], [None], "[a", "[a]", {"a": 1}, {"a"}, [{}])),
    *(("list[int]", given) for given in ("a", ["a"], 0.5, [0.5], [None], True, {0})),
    *(("dict", given) for given in ([], [1], 3, "a", "{a: 1}", "{a}", {1: 2}, "[" * 100_000)),
    *(("tuple[float, float]", given) for given in ((0.5,), (0.5, 0.5, 0.5), 0.5, None, "", ("a", "b"))),
    *(("int | None", given) for given in (0.5, "a", False, [None])),
]


@pytest.mark.parametrize(("kind", "given", "meant"), TAKEN)
def test_what_means_one_thing_is_taken_as_that(kind, given, meant):
    found = meaning("it", kind, given)
    assert found == meant and type(found) is type(meant)
    assert repr(found) == repr(meant)  # also what is in it


@pytest.mark.parametrize(("kind", "given"), REFUSED)
def test_all_else_is_refused_in_one_line_with_an_example_that_is_taken(kind, given):
    with pytest.raises(InputError) as refused:
        meaning("it", kind, given)
    said = str(refused.value)
    assert "\n" not in said and len(said) < 400
    one = "one " if isinstance(given, list | tuple) and "[" not in kind else ""
    assert said.startswith("it ") and said.endswith(f" given; it is {one}{kind}, such as {example(kind, given)}")


@pytest.mark.parametrize(
    ("kind", "given", "said"), [("int", [0, 1], "0"), ("str", ("a",), '"a"'), ("bool", [0], "false")]
)
def test_of_a_list_for_a_single_value_the_first_is_the_example(kind, given, said):
    with pytest.raises(InputError, match=f"; it is one {kind}, such as {said}$"):
        meaning("it", kind, given)


@pytest.mark.parametrize(
    "kind", [*EXAMPLES, "list[int]", "list[str] or None", "tuple[float, float]", "tuple[int, ...]"]
)
def test_an_example_is_a_literal_of_its_kind(kind):
    assert meaning("it", kind, literal(example(kind)))
    assert kind == "str" or meaning("it", kind, example(kind)) == meaning("it", kind, literal(example(kind)))


def test_every_kind_has_an_example():
    assert {*READERS} - {*EXAMPLES} == {"list", "tuple"}  # which are made of others'


def test_fields_of_a_frozen_configuration_become_what_they_mean():
    @dataclass(frozen=True)
    class Sizes:
        width: "int"
        depth: "int | None" = None

        __post_init__ = read_fields

    assert Sizes("8", "none") == Sizes(8.0) == Sizes(8)
    with pytest.raises(InputError, match="width 'wide' given; it is int, such as 4"):
        Sizes("wide")
