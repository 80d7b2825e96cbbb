"""Snapshots: which steps are recorded."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from tegum.training.spec.snapshots import Snapshots


@pytest.mark.parametrize(
    ("snapshots", "last", "steps"),
    [
        (Snapshots(), 10_000, np.arange(0, 10_001, 100)),
        (Snapshots(count=4), 100, [0, 25, 50, 75, 100]),
        (Snapshots(count=1), 100, [0, 100]),
        (Snapshots(count=3), 10, [0, 3, 7, 10]),
        (Snapshots(count=10**12), 3, [0, 1, 2, 3]),
        (Snapshots(count=2), 2**62, [0, 2**61, 2**62]),
        (Snapshots(), 0, [0]),
        (Snapshots(spacing="logarithmic", count=5), 10_000, [0, 1, 10, 100, 1000, 10_000]),
        (Snapshots(spacing="logarithmic", count=1), 100, [0, 100]),
        (Snapshots(spacing="logarithmic", count=50), 1, [0, 1]),
        (Snapshots(spacing="logarithmic"), 0, [0]),
        (Snapshots(steps=[10, 5, 10]), 20, [0, 5, 10, 20]),
        (Snapshots(steps=[]), 20, [0, 20]),
        (Snapshots(steps=range(3)), 2, [0, 1, 2]),
    ],
    ids=repr,
)
def test_recorded_steps(snapshots: Snapshots, last: int, steps: Any):
    at = snapshots.at(last)
    assert at.dtype == np.int64
    assert_array_equal(at, steps)


@given(
    spacing=st.sampled_from(["linear", "logarithmic"]),
    count=st.integers(1, 300),
    last=st.integers(0, 10**9),
)
def test_steps_rise_from_the_start_to_the_last(spacing: str, count: int, last: int):
    at = Snapshots(spacing=spacing, count=count).at(last)
    assert at[0] == 0
    assert at[-1] == last
    assert (np.diff(at) > 0).all()
    assert len(at) <= count + 1


def test_listed_steps_beyond_the_last_are_refused():
    with pytest.raises(ValueError, match=r"^at\(20\): the listed step 30 comes after the last one$"):
        Snapshots(steps=[10, 30]).at(20)
    with pytest.raises(ValueError, match=r"^at\(-1\): the last step must be at least 0$"):
        Snapshots().at(-1)


@pytest.mark.parametrize(
    ("short", "long"),
    [
        (200, Snapshots(count=200)),
        (np.int64(200), Snapshots(count=200)),
        ([10, 0], Snapshots(steps=[0, 10])),
        ((0, 10), Snapshots(steps=[0, 10])),
        (np.array([0, 10]), Snapshots(steps=[0, 10])),
        (range(2), Snapshots(steps=[0, 1])),
        ({"spacing": "logarithmic"}, Snapshots(spacing="logarithmic")),
        (Snapshots(count=3), Snapshots(count=3)),
    ],
    ids=repr,
)
def test_short_forms(short: Any, long: Snapshots):
    assert Snapshots.of(short) == long
    assert hash(Snapshots.of(short)) == hash(long)


@pytest.mark.parametrize("value", [None, True, 2.5, "linear", {1, 2}, np.zeros(2)], ids=repr)
def test_no_snapshots(value: Any):
    with pytest.raises(ValueError, match=r"must be a (Snapshots, a count, a list of steps, or|list of ints)"):
        Snapshots.of(value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"count": 0}, "Snapshots(count=0): count must be an int of at least 1"),
        ({"spacing": "log"}, "Snapshots(spacing='log'): spacing must be 'linear' or 'logarithmic'"),
        ({"steps": [-1]}, "Snapshots(steps=[-1]): steps must be a list of ints of at least 0"),
        ({"steps": [True]}, "Snapshots(steps=[True]): steps must be a list of ints of at least 0"),
        ({"steps": [2**63]}, f"Snapshots(steps=[{2**63}]): steps must be a list of ints of at least 0"),
        ({"steps": 3}, "Snapshots(steps=3): steps must be a list of ints of at least 0"),
        (
            {"steps": [3], "count": 100},
            "Snapshots(count=100): count must not be given together with steps",
        ),
        (
            {"steps": [3], "spacing": "linear"},
            "Snapshots(spacing='linear'): spacing must not be given together with steps",
        ),
        ({"every": 5}, "Snapshots(every=5): there is no key 'every'; known are count, spacing, steps"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_refused_in_one_sentence(values: dict, message: str):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (compared in full below)
        Snapshots(**values)
    assert str(caught.value) == message


def test_json_holds_only_what_has_a_say():
    assert Snapshots().model_dump() == {"spacing": "linear", "count": 100}
    assert Snapshots(steps=[3, 1]).model_dump(mode="json") == {"steps": [1, 3]}
