"""The working memory of the kernel of the population loss: one record for each feature, and a state.

Lanes are runs: "row" r of a flat array is its elements 8 r … 8 r + 7. A complex number takes two rows, at two
frequencies four: real and imaginary part at the first, then at the second.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from tegum.core.compiled.compile import part
from tegum.core.compiled.complex_lanes import load_complex, store_complex
from tegum.core.compiled.lanes import WIDE_LANES as L
from tegum.core.compiled.lanes import load, store
from tegum.core.population.truncation import SHORTER

# Rows of a record. First what the innermost loops over singles touch, close together.
ANGLE = 0
"""π a / 2 M: the wave of frequency k is e^{ikh} for this h."""
INVERSE = 1
WAVE, TURN = 2, 4
"""The wave, and what turns it on to the next frequency."""
CHANCE, IDLE = 6, 7
"""Of a single: the probability that it is active, and that it is not."""
LONE = 8
"""P(the feature is the only coupled one that is active); 0 for features not coupled."""
ALONE = 9
"""The same without the feature's own probability to be active, for singles."""
SLOPE = 10
"""Derivative of the output's loss in the coupling, what is not in CLOSED."""
V, BEFORE, FACTOR, U, INNER = 11, 15, 19, 23, 27
"""At two frequencies: 2 v and u of the feature; of its set, the product of all before it, and its own factor, both at
the set's first position; the derivative of the set's factor in u."""
PARTIAL = 31
"""Within a set: the product of what comes before the feature."""
COUPLING, COUPLED, HALF_TURNS = 33, 34, 35
"""a; 1 where the feature is coupled, else 0; a / 2 M."""
NONE, OTHERS = 36, 37
"""P(no coupled feature of the set is active), P(none of any other set is), at the set's first position."""
SIZE, SEGMENT = 38, 39
"""∫ |b + a U| dU, and its series but for the constant."""
CLOSED = 40
"""Half the derivative of E[(z − x_j)²] in the coupling."""
# What only second derivatives need: see `curvature`, where all but the last three are written at each frequency.
X, BEHIND = 41, 45
"""At two frequencies: E[U² e^{isU}] of the feature; the derivative of its set's factor in the coupling, times all that
stands behind the set."""
STEP, STEP_U, STEP_X = 49, 50, 51
"""The series of ∫ sign z, ∫ U sign z and ∫ U² sign z over the feature's segment."""
MEAN, TOTAL = 52, 53
"""The mean of the magnitude, given that no coupled feature of the set is active, 0 for coupled features; what the
closed forms add to the second derivative in the coupling and the bias."""
RECORD = 55
"""An odd number, so that the same row of many records is spread over all of the cache."""

# Rows of the state: sums over frequencies, …
VALUE, BIAS, OWN, EVENTS, OWN_EVENTS, SMALLER = 0, 1, 2, 3, 4, 5
SUMS = SMALLER + len(SHORTER)
# … what is known at a pair of frequencies, …
PRODUCT, EVENT_SUM, BIAS_WAVE, SECOND, OWN_X = (SUMS + 4 * number for number in range(5))
# … and the wave of the bias.
BIAS_STATE, BIAS_TURN = SUMS + 20, SUMS + 22
# … and of second derivatives the series of sign b, and what weighs it at a pair of frequencies.
STEP_BIAS, WEIGHTED = SUMS + 24, SUMS + 25
NOTHING = SUMS + 29
"""P(no coupled feature is active)."""
STATE = SUMS + 30


class Scratch(NamedTuple):
    """Working memory of one thread: flat arrays of float64 lanes that start on a cache line."""

    records: Float[np.ndarray, " position_row"]
    """What is known of a position at the moment, `RECORD` rows each: one pointer reaches it all."""
    state: Float[np.ndarray, " row"]
    """What is known of one output, `STATE` rows."""
    stop: Int[np.ndarray, " 1"]
    """The flag of the call: see `tegum.core.stopping`."""


class SecondDerivatives(NamedTuple):
    """What one thread needs to find second derivatives, of which each block has one run."""

    entries: Float[np.ndarray, " entry"]
    """Written, for each block and each output: a matrix of second derivatives, (n + 1, n + 1), and a row of first
    ones; in the couplings by position and, last, in the bias."""
    series: Float[np.ndarray, " group_column_lane"]
    """`frequencies_in_lanes`, flattened: here the lanes are eight frequencies."""
    groups: int
    sums: Float[np.ndarray, " entry_lane"]
    """The matrix of one output, in lanes."""


def scale_rows(features: int) -> int:
    """Rows of lanes that `refresh_scale` writes: M of each output, then what is coupled to it."""
    return features * (features + 1)


def aligned(size: int) -> Float[np.ndarray, " size"]:
    """Zeros that start on a cache line: lanes that straddle two lines load at half the rate."""
    spare = np.zeros(size + L)
    first = -spare.ctypes.data % 64 // spare.itemsize
    return spare[first : first + size]


@part
def get(s, p, row):
    """A row of the record of position p."""
    return load(s.records, (p * RECORD + row) * L)


@part
def put(s, p, row, value):
    """Write a row of the record of position p."""
    store(s.records, (p * RECORD + row) * L, value)


@part
def get_complex(s, p, row):
    """A complex number from two neighbouring rows of the record of position p."""
    return load_complex(s.records, (p * RECORD + row) * L)


@part
def put_complex(s, p, row, value):
    """Write a complex number to two neighbouring rows of the record of position p."""
    store_complex(s.records, (p * RECORD + row) * L, value)
