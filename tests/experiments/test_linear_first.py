import dataclasses
import json

import numpy as np
import pytest
from numpy.testing import assert_allclose

import tegum as tg
from tegum import experiments
from tegum.analysis.dynamics.plateaus import Plateau
from tegum.analysis.linear.losses import linear_losses
from tegum.analysis.linear.onset import SuperpositionOnset
from tegum.analysis.linear.pca import linear_optimum, principal_axes
from tegum.experiments.linear_first import criteria as _linear_criteria
from tegum.experiments.linear_first import measures as _linear_measures
from tegum.experiments.linear_first.criteria import when
from tegum.experiments.linear_first.escape_order import Order, chance, order
from tegum.experiments.linear_first.findings import Found, OnsetEnsemble, found_in
from tegum.experiments.linear_first.plateau_ranks import (
    Runs,
    System,
    energy_inside,
    first_plateau,
    least_cosine,
    linear_rank,
)
from tegum.experiments.reporting import Measure, by_key

EXPERIMENT = experiments.get("linear-first")

CRITERIA = {
    "room_to_spare.linear_where_slowest": False,
    "room_to_spare.linear_at_some_time": True,
    "room_is_short.linear_where_slowest": False,
    "linear_runs_end_lower": False,
    "apart.rests_rank_after_rank": True,
    "descent_in_predicted_order": True,
    "apart.times_as_predicted": True,
    "close.times_as_predicted": True,
    "adamw_in_predicted_order": False,
}
"""In the quick form, which has too few runs for `linear_runs_end_lower`, and for `close.times_as_predicted` to fail."""


@pytest.fixture(scope="module")
def quick(run_quick):
    """The quick form, run and analysed once for all tests of this file: its summary, its files and what was found."""
    summary, out, findings = run_quick(EXPERIMENT)
    return summary, out, findings.shown


def test_it_holds_in_part(quick):
    summary, out, _ = quick
    assert json.loads((out / "summary.json").read_text())["verdict"] == summary.verdict == "holds in part"
    assert {each.key: each.passed for each in summary.criteria} == CRITERIA
    assert {"linear-first.png", "linear-first.svg", "sets-4-8.zarr", "order-apart-size-sgd.zarr"} <= {
        path.name for path in out.iterdir()
    }


def test_from_a_small_start_the_first_plateau_has_a_direction_for_each_set(quick):
    summary, _, found = quick
    measure = by_key(summary.measures)["sets_4_8.first_plateau_at_full_rank_at_some_time"]
    assert measure.low > 0.5 > 0.1 > measure.null
    # One direction for each set of three of density p is kept, and two of variance p/12 each are lost.
    system = next(each for each in found.systems if (each.sets, each.hidden) == (4, 8))
    assert_allclose(system.losses[4], 4 * 2 * 0.05 / 12, rtol=1e-9)
    small = system.runs[0]
    on = [run for run, rank in enumerate(small.begun) if rank == 4]
    assert_allclose(small.loss[on, np.array(small.purest)[on]], 4 * 2 * 0.05 / 12, rtol=0.05)
    assert_allclose(small.linear[on, np.array(small.purest)[on]], 4 * 2 * 0.05 / 12, rtol=0.05)
    # The better nonlinear solution follows.
    assert (small.loss[:, -1] < system.losses[-1]).all()


def test_from_xavier_starts_no_run_rests_there(quick):
    _, _, found = quick
    for system in found.systems:
        assert not {"linear", "begun", "lower"} & set(system.runs[-1].kinds)


def test_with_fewer_dimensions_than_sets_runs_rest_on_antipodal_sets(quick):
    _, _, found = quick
    small = next(each for each in found.systems if (each.sets, each.hidden) == (4, 3)).runs[0]
    kinds = list(small.kinds)
    assert kinds.count("antipodal") > len(kinds) / 2
    assert "linear" not in kinds


