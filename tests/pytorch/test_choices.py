"""One of the children that fire is chosen: how often each, and how often they must fire for that."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from tegum.torch.choices import before_choice, chosen


def test_of_those_that_fire_each_is_chosen_as_often_as_any_other():
    rng = np.random.default_rng(0)
    p, samples = np.array([0.9, 0.6, 0.5, 0.1]), 400_000
    fires = rng.random((samples, 4)) < p
    winner = np.where(fires, rng.random((samples, 4)), -1).argmax(1)
    counts = np.bincount(winner[fires.any(1)], minlength=4)
    expected = chosen(p)
    assert (abs(counts - samples * expected) < 4 * np.sqrt(samples * expected)).all()
    assert_allclose(expected.sum(), 1 - np.prod(1 - p), rtol=1e-12)  # unless none fires, one is chosen
    # Two of ½: alone in a quarter of the samples, and half of the quarter in which both fire.
    assert_allclose(chosen(np.array([0.5, 0.5])), 3 / 8, rtol=1e-14)


@pytest.mark.parametrize("children", [1, 2, 3, 10, 100])
@pytest.mark.parametrize("total", [0.01, 0.5, 0.999])
def test_before_the_choice_they_fire_as_often_as_it_needs(children: int, total: float):
    for spread in (100.0, 1.0):
        wanted = total * np.random.default_rng(children).dirichlet(np.full(children, spread))
        found = before_choice(wanted)
        assert ((found >= wanted) & (found <= 1)).all()
        assert_allclose(chosen(found), wanted, rtol=1e-9, atol=1e-15)


def test_where_one_is_always_chosen_one_always_fires():
    assert_allclose(before_choice(np.array([0.7, 0.3])), [1, 0.6], rtol=1e-9)
    for children in (1, 2, 3, 7, 30):
        assert_allclose(before_choice(np.full(children, 1 / children)), 1, rtol=1e-7)
    # Given that the first fires at t, which is uniform, the second is chosen if it fires before: p (1 − 1/2).
    assert_allclose(before_choice(np.array([0.9, 0.1])), [1, 0.2], rtol=1e-12)
    # All equal: 1 − (1 − p)^k = k d.
    assert_allclose(before_choice(np.full(5, 0.1)), 1 - 0.5 ** (1 / 5), rtol=1e-12)
