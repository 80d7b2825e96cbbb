import warnings

import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_allclose

from tegum.analysis.dynamics.drops import LossDrop
from tegum.analysis.dynamics.levels import Jump
from tegum.analysis.dynamics.moves import largest_moves

STEPS = np.arange(0, 50_001, 100)


def levels(*runs, seeds=None, features=None):
    """Of runs with shape (step, feature)."""
    coords = {
        "seed": np.arange(len(runs)) if seeds is None else seeds,
        "step": STEPS,
        "feature": np.arange(runs[0].shape[1]) if features is None else features,
    }
    return xr.DataArray(np.stack(runs), dims=("seed", "step", "feature"), coords=coords)


def window(start, end, seed=0):
    return LossDrop(seed, start, end, 0.01, 10.0)


def rest(features=5, noise=0.005, key=0):
    return 0.5 + noise * np.random.default_rng(key).normal(size=(len(STEPS), features))


def test_the_feature_that_moves_is_told_with_its_way():
    own = rest()
    own[:, 3] -= np.clip((STEPS - 20_000) / 1_000, 0, 1) * 0.3
    own[:, 1] += np.clip((STEPS - 20_000) / 1_000, 0, 1) * 0.1
    (move,) = largest_moves([window(20_000, 21_000, seed=7)], levels(own, seeds=[7], features=np.arange(10, 15)), [])
    assert (move.feature, move.window.start) == (13, 20_000)
    assert_allclose([move.before, move.after], [0.5, 0.2], atol=0.02)
    assert_allclose(move.change, -0.3, atol=0.03)
    assert move.significant
    # The largest of five differences of two normal numbers of width 0.005: √2 · 0.005 ∫ 1 − erf(x/√2)⁵ dx.
    assert_allclose(move.null.mean(), 0.0111, rtol=0.05)


def test_windows_at_random_are_significant_once_in_twenty():
    runs = 1_000
    rng = np.random.default_rng(1)
    windows = [
        window(int(start), int(start) + 600, seed) for seed, start in enumerate(rng.integers(60, 490, runs) * 100)
    ]
    moves = largest_moves(windows, levels(*(rest(key=key) for key in range(runs))), [])
    share = np.mean([move.significant for move in moves])
    assert abs(share - 0.05) < 4 * np.sqrt(0.05 * 0.95 / runs)


def test_a_common_drift_is_no_move_beyond_its_null():
    own = 0.5 - 1e-6 * STEPS[:, None] * np.ones(5)
    (move,) = largest_moves([window(20_000, 21_000)], levels(own), [])
    assert_allclose(move.change, -1e-3)
    assert_allclose(move.null, 1e-3)
    # Equal up to rounding.
    assert not move.significant


def test_the_null_is_late_and_meets_no_jump_and_no_window():
    own = np.full((len(STEPS), 2), 0.5)
    own[STEPS >= 3_000, 0] = 0.9
    own[STEPS >= 30_300, 0] = 0.1
    own[STEPS >= 40_500, 1] = 0.0
    jumps = [
        Jump(0, 0, 2_900, 3_000, 0.5, 0.9),
        Jump(0, 0, 30_200, 30_300, 0.9, 0.1),
        Jump(5, 0, 100, 49_900, 0.0, 1.0),
    ]
    moves = largest_moves([window(40_000, 41_000), window(10_000, 10_600)], levels(own), jumps)
    assert_allclose([move.change for move in moves], [-0.5, 0.0])
    for move, length in zip(moves, (1_000, 600), strict=True):
        assert_allclose(move.null, 0)
        # 5,000 … 10,000, 10,600 … 30,200, 30,300 … 40,000, 41,000 … 50,000.
        assert len(move.null) == sum((space - length) // 100 + 1 for space in (5_000, 19_600, 9_700, 9_000))
    assert [move.significant for move in moves] == [True, False]


def test_a_run_that_diverged_moves_nowhere_and_makes_no_warning():
    own = rest()
    own[STEPS >= 20_000] = np.inf
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (move,) = largest_moves([window(19_000, 21_000)], levels(own), [])
    assert np.isnan(move.change)
    assert not move.measurable
    assert not move.significant
    assert np.isnan(move.limit)


def test_without_room_for_a_null_nothing_is_significant():
    (move,) = largest_moves([window(6_000, 49_000)], levels(rest()), [])
    assert not move.measurable
    assert not move.significant
    assert largest_moves([], levels(rest()), []) == []


@pytest.mark.parametrize(
    ("windows", "late", "sentence"),
    [
        ([window(6_000, 7_000, seed=4)], 0.1, r"the run 4\): dimensionality has no run of that seed"),
        ([window(6_050, 7_000)], 0.1, r"an end at step 6050\): there is no snapshot of that step"),
        ([window(6_000, 7_010)], 0.1, r"an end at step 7010\): there is no snapshot of that step"),
        ([], 1.0, r"largest_moves\(late=1.0\): late must lie in \[0, 1\)"),
    ],
)
def test_what_cannot_be_measured_is_refused(windows, late, sentence):
    with pytest.raises(ValueError, match=sentence):
        largest_moves(windows, levels(rest()), [], late=late)


def test_a_run_without_features_is_refused():
    with pytest.raises(ValueError, match="without features"):
        largest_moves([], levels(np.zeros((len(STEPS), 0))), [])
