import json

import numpy as np
import pytest
from result_files import beside_runs

import tegum as tg
from tegum import experiments
from tegum.experiments.reporting import by_key

EXPERIMENT = experiments.get("exact-vs-sampled")
NAMES = ["sets-sampled", "sets-exact", "independent-sampled", "independent-exact"]


@pytest.fixture(scope="module")
def quick(run_quick):
    """The quick form, run and analysed once for all tests of this file: its summary, its files and what was found."""
    return run_quick(EXPERIMENT)


def test_it_writes_its_files_and_its_verdict(quick):
    summary, out, _ = quick
    files = {f"{name}.zarr" for name in NAMES} | beside_runs(EXPERIMENT)
    assert {path.name for path in out.iterdir()} == files
    assert json.loads((out / "summary.json").read_text())["verdict"] == summary.verdict == "holds in part"
    # Three runs are too few to tell the noise of the independent system from other starts; the default's 16 are enough.
    assert {criterion.key: criterion.passed for criterion in summary.criteria} == {
        "sets.plateaus_at_saddles": True,
        "sets.nearer_to_own_twin": True,
        "independent.plateaus_at_saddles": True,
        "independent.nearer_to_own_twin": False,
    }


def test_the_first_plateau_is_at_the_origin_and_a_later_one_at_the_linear_solution(quick):
    _, out, findings = quick
    sets, independent = findings.shown
    for pairs in findings.shown:
        for seed in pairs.seeds:
            first = pairs.of(seed)[0]
            # W = 0, b = E x: all outputs are constant and every direction of W lowers the loss, n m of them; the loss
            # is the sum of variances, p/3 − p²/4 each.
            assert np.abs(first.point.weights).max() < 1e-6
            assert first.point.loss == pytest.approx(6 * (0.05 / 3 - 0.05**2 / 4), abs=1e-9)
            assert first.point.index == 18
    linear = [plateau for seed in sets.seeds for plateau in sets.of(seed) if abs(plateau.point.loss - 1 / 60) < 1e-6]
    # Each set on its first principal component, three equal features that share one direction: what remains is the
    # variance within a set, two thirds of three times p (1/3 − 1/4), for each of two sets: 1/60.
    assert [plateau.seed for plateau in linear] == list(sets.seeds)
    assert all(plateau.point.unstable and plateau.near for plateau in linear)
    # Three digons: the octahedron.
    final = tg.load(out / "independent-exact.zarr").weights.isel(step=-1)
    assert all(tg.name_polytope(final.isel(seed=seed)).name == "octahedron" for seed in range(3))
    assert independent.sampled.shape == independent.twin.shape == (3, len(independent.steps))


def test_the_twin_is_the_same_training_without_noise(quick):
    _, out, _ = quick
    sampled, exact = (tg.load(out / f"sets-{kind}.zarr") for kind in ("sampled", "exact"))
    np.testing.assert_array_equal(sampled.weights.isel(step=0), exact.weights.isel(step=0))
    np.testing.assert_array_equal(sampled.step, exact.step)
    early = exact.step.values <= 30
    apart = np.abs(sampled.weights - exact.weights).values[:, early].max(1)
    # Adam steps by signs: where a gradient is next to nothing noise decides, and one feature of a run goes another way.
    assert (apart < 0.01).mean() > 0.9


def test_the_verdict_follows_from_the_measures(quick):
    summary, _, _ = quick
    measures = by_key(summary.measures)
    passed = {criterion.key: criterion.passed for criterion in summary.criteria}
    for name in ("sets", "independent"):
        saddles, distance = measures[f"{name}.escaped_plateaus_at_saddles"], measures[f"{name}.distance_to_twin"]
        assert passed[f"{name}.plateaus_at_saddles"] == (saddles.low > saddles.null)
        assert passed[f"{name}.nearer_to_own_twin"] == (distance.high < distance.null)
        assert measures[f"{name}.runs"].value == 3
