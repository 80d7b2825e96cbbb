import json

import numpy as np
import pytest
import xarray as xr
from result_files import beside_runs

import tegum as tg
from tegum import experiments
from tegum.analysis.dynamics.drops import Drop, LossDrop, find_drops
from tegum.analysis.dynamics.levels import Event, Jump, find_jumps, group_jumps, late_jumps
from tegum.analysis.landscape.surface import distance
from tegum.experiments.energy_levels.events_in_exact_loss import _calm_counterparts, chosen, examine, measures
from tegum.experiments.energy_levels.figure import chosen_run
from tegum.experiments.energy_levels.findings import Ending, Ensemble
from tegum.experiments.energy_levels.measures import _chance
from tegum.experiments.energy_levels.unmatched_drops import UnmatchedDrops, find_unmatched
from tegum.experiments.energy_levels.unmatched_drops import measures as of_unmatched_drops
from tegum.experiments.reporting import by_key
from tegum.experiments.varied import ANY
from tegum.solutions.escapes import Leaving, crossing, growth

EXPERIMENT = experiments.get("energy-levels")
FILES = {"run.zarr", *beside_runs(EXPERIMENT)}


@pytest.fixture(scope="module")
def analysed(run_quick):
    """The quick form with what its analysis found, run once for all tests of this file."""
    return run_quick(EXPERIMENT, minutes=1)  # as the README says


@pytest.fixture(scope="module")
def quick(analysed):
    summary, out, _ = analysed
    return summary, out


def test_the_quick_form_writes_its_files(quick):
    summary, out = quick
    assert {path.name for path in out.iterdir()} == FILES
    assert json.loads((out / "summary.json").read_text())["verdict"] == summary.verdict


def test_the_verdict_follows_from_the_criteria_and_these_from_the_measures(quick):
    summary, _ = quick
    measures, passed = by_key(summary.measures), {each.key: each.passed for each in summary.criteria}
    jumps, drops = measures["late_jumps_per_run"], measures["late_events_with_loss_drop"]
    assert len(passed) == 7
    assert passed["late_jumps_beyond_steady_null"] == (jumps.low > jumps.null)
    assert passed["features_swap_places"] == (measures["late_events_with_swap"].value > 0)
    assert passed["loss_drops_across_late_events"] == (drops.low > 0.5)
    both = [measures[key] for key in ("late_events_with_drop_found_alone", "drops_found_alone_with_event")]
    assert passed["late_events_and_drops_meet"] == all(share.low > share.null and share.null < 0.1 for share in both)
    assert summary.verdict == (
        "holds" if all(passed.values()) else "holds in part" if any(passed.values()) else "does not hold"
    )


def test_the_phenomenon_is_there_and_absent_from_its_nulls(quick):
    summary, _ = quick
    measures, passed = by_key(summary.measures), {each.key: each.passed for each in summary.criteria}
    # All but swaps, which are rare.
    assert passed["run_with_late_jumps_ends_in_digons"]
    assert passed["late_jumps_beyond_steady_null"]
    assert passed["late_jumps_meet_opposite"]
    assert passed["loss_drops_across_late_events"]
    assert measures["runs"].value == 24
    assert measures["late_jumps_per_run"].null <= 0.1
    # With five hidden dimensions there is room for five digons.
    assert 9 <= measures["represented_features"].value <= 10
    # A fifth digon lowers the loss of 3.09 by about a hundredth of it, and no jump raises it.
    assert measures["least_loss_drop"].value > 0
    assert 0.02 < measures["largest_loss_drop"].value < 0.06
    assert measures["loss_drop"].value == pytest.approx(40 * measures["loss_drop_per_feature"].value)


def test_every_share_comes_with_its_interval_and_its_number_of_runs(quick):
    for measure in quick[0].measures:
        if measure.unit in ("1", "share") and measure.text() != "not measured":
            assert 0 <= measure.low <= measure.value <= measure.high <= 1
            assert 1 <= measure.n <= 24
        assert measure.meaning


