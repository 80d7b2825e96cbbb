import inspect
import warnings

import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_allclose

from tegum.analysis.dynamics.drops import find_drops, loss_drops
from tegum.analysis.dynamics.levels import Event, Jump, group_jumps

STEPS = np.arange(0, 50_001, 100)
TREND = 3.0 - 1e-7 * STEPS + 0.5 * np.exp(-STEPS / 3_000)


def passage(start, end, before, after):
    """From one height to another, as a half cosine."""
    share = np.clip((STEPS - start) / max(end - start, 1), 0, 1)
    return before + (after - before) * (1 - np.cos(np.pi * share)) / 2


def loss_of(*runs):
    return xr.DataArray(np.stack(runs), dims=("seed", "step"), coords={"seed": np.arange(len(runs)), "step": STEPS})


def noise(runs, memory=0, key=0, strength=1e-4):
    """White, or remembering so many steps."""
    white = np.random.default_rng(key).normal(size=(runs, len(STEPS)))
    keep = np.exp(-100 / memory) if memory else 0.0
    walk = white.copy()
    for at in range(1, len(STEPS)):
        walk[:, at] = keep * walk[:, at - 1] + np.sqrt(1 - keep**2) * white[:, at]
    return strength * walk


def jump(start, end, seed=0, feature=0, before=0.0, after=0.5):
    return Jump(seed, feature, start, end, before, after)


@pytest.mark.parametrize("width", [100, 300, 600, 1_200, 1_800])
def test_a_drop_is_found_with_its_place_width_and_size(width):
    begin = 20_000
    lost = passage(begin, begin + width, 0, 0.03)
    found = find_drops(loss_of(*(TREND - lost + noise(20, memory=300, key=width))))
    assert [drop.seed for drop in found] == list(range(20))
    # Half a cosine does four fifths of its way in the middle three fifths of its time.
    lengths = [drop.end - drop.start for drop in found]
    assert 0.55 * width <= np.median(lengths) <= 1.3 * width + 100
    assert all(drop.start < begin + width and begin < drop.end for drop in found)
    assert_allclose([drop.size for drop in found], 0.03, rtol=0.15)
    assert min(drop.strength for drop in found) > 20


def test_a_drop_between_two_snapshots_lies_between_them():
    (drop,) = find_drops(loss_of(3.0 - 1e-7 * STEPS - 0.03 * (STEPS >= 20_000)))
    assert (drop.seed, drop.start, drop.end) == (0, 19_900, 20_000)
    assert_allclose(drop.size, 0.03, rtol=1e-6)


def test_labels_of_runs_are_told_and_order_is_by_seed_then_time():
    one, two = passage(30_000, 30_500, 0, 0.02), passage(10_000, 10_400, 0, 0.01)
    loss = loss_of(TREND - one - two, TREND, TREND - one).assign_coords(seed=[7, 5, 3])
    found = find_drops(loss + noise(3))
    assert [(drop.seed, round(drop.start, -4)) for drop in found] == [(7, 10_000), (7, 30_000), (3, 30_000)]


def test_two_drops_with_a_rest_between_them_are_two():
    lost = passage(20_000, 20_400, 0, 0.02) + passage(22_500, 22_900, 0, 0.03)
    found = find_drops(loss_of(TREND - lost) + noise(1))
    assert_allclose([drop.size for drop in found], [0.02, 0.03], rtol=0.15)


