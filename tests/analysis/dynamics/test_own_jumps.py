from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import nnls
from scipy.stats import binom

from tegum.analysis.dynamics.levels import Jump
from tegum.analysis.dynamics.own_jumps import (
    JumpCourse,
    OwnAndOthers,
    apart,
    correlations,
    error,
    errors,
    made_of_jumps,
    own_jump_measures,
    together,
)
from tegum.analysis.statistics import bootstrap_mean

RUNS, PLACES = 12, 60


def crowded(rng, own):
    """Losses that fall and jumps that come at much the same times in all runs, with differences between runs.

    Of each run's fall the part `own` lies where its own jumps are. Returns the share of every loss's fall inside every
    run's jumps.
    """
    profile = np.exp(-np.arange(PLACES) / 15)
    inside = rng.random((RUNS, PLACES)) < 0.9 * profile * rng.uniform(0.3, 1, (RUNS, 1))
    inside[:, 0] = True
    falls = profile * rng.gamma(1.0, size=(RUNS, PLACES))
    falls = (1 - own) * falls / falls.sum(1, keepdims=True) + own * inside / inside.sum(1, keepdims=True)
    return OwnAndOthers(falls @ inside.T.astype(float))


def course(curves, fall):
    """A run of which only what jumps make of their way and the fall matter."""
    count = curves.shape[1]
    return JumpCourse(
        fall=fall,
        number=np.zeros(len(fall) + 1, int),
        loss=np.append(fall.sum(), fall.sum() - np.cumsum(fall)),
        curves=curves,
        inside=curves > 0,
        jumps=tuple(Jump(0, number, 0, 1, 0.0, 0.5) for number in range(count)),
        part=1.0,
    )


def courses(rng, count=10, jumps=6, places=120):
    """Runs of jumps that last twelve intervals each, and of a loss that is made of all of them in equal parts."""
    found = []
    for _ in range(count):
        curves = np.zeros((places, jumps))
        for number, start in enumerate(rng.integers(0, places - 12, jumps)):
            curves[start : start + 12, number] = 1 / 12
        found.append(course(curves, curves.sum(1)))
    return found


def test_the_excess_is_what_is_left_of_the_diagonal():
    rng = np.random.default_rng(0)
    of_losses, of_jumps, own = rng.standard_normal((3, 7))
    pairs = 2 + of_losses[:, None] + of_jumps + np.diag(own)
    np.testing.assert_allclose(OwnAndOthers(pairs).excess, own, atol=1e-12)
    # By least squares over all pairs of different runs, in any table.
    pairs = rng.standard_normal((7, 7))
    a, b = np.nonzero(~np.eye(7, dtype=bool))
    design = np.column_stack([np.eye(7)[a], np.eye(7)[b]])
    fit = np.linalg.lstsq(design, pairs[a, b])[0]
    found = OwnAndOthers(pairs)
    np.testing.assert_allclose(found.excess, pairs.diagonal() - fit[:7] - fit[7:], atol=1e-12)
    assert found.excess.mean() == pytest.approx((found.own - found.others).mean())


def test_two_runs_do_not_tell_what_is_their_own():
    few = OwnAndOthers(np.eye(2))
    assert np.isnan(few.excess).all()
    assert np.isnan(few.p)


def test_the_p_value_is_the_share_of_all_deals():
    # Of the 24 ways to deal jumps to four runs only one gives each its own.
    assert OwnAndOthers(np.eye(4)).p == pytest.approx(1 / 24, rel=0.15)
    assert OwnAndOthers(1 - np.eye(4)).p == 1
    # What differs between losses or between jumps alone is the same in every deal.
    assert OwnAndOthers(np.arange(5.0) + np.arange(5.0)[:, None]).p == 1


def test_losses_and_jumps_of_nobody_in_particular_are_found_to_be_own_as_rarely_as_they_should(monkeypatch):
    monkeypatch.setattr("tegum.analysis.dynamics.own_jumps.PERMUTATIONS", 1_000)
    rng = np.random.default_rng(0)
    draws = 300
    found = [crowded(rng, 0.0) for _ in range(draws)]
    for rate, nominal in (
        (np.mean([each.p < 0.05 for each in found]), 0.05),
        (np.mean([bootstrap_mean(each.excess, resamples=1_000)[0] > 0 for each in found]), 0.025),
        (np.mean([bootstrap_mean(each.excess, resamples=1_000)[1] < 0 for each in found]), 0.025),
    ):
        # Neither too often nor too rarely: an interval that is far too wide never lies above 0.
        low, high = binom.interval(0.998, draws, nominal)
        assert low <= rate * draws <= high
    # They do go through a common course: a seventh of the time is inside jumps.
    assert np.mean([each.own.mean() for each in found]) > 0.3


