from dataclasses import dataclass

import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_allclose

from tegum.analysis.dynamics.matches import coincidence, share_inside
from tegum.analysis.dynamics.windows import overlap

STEPS = np.arange(0, 50_001, 100)


@dataclass(frozen=True)
class Stretch:
    seed: int
    start: int
    end: int


def loss_of(*runs):
    return xr.DataArray(np.stack(runs), dims=("seed", "step"), coords={"seed": np.arange(len(runs)), "step": STEPS})


def falling(*drops):
    """A loss that falls linearly inside windows, given as (start, end, size)."""
    return 3.0 - sum(np.interp(STEPS, (start, end), (0, size)) for start, end, size in drops)


def test_windows_overlap_in_one_run_and_by_more_than_an_end():
    one = Stretch(0, 1_000, 2_000)
    assert overlap(one, Stretch(0, 1_900, 2_500))
    assert overlap(one, Stretch(0, 1_200, 1_300))
    assert not overlap(one, Stretch(0, 2_000, 2_500))
    assert not overlap(one, Stretch(1, 1_000, 2_000))


def test_what_meets_is_told_one_by_one():
    events = [Stretch(0, 10_000, 10_500), Stretch(0, 30_000, 30_500), Stretch(1, 10_000, 10_500)]
    drops = [Stretch(0, 10_400, 10_900), Stretch(2, 10_000, 10_500)]
    assert coincidence(events, drops, STEPS).hits == (True, False, False)
    assert coincidence(drops, events, STEPS).hits == (True, False)
    assert_allclose(coincidence(events, drops, STEPS).share, 1 / 3)


def test_the_null_is_the_share_of_shifts_at_which_windows_meet():
    # 450 late places; a window of 5 intervals meets one of 7 at 5 + 7 − 1 of them.
    alone = coincidence([Stretch(0, 20_000, 20_500)], [Stretch(0, 20_200, 20_900)], STEPS)
    assert_allclose(alone.null, 11 / 450)
    assert_allclose(alone.p, 11 / 450, rtol=0.2)
    # Around the end of training as well.
    assert_allclose(coincidence([Stretch(0, 49_500, 50_000)], [Stretch(0, 5_000, 5_700)], STEPS).null, 11 / 450)
    # Two windows of one run are moved together; of another run nothing meets.
    three = [Stretch(0, 20_000, 20_500), Stretch(0, 30_000, 30_500), Stretch(1, 20_000, 20_500)]
    assert_allclose(coincidence(three, [Stretch(0, 20_200, 20_900)], STEPS).null, (11 + 11 + 0) / 450 / 3)


def test_events_at_random_meet_no_more_often_than_the_null_says():
    rng = np.random.default_rng(1)
    found = []
    for trial in range(150):
        events, drops = (
            [Stretch(seed, start, start + 600) for seed, start in enumerate((rng.integers(50, 495, 20) * 100).tolist())]
            for _ in range(2)
        )
        found.append(coincidence(events, drops, STEPS, draws=200, key=trial))
    shares = np.array([each.share for each in found])
    # 6 + 6 − 1 of 450 places; four standard errors.
    assert_allclose([each.null for each in found], 11 / 450)
    assert abs(shares.mean() - 11 / 450) < 4 * np.sqrt(11 / 450 / 3_000)
    assert np.mean([each.p <= 0.05 for each in found]) < 0.1


def test_nothing_meets_nothing():
    nothing = coincidence([], [Stretch(0, 10_000, 11_000)], STEPS)
    assert (nothing.hits, nothing.share, nothing.null, nothing.p) == ((), None, None, 1.0)
    lonely = coincidence([Stretch(0, 10_000, 11_000)], [], STEPS)
    assert (lonely.hits, lonely.share, lonely.null, lonely.p) == ((False,), 0.0, 0.0, 1.0)


