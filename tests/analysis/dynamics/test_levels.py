import warnings

import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_allclose

from tegum.analysis.dynamics.levels import (
    Event,
    Jump,
    find_jumps,
    group_jumps,
    late_jumps,
    level_of,
    steadied,
    transitions,
)

STEPS = np.arange(0, 50_001, 100)


def passage(start, end, before, after):
    """From one level to another, as a half cosine."""
    share = np.clip((STEPS - start) / max(end - start, 1), 0, 1)
    return before + (after - before) * (1 - np.cos(np.pi * share)) / 2


def ramp(start, end, before, after):
    return np.interp(STEPS, (start, end), (before, after))


def dimensionality(*features, noise=0.0, seeds=1, key=0):
    """The same features in every run, with noise of its own."""
    values = np.broadcast_to(np.stack(features, -1), (seeds, len(STEPS), len(features)))
    values = values + noise * np.random.default_rng(key).normal(size=values.shape)
    return xr.DataArray(values, dims=("seed", "step", "feature"), coords={"seed": np.arange(seeds), "step": STEPS})


def test_a_clean_jump_is_found_where_it_is():
    (jump,) = find_jumps(dimensionality(np.full(501, 0.5), passage(20_000, 20_600, 0.02, 0.5), noise=0.005))
    assert (jump.seed, jump.feature) == (0, 1)
    assert 20_000 <= jump.start <= 20_200
    assert 20_400 <= jump.end <= 20_600
    assert_allclose((jump.before, jump.after, jump.change), (0.02, 0.5, 0.48), atol=0.02)


def test_a_jump_between_two_snapshots_lies_between_them():
    (jump,) = find_jumps(dimensionality(np.where(STEPS < 20_000, 0.5, 2 / 3)))
    assert jump == Jump(seed=0, feature=0, start=19_900, end=20_000, before=0.5, after=2 / 3)


def test_labels_of_runs_and_features_are_told_and_order_is_by_seed_then_time():
    D = dimensionality(passage(30_000, 30_500, 0.5, 0), passage(10_000, 10_500, 0, 0.5), seeds=2)
    D = D.assign_coords(seed=[7, 3], feature=[5, 9]).transpose("feature", "seed", "step")
    found = [(jump.seed, jump.feature) for jump in find_jumps(D)]
    assert found == [(3, 9), (3, 5), (7, 9), (7, 5)]


def test_two_jumps_of_one_feature_with_a_plateau_between_them_are_two():
    D = dimensionality(passage(10_000, 10_400, 0, 0.5) + passage(12_500, 12_900, 0, -0.5))
    assert [round(jump.change, 2) for jump in find_jumps(D)] == [0.5, -0.5]


@pytest.mark.parametrize(
    ("why", "values"),
    [
        ("constant", np.full(501, 0.5)),
        ("zero", np.zeros(501)),
        ("a slow drift", ramp(5_000, 45_000, 0.0, 0.7)),
        ("a lone feature's drift", passage(8_000, 12_000, 0.15, 0.72)),
        ("a faster drift", ramp(20_000, 23_500, 0.15, 0.72)),
        ("a decline too gentle to be sudden", ramp(20_000, 22_000, 0.16, 0.02)),
        ("a bump that comes back", passage(10_000, 10_500, 0, 0.5) - passage(10_500, 11_000, 0, 0.5)),
        ("a spike of one snapshot", np.where(STEPS == 20_000, 0.7, 0.5)),
        ("smaller than a jump", passage(20_000, 20_500, 0.5, 0.57)),
        ("not over at the end", passage(49_600, 50_000, 0, 0.5)),
        ("oscillation", 0.5 + 0.2 * np.sin(STEPS / 300)),
    ],
)
def test_what_is_no_jump_is_not_found(why, values):
    for noise in (0.0, 0.005):
        assert find_jumps(dimensionality(values, noise=noise)) == [], why


def test_a_lone_feature_that_drifts_up_and_falls_as_its_partner_enters_jumps_once_and_together_with_it():
    lone = passage(6_000, 10_000, 0.15, 0.72) + passage(20_100, 20_500, 0, -0.22)
    partner = passage(20_000, 20_600, 0.01, 0.5)
    (event,) = group_jumps(find_jumps(dimensionality(lone, partner, noise=0.005)))
    assert (event.rising, event.falling, event.swaps) == ((1,), (0,), ())
    assert event.start <= 20_200
    assert event.end >= 20_400