def test_training_goes_from_saddle_to_saddle_where_eigenvalues_are_well_apart(quick):
    summary, _, found = quick
    measures = by_key(summary.measures)
    # Of a set of s features of density p: p/12 + s p (1 − p)/4, and p/12 for what is left; of one feature, both.
    stairs = found.orders["apart-size", "sgd"]
    sizes = np.array([24, 6, 1])
    assert_allclose(stairs.eigenvalues[:4], [*(0.1 / 12 + sizes * 0.1 * 0.9 / 4), 0.1 / 12], rtol=1e-9)
    assert_allclose(stairs.losses[3], 28 * 0.1 / 12, rtol=1e-9)
    assert stairs.expected == (1, 2, 3)
    assert stairs.sizes == (24, 6, 1)
    for way in ("density", "importance", "size"):
        key = f"apart_{way}.sgd"
        assert measures[f"{key}.every_expected_plateau"].value == 1
        assert measures[f"{key}.every_expected_plateau"].null < 0.25
        times = measures[f"{key}.every_time_as_predicted"]
        assert times.low > 0.5 > times.null
        assert measures[f"{key}.rests_nearer_than_random_times"].low > 0
        # The next eigenvalue is near: no plateau.
        if way != "size":
            assert measures[f"{key}.plateau_at_rank_3"].high < 0.5


def test_close_eigenvalues_show_order_but_no_plateaus(quick):
    summary, _, found = quick
    measures = by_key(summary.measures)
    for way in ("density", "importance", "size"):
        assert measures[f"close_{way}.sgd.in_predicted_order"].low > 0.5
        assert measures[f"close_{way}.sgd.in_predicted_order"].null == pytest.approx(1 / 24)
        for rank in (1, 2, 3):
            assert measures[f"close_{way}.sgd.plateau_at_rank_{rank}"].value < 0.25
    assert measures["close_density.adamw.in_predicted_order"].high < 0.5
    close = found.orders["close-density", "sgd"]
    densities = np.array([0.1, 0.07, 0.05, 0.035])
    assert_allclose(close.eigenvalues[:4], densities / 12 + 3 * densities * (1 - densities) / 4, rtol=1e-9)
    assert close.expected == (4,)


def test_superposition_of_independent_features_is_neither_early_nor_late_and_absent_from_linear_models(quick):
    summary, _, found = quick
    for ensemble in found.onsets["adamw"]:
        onset = ensemble.onset
        assert np.isfinite(onset.begins("features")).all()
        if not np.isnan(ensemble.scale):
            assert (onset.surplus < onset.begins("features")).all()
            assert (onset.begins("features") < onset.done(0.9)).all()
    for onset in [each.onset for each in found.onsets["linear"]]:
        assert np.isinf(onset.begins("features")).all()
        assert np.isinf(onset.begins("norm")).all()
        assert_allclose(onset.total[:, -1], onset.hidden, rtol=0.05)
        assert_allclose(onset.disturbed[:, -1], 15 / 20, rtol=0.05)
    assert "begins, by more than m represented, midway" in summary.caption


def antipodal(sets: int) -> tuple[np.ndarray, np.ndarray, tg.FeatureDistribution]:
    """Two of the sets on one axis with opposite signs, the others on axes of their own."""
    features = tg.FeatureDistribution([tg.Correlated(3, 0.05)] * sets)
    rows = np.vstack([-np.eye(sets - 1)[:1], np.eye(sets - 1)]) / np.sqrt(3)
    return np.repeat(rows, 3, 0), np.zeros(3 * sets), features


def test_antipodal_sets_are_no_linear_solution_though_a_relu_loses_little():
    weights, bias, features = antipodal(8)
    losses = linear_optimum(features, 8).losses
    loss = float(tg.population_loss(weights, bias, features))
    assert loss / losses[8] < 1.05
    linear = float(linear_losses(weights, features))
    assert linear / losses[8] > 2
    axes = principal_axes(features)[1][:, :8]
    inside = float(energy_inside(weights, axes))
    assert inside == pytest.approx(1)
    assert least_cosine(axes.T @ weights) == pytest.approx(-1)
    assert linear_rank(loss, linear, inside, losses) == -1
    # The optimum itself is, in both models.
    best = linear_optimum(features, 8)
    loss = float(tg.population_loss(best.weights, best.bias, features))
    assert linear_rank(loss, float(linear_losses(best.weights, features)), 1.0, losses) == 8


def test_cosines_of_sets_that_are_present():
    rows = np.array([[1.0, 0.0], [-0.6, 0.8], [0.0, -0.1]])
    assert least_cosine(rows) == pytest.approx(-0.6)
    assert least_cosine(0.1 * rows) == 1
    assert least_cosine(np.stack([rows, 0.1 * rows])).shape == (2,)


