"""Plateaus of a loss with known answers."""

from __future__ import annotations

import numpy as np
import pytest

from tegum.analysis.dynamics.plateaus import find_plateaus

STEPS = np.unique(np.geomspace(1, 10_000, 400).astype(int))


def steps_down(*falls: tuple[int, float, float]) -> np.ndarray:
    """A loss that falls at given steps, to given levels, each over a given width of ln step."""
    loss = np.zeros(len(STEPS))
    level = 1.0
    for at, low, width in falls:
        loss += (low - level) / (1 + np.exp(-(np.log(STEPS) - np.log(at)) / width))
        level = low
    return loss + 1.0


def test_three_plateaus_two_of_them_escaped() -> None:
    loss = steps_down((100, 0.3, 0.1), (1500, 0.05, 0.1))
    first, second, last = find_plateaus(loss, STEPS)
    assert (first.start, last.end) == (1, 10_000)
    assert first.end < 100 < second.start
    assert second.end < 1500 < last.start
    assert [each.escaped for each in (first, second, last)] == [True, True, False]
    assert second.loss == pytest.approx(0.3, rel=0.01)
    # The loss itself falls fastest at the middle; its logarithm somewhat later, as it is smaller there.
    assert STEPS[first.fastest] == pytest.approx(110, rel=0.2)
    assert STEPS[second.fastest] == pytest.approx(1700, rel=0.3)
    assert last.fastest is None
    assert second.start < STEPS[second.slowest] < second.end


def test_power_laws_have_no_plateau_unless_they_are_slow() -> None:
    assert find_plateaus(STEPS**-0.5, STEPS) == []
    (whole,) = find_plateaus(STEPS**-0.02, STEPS)
    assert (whole.start, whole.end) == (1, 10_000)
    (constant,) = find_plateaus(np.ones(len(STEPS)), STEPS)
    assert not constant.escaped


def test_a_short_halt_is_no_plateau() -> None:
    time = np.log(STEPS)
    rate = np.where(np.abs(time - np.log(300)) < 0.05, 0.0, 0.5)
    assert find_plateaus(np.exp(-np.cumsum(np.append(0, rate[1:] * np.diff(time)))), STEPS) == []


def test_step_zero_and_divergence_are_left_out() -> None:
    steps = np.append(0, STEPS)
    loss = np.append(5.0, np.ones(len(STEPS)))
    loss[200:] = np.nan
    (plateau,) = find_plateaus(loss, steps)
    assert (plateau.start, plateau.end) == (1, steps[199])


def test_a_slow_drift_is_a_plateau_that_no_fall_follows() -> None:
    (whole,) = find_plateaus(STEPS**-0.09, STEPS)
    assert whole.escaped
    assert whole.fastest is None


def test_lists_are_taken() -> None:
    assert find_plateaus([1.0, 1.0, 1.0], [1, 10, 100]) == find_plateaus(np.ones(3), np.array([1, 10, 100]))
    assert find_plateaus([], []) == []


def test_refusals() -> None:
    with pytest.raises(ValueError, match="losses must be positive and steps rise"):
        find_plateaus(np.array([1.0, 0.0]), np.array([1, 2]))
    with pytest.raises(ValueError, match="losses must be positive and steps rise"):
        find_plateaus(np.array([1.0, 0.5]), np.array([2, 2]))
    with pytest.raises(ValueError, match="losses must be positive and steps rise"):
        find_plateaus(np.ones(3), np.array([1.0, np.nan, 3.0]))
    with pytest.raises(ValueError, match=r"loss with minimum 0\): losses must be positive"):
        find_plateaus(np.array([np.nan, 0.0]), np.array([1, 2]))
    for loss, steps in (([1.0, 1.0], [1]), ([[1.0, 1.0]], [1, 2]), (["a", "b"], [1, 2])):
        with pytest.raises(ValueError, match=r"must be (rows|an array) of (real )?numbers"):
            find_plateaus(loss, steps)