def test_events_and_drops_that_are_found_apart_are_the_same_ones_as_by_hand(quick):
    summary, out = quick
    measures, run = by_key(summary.measures), tg.load(out / "run.zarr")
    events = group_jumps(late_jumps(find_jumps(tg.dimensionality(run.weights)), 25_000))
    drops = find_drops(run.loss)
    met = [any(d.seed == e.seed and d.start < e.end and e.start < d.end for d in drops) for e in events]
    meeting = [any(d.seed == e.seed and d.start < e.end and e.start < d.end for e in events) for d in drops]
    assert measures["late_events_with_drop_found_alone"].value == pytest.approx(np.mean(met))
    assert measures["drops_found_alone_with_event"].value == pytest.approx(np.mean(meeting))
    late = run.loss.sel(step=slice(2_500, None))
    fallen = sum(float(run.loss.sel(seed=e.seed, step=e.start) - run.loss.sel(seed=e.seed, step=e.end)) for e in events)
    share = fallen / float((late.isel(step=0) - late.isel(step=-1)).sum())
    assert measures["late_decrease_inside_events"].value == pytest.approx(share, rel=1e-4)
    # Shifted in time, few meet.
    alone = ("late_events_with_drop_found_alone", "drops_found_alone_with_event", "late_decrease_inside_events")
    assert all(measures[key].null < 0.1 for key in alone)
    # Nor do windows of one run meet those of the next, though they all crowd early.
    for key in alone:
        same, beside = measures[key], measures[f"{key}_beside_other_runs"]
        assert (beside.value, beside.low) == (same.value, same.low)
        assert beside.null < beside.low
        assert "other runs" in beside.meaning
    elsewhere = [
        any(d.seed == s and d.start < e.end and e.start < d.end for d in drops)
        for e in events
        for s in run.seed.values
        if s != e.seed
    ]
    assert measures["late_events_with_drop_found_alone_beside_other_runs"].null == pytest.approx(np.mean(elsewhere))
    # Nothing is in the wrong place twice: a jump more or less from level to level.
    moves = [each.value for key, each in measures.items() if key.startswith("late_jumps_from_")]
    assert sum(moves) == sum(len(event.jumps) for event in events)


def test_the_quick_form_looks_at_no_event_in_the_exact_loss_and_says_so(quick):
    measures = by_key(quick[0].measures)
    assert measures["events_looked_at_in_exact_loss"].value == 0
    assert "in ensembles of 32 runs or more" in measures["events_looked_at_in_exact_loss"].meaning
    assert "plateaus_before_events_that_flow_leaves" not in measures
    assert "escape_time_over_predicted" not in measures


def test_the_run_that_is_drawn_ends_in_digons_and_has_a_late_jump_and_the_caption_says_what_is_not_represented(
    analysed,
):
    summary, out, findings = analysed
    run = tg.load(out / "run.zarr")
    seed = findings.shown.seed
    assert findings.caption[0] == summary.caption
    assert f"Run {seed} of 24" in summary.caption
    final = run.weights.sel(seed=seed).isel(step=-1)
    polytope = tg.name_polytope(final)
    assert {factor.name for factor in polytope.factors} == {"digon"}
    assert (
        f"{len(polytope.unrepresented)} of the 40 features are unrepresented, at dimensionality 0." in summary.caption
    )
    assert tg.dimensionality(final).values[list(polytope.unrepresented)].max() < 0.005
    jumps = late_jumps(find_jumps(tg.dimensionality(run.weights.sel(seed=[seed]))), 25_000)
    figure, ensemble = EXPERIMENT.draw({"run": run}, findings)
    spans = [(patch.get_x(), patch.get_x() + patch.get_width()) for patch in figure.axes[0].patches]
    assert all(any(start <= jump.start and jump.end <= end for start, end in spans) for jump in jumps)
    assert jumps
    lines = [line for line in figure.axes[0].lines if "feature" in str(line.get_label())]
    assert len(lines) == 40
    # In another figure: every late jump of all runs, and three shares.
    assert len(ensemble.axes) == 2
    assert len(ensemble.axes[1].get_yticks()) == 3