def test_first_plateaus_of_made_up_losses():
    steps = np.unique(np.geomspace(1, 10_000, 300).astype(int))
    time = np.log(steps)

    def falling(levels, places):
        fall = sum(
            (a - b) / (1 + np.exp((time - at) * 8)) for a, b, at in zip(levels, levels[1:], places, strict=False)
        )
        return np.asarray(fall + levels[-1])

    rests = falling([1.0, 0.3, 0.1], [4.0, 7.0])
    plateau = first_plateau(rests, steps, 1.0, 0.6)
    assert plateau is not None
    assert plateau.loss == pytest.approx(0.3, rel=0.01)
    # The origin is a plateau as well, left behind or not, and does not count.
    assert first_plateau(np.full(len(steps), 1.0), steps, 1.0, 0.6) is None
    late = falling([1.2, 1.0, 0.3, 0.1], [1.0, 4.0, 7.0])
    plateau = first_plateau(late, steps, 1.0, 0.6)
    assert plateau is not None
    assert plateau.loss == pytest.approx(0.3, rel=0.01)
    steady = np.geomspace(1.0, 0.01, len(steps))
    assert first_plateau(steady, steps, 1.0, 0.6) is None


def test_the_rank_of_a_plateau():
    losses = np.array([1.0, 0.6, 0.2, 0.19])
    assert linear_rank(0.61, 0.61, 0.99, losses) == 1
    assert linear_rank(0.201, 0.205, 0.99, losses) == 2
    assert linear_rank(0.192, 0.192, 0.99, losses) == 3
    assert linear_rank(0.201, 0.201, 0.90, losses) == -1
    assert linear_rank(0.201, 0.22, 0.99, losses) == -1
    assert linear_rank(0.4, 0.4, 0.99, losses) == -1
    assert linear_rank(1.0, 1.0, 0.99, losses) == -1


def test_energy_inside_a_subspace():
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.normal(size=(12, 3)))[0]
    assert energy_inside(axes @ rng.normal(size=(3, 4)), axes) == pytest.approx(1)
    assert energy_inside(np.zeros((12, 4)), axes) == 0
    assert energy_inside(rng.normal(size=(4000, 12, 4)), axes).mean() == pytest.approx(3 / 12, abs=0.005)


RESTING = Plateau(start=20, end=30, slowest=2, loss=0.2, escaped=True, fastest=3)


def resting(scale, slowest, purest, opposed, first=None):
    """Runs with two losses and a cosine, on a plateau whose purest snapshot is 1 and whose slowest is 2."""
    count = len(slowest)
    loss = np.full((count, 4), 0.2)
    linear = np.column_stack([np.ones(count), purest, slowest, np.ones(count)])
    loss[:, 1:3] = linear[:, 1:3].clip(max=0.41)
    return Runs(
        scale=scale,
        seeds=tuple(range(count)),
        rank=2,
        losses=np.array([1.0, 0.4, 0.2]),
        loss=loss,
        linear=linear,
        inside=np.ones((count, 4)),
        opposed=np.repeat(np.array(opposed)[:, None], 4, 1),
        first=tuple([RESTING] * count if first is None else first),
        purest=tuple(1 if first is None or each else -1 for each in (first or [RESTING] * count)),
    )


def test_what_the_first_plateau_of_a_run_is():
    runs = resting(
        0.001,
        slowest=[0.2, 0.3, 0.4, 0.3, 0.3, 0.2],
        purest=[0.2, 0.2, 0.4, 0.3, 0.3, 0.2],
        opposed=[1.0, -0.9, 1.0, -0.9, 0.5, 1.0],
        first=[RESTING] * 5 + [None],
    )
    assert runs.kinds == ("linear", "begun", "lower", "antipodal", "other", "none")
    assert runs.ranks.tolist() == [2, -1, 1, -1, -1, -1]
    assert runs.begun.tolist() == [2, 2, 1, -1, -1, -1]
    # Levels shifted by factors: 0.3 is one and a half times 0.2, 0.4 is twice, and 0.2 itself is none.
    assert resting(0.001, [0.2] * 4, [0.2] * 4, [1.0] * 4).chance() == 0
    one = resting(0.001, [0.3] * 4, [0.2] * 4, [1.0] * 4)
    assert one.chance() > 0
    assert one.chance(purest=True) == 0


def ordered(measured, **changes):
    modes = measured.shape[1]
    time = np.linspace(0, 10, 101)
    made = Order(
        time=time,
        steps=np.arange(101),
        loss=np.ones((len(measured), 101)),
        linear=np.ones((len(measured), 101)),
        measured=measured,
        predicted=np.tile(np.array([1.0, 2.0, 4.0, 8.0])[:modes], (len(measured), 1)),
        eigenvalues=np.array([4.0, 1.0, 0.9, 0.1, 0.1])[: modes + 1],
        losses=np.ones(modes + 1),
        sizes=tuple(range(modes, 0, -1)),
    )
    return dataclasses.replace(made, **changes)


