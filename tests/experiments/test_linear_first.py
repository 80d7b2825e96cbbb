import dataclasses
import json

import numpy as np
import pytest
from linear_findings import onset, ordered, resting
from numpy.testing import assert_allclose
from result_files import beside_runs

import tegum as tg
from tegum import experiments
from tegum.experiments.linear_first import criteria as _linear_criteria
from tegum.experiments.linear_first import figure as _linear_figure
from tegum.experiments.linear_first import measures as _linear_measures
from tegum.experiments.linear_first.figure import when
from tegum.experiments.linear_first.findings import LinearFirstFindings, OnsetEnsemble, StartScales, found_in
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
    assert {*beside_runs(EXPERIMENT), "sets-4-8.zarr", "order-apart-size-sgd.zarr"} <= {
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
    on = [run for run, rank in enumerate(small.purest_ranks) if rank == 4]
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
    captions = " ".join([summary.caption, *summary.further_captions.values()])
    assert "begins, by more than m represented features, midway" in captions


def test_medians_have_intervals_of_order_statistics():
    values = np.random.default_rng(0).permutation(np.arange(25.0))
    found = _linear_measures._median("made_up", "made up", values, "", 0.0)
    # Of 25 runs, the 8th and the 18th: 95.7 % (tables of the sign test).
    assert (found.value, found.low, found.high) == (12, 7, 17)
    assert _linear_measures._median("made_up", "made up", values[:4], "", 0.0).low is None
    assert _linear_measures._median("made_up", "made up", values[:0], "", 0.0).value is None


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
    found = LinearFirstFindings((), {}, {"adamw": (ensemble(made),)})
    measured = by_key(_linear_measures._of_onsets(found))
    text = _linear_figure.answer(found, measured)
    assert f"by more than m represented features, {word}: when" in text


def made_up(value=1.0, low=0.9, high=1.0, null=0.1):
    return Measure("made_up", "made up", value, "1", low, high, 64, null)


def found_of(*systems):
    runs = {m: resting([0.2] * 8, [0.2] * 8, [1.0] * 8) for _, m in systems}
    made = tuple(StartScales(k, m, np.arange(4), np.array([1.0, 0.4, 0.2]), (0.001,), (runs[m],)) for k, m in systems)
    times = np.tile([1.0, 2.0, 4.0], (8, 1))
    orders = {
        (way, training): ordered(times)
        for way in ("close-density", "apart-density")
        for training in ("flow", "sgd", "adamw")
        if (way, training) != ("apart-density", "flow")
    }
    return LinearFirstFindings(made, orders, {"adamw": (ensemble(onset(np.zeros((8, 3), int), np.zeros((8, 3)))),)})


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
    assert not _linear_criteria.testable(LinearFirstFindings((), {}, {}))


def test_without_runs_there_are_words_only():
    from tegum.experiments.framework import Findings

    figures = EXPERIMENT.draw({}, Findings((), (), "", LinearFirstFindings((), {}, {}), tested=False))
    assert [figure.axes for figure in figures] == [[], [], []]
    assert figures[0].texts[0].get_text().startswith("Not tested: some ensemble has fewer than 4 runs")


def test_one_seed_is_not_tested(monkeypatch):

    few = found_of((2, 4))
    found = dataclasses.replace(few, orders={("close-density", "sgd"): ordered(np.array([[1.0, 2.0, 4.0]]))})
    monkeypatch.setattr("tegum.experiments.linear_first.findings.found_in", lambda _: found)
    findings = EXPERIMENT.analyse({})
    assert not findings.tested
    assert "fewer than 4 runs" in findings.caption[0]


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
    runs = resting([0.2, 0.2, 0.3, 0.4], [0.2, 0.2, 0.3, 0.4], [1.0, 1.0, -0.9, 1.0])
    later = dataclasses.replace(runs, first=(None,) * 4, purest=(-1,) * 4)
    system = StartScales(2, 4, np.arange(4), runs.losses, (0.001, 0.1, np.nan), (runs, later, later))
    text = _linear_figure.failures(LinearFirstFindings((system,), {}, {}))
    assert "m = 2k: 2 linear of full rank, 1 linear of lower rank, 1 antipodal sets. With" in text
    shares = by_key(_linear_measures._of_systems(LinearFirstFindings((system,), {}, {})))
    assert shares["sets_2_4.instead_antipodal"].value == 0.25
    assert shares["sets_2_4.first_plateau_at_full_rank"].value == 0.5
    assert "0 antipodal sets, 0 other, 4 none" in (shares["sets_2_4.start_0_1.first_plateau_at_full_rank"].meaning)