def test_a_shoulder_is_not_counted_twice():
    shoulder = passage(20_000, 20_300, 0, 0.3) + passage(20_900, 21_200, 0, 0.2)
    (jump,) = find_jumps(dimensionality(shoulder, noise=0.005))
    assert_allclose((jump.before, jump.after), (0, 0.5), atol=0.02)
    assert jump.start < 20_300
    assert jump.end > 20_900


def test_a_swap_is_one_event_of_two_features_that_change_places():
    D = dimensionality(passage(20_000, 20_500, 0.5, 0.0), passage(20_200, 20_700, 0.0, 0.5), noise=0.005)
    (event,) = group_jumps(find_jumps(D))
    assert event.swaps == ((1, 0),)


def named(*features, noise=0.005):
    (event,) = group_jumps(find_jumps(dimensionality(*features, noise=noise)))
    return event.kinds, event.births, event.completions, event.swaps, event.deaths


def test_events_have_names():
    up, down = passage(20_000, 20_600, 0.02, 0.5), passage(20_100, 20_600, 0.5, 0.02)
    still = np.full(501, 0.5)
    assert named(up, still, up) == (("birth",), ((0, 2),), (), (), ())
    assert named(still, passage(20_100, 20_500, 0.72, 0.5), up) == (("completion",), (), ((2, 1),), (), ())
    assert named(down, up) == (("swap",), (), (), ((1, 0),), ())
    assert named(down, still, down) == (("death",), (), (), (), ((0, 2),))
    assert named(passage(20_000, 20_600, 0.3, 0.05), still) == (("death",), (), (), (), ((0,),))
    assert named(still, passage(20_000, 20_600, 2 / 3, 0.5)) == (("other",), (), (), (), ())
    # A pair is born, and a third one goes.
    assert named(up, up, down)[0] == ("swap",)


def test_what_does_not_lead_to_a_half_or_not_from_nothing_is_no_birth():
    assert named(passage(20_000, 20_600, 0.02, 0.4), passage(20_000, 20_600, 0.02, 0.4))[0] == ("other",)
    assert named(passage(20_000, 20_600, 0.25, 0.5), passage(20_000, 20_600, 0.25, 0.5))[0] == ("other",)
    # One alone is none.
    assert named(passage(20_000, 20_600, 0.02, 0.5))[0] == ("other",)


def test_births_one_after_the_other_in_a_chain_are_pairs_of_neighbours_in_time():
    def risen(feature, start):
        return Jump(0, feature, start, start + 500, 0.0, 0.5)

    event = Event((risen(4, 0), risen(2, 50), risen(7, 400), risen(1, 450)))
    assert event.births == ((4, 2), (7, 1))
    assert Event((risen(4, 0), risen(2, 600))).births == ()


def up(feature, start=0, end=500):
    return Jump(0, feature, start, end, 0.0, 0.5)


def down(feature, start=0, end=500):
    return Jump(0, feature, start, end, 0.5, 0.0)


def lone(feature, start=0, end=500):
    return Jump(0, feature, start, end, 0.72, 0.5)


@pytest.mark.parametrize("other", [up(7, 10_200, 12_000), down(7, 10_200, 12_000)])
def test_no_feature_swaps_with_itself(other):
    (event,) = group_jumps([up(3, 10_000, 10_400), down(3, 11_600, 12_000), other])
    assert event.swaps == (((7, 3),) if other.change > 0 else ((3, 7),))
    # One matching: neither feature is in anything else.
    assert event.kinds == ("swap",)
    # Nor does it with nothing else beside it that could.
    rest = Jump(0, 7, 10_200, 12_000, 0.7, 0.58)
    assert Event((up(3, 10_000, 10_400), rest, down(3, 11_600, 12_000))).swaps == ()


def test_every_feature_swaps_with_one_other():
    event = Event((up(0), up(1), down(2), down(3)))
    assert len(event.swaps) == 2
    assert sorted(sum(event.swaps, ())) == [0, 1, 2, 3]
    assert event.kinds == ("swap",)
    event = Event((up(0), down(1), down(2, 400, 900)))
    assert (event.swaps, event.deaths, event.births, event.completions) == (((0, 1),), ((2,),), (), ())
    # A feature that rises twice is in one pair all the same.
    event = Event((up(0), up(0, 100, 600), down(1), down(2)))
    assert (len(event.swaps), len(event.deaths)) == (1, 1)


