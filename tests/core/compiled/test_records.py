"""Records inside kernels: each name is the place in memory that it should be, in all three ways to look at them."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import numpy as np
import pytest
from numba.core.errors import TypingError
from numpy.testing import assert_array_equal

from tegum.core.compiled.compile import inlined, kernel
from tegum.core.compiled.lanes import WIDE_LANES as L
from tegum.core.compiled.lanes import splat
from tegum.core.compiled.records import lane_of, lanes_of, record_of


class Phase(IntEnum):
    BEGUN = 1
    ENDED = 2


class State(NamedTuple):
    step: float
    value: float
    phase: float


record, in_lane, lanes = record_of(State), lane_of(State), lanes_of(State)


@inlined
def advance(state):
    state.step += 1
    state.value = 2 * state.step
    if state.phase == Phase.BEGUN:
        state.phase = Phase.ENDED


@kernel
def advance_record(numbers, start):
    advance(record(numbers, start))


@kernel
def advance_lane(numbers, lane):
    advance(in_lane(numbers, lane))


@kernel
def scale_lanes(numbers):
    state = lanes(numbers)
    state.value = state.step * splat(10.0) + state.value


@kernel
def misspelt(numbers):
    return record(numbers, 0).stop


def test_a_record_alone() -> None:
    numbers = np.array([9.0, 9.0, 4.0, 0.0, 1.0, 9.0])
    advance_record(numbers, 2)
    assert_array_equal(numbers, [9, 9, 5, 10, 2, 9])


def test_one_record_of_eight() -> None:
    numbers = np.arange(3.0 * L)
    numbers[2 * L + 3] = 1
    expected = numbers.copy()
    expected[3], expected[L + 3], expected[2 * L + 3] = 4, 8, 2
    advance_lane(numbers, 3)
    assert_array_equal(numbers, expected)


def test_eight_records_at_once() -> None:
    numbers = np.arange(3.0 * L)
    scale_lanes(numbers)
    assert_array_equal(numbers.reshape(3, L), [np.arange(L), 11 * np.arange(L) + L, np.arange(L) + 2 * L])


def test_a_name_that_is_none_does_not_compile() -> None:
    with pytest.raises(TypingError, match="stop"):
        misspelt(np.zeros(3))
