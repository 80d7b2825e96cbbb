import json

import numpy as np
import pytest
import xarray as xr

import tegum as tg
from tegum import experiments
from tegum.analysis.levels import Jump, find_jumps
from tegum.analysis.statistics import bootstrap_mean
from tegum.experiments._small_jumps import correlation, error, progress, sized, together
from tegum.experiments.many_jumps import REMOVED

EXPERIMENT = experiments.get("many-jumps")

STEP = np.arange(0, 4001, 20)


@pytest.fixture(scope="module")
def quick(run_quick):
    """The quick form, run and analysed once for all tests of this file: its summary, its files and what was found."""
    summary, out, findings = run_quick(EXPERIMENT)
    return summary, out, findings.shown


def measured(summary):
    return {measure.name: measure for measure in summary.measures}


def rise(times, length=200.0):
    """Smooth steps from 0 to 1 around some times, of shape (time, step)."""
    return 1 / (1 + np.exp(-(STEP - np.asarray(times)[:, None]) / (length / 10)))


def planted(owed, runs=10, pairs=6, key=0):
    """Runs of digons, each in a dimension of its own, whose second feature comes at a random time.

    The loss is a course that is common to all runs, and `owed` for each feature that has come.
    """
    rng = np.random.default_rng(key)
    weights = np.zeros((runs, len(STEP), 2 * pairs, pairs))
    loss = np.zeros((runs, len(STEP)))
    for run in range(runs):
        times = rng.uniform(500, 3500, pairs)
        # A digon of lengths 1 and r has the dimensionalities 1/(1 + r²) and r²/(1 + r²).
        lengths = np.sqrt(rise(times))
        for pair in range(pairs):
            weights[run, :, 2 * pair, pair] = 1
            weights[run, :, 2 * pair + 1, pair] = -lengths[pair]
        loss[run] = 1 + np.exp(-STEP / 1500) + owed * (1 - rise(times)).sum(0)
    return xr.Dataset(
        {
            "weights": (("seed", "step", "feature", "hidden"), weights),
            "loss": (("seed", "step"), loss + 1e-5 * rng.standard_normal(loss.shape)),
            "result": ("seed", np.full(runs, "completed")),
        },
        coords={"seed": np.arange(runs), "step": STEP, "feature": np.arange(2 * pairs)},
    )


def test_it_writes_its_files_and_holds_in_part(quick):
    summary, out, found = quick
    files = {f"run-{n}.zarr" for n in (20, 40, 80)} | {"many-jumps.png", "many-jumps.svg", "summary.json"}
    assert {path.name for path in out.iterdir()} == files
    assert json.loads((out / "summary.json").read_text())["verdict"] == summary.verdict == "holds in part"
    assert [criterion.passed for criterion in summary.criteria] == [True, True, False, False, False, False]
    assert [len(each.courses) for each in found] == [12, 12, 12]


def test_the_numbers_are_those_of_the_trajectories(quick):
    summary, out, _ = quick
    run = tg.load(out / "run-80.zarr")
    jumps = find_jumps(tg.dimensionality(run.weights), height=0.1, rest=100, longest=1_000)
    assert measured(summary)["jumps per run, n = 80"].value == pytest.approx(len(jumps) / 12)
    inside = total = 0.0
    for seed in range(12):
        loss, step = run.loss.sel(seed=seed).values, run.step.values
        for k in range(len(step) - 1):
            if step[k] >= 100:
                total += loss[k] - loss[k + 1]
                middle = (step[k] + step[k + 1]) / 2
                if any(jump.seed == seed and jump.start < middle < jump.end for jump in jumps):
                    inside += loss[k] - loss[k + 1]
    assert measured(summary)["decrease inside jumps, n = 80"].value == pytest.approx(inside / total)


def test_larger_models_have_more_jumps_at_once_and_smoother_courses(quick):
    numbers = measured(quick[0])
    for name in ("jumps per run", "jumps at once", "decrease inside jumps"):
        values = [numbers[f"{name}, n = {n}"].value for n in (20, 40, 80)]
        assert values == sorted(values)
    # The most that can be represented in digons is 2 m, of 10 m features: each comes or goes about once.
    assert 1 < numbers["jumps per run, n = 20"].value < 4


