"""Nested containers: what is found in them, and what they are once their leaves are replaced."""

import sys
from collections import Counter, OrderedDict, defaultdict, namedtuple

import pytest

from clgrad import nested

pytestmark = pytest.mark.once

Pair = namedtuple("Pair", "left right")


class Odd(list):
    """A list that is not made of its members."""

    def __init__(self, size, what):
        super().__init__([what] * size)
        self.what = what


class Checked(Pair):
    """A named tuple that is not made of its members."""

    def __new__(cls, both):
        return super().__new__(cls, both, both)


def test_leaves_in_order():
    value = [1, (2.0, {"b": 3, "a": [4.0, "x"]}), Pair(None, 5)]
    assert nested.leaves(value) == [1, 2.0, 3, 4.0, "x", None, 5]
    assert nested.leaves(value, float) == [2.0, 4.0]
    assert nested.leaves(value, int | str) == [1, 3, "x", 5]
    assert nested.leaves("xy") == ["xy"]
    assert nested.leaves([(), {}]) == []


def test_containers_are_new_and_of_their_class():
    value = {"list": [1, 2], "tuple": (3,), "pair": Pair(4, [5]), "empty": ()}
    made = nested.replaced(value, lambda leaf: leaf)
    assert made == value
    assert type(made["pair"]) is Pair
    for at in (lambda v: v, lambda v: v["list"], lambda v: v["pair"].right):
        assert at(made) is not at(value)
    assert nested.replaced(value, str)["pair"] == Pair("4", ["5"])


def test_classes_of_their_own_keep_what_else_they_hold():
    counts = defaultdict(list, a=1)
    made = nested.replaced(counts, lambda leaf: leaf + 1)
    assert (made["a"], made["b"], dict(counts)) == (2, [], {"a": 1})
    ordered = nested.replaced(OrderedDict(b=1, a=2), str)
    assert list(ordered.items()) == [("b", "1"), ("a", "2")]
    assert type(ordered) is OrderedDict
    assert nested.replaced(Counter(a=3), lambda leaf: leaf + 1) == Counter(a=4)
    odd = nested.replaced(Odd(2, 7), lambda leaf: leaf + 1)
    assert (type(odd), list(odd), odd.what) == (Odd, [8, 8], 7)
    checked = nested.replaced(Checked(1), lambda leaf: leaf + 1)
    assert (type(checked), tuple(checked)) == (Checked, (2, 2))


def test_tuples_that_cannot_be_made_stay():
    assert nested.replaced([sys.version_info], lambda leaf: leaf)[0] is sys.version_info
