"""What is kept is not made twice; what was asked for last is kept longest."""

from mp_lib.system.memo import Memo


def test_a_value_is_made_once_as_long_as_it_is_kept():
    made, memo = [], Memo(2)

    def ask(key):
        return memo.get(key, lambda: made.append(key) or key.upper())

    assert [ask(key) for key in "aba"] == ["A", "B", "A"] and made == ["a", "b"]
    ask("c")  # b was not asked for longest
    assert "b" not in memo and "a" in memo and "c" in memo
    assert ask("a") == "A" and made == ["a", "b", "c"]


def test_what_is_nothing_is_kept_too():
    memo = Memo(1)
    assert memo.get("key", lambda: None) is None and "key" in memo