def test_orders_of_made_up_times():
    found = ordered(np.array([[1.0, 2.0, 4.0], [2.0, 1.0, 4.0], [1.0, 2.0, np.inf], [1.0, 2.0, 4.3]]))
    assert found.in_order.tolist() == [True, False, False, True]
    assert_allclose(found.error, [0, 2 / 3 * np.log(2), np.log(4.3 / 4) / 3], atol=1e-12)
    # What is not learned, and what is late by more than 5 %, is not as predicted.
    assert found.timely.tolist() == [True, False, False, False]
    assert_allclose(found.late[:, 1], [0, -np.log(2), 0], atol=1e-12)
    # Random times: a sixth is in order.
    times = np.random.default_rng(1).exponential(size=(6000, 3))
    assert ordered(times).in_order.mean() == pytest.approx(chance(3), abs=0.015)


def test_times_by_the_starts_of_other_runs():
    times = np.array([[1.0, 2.0], [1.1, 2.2], [1.2, 2.4]])
    found = ordered(times, predicted=times)
    assert found.timely.all()
    assert found.timely_by_others == 0
    gaps = np.log([1.1, 1.2, 1.2 / 1.1])
    assert found.error_by_others == pytest.approx(gaps.mean())
    # Where starts make no difference the null is as good.
    same = ordered(np.ones((3, 2)), predicted=np.ones((3, 2)))
    assert same.timely_by_others == 1


def test_rests_between_escapes_and_random_times():
    times = np.array([[1.0, 6.0]])
    time = np.linspace(0, 10, 101)
    # From 2 to 5 it rests at the level 0.5; before that it falls, and after that it does so again.
    loss = np.interp(time, [0, 1, 2, 5, 6, 7, 10], [1, 0.9, 0.5, 0.5, 0.3, 0.1, 0.1])[None]
    rests = ordered(times, loss=loss, losses=np.array([1.0, 0.5, 0.1])).rests()
    assert rests[0, 0] == pytest.approx(0, abs=1e-12)
    between = time[(time >= 1) & (time < 5.95)]
    assert rests[0, 1] == pytest.approx(np.abs(np.log(np.interp(between, time, loss[0]) / 0.5)).mean(), rel=1e-6)
    # A steady exponential fall has no rest: slowest is where the loss is least, no nearer than elsewhere.
    steady = ordered(times, loss=np.exp(-0.3 * time)[None], losses=np.array([1.0, np.exp(-1.05), 0.1])).rests()
    assert steady[0, 0] > steady[0, 1]
    # A rise is no rest either.
    bump = loss + np.where(np.abs(time - 5.5) < 0.06, 0.2, 0.0)
    assert ordered(times, loss=bump, losses=np.array([1.0, 0.5, 0.1])).rests()[0, 0] == pytest.approx(0, abs=1e-12)
    # Only runs in order count.
    assert ordered(times[:, ::-1].copy(), loss=loss).rests().shape == (0, 2)


def test_plateaus_at_expected_ranks():
    steps = np.unique(np.geomspace(1, 10_000, 200).astype(int))
    losses = np.array([1.0, 0.3, 0.2, 0.05])
    log = np.log(steps)
    stairs = 0.2 + 0.7 / (1 + np.exp((log - 3) * 8)) + 0.1 / (1 + np.exp((log - 6) * 8))
    slope = np.geomspace(1.0, 0.05, len(steps))
    snapshots = {"steps": steps, "time": steps / 10, "losses": losses}
    loss = np.array([stairs, slope, stairs])
    # The last one is there by a ReLU alone.
    linear = np.array([stairs, slope, 2 * stairs])
    found = ordered(np.tile([1.0, 2.0, 4.0], (3, 1)), loss=loss, linear=linear, **snapshots)
    assert found.plateaus_at(1).tolist() == [True, False, False]
    assert found.plateaus_at(2).tolist() == [True, False, False]
    assert not found.plateaus_at(3).any()
    # Eigenvalues 4 and 1 are apart, and so are 0.9 and 0.1.
    assert found.expected == (1, 3)
    assert not found.climbs.any()
    two = dataclasses.replace(found, eigenvalues=np.array([9.0, 3.0, 0.9, 0.8]))
    assert two.expected == (1, 2)
    assert two.climbs.tolist() == [True, False, False]
    # Half as high again level 2 is at level 1.
    assert 0 < found.by_chance((2,)) < 0.15


