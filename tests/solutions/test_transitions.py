import numpy as np
import pytest

from tegum.solutions.solution import Solution
from tegum.solutions.transitions import bisected

ROOT = 2**-0.5


def at(value, loss=1.0):
    """A solution without parameters."""
    return Solution(value, np.zeros((1, 1)), np.zeros(1), loss, 1, 1)


def passed(solution):
    return solution.value > ROOT


def test_a_bisection_ends_around_where_it_comes_true():
    found = bisected(at(0.0), at(1.0), passed, lambda value, *_: at(value), None, error=1e-9)
    assert found.value == pytest.approx(ROOT, abs=1e-9)
    assert found.low.value <= ROOT < found.high.value
    assert found.error == found.high.value - found.low.value <= 1e-9
    assert found.confirmed


def test_descent_is_told_the_first_ends_and_the_nearest_ones():
    seen = []

    def descend(value, first, nearest):
        seen.append((value, *(end.value for end in (*first, *nearest))))
        return at(value)

    bisected(at(0.0), at(1.0), passed, descend, None, error=0.2)
    assert seen == [(0.5, 0, 1, 0, 1), (0.75, 0, 1, 0.5, 1), (0.625, 0, 1, 0.5, 0.75)]


def test_what_fresh_starts_find_lower_takes_the_place_of_an_end():
    # The first time they find something lower beyond the root, the second time nothing.
    found, tried = [at(0.75, loss=0.5), at(0.75, loss=2.0)], []

    def lowest(value):
        tried.append(value)
        return found[len(tried) - 1]

    begun = []

    def descend(value, first, _):
        begun.append(first[1].value)
        return at(value)

    ended = bisected(at(0.0), at(1.0), passed, descend, lowest)
    assert ended.confirmed
    assert len(tried) == 2
    assert set(begun) == {1.0, 0.75}
    # Where they always find something lower, it ends unconfirmed.
    assert not bisected(at(0.0), at(1.0), passed, lambda value, *_: at(value), lambda _: at(1.0, loss=0.1)).confirmed