def test_a_loss_that_falls_in_windows_alone_falls_there_wholly():
    loss = loss_of(falling((20_000, 20_500, 0.03), (1_000, 2_000, 5.0)), falling((30_000, 30_500, 0.01)))
    found = share_inside(loss, [Stretch(0, 20_000, 20_500), Stretch(1, 30_000, 30_500)])
    assert_allclose(found.share, 1.0)
    assert_allclose(found.inside, [0.03, 0.01])
    assert_allclose(found.total, [0.03, 0.01])
    # Over all shifts each window covers each place equally often.
    assert_allclose(found.null, 5 / 450)
    assert_allclose(found.time, 5 / 450)
    # Alone, the first run shows the whole at one shift of 450, and most at three.
    assert found.p < 0.005
    assert found.limit < 0.8


def test_a_half_of_the_decrease_is_a_half():
    loss = loss_of(*[falling((20_000, 20_500, 0.03), (5_000, 50_000, 0.03))] * 4)
    found = share_inside(loss, [Stretch(seed, 20_000, 20_500) for seed in range(4)])
    assert_allclose(found.share, 0.5 * (1 + 5 / 450))
    assert_allclose(found.interval(), (found.share, found.share))


def test_a_steady_decrease_is_inside_as_much_as_time_is():
    found = share_inside(loss_of(falling((0, 50_000, 1.0))), [Stretch(0, 20_000, 24_500)])
    assert_allclose([found.share, found.time, found.null], 0.1)
    assert found.p == 1.0


def test_windows_at_random_hold_no_more_than_the_null():
    rng = np.random.default_rng(3)
    ps = []
    for trial in range(200):
        starts = (rng.integers(50, 490, (2, 10)) * 100).tolist()
        loss = loss_of(*(falling((start, start + 600, 0.03), (0, 50_000, 0.02)) for start in starts[0]))
        windows = [Stretch(seed, start, start + 600) for seed, start in enumerate(starts[1])]
        ps.append(share_inside(loss, windows, draws=400, key=trial).p)
    assert np.mean(np.array(ps) <= 0.05) < 0.1


def test_the_interval_of_a_share_is_that_of_resampled_runs():
    rng = np.random.default_rng(4)
    sizes = rng.uniform(0, 0.05, (40, 2))
    loss = loss_of(*(falling((20_000, 20_500, own), (22_000, 50_000, rest)) for own, rest in sizes))
    found = share_inside(loss, [Stretch(seed, 20_000, 20_500) for seed in range(40)])
    drawn = sizes[rng.integers(40, size=(4_000, 40))].sum(1)
    assert_allclose(found.interval(), np.quantile(drawn[:, 0] / drawn.sum(1), (0.025, 0.975)), atol=0.015)