def test_exponents_of_times_in_sizes():
    sizes = np.array([5.0, 4.0, 3.0, 2.0])
    times = np.array([3 * sizes**-1.0, 2 * sizes**-0.5, [1.0, 1.0, 1.0, np.inf]])
    found = ordered(times, predicted=times[:2].repeat(2, 0)[:3], sizes=(5, 4, 3, 2), eigenvalues=np.ones(5))
    assert_allclose(found.exponents, [-1, -0.5], atol=1e-12)
    assert found.exponent_predicted == pytest.approx(-1)


def test_medians_have_intervals_of_order_statistics():
    values = np.random.default_rng(0).permutation(np.arange(25.0))
    found = _linear_measures._median("made_up", "made up", values, "", 0.0)
    # Of 25 runs, the 8th and the 18th: 95.7 % (tables of the sign test).
    assert (found.value, found.low, found.high) == (12, 7, 17)
    assert _linear_measures._median("made_up", "made up", values[:4], "", 0.0).low is None
    assert _linear_measures._median("made_up", "made up", values[:0], "", 0.0).value is None


def onset(count, fallen, total=None, steps=None):
    count = np.asarray(count)
    return SuperpositionOnset(
        hidden=2,
        steps=np.arange(0, 10 * count.shape[1], 10) if steps is None else steps,
        count=count,
        total=count.astype(float) if total is None else total,
        disturbed=np.zeros(count.shape),
        fallen=np.asarray(fallen, float),
        features=5,
    )


def ensemble(onset):
    return OnsetEnsemble(density=0.1, scale=0.01, onset=onset)


def test_early_and_late_are_told_by_a_rule():
    assert when(0.1, 0.4) == "early"
    assert when(0.92, 1.0) == "late"
    assert when(0.6, 0.8) == "midway"
    assert when(0.4, 0.6) == "midway"
    assert when(None, None) == "at an unknown time"


@pytest.mark.parametrize(("at", "word"), [(1, "early"), (5, "midway"), (9, "late")])
def test_the_answer_says_what_was_measured(at, word):
    count = np.where(np.arange(11) >= at, 3, 0)[None].repeat(6, 0)
    fallen = np.linspace(0, 1, 11)[None].repeat(6, 0) + 0.01 * np.arange(6)[:, None]
    made = onset(count, fallen, total=count + 0.1)
    found = Found((), {}, {"adamw": (ensemble(made),)})
    measured = by_key(_linear_measures._of_onsets(found))
    text = _linear_criteria.answer(found, measured)
    assert f"by more than m represented, {word}: when" in text


def made_up(value=1.0, low=0.9, high=1.0, null=0.1):
    return Measure("made_up", "made up", value, "1", low, high, 64, null)


def found_of(*systems):
    runs = {m: resting(0.001, [0.2] * 8, [0.2] * 8, [1.0] * 8) for _, m in systems}
    made = tuple(System(k, m, np.arange(4), np.array([1.0, 0.4, 0.2]), (runs[m],)) for k, m in systems)
    times = np.tile([1.0, 2.0, 4.0], (8, 1))
    orders = {
        (way, training): ordered(times)
        for way in ("close-density", "apart-density")
        for training in ("flow", "sgd", "adamw")
        if (way, training) != ("apart-density", "flow")
    }
    return Found(made, orders, {"adamw": (ensemble(onset(np.zeros((8, 3), int), np.zeros((8, 3)))),)})


MEASURES = {
    "room_to_spare.linear_where_slowest": "sets_2_4.first_plateau_at_full_rank",
    "room_to_spare.linear_at_some_time": "sets_2_4.first_plateau_at_full_rank_at_some_time",
    "room_is_short.linear_where_slowest": "sets_2_3.first_plateau_at_full_rank",
    "linear_runs_end_lower": "linear_runs_that_end_below_linear_solutions",
    "apart.rests_rank_after_rank": "apart_density.sgd.every_expected_plateau",
    "descent_in_predicted_order": "close_density.flow.in_predicted_order",
    "apart.times_as_predicted": "apart_density.sgd.every_time_as_predicted",
    "close.times_as_predicted": "close_density.flow.every_time_as_predicted",
    "adamw_in_predicted_order": "apart_density.adamw.in_predicted_order",
}
"""A measure of each criterion."""