def test_what_swaps_overlaps_in_time():
    chain = Event((up(0, 0, 500), Jump(0, 5, 400, 1_500, 0.72, 0.6), down(1, 1_400, 1_900)))
    assert (chain.swaps, chain.deaths) == ((), ((1,),))


def test_a_swap_and_a_completion_share_no_feature_and_neither_loses_its_pair():
    # Feature 0 could swap as well, but only it overlaps the lone one.
    event = Event((up(0, 0, 900), up(1, 450, 950), lone(2, 0, 400), down(3, 450, 900)))
    assert (event.completions, event.swaps) == (((0, 2),), ((1, 3),))
    event = Event((up(0), lone(1), down(2)))
    assert (event.swaps, event.completions) == (((0, 2),), ())


def test_a_chain_loses_no_pair():
    through = Jump(0, 9, 300, 1_600, 0.7, 0.58)
    event = Event((up(0), through, up(1, 1_400, 1_900), lone(2, 1_400, 1_900)))
    assert (event.completions, event.births) == (((1, 2),), ())
    event = Event((up(0), through, up(1, 1_400, 1_900), up(2, 1_450, 1_900)))
    assert event.births == ((1, 2),)
    event = Event((down(0), through, down(1, 1_400, 1_900), down(2, 1_450, 1_900)))
    assert event.deaths == ((1, 2), (0,))


def test_the_largest_matching_is_found_as_by_brute_force():
    rng = np.random.default_rng(0)

    def most(jumps):
        if not jumps:
            return 0
        first, rest = jumps[0], jumps[1:]
        meets = [j for j in rest if j.start < first.end and first.start < j.end]
        return max([most(rest), *(1 + most([k for k in rest if k is not j]) for j in meets)])

    for _ in range(50):
        starts = np.sort(rng.integers(0, 2_000, 7)).tolist()
        lengths = rng.integers(100, 900, 7).tolist()
        jumps = [up(f, s, s + n) for f, (s, n) in enumerate(zip(starts, lengths, strict=True))]
        assert len(Event(tuple(jumps)).births) == most(jumps)


@pytest.mark.parametrize("noise", [0.01, 0.03, 0.1])
def test_noise_alone_makes_no_jumps(noise):
    found = find_jumps(dimensionality(*[np.full(501, 0.5)] * 40, noise=noise, seeds=100))
    assert len({jump.seed for jump in found}) <= 1


@pytest.mark.parametrize("memory", [300, 1_000, 3_000])
def test_noise_with_a_memory_makes_no_jumps(memory):
    D = dimensionality(*[np.full(501, 0.5)] * 40, seeds=100)
    white = np.random.default_rng(3).normal(size=D.shape)
    keep = np.exp(-100 / memory)
    walk = np.empty_like(white)
    walk[:, 0] = white[:, 0]
    for at in range(1, len(STEPS)):
        walk[:, at] = keep * walk[:, at - 1] + np.sqrt(1 - keep**2) * white[:, at]
    assert len({jump.seed for jump in find_jumps(D + 0.015 * walk)}) <= 1


def test_a_diverged_run_has_no_jumps_and_makes_no_warning():
    D = dimensionality(passage(20_000, 20_500, 0.0, 0.5), seeds=3)
    D[1] = np.nan
    D[2, 203:] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = find_jumps(D)
        assert find_jumps(steadied(D)) == []
    assert [jump.seed for jump in found] == [0]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_there_is_no_jump_across_a_gap(value):
    D = dimensionality(np.where(STEPS < 20_000, 0.0, 0.5), np.where(STEPS < 30_000, 0.0, 0.5))
    D[0, 200:205] = value
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (jump,) = find_jumps(D)
    assert jump.feature == 1