def crowded(rng, runs):
    """Windows that crowd just after LATE."""
    begin = 5_000 + np.minimum(rng.exponential(3_000.0, runs), 44_000)
    return [Stretch(seed, at, at + 600) for seed, at in enumerate((begin // 100 * 100).astype(int).tolist())]


def declining(rng, runs, related=False):
    """Losses that decline smoothly, soonest just after LATE, and windows that crowd there as well."""
    windows = crowded(rng, runs)
    starts = [window.start for window in windows]
    size = rng.uniform(0.8, 1.2, runs)
    losses = [3 + a * np.exp(-STEPS / 5_000) for a in size]
    if related:
        losses = [own - 0.1 * np.interp(STEPS, (at, at + 600), (0, 1)) for own, at in zip(losses, starts, strict=True)]
    return loss_of(*losses), windows


def test_other_runs_at_the_same_times_show_what_is_due_to_the_time_alone():
    rng = np.random.default_rng(6)
    found = [share_inside(*declining(rng, 20), draws=400, key=trial) for trial in range(200)]
    # All of these decline at the same times without having to do with their windows: shifts take that for a match.
    assert np.mean([each.p < 0.05 for each in found]) > 0.9
    # Once in twenty times, but for three standard errors.
    assert np.mean([each.p_others < 0.05 for each in found]) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)
    assert_allclose(np.mean([each.share / each.others for each in found]), 1, atol=0.02)
    there = [share_inside(*declining(rng, 20, related=True), draws=400, key=trial) for trial in range(20)]
    assert max(each.p_others for each in there) < 0.05


def test_crowded_windows_meet_those_of_other_runs_as_often():
    rng = np.random.default_rng(7)
    found = []
    for trial in range(200):
        ones, others = crowded(rng, 20), crowded(rng, 20)
        found.append(coincidence(ones, others, STEPS, draws=400, key=trial))
        meets = [abs(one.start - other.start) < 600 for one in ones for other in others if one.seed != other.seed]
        assert_allclose(found[-1].others, np.mean(meets))
    assert np.mean([each.p < 0.05 for each in found]) > 0.3
    assert np.mean([each.p_others < 0.05 for each in found]) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)
    windows = crowded(rng, 20)
    assert coincidence(windows, windows, STEPS).p_others < 0.01


def test_a_p_value_of_other_runs_counts_no_more_orders_than_there_are():
    for runs, orders in ((3, 6), (4, 24), (5, 120)):
        windows = [Stretch(seed, 10_000 + 2_000 * seed, 10_500 + 2_000 * seed) for seed in range(runs)]
        found = coincidence(windows, windows, STEPS)
        assert (found.share, found.others) == (1, 0)
        assert_allclose(found.p_others, 1 / orders)
    few = coincidence(windows[:2], windows[:2], STEPS)
    assert np.isnan([few.others, few.p_others]).all()
    # Runs in which nothing happens count where they are told.
    assert_allclose(coincidence(windows[:2], windows[:2], STEPS, runs=range(5)).others, 0)
    loss = loss_of(*[falling((20_000, 20_500, 0.03))] * 2)
    assert np.isnan(share_inside(loss, windows[:2]).others)


def test_what_lies_before_the_late_part_is_refused_and_not_ignored():
    late, early = Stretch(0, 10_000, 11_000), Stretch(0, 4_000, 6_000)
    for ones, others in (([early], [late]), ([late], [early]), ([late], [Stretch(0, 49_000, 51_000)])):
        with pytest.raises(ValueError, match=r"it must lie between late = 0\.1 of 50000 steps and their end"):
            coincidence(ones, others, STEPS)
    assert coincidence([early], [early], STEPS, late=0.0).hits == (True,)
    with pytest.raises(ValueError, match=r"window of the run 0\): it must belong to one of the given runs"):
        coincidence([late], [late], STEPS, runs=[1, 2])
    instant = Stretch(0, 10_500, 10_500)
    assert coincidence([instant], [late], STEPS).hits == (False,)


def test_a_share_of_noise_is_no_number():
    rng = np.random.default_rng(8)
    for runs in (1, 10):
        noise = np.round(rng.normal(size=(runs, len(STEPS))), 6)
        noise[:, 50] = noise[:, -1] + 0.05
        found = share_inside(loss_of(*(3 + 1e-3 * noise)), [Stretch(seed, 20_000, 20_500) for seed in range(runs)])
        assert np.isnan([found.share, found.null, found.limit, *found.interval()]).all()
        assert 0 < found.p <= 1
    # The runs differ by more than they decrease together.
    loss = loss_of(*(falling((20_000, 20_500, size)) for size in (1.0, -0.9, 0.8, -0.8)))
    assert np.isnan(share_inside(loss, [Stretch(0, 20_000, 20_500)]).share)


def test_what_cannot_be_shared_is_refused():
    flat, window = loss_of(np.full(501, 3.0)), Stretch(0, 20_000, 20_500)
    with pytest.raises(ValueError, match="must decrease in its late part"):
        share_inside(flat, [window])
    with pytest.raises(ValueError, match="must be finite"):
        share_inside(flat.where(flat.step < 40_000), [window])
    with pytest.raises(ValueError, match=r"of the run 7\): loss has no run of that seed"):
        share_inside(loss_of(falling((0, 50_000, 1.0))), [Stretch(7, 20_000, 20_500)])
    with pytest.raises(ValueError, match=r"coincidence\(late=1.5\)"):
        coincidence([], [], STEPS, late=1.5)
    with pytest.raises(ValueError, match=r"share_inside\(draws=0\)"):
        share_inside(flat, [], draws=0)