def judged(**changes):
    found = found_of((2, 3), (2, 4))
    everything = {key: made_up(low=0.95) for key in MEASURES.values()}
    for way, training in found.orders:
        key = _linear_measures.place_key(way, training)
        for what in ("in_predicted_order", "every_time_as_predicted", "every_expected_plateau"):
            everything[f"{key}.{what}"] = made_up()
        everything[f"{key}.rests_nearer_than_random_times"] = made_up(low=0.01)
    return {each.key: each.passed for each in _linear_criteria.criteria(found, everything | changes)}


def test_criteria_pass_and_fail_one_by_one():
    every = dict.fromkeys(MEASURES, True)
    assert judged() == every
    ends = "linear_runs_end_lower"
    for criterion, key in MEASURES.items():
        only = every | {criterion: False}
        assert judged(**{key: made_up(low=0.45)}) == only
        assert judged(**{key: Measure("made_up", "made up", None, "1")}) == only
        if criterion != ends:
            # More than half, and no more than the null.
            assert judged(**{key: made_up(low=0.6, null=0.7)}) == only
    assert judged(**{MEASURES[ends]: made_up(low=0.85)}) == every | {ends: False}
    rests = "apart_density.sgd.rests_nearer_than_random_times"
    assert judged(**{rests: made_up(low=-0.01)}) == every | {"apart.rests_rank_after_rank": False}


def test_too_few_runs_are_no_test():
    found = found_of((2, 4))
    assert _linear_criteria.testable(found)
    few = dataclasses.replace(found, onsets={"adamw": (ensemble(onset(np.zeros((3, 3), int), np.zeros((3, 3)))),)})
    assert not _linear_criteria.testable(few)
    assert not _linear_criteria.testable(Found((), {}, {}))


def test_without_runs_there_are_words_only():
    from tegum.experiments.framework import Findings

    figure = EXPERIMENT.draw({}, Findings((), (), "Some ensemble has no runs.", Found((), {}, {}), tested=False))
    assert not figure.axes
    assert figure.texts[0].get_text() == "Some ensemble has no runs."


def test_one_seed_is_not_tested(monkeypatch):
    from tegum.experiments import linear_first

    few = found_of((2, 4))
    found = dataclasses.replace(few, orders={("close-density", "sgd"): ordered(np.array([[1.0, 2.0, 4.0]]))})
    monkeypatch.setattr(linear_first, "found_in", lambda _: found)
    findings = EXPERIMENT.analyse({})
    assert not findings.tested
    assert "fewer than 4 runs" in findings.caption


def test_a_trajectory_of_no_known_ensemble_is_refused():
    with pytest.raises(ValueError, match="trajectory 'other-sgd': its name must begin with sets, order or onset"):
        found_in(
            {
                "other-sgd": tg.train(
                    tg.Spec(features=[tg.Independent(2, density=0.5)], hidden=1, training=tg.Sampled(steps=1))
                )
            }
        )


def test_what_runs_do_instead_is_counted():
    runs = resting(0.001, [0.2, 0.2, 0.3, 0.4], [0.2, 0.2, 0.3, 0.4], [1.0, 1.0, -0.9, 1.0])
    later = dataclasses.replace(runs, scale=0.1, first=(None,) * 4, purest=(-1,) * 4)
    system = System(2, 4, np.arange(4), runs.losses, (runs, later, dataclasses.replace(later, scale=np.nan)))
    text = _linear_criteria.failures(Found((system,), {}, {}))
    assert "m = 2k: 2 linear, of full rank, 1 linear, of lower rank, 1 antipodal sets. With" in text
    shares = by_key(_linear_measures._of_systems(Found((system,), {}, {})))
    assert shares["sets_2_4.instead_antipodal"].value == 0.25
    assert shares["sets_2_4.first_plateau_at_full_rank"].value == 0.5
    assert "0 antipodal sets, 0 other plateau, 4 no plateau" in (
        shares["sets_2_4.start_0_1.first_plateau_at_full_rank"].meaning
    )


def test_diverged_runs_are_left_out():
    spec = tg.Spec(
        features=[tg.Correlated(2, 0.3)], hidden=1, training=tg.Sampled(steps=20, optimiser="sgd", rate=1e6), seeds=2
    )
    assert len(order(tg.train(spec), spec).measured) == 0