def test_no_runs_or_few_snapshots_have_no_jumps():
    assert find_jumps(dimensionality(np.full(501, 0.5)).isel(seed=[])) == []
    assert find_jumps(dimensionality(np.full(501, 0.5)).isel(step=[0, 1])) == []
    assert find_jumps(dimensionality(np.full(501, 0.5)).isel(step=[0])) == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda D: D.isel(seed=0), r"with dims \('step', 'feature'\): it must be a DataArray with the dims"),
        (lambda D: D.values, "with a ndarray: it must be a DataArray"),
        (lambda D: D.isel(step=[0, 1, 2, 4, 8]), "evenly spaced; these lie 100 to 400 steps apart"),
    ],
)
def test_what_cannot_be_searched_is_refused(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        find_jumps.__wrapped__(change(dimensionality(np.full(501, 0.5))))


@pytest.mark.parametrize(("name", "value"), [("height", 0.0), ("rest", 0), ("longest", -5)])
def test_numbers_that_are_not_positive_are_refused(name, value):
    with pytest.raises(ValueError, match=rf"find_jumps\({name}={value}\): {name} must be above 0"):
        find_jumps(dimensionality(np.zeros(501)), **{name: value})


def jump(start, end, seed=0, feature=0, before=0.0, after=0.5):
    return Jump(seed, feature, start, end, before, after)


def test_late_is_after_a_part_of_training():
    jumps = [jump(4_900, 5_400), jump(5_000, 5_300)]
    assert late_jumps(jumps, 50_000) == jumps[1:]
    assert late_jumps(jumps, 50_000, late=0.0) == jumps
    with pytest.raises(ValueError, match=r"late_jumps\(late=1.0\): late must lie in \[0, 1\)"):
        late_jumps(jumps, 50_000, late=1.0)


def test_jumps_are_grouped_where_they_overlap_in_one_run_also_through_others():
    chain = [jump(0, 500, feature=0), jump(400, 900, feature=1), jump(800, 1_000, feature=2)]
    touching, elsewhere = jump(1_000, 1_200, feature=3), jump(100, 300, seed=1)
    events = group_jumps([elsewhere, touching, *reversed(chain)])
    assert [event.jumps for event in events] == [tuple(chain), (touching,), (elsewhere,)]
    assert (events[0].seed, events[0].start, events[0].end) == (0, 0, 1_000)
    assert group_jumps([]) == []


def test_a_long_jump_still_joins_what_starts_before_its_end():
    jumps = [jump(0, 2_000, feature=0), jump(100, 300, feature=1), jump(1_500, 1_700, feature=2)]
    assert [event.jumps for event in group_jumps(jumps)] == [tuple(jumps)]


def test_levels_have_the_names_of_their_fractions():
    named = {0.0: "0", 0.1: "0", 0.49: "1/2", 0.655: "2/3", 0.76: "3/4", 0.381: "3/8", 0.399: "2/5"}
    assert {value: level_of(value) for value in named} == named
    for between in (0.12, 0.3, 0.45, 0.55, 0.6, 0.7, 0.72, 1.0):
        assert level_of(between) == "elsewhere"
    assert level_of(0.45, near=0.06) == "1/2"


def test_transitions_are_counted_from_level_to_level():
    jumps = [
        jump(0, 500),
        jump(0, 500, feature=1),
        jump(0, 500, before=0.72, after=0.5),
        jump(0, 9, before=0.3, after=0.05),
    ]
    assert transitions(jumps) == {("0", "1/2"): 2, ("elsewhere", "1/2"): 1, ("elsewhere", "0"): 1}
    assert transitions([]) == {}


def test_the_steady_null_keeps_the_ends_and_the_noise_but_no_jump():
    D = dimensionality(passage(20_000, 20_500, 0.0, 0.5), np.full(501, 0.5), noise=0.01, seeds=50)
    surrogate = steadied(D)
    assert find_jumps(surrogate) == []
    assert len(find_jumps(D)) == 50
    kept = surrogate.transpose(*D.dims)
    assert_allclose(kept.values[:, :50], D.values[:, :50])
    assert_allclose(kept.values[:, -1].mean(0), (0.5, 0.5), atol=0.01)
    assert_allclose(kept.isel(feature=1).values[:, 50:].std(-1).mean(), 0.01, rtol=0.15)


def test_the_steady_null_depends_on_its_key_alone():
    D = dimensionality(np.full(501, 0.5), noise=0.01)
    xr.testing.assert_identical(steadied(D, key=1), steadied(D, key=1))
    assert not np.array_equal(steadied(D, key=1).values, steadied(D, key=2).values)