def test_sizes_are_those_that_are_told():
    sizes = {size: EXPERIMENT.trainings(size)["run"] for size in ("quick", "default", "full")}
    assert [spec.seeds for spec in sizes.values()] == [24, 32, 256]
    default = sizes["default"]
    assert (default.features.n, default.hidden, default.training.steps) == (40, 5, 50_000)
    assert default.features == tg.FeatureDistribution([tg.Independent(40, density=0.4)])


SHORT = ["training.steps=10000", "training.batch=16", "training.evaluation=16", "snapshots=30", "features.count=20"]
"""Over in a second."""


def test_without_jumps_nothing_holds_and_the_caption_says_so(tmp_path):
    changes = [*SHORT, "seeds=3", "training.rate=1e-9"]
    summary = EXPERIMENT.run(tmp_path, changes=changes)
    assert summary.verdict == "does not hold"
    assert "Nothing jumps late" in summary.caption
    assert by_key(summary.measures)["late_events_with_loss_drop"].text() == "not measured"
    assert (tmp_path / "energy-levels.png").is_file()


def test_without_a_run_that_ends_nothing_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(type(EXPERIMENT), "varies", dict.fromkeys(EXPERIMENT.varies, ANY))
    changes = [*SHORT, "seeds=2", "training.optimiser=sgd", "training.rate=1000.0"]
    summary = EXPERIMENT.run(tmp_path, changes=changes)
    assert set(tg.load(tmp_path / "run.zarr").result.values) == {"diverged"}
    assert summary.verdict == "not tested"
    assert summary.caption == "None of 2 runs completed training."
    assert by_key(summary.measures)["runs"].value == 0


def drop(seed, start, jumps=1):
    return Drop(
        Event(tuple(Jump(seed, feature, start, start + 500, 0.0, 0.5) for feature in range(jumps))), 0.03, np.zeros(50)
    )


@pytest.mark.parametrize(
    ("digons", "drops", "chosen"),
    [
        ((0, 1, 2, 3), [drop(1, 6_000), drop(2, 6_000)], 1),
        ((0, 1, 2, 3), [drop(1, 6_000), drop(2, 6_000, jumps=2)], 2),
        ((0, 1, 2, 3), [drop(1, 6_000, jumps=4), drop(2, 6_000), drop(2, 9_000)], 2),
        ((0, 3), [drop(1, 6_000), drop(1, 9_000), drop(3, 6_000)], 3),
        ((0,), [drop(1, 6_000), drop(2, 6_000), drop(2, 8_000)], 2),
        ((2,), [], 0),
    ],
)
def test_the_run_to_draw_is_chosen_by_rule(digons, drops, chosen):
    endings = tuple(Ending(seed, 10, seed in digons, 0.0) for seed in range(4))
    jumps = tuple(jump for each in drops for jump in each.event.jumps)
    assert chosen_run(Ensemble(40, 50_000, endings, jumps, 0, tuple(drops), ())) == chosen


def test_no_run_is_chosen_of_none():
    assert chosen_run(Ensemble(40, 50_000, (), (), 0, (), ())) is None