@pytest.mark.parametrize("many", [1, 10, 12, 18])
def test_many_drops_do_not_hide_each_other(many):
    starts = 6_000 + 100 * (np.arange(many) * 430 // many)
    lost = sum(passage(start, start + 400, 0, 0.03) for start in starts)
    found = find_drops(loss_of(*(TREND - lost + noise(20, memory=300, key=many))))
    for seed in range(20):
        own = [drop for drop in found if drop.seed == seed]
        assert all(sum(drop.start < at + 400 and at < drop.end for drop in own) == 1 for at in starts)
    assert len(found) == 20 * many


def test_a_shoulder_is_not_counted_twice():
    for pause in (100, 300, 600):
        second = 20_300 + pause
        lost = passage(20_000, 20_300, 0, 0.03) + passage(second, second + 300, 0, 0.02)
        (drop,) = find_drops(loss_of(TREND - lost) + noise(1, key=pause))
        assert drop.start < second
        assert drop.end > 20_000


def test_drops_that_overlap_are_one():
    lost = passage(20_000, 20_600, 0, 0.03) + passage(20_400, 21_000, 0, 0.03)
    (drop,) = find_drops(loss_of(TREND - lost) + noise(1))
    assert_allclose(drop.size, 0.06, rtol=0.15)
    assert drop.start <= 20_300
    assert drop.end >= 20_700


@pytest.mark.parametrize(
    ("why", "values"),
    [
        ("constant", np.full(501, 3.0)),
        ("a steady decline", 3 - 1e-6 * STEPS),
        ("a curved decline", 3 + np.exp(-STEPS / 10_000)),
        ("a fast decline in the early part", TREND - passage(2_000, 2_500, 0, 0.1)),
        ("a slow drift", TREND - passage(10_000, 30_000, 0, 0.1)),
        ("a faster drift", TREND - passage(20_000, 26_000, 0, 0.1)),
        ("a slope that begins", TREND - 1e-6 * np.maximum(STEPS - 20_000, 0)),
        ("a slope that ends", TREND - 1e-6 * np.minimum(STEPS, 20_000)),
        ("a rise", TREND + passage(20_000, 20_500, 0, 0.03)),
        ("a bump that comes back", TREND + passage(20_000, 20_500, 0, 0.03) - passage(20_500, 21_000, 0, 0.03)),
        ("a dip that comes back", TREND - passage(20_000, 20_500, 0, 0.03) + passage(20_500, 21_000, 0, 0.03)),
        ("a spike of one snapshot", TREND + 0.03 * (STEPS == 20_000)),
        ("a dip of one snapshot", TREND - 0.03 * (STEPS == 20_000)),
        ("not over at the end", TREND - passage(49_600, 50_000, 0, 0.03)),
        ("oscillation", TREND + 0.01 * np.sin(STEPS / 300)),
    ],
)
def test_what_is_no_drop_is_not_found(why, values):
    for added in (noise(1, strength=0.0), noise(1), noise(1, memory=1_000)):
        assert find_drops(loss_of(values) + added) == [], why


@pytest.mark.parametrize("memory", [0, 300, 1_000, 3_000])
def test_noise_alone_makes_no_drops(memory):
    for key in range(3):
        found = find_drops(loss_of(*(TREND + noise(100, memory=memory, key=key))))
        assert len({drop.seed for drop in found}) <= 1


def test_a_diverged_run_has_no_drops_and_makes_no_warning():
    loss = loss_of(*(TREND - passage(20_000, 20_500, 0, 0.03) + noise(3)))
    loss[1] = np.nan
    loss[2, 203:] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [drop.seed for drop in find_drops(loss)] == [0]


@pytest.mark.parametrize("first", [1e5, 1e30, np.inf, np.nan])
def test_a_huge_loss_at_the_start_hides_no_late_drop(first):
    loss = loss_of(TREND - passage(20_000, 20_500, 0, 0.03)) + noise(1)
    loss[0, 0] = first
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (drop,) = find_drops(loss)
    assert_allclose(drop.size, 0.03, rtol=0.1)


def test_infinities_make_no_drop_and_no_warning():
    loss = loss_of(TREND, TREND, TREND) + noise(3)
    loss[0, 250], loss[1, 250:], loss[2, 200:300] = np.inf, np.inf, -np.inf
    events = [Event((jump(25_000, 25_500, seed=seed),)) for seed in range(3)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert find_drops(loss) == []
        assert not any(drop.significant for drop in loss_drops(events, loss, events))


def test_no_runs_or_few_snapshots_have_no_drops():
    loss = loss_of(TREND)
    assert find_drops(loss.isel(seed=[])) == []
    for few in (0, 1, 2, 12, 22):
        assert find_drops(loss.isel(step=slice(0, few))) == []


def test_what_cannot_be_searched_is_refused():
    for name in ("least", "side", "longest"):
        with pytest.raises(ValueError, match=rf"find_drops\({name}=0\): {name} must be above 0"):
            inspect.unwrap(find_drops)(loss_of(TREND), **{name: 0})
    with pytest.raises(ValueError, match=r"find_drops\(late=1.0\): late must lie in \[0, 1\)"):
        find_drops(loss_of(TREND), late=1.0)
    with pytest.raises(ValueError, match="evenly spaced"):
        find_drops(loss_of(TREND).isel(step=[0, 1, 2, 4, 8]))


def test_the_drop_is_what_the_trend_leaves():
    (event,) = group_jumps([jump(20_000, 20_500)])
    trend = 3.0 - 1e-6 * STEPS
    for height in (0.03, 0.0, -0.01):
        (drop,) = loss_drops([event], loss_of(trend - passage(20_000, 20_500, 0, height)), event.jumps)
        assert_allclose(drop.size, height, atol=1e-12)
        assert_allclose(drop.null, 0, atol=1e-12)


def test_the_null_is_late_and_meets_no_jump():
    own, early, other = jump(20_000, 20_500), jump(4_000, 4_500), jump(35_000, 35_300)
    fall = passage(4_000, 4_500, 0, 1) + passage(20_000, 20_500, 0, 0.03) + passage(35_000, 35_300, 0, 0.5)
    (drop,) = loss_drops(group_jumps([own]), loss_of(3 - fall), [early, own, other])
    assert drop.measurable
    assert drop.significant
    assert_allclose(drop.size, 0.03, atol=1e-12)
    assert_allclose(drop.null, 0, atol=1e-12)
    # A window is 500 + 2 (500 + 1,000) steps long: as many places as fit in 5,000 … 20,000, 20,500 … 35,000, 35,300 ….
    assert len(drop.null) == sum((space - 3_500) // 100 + 1 for space in (15_000, 14_500, 14_700))


def test_a_curved_decline_is_no_drop_beyond_its_null():
    events = group_jumps([jump(20_000, 20_500)])
    (drop,) = loss_drops(events, loss_of(3 + np.exp(-STEPS / 10_000)), events[0].jumps)
    assert not drop.significant


def test_events_placed_at_random_have_no_drops_more_often_than_once_in_twenty():
    rng = np.random.default_rng(5)
    runs = 1_000
    starts = rng.integers(70, 470, size=runs) * 100
    events = [Event((jump(int(start), int(start) + 500, seed=seed),)) for seed, start in enumerate(starts)]
    losses = loss_of(*(3 - 1e-7 * STEPS + 1e-4 * rng.normal(size=(runs, len(STEPS)))))
    drops = loss_drops(events, losses, [jump for event in events for jump in event.jumps])
    share = np.mean([drop.significant for drop in drops])
    assert abs(share - 0.05) < 4 * np.sqrt(0.05 * 0.95 / runs)


def test_a_drop_without_room_beside_it_is_not_measured():
    crowd = [jump(20_000, 20_500), jump(20_900, 21_200), jump(18_000, 19_900)]
    events = group_jumps(crowd)
    drop = next(drop for drop in loss_drops(events, loss_of(np.full(501, 3.0)), crowd) if drop.event.start == 20_000)
    assert np.isnan(drop.size)
    assert not drop.measurable
    assert not drop.significant
    assert np.isnan(drop.limit)


def test_a_drop_in_a_run_that_is_too_short_for_a_null_is_not_measured():
    events = group_jumps([jump(2_000, 2_500)])
    (drop,) = loss_drops(events, loss_of(np.full(501, 3.0)).isel(step=slice(0, 50)), events[0].jumps)
    assert np.isfinite(drop.size)
    assert not drop.measurable


def test_drops_refuse_unknown_runs_and_bad_numbers():
    events, loss = group_jumps([jump(20_000, 20_500, seed=4)]), loss_of(np.full(501, 3.0))
    with pytest.raises(ValueError, match=r"the run 4\): loss has no run of that seed"):
        loss_drops(events, loss, [])
    with pytest.raises(ValueError, match=r"side=0\): side must be above 0"):
        loss_drops([], loss, [], side=0)
    with pytest.raises(ValueError, match=r"margin=-1\): margin must be at least 0"):
        loss_drops([], loss, [], margin=-1)
