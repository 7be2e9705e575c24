"""What is offered in Python, with signatures that Python can read and words for each."""

from __future__ import annotations  # as in the package

import ast

import pytest
from bs4 import BeautifulSoup

import mp_lib
from mp_lib.publishing.reference import entries, signature


def test_every_name_has_its_words_and_so_has_every_method():
    found = entries()
    assert [each.name for each in found] == [*mp_lib.__all__, "Trained"]
    for each in [*found, *(method for entry in found for method in entry.methods)]:
        assert BeautifulSoup(each.words, "html.parser").get_text().strip(), each.name


@pytest.mark.parametrize("name", mp_lib.__all__)
def test_a_signature_is_what_python_would_read(name):
    words = signature(name, getattr(mp_lib, name))
    (function,) = ast.parse(f"def {words}: ...").body
    assert function.name == name and all(len(line) <= 88 for line in words.splitlines())


def test_stars_stand_where_they_stood():
    def called(a, *, b: int = 1, **rest: str) -> None: ...

    def many(a, *rest, b=print): ...

    assert signature("called", called) == "called(a, *, b: int = 1, **rest: str) -> None"
    assert signature("many", many) == "many(a, *rest, b = print)"