def test_a_drop_without_an_event_is_told_by_the_passage_it_lies_in():
    steps = np.arange(0, 50_001, 100)
    D = 0.5 + 0.003 * np.random.default_rng(0).normal(size=(5, len(steps), 4))
    ways = [(4_800, 5_300, 0.3), (20_000, 24_000, 0.4), (30_000, 31_000, 0.2)]
    for seed, (start, end, height) in enumerate(ways):
        D[seed, :, 2] -= height * np.clip((steps - start) / (end - start), 0, 1)
    D[2, steps > 31_500, 2] += 0.2  # It comes back at once, and has rested nowhere.
    levels = xr.DataArray(
        D, dims=("seed", "step", "feature"), coords={"seed": range(5), "step": steps, "feature": range(4)}
    )
    windows = [(5_000, 5_200), (21_000, 23_000), (30_200, 30_800), (40_000, 40_500)]
    drops = [LossDrop(seed, *window, 0.01, 9.0) for seed, window in enumerate(windows)]
    jumps = find_jumps(levels)
    slower = sorted(set(find_jumps(levels, longest=50_000)) - set(jumps), key=lambda jump: jump.seed)
    revivals = [LossDrop(3, 40_400, 40_600, 0.0, 0.0), LossDrop(4, 0, 50_000, 0.0, 0.0)]
    unmatched = find_unmatched(drops, levels, jumps, slower, revivals)
    assert unmatched.counts == {"in an early jump": 1, "in a slow transition": 1, "in no transition": 2}
    assert unmatched.reviving == 1
    # In the last one nothing happens but noise, which exceeds its own 95 % quantile by chance only.
    assert [move.feature for move in unmatched.moves[:3]] == [2, 2, 2]
    assert [move.significant for move in unmatched.moves] == [True, True, True, False]
    measured = by_key(of_unmatched_drops(unmatched, range(5)))
    moving = measured["drops_without_event_in_which_feature_moves"]
    assert (moving.value, moving.n, moving.null) == (0.75, 4, 0.05)
    change = measured["dimensionality_change_in_drop_without_event"]
    # 0.3 · 200/500, 0.4 · 2,000/4,000, 0.2 · 600/1,000, and noise.
    assert change.value == pytest.approx((0.12 + 0.2 + 0.12) / 4, abs=0.01)
    assert change.null < 0.01
    assert measured["drops_without_event_in_slower_passage"].value == 1


def test_without_lone_drops_there_is_nothing_to_tell():
    measured = by_key(of_unmatched_drops(UnmatchedDrops(), range(5)))
    assert measured["drops_without_event_in_which_feature_moves"].value is None
    assert measured["dimensionality_change_in_drop_without_event"].value is None
    assert measured["drops_without_event_in_no_passage"].value == 0


def test_the_chance_of_meeting_an_opposite_jump_is_that_of_random_times():
    own = Jump(0, 0, 1_000, 1_500, 0.0, 0.5)
    others = [Jump(0, 1, 9_000, 9_300, 0.7, 0.5), Jump(0, 2, 5_000, 6_000, 0.5, 0.0), Jump(1, 3, 0, 9, 0.5, 0.0)]
    rng = np.random.default_rng(0)
    # On a circle of time, where no end gets in the way.
    start = rng.uniform(0, 45_000, size=(200_000, 3))
    meets = [
        ((start[:, i] - start[:, 0]) % 45_000 < 500) | ((start[:, 0] - start[:, i]) % 45_000 < length)
        for i, length in ((1, 300), (2, 1_000))
    ]
    assert _chance(own, [own, *others], 45_000.0) == pytest.approx(np.mean(meets[0] | meets[1]), rel=0.05)
    assert _chance(own, [own], 45_000.0) == 0


def event(seed, *jumps, size=0.03):
    """A drop across jumps (before, after) of features 0, 1, …, all at once."""
    made = (Jump(seed, feature, 6_000, 6_500, *ends) for feature, ends in enumerate(jumps))
    return Drop(Event(tuple(made)), size, np.linspace(0, 1e-3, 50))


def test_events_to_look_at_are_chosen_by_rule():
    up, lone, down = (0.0, 0.5), (0.72, 0.5), (0.5, 0.0)
    completion, birth, swap = event(0, up, lone), event(1, up, up), event(2, up, down)
    other, death, weak = event(3, (0.3, 0.5)), event(4, down), event(5, up, lone, size=1e-5)
    second = event(0, up, up)
    assert chosen([completion, second, birth, swap, other, death, weak], 64) == [completion, birth, swap]
    assert len(chosen([event(seed, up, lone) for seed in range(20)], 32)) == 4
    assert len(chosen([event(seed, up, lone) for seed in range(20)], 256)) == 8
    # None in smaller ensembles, and none of nothing.
    assert chosen([completion], 24) == []
    assert chosen([], 32) == []