def test_a_seventh_that_is_own_is_found_nearly_always():
    rng = np.random.default_rng(1)
    found = [crowded(rng, 0.15) for _ in range(60)]
    assert np.mean([each.p < 0.05 for each in found]) > 0.9
    assert np.mean([bootstrap_mean(each.excess, resamples=1_000)[0] > 0 for each in found]) > 0.9


def test_a_loss_that_is_made_of_jumps_is_the_whole_of_what_it_should_be():
    runs = courses(np.random.default_rng(2))
    found, made = own_jump_measures(runs, 4), made_of_jumps(runs, 4)
    assert made is not None
    # All jumps are known and none is out of time: that is more than half of them, out of time.
    np.testing.assert_allclose(found.sums.own, 1)
    for name in ("share", "sums", "apart"):
        compared = getattr(found, name)
        assert compared.p < 0.001
        part = made.part(name, compared)
        assert part is not None
        assert part.mean() == pytest.approx(compared.excess.mean() / made.excess[name].mean())
        assert 0.8 < part.mean() < 8


def test_made_losses_do_not_depend_on_what_the_loss_does():
    rng = np.random.default_rng(3)
    runs = courses(rng)
    strange = [replace(each, fall=rng.permutation(each.fall)) for each in runs]
    one, other = made_of_jumps(runs, 4), made_of_jumps(strange, 4)
    assert one is not None
    assert other is not None
    for name, excess in one.excess.items():
        np.testing.assert_allclose(excess, other.excess[name])


def test_losses_are_made_of_runs_with_two_jumps_only():
    runs = courses(np.random.default_rng(4))
    runs[3] = course(runs[3].curves[:, :1], runs[3].fall)
    made = made_of_jumps(runs, 4)
    assert made is not None
    assert made.runs.tolist() == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert made_of_jumps(runs[:5], 4) is None
    # Where they show nothing, no part of it can be told.
    none = replace(made, excess={"share": np.tile([1.0, -1.0, 0.0], 3)})
    assert none.part("share", OwnAndOthers(np.eye(10))) is None


def test_what_is_apart_from_the_course_is_no_faster_and_no_larger_course():
    time = np.linspace(0, 6, 40)
    common = np.exp(-np.square(time - 3))
    larger = np.stack([common, 2 * common, common, common])
    np.testing.assert_allclose(apart(larger), 0, atol=1e-10)
    earlier = np.stack([common, common + 0.1 * np.gradient(common), common])
    np.testing.assert_allclose(apart(earlier)[1], 0, atol=1e-10)
    bump = np.zeros(40)
    bump[30] = 1
    assert apart(np.stack([common + bump, common, common]))[0][30] > 0.9


def test_the_error_of_a_sum():
    rng = np.random.default_rng(0)
    columns = np.abs(rng.standard_normal((100, 3)))
    fall = 0.3 + columns @ np.array([2.0, 0.0, 0.5])
    assert error(fall, columns, 5) < 1e-18
    assert error(np.full(100, 0.2), np.zeros((100, 0)), 5) < 1e-18
    # A jump cannot raise the loss.
    constant = error(0.3 - columns[:, 0], np.zeros((100, 0)), 5)
    assert error(0.3 - columns[:, 0], columns[:, :1], 5) == pytest.approx(constant, rel=0.1)


def test_the_errors_of_many_falls_are_those_of_plain_fits():
    rng = np.random.default_rng(5)
    columns, falls = np.abs(rng.standard_normal((60, 4))), rng.standard_normal((3, 60)) + 0.5
    columns[:, 3] = 0
    for fall, found in zip(falls, errors(falls, columns, 4), strict=True):
        expected = 0.0
        for left_out in range(5):
            seen = np.arange(60) // 4 % 5 != left_out
            factors, _ = nnls(np.column_stack([np.ones(60), columns])[seen], fall[seen])
            expected += np.square(fall - np.column_stack([np.ones(60), columns]) @ factors)[~seen].sum()
        assert found == pytest.approx(expected)


def test_correlations_and_sums_over_stretches():
    ones, others = np.random.default_rng(1).standard_normal((2, 3, 50))
    others[2] = 1
    found = correlations(ones, others)
    np.testing.assert_allclose(found[:, :2], np.corrcoef(ones, others[:2])[:3, 3:])
    assert (found[:, 2] == 0).all()
    np.testing.assert_allclose(together(np.arange(7.0)[None], 3), [[3, 12]])