def test_planted_jumps_explain_what_is_their_own():
    found = sized(planted(0.1), 100, 1_000, 0.1)
    assert found is not None
    # Each pair has one feature that rises, and one that falls with it.
    assert np.mean([len(course.jumps) for course in found.courses]) > 8
    assert found.inside.p < 0.01
    assert bootstrap_mean(found.share.excess)[0] > 0.1
    assert bootstrap_mean(found.sums.excess)[0] > 0.2
    assert bootstrap_mean(found.change.excess)[0] > 0.2
    assert bootstrap_mean(found.explained.own)[0] > REMOVED
    assert found.explained.others.mean() < 0.1


def test_jumps_without_a_part_in_the_loss_explain_nothing():
    found = sized(planted(0.0), 100, 1_000, 0.1)
    assert found is not None
    assert np.mean([len(course.jumps) for course in found.courses]) > 8
    assert found.inside.p > 0.05
    assert found.course.mean() > 0.8
    for compared in (found.share, found.change, found.sums, found.explained):
        low, high = bootstrap_mean(compared.excess)
        assert low < 0.02
        assert high > -0.02
    assert bootstrap_mean(found.explained.own)[1] < REMOVED / 2


def test_runs_that_end_early_or_do_not_learn_are_left_out():
    run = planted(0.1, runs=3)
    run["result"].values[0] = "diverged"
    found = sized(run, 100, 1_000, 0.1)
    assert found is not None
    assert len(found.courses) == 2
    run["loss"].values[1] = 1.0
    assert sized(run, 100, 1_000, 0.1) is None


def test_the_progress_of_a_jump():
    step = np.arange(0, 100, 10)
    jump = Jump(0, 0, 20, 60, 0.2, 0.6)
    values = np.array([0.2, 0.21, 0.2, 0.3, 0.5, 0.4, 0.6, 0.61, 0.6, 0.5])
    # A step back on the way does not count.
    np.testing.assert_allclose(progress(values, step, jump), [0, 0, 0.25, 0.5, 0, 0.25, 0, 0, 0], atol=1e-12)
    falling = Jump(0, 0, 20, 60, 0.6, 0.2)
    np.testing.assert_allclose(progress(0.8 - values, step, falling), progress(values, step, jump), atol=1e-12)


def test_the_error_of_a_sum():
    rng = np.random.default_rng(0)
    columns = np.abs(rng.standard_normal((100, 3)))
    fall = 0.3 + columns @ np.array([2.0, 0.0, 0.5])
    assert error(fall, columns, 5) < 1e-18
    assert error(np.full(100, 0.2), np.zeros((100, 0)), 5) < 1e-18
    # A jump cannot raise the loss.
    constant = error(0.3 - columns[:, 0], np.zeros((100, 0)), 5)
    assert error(0.3 - columns[:, 0], columns[:, :1], 5) == pytest.approx(constant, rel=0.1)


def test_correlations_and_sums_over_stretches():
    one, other = np.random.default_rng(1).standard_normal((2, 50))
    assert correlation(one, other) == pytest.approx(np.corrcoef(one, other)[0, 1])
    assert correlation(one, np.ones(50)) == 0
    np.testing.assert_allclose(together(np.arange(7.0)[None], 3), [[3, 12]])


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        (["snapshots.spacing=logarithmic"], "snapshots.spacing must be 'linear'"),
        (["features.count=30"], "numbers of features must rise"),
        (["training.steps=500"], "training.steps must be at least 1000"),
        (["training.kind=flow"], "each training must keep its kind"),
    ],
)
def test_changes_that_break_the_grid_are_refused(tmp_path, changes, rule):
    with pytest.raises(ValueError, match=rule):
        EXPERIMENT.run(tmp_path / "new", size="quick", changes=changes)
    assert not (tmp_path / "new").exists()