@pytest.fixture(scope="module")
def small():
    """A digon and a lone feature in two dimensions, twice.

    In the first run the absent feature begins on the other side, and grows to be a partner; in the second it begins on
    the same side, where it finds a rest of its own.
    """
    features = tg.FeatureDistribution([tg.Independent(4, density=0.4)])
    W = np.array([[[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, other]] for other in (-1e-3, 0.3)])
    spec = tg.Spec(
        features=features,
        hidden=2,
        training=tg.Flow(steps=100, duration=250.0),
        snapshots=tg.Snapshots(count=100),
        start=(W, np.array([[0.043, 0.043, 0.0, 0.2]] * 2)),
        seeds=2,
    )
    run = tg.train(spec)
    growing = tg.dimensionality(run.weights).values[0, :, 3]
    begin, end = (int(run.step[np.argmax(growing > level)]) for level in (0.05, 0.45))
    (group,) = group_jumps([Jump(0, 3, begin, end, 0.0, 0.5), Jump(0, 2, begin, end, 1.0, 0.5)])
    drop = Drop(group, float(run.loss[0, 0] - run.loss[0, -1]), np.zeros(50))
    return run, spec, drop, examine(run, spec, [drop], [1])


@pytest.mark.quick_form  # Its training takes as long as a quick form's.
def test_a_plateau_is_a_saddle_that_is_left_as_its_hessian_says_and_a_calm_one_is_a_minimum(small):
    run, spec, drop, found = small
    (passage,), (calm,) = found.passages, found.calm
    assert passage.look.left
    assert passage.look.saddle
    assert (calm.seed, calm.left, calm.saddle, calm.point.index) == (1, False, False, 0)
    np.testing.assert_allclose(tg.dimensionality(passage.look.point.weights), [0.5, 0.5, 1, 0], atol=1e-3)
    np.testing.assert_allclose(tg.dimensionality(passage.after.weights), 0.5, atol=1e-3)
    assert passage.after.index == 0
    # The newcomer, and not the lone feature that it joins.
    assert (passage.feature, passage.points) == (3, True)
    # The rate is that of the flow of the trajectory itself, while the newcomer is small.
    length = np.linalg.norm(run.weights.values[0, :, 3], axis=-1)
    early = (length > 2e-3) & (length < 2e-2)
    rate = np.polyfit(run.time.values[0][early], np.log(length[early]), 1)[0]
    # On a kink, where the rate is known to a tenth.
    assert passage.rate == pytest.approx(rate, rel=0.1)
    assert passage.growth == pytest.approx(rate, rel=0.03)
    # From so near the time of escape is nearly all linear growth.
    assert passage.start < 0.02
    half = (passage.look.point.loss + passage.after.loss) / 2
    seen = float(np.interp(-half, -run.loss.values[0], run.time.values[0]))
    # It may be slowest at its very beginning; a straight line between snapshots is within a hundredth.
    assert 0.5 * seen < passage.time < 1.01 * seen
    assert passage.time / passage.predicted == pytest.approx(1, abs=0.25)
    ends = tg.population_loss(passage.look.point.weights, passage.look.point.bias, spec.features), run.loss[0, -1]
    assert passage.exact == pytest.approx(float(ends[0] - ends[1]), rel=1e-4)
    assert passage.exact == pytest.approx(drop.size, rel=0.05)
    # The run itself goes where the flow goes, from where it was far.
    assert passage.apart < 0.02
    assert passage.apart_before == pytest.approx(
        distance(passage.after.weights, passage.after.bias, run.weights.values[0, 0], run.bias.values[0, 0]), rel=1e-6
    )
    assert passage.apart_before > 0.5


@pytest.mark.quick_form
def test_what_is_measured_of_them_is_told_beside_the_null(small):
    *_, found = small
    told = by_key(measures(found))
    for key in ("plateaus_before_events_that_flow_leaves", "plateaus_before_events_near_saddle"):
        assert (told[key].value, told[key].null, told[key].n) == (1, 0, 1)
    assert "minimum" in told["plateaus_before_events_near_saddle"].meaning
    left = told["saddles_left_along_jumping_feature"]
    assert (left.value, left.null) == (1, 0.5)
    assert told["unstable_directions_of_saddle"].value == found.passages[0].look.point.negative
    apart = told["distance_of_state_after_event_from_flow_end"]
    assert apart.null == pytest.approx(found.passages[0].apart_before)


