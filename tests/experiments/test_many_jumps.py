import json

import numpy as np
import pytest
from result_files import beside_runs

import tegum as tg
from tegum import experiments
from tegum.analysis.dynamics.levels import find_jumps
from tegum.experiments.reporting import by_key
from tegum.figures.style import rendered

EXPERIMENT = experiments.get("many-jumps")


@pytest.fixture(scope="module")
def quick(run_quick):
    """The quick form, run and analysed once for all tests of this file: its summary, its files and what was found."""
    summary, out, findings = run_quick(EXPERIMENT)
    return summary, out, findings.shown


def measured(summary):
    return by_key(summary.measures)


def test_it_writes_its_files_and_holds_in_part(quick):
    summary, out, found = quick
    files = {f"run-{n}.zarr" for n in (20, 40, 80)} | beside_runs(EXPERIMENT)
    assert {path.name for path in out.iterdir()} == files
    assert json.loads((out / "summary.json").read_text())["verdict"] == summary.verdict == "holds in part"
    assert {criterion.key: criterion.passed for criterion in summary.criteria} == {
        "own_jumps_hold_decrease": False,
        "falls_with_rises": False,
        "sum_of_own_jumps_predicts_falls": True,
        "apart_from_course": True,
        "part_of_made": False,
        "own_jumps_remove_error": False,
    }
    assert [len(each.courses) for each in found] == [12, 12, 12]


def test_the_numbers_are_those_of_the_trajectories(quick):
    summary, out, _ = quick
    run = tg.load(out / "run-80.zarr")
    jumps = find_jumps(tg.dimensionality(run.weights), height=0.1, rest=100, longest=1_000)
    assert measured(summary)["n80.jumps_per_run"].value == pytest.approx(len(jumps) / 12)
    inside = total = 0.0
    for seed in range(12):
        loss, step = run.loss.sel(seed=seed).values, run.step.values
        for k in range(len(step) - 1):
            if step[k] >= 100:
                total += loss[k] - loss[k + 1]
                middle = (step[k] + step[k + 1]) / 2
                if any(jump.seed == seed and jump.start < middle < jump.end for jump in jumps):
                    inside += loss[k] - loss[k + 1]
    assert measured(summary)["n80.decrease_inside_jumps"].value == pytest.approx(inside / total)


def test_the_nulls_are_those_of_the_trajectories(quick):
    _, _, found = quick
    largest = found[-1]
    falls = np.array([course.fall for course in largest.courses])
    covered = np.array([course.under_way > 0 for course in largest.courses])
    inside = np.array([[fall[cover].sum() for cover in covered] for fall in falls])
    apart = ~np.eye(12, dtype=bool)
    others = inside[apart].sum() / 11 / falls.sum()
    assert largest.inside.others == pytest.approx(others)
    assert largest.measures.share.others.mean() == pytest.approx(others)
    assert largest.measures.share.own.mean() == pytest.approx(largest.inside.share)
    assert largest.measures.share.excess.mean() == pytest.approx(largest.inside.share - others)


def test_the_number_of_features_is_told_with_its_sign(quick):
    summary, out, _ = quick
    run = tg.load(out / "run-80.zarr")
    later = run.sel(step=slice(100, None))
    number = (np.sqrt(np.square(later.weights).sum("hidden")) >= 0.5).sum("feature").transpose("seed", "step").values
    loss = later.loss.transpose("seed", "step").values
    expected = np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(loss, number, strict=True)])
    numbers = measured(summary)
    assert numbers["n80.correlation_of_loss_with_represented_features"].value == pytest.approx(expected)
    assert numbers["n80.represented_features_at_last"].value == pytest.approx(number[:, -1].mean())


def test_larger_models_have_more_jumps_at_once_but_not_for_each_feature(quick):
    numbers = measured(quick[0])
    for key in ("jumps_per_run", "jumps_at_once", "decrease_inside_jumps"):
        values = [numbers[f"n{n}.{key}"].value for n in (20, 40, 80)]
        assert values == sorted(values)
    # The most that can be represented in digons is 2 m, of 10 m features: each comes or goes about once.
    for n in (20, 40, 80):
        assert numbers[f"n{n}.jumps_per_feature"].value == pytest.approx(numbers[f"n{n}.jumps_per_run"].value / n)
        assert 0.05 < numbers[f"n{n}.jumps_per_feature"].value < 0.2


@pytest.mark.parametrize("seeds", [0, 1, 2])
def test_too_few_runs_test_nothing_and_are_drawn_nevertheless(quick, seeds):
    _, out, _ = quick
    runs = {f"run-{n}": tg.load(out / f"run-{n}.zarr") for n in (20, 40, 80)}
    if seeds:
        runs = {name: run.isel(seed=slice(0, seeds)) for name, run in runs.items()}
    else:
        runs = {name: run.assign(result=("seed", np.full(12, "diverged"))) for name, run in runs.items()}
    findings = EXPERIMENT.analyse(runs)
    assert not findings.tested
    for figure in EXPERIMENT.draw(runs, findings):
        assert rendered(figure, "png").startswith(b"\x89PNG")
    if seeds < 2:
        assert findings.caption[0] == "No size has two runs that trained to their end."


def test_the_largest_size_alone_decides(quick):
    _, out, found = quick
    runs = {f"run-{n}": tg.load(out / f"run-{n}.zarr") for n in (20, 40, 80)}
    runs["run-20"] = runs["run-20"].assign(result=("seed", np.full(12, "diverged")))
    runs["run-40"] = runs["run-40"].isel(seed=slice(0, 2))
    findings = EXPERIMENT.analyse(runs)
    assert findings.tested
    assert len(findings.shown) == 2
    assert findings.shown[-1].measures.share.p == found[-1].measures.share.p
    runs["run-80"] = runs["run-80"].assign(result=("seed", np.full(12, "diverged")))
    assert not EXPERIMENT.analyse(runs).tested
