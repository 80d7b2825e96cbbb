import json

import numpy as np
import pytest
from result_files import beside_runs

import tegum as tg
from tegum import experiments
from tegum.experiments.pair.findings import covariance, second_share, variance
from tegum.experiments.reporting import by_key

EXPERIMENT = experiments.get("pair")
NAMES = ["angle", "impact", "room-1", "room-2", "room-3"]


@pytest.fixture(scope="module")
def quick(run_quick):
    """The quick form, run and analysed once for all tests of this file: its summary, its files and what was found."""
    summary, out, findings = run_quick(EXPERIMENT)
    return summary, out, findings.shown


def test_it_writes_its_files_and_holds(quick):
    summary, out, _ = quick
    files = {f"{name}.zarr" for name in NAMES} | beside_runs(EXPERIMENT)
    assert {path.name for path in out.iterdir()} == files
    assert json.loads((out / "summary.json").read_text())["verdict"] == summary.verdict == "holds"
    assert {each.key: each.passed for each in summary.criteria} == {
        "principal_component_when_correlated": True,
        "principal_component_lowers_loss_more": True,
        "no_principal_component_without_correlation": True,
        "second_component_ignored_when_dense": True,
    }


@pytest.mark.parametrize("p", [0.01, 0.3, 0.95])
def test_the_closed_forms_are_the_exact_losses(p):
    features = tg.FeatureDistribution([tg.Correlated(2, density=p)])
    v, c = variance(np.array([p]))[0], covariance(np.array([p]))[0]
    np.testing.assert_allclose(features.covariance(), [[v, c], [c, v]], rtol=1e-12)
    mean = p / 2
    models = {
        2 * v: (np.zeros((2, 1)), [mean, mean]),
        v: ([[1.0], [0.0]], [0.0, mean]),
        p / 12: ([[0.5**0.5], [0.5**0.5]], [0.0, 0.0]),
    }
    for loss, (weights, bias) in models.items():
        assert tg.population_loss(np.array(weights), np.array(bias), features, tol=1e-11) == pytest.approx(
            loss, rel=1e-8
        )
    assert 2 * v - p / 12 == pytest.approx(v + c, rel=1e-12)


def test_the_reductions_found_are_the_closed_forms(quick):
    _, _, found = quick
    p = found.along
    np.testing.assert_allclose(2 * variance(p) - found.symmetric[0], variance(p) + covariance(p), rtol=1e-6)
    np.testing.assert_allclose(found.losses[:, -1], p / 12, rtol=1e-6)
    ratios = [by_key(quick[0].measures)[f"{name}_ratio_of_reductions"].value for name in ("least", "largest")]
    assert 1 < ratios[0] < ratios[1] < 7 / 4


def test_where_the_principal_component_begins_two_solutions_cost_the_same(quick):
    _, _, found = quick
    # In the sparse limit a perfect digon leaves ρ/3 of the density, and the principal component 1/3 − ρ/4 at most.
    sparse = found.principal[0]
    assert sparse.at == found.densities[0]
    assert sparse.jump
    assert sparse.there.value == pytest.approx(4 / 7, abs=0.02)
    for begin in found.principal:
        assert begin.there.confirmed
        features = tg.FeatureDistribution([tg.PartiallyCorrelated(2, begin.at, begin.there.value)])
        both = [
            float(tg.population_loss(each.weights, each.bias, features, tol=1e-9))
            for each in (begin.there.low, begin.there.high)
        ]
        assert both[0] == pytest.approx(both[1], rel=1e-5)


def test_the_second_component_comes_with_superposition(quick):
    _, _, found = quick
    assert [begin.at for begin in found.second] == [1, 2, 3]
    ends = [begin.there.value for begin in found.second]
    # The more compete, the sparser they must be.
    assert ends == sorted(ends, reverse=True)
    assert all(begin.there.confirmed for begin in found.second)
    # Beside one other and dense: the pair on one axis, the other feature on the other, and p/12 is left.
    run = tg.load(quick[1] / "room-1.zarr").isel(step=-1)
    assert float(run.loss.isel(spec=-1).min()) == pytest.approx(0.95 / 12, rel=1e-6)


def test_shares_of_the_second_component():
    assert second_share(np.array([[1.0, 0.0], [0.0, 1.0]])) == pytest.approx(1)
    assert second_share(np.array([[0.7, 0.1], [0.7, 0.1]])) == 0
    assert second_share(np.array([[1.0, 0.0], [-1.0, 0.0]])) == np.inf