@pytest.mark.quick_form
def test_a_plateau_that_rests_is_not_left_and_nothing_is_measured_of_its_escape(small):
    run, spec, drop, _ = small
    still = run.isel(seed=[1, 1]).assign_coords(seed=[0, 1])
    found = examine(still, spec, [drop], [])
    (passage,) = found.passages
    assert not passage.look.left
    assert not passage.look.saddle
    assert found.calm == ()
    assert (passage.feature, passage.points) == (None, False)
    assert np.isnan([passage.rate, passage.start, passage.growth, passage.time, passage.predicted]).all()
    told = by_key(measures(found))
    assert told["plateaus_before_events_that_flow_leaves"].value == 0
    assert told["plateaus_before_events_near_saddle"].value == 0
    assert told["growth_beside_saddle"].value is None


def test_a_calm_run_beside_an_event_has_as_many_represented_features_and_is_used_once():
    counts = np.array([[9, 9], [8, 8], [9, 8], [9, 9], [9, 10]])
    represented = xr.DataArray(counts, dims=("seed", "step"), coords={"seed": [3, 4, 5, 6, 7]})
    places = [(3, 0, 1), (4, 0, 1), (3, 0, 1)]
    assert _calm_counterparts(represented, places, [5, 6, 7]) == [(6, 0, 1), (5, 0, 1)]
    assert _calm_counterparts(represented, places, []) == []


@pytest.mark.quick_form
def test_no_events_give_no_passages(small):
    run, spec, *_ = small
    found = examine(run, spec, [], [1])
    assert (found.passages, found.calm) == ((), ())


def test_linear_growth_of_several_directions_is_foretold_as_it_is_integrated():
    rates, amounts = np.array([0.5, 0.2]), np.array([1e-3, 4e-3])
    way = Leaving(np.zeros(3), np.eye(3)[:2], rates, amounts)
    time = np.linspace(0, 40, 400_001)
    grown = np.sqrt(np.square(amounts[:, None] * np.exp(rates[:, None] * time)).sum(0))
    assert way.predicted(1.0) == pytest.approx(time[np.argmax(grown >= 1)], abs=2e-4)
    assert np.isnan(way.predicted(1e-3))
    assert growth(time, np.exp(0.3 * time), 8.0) == pytest.approx(0.3)
    assert np.isnan(growth(time, np.ones_like(time), 8.0))
    # A fall at 5.3, with a snapshot only every 1.25 times the time in which it grows by a factor e.
    time = np.linspace(0, 10, 9)
    fall = 1 / (1 + np.exp(time - 5.3))
    assert crossing(time, fall, 0.5) == pytest.approx(5.3, abs=0.02)
    assert crossing(time, np.append(fall[:-1], np.nan), 0.5) == pytest.approx(5.3, abs=0.02)
    assert crossing(time, fall - 1, 0.5) == 0
    assert np.isnan(crossing(np.array([0.0, 1.0]), np.array([4.0, 3.5]), 3.0))


def test_what_is_no_result_is_refused_before_training_and_left_alone(tmp_path):
    (tmp_path / "run.zarr").write_text("mine")
    (tmp_path / "summary.json").write_text("old")
    with pytest.raises(FileExistsError, match="is not part of an earlier result"):
        EXPERIMENT.run(tmp_path, size="quick", overwrite=True)
    (tmp_path / "run.zarr").unlink()
    (tmp_path / "run.zarr").mkdir()
    (tmp_path / "run.zarr" / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="not a tegum store"):
        EXPERIMENT.run(tmp_path, size="quick", overwrite=True)
    (tmp_path / "run.zarr" / "notes.txt").rename(tmp_path / "notes.txt")
    (tmp_path / "run.zarr").rmdir()
    (tmp_path / "notes.txt").rename(tmp_path / "run.zarr")
    assert (tmp_path / "run.zarr").read_text() == "mine"
    assert (tmp_path / "summary.json").read_text() == "old"
