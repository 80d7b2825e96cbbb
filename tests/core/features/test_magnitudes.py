"""Laws of magnitude: their moments, samples and characteristic functions, beside those of SciPy; what refuses them."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
import scipy.integrate
import scipy.stats
from numpy.testing import assert_allclose, assert_array_equal

import tegum as tg
from tegum.core.loss.sample_spread import sample_active
from tegum.core.population.evaluate import evaluate

BATCH = 1_000_000

LAWS: dict[str, tuple[tg.Magnitude, Any]] = {
    "unit": (tg.UniformMagnitude(), scipy.stats.uniform()),
    "range": (tg.UniformMagnitude(0.5, 2), scipy.stats.uniform(0.5, 1.5)),
    "wide": (tg.UniformMagnitude(0, 30), scipy.stats.uniform(0, 30)),
    "constant": (tg.ConstantMagnitude(2), None),
    "half-normal": (tg.HalfNormalMagnitude(1.5), scipy.stats.halfnorm(scale=1.5)),
}

P = 0.3

OWN_KINDS: list[tuple[dict[str, Any], float, float]] = [
    ({"kind": "independent", "count": 3, "density": P}, P, P * P),
    ({"kind": "correlated", "size": 3, "density": P}, P, P),
    ({"kind": "anticorrelated", "size": 3, "density": P}, P / 3, 0.0),
    ({"kind": "partially-correlated", "size": 3, "density": P, "strength": 0.25}, P, 0.25 * P + 0.75 * P * P),
]
"""A description of each gated kind, P(i active) and P(i and j active)."""

OF_LAWS = pytest.mark.parametrize(("law", "truth"), LAWS.values(), ids=LAWS)


def moments(truth: Any) -> tuple[float, float]:
    """E[a] and E[a²]; None is the constant 2."""
    return (2.0, 4.0) if truth is None else (truth.mean(), truth.moment(2))


def known(law: tg.Magnitude, truth: Any) -> tuple[tg.FeatureDistribution, np.ndarray, np.ndarray]:
    """All kinds of set side by side, with their mean and second moments as gates and law give them."""
    mean, square = moments(truth)
    features = tg.FeatureDistribution([values | {"magnitude": law} for values, _, _ in OWN_KINDS])
    first = np.repeat([alone * mean for _, alone, _ in OWN_KINDS], 3)
    second = np.outer(first, first)
    for number, (_, alone, both) in enumerate(OWN_KINDS):
        block = np.full((3, 3), both * mean**2)
        np.fill_diagonal(block, alone * square)
        second[3 * number : 3 * number + 3, 3 * number : 3 * number + 3] = block
    return features, first, second


@OF_LAWS
def test_moments_are_those_of_gate_and_law(law, truth):
    features, first, second = known(law, truth)
    assert_allclose(features.first_moment(), first, rtol=1e-12)
    assert_allclose(features.second_moment(), second, rtol=1e-12)


@OF_LAWS
def test_a_million_samples_have_these_moments(law, truth):
    features, first, second = known(law, truth)
    x = features.sample(5, BATCH)
    found = x.T @ x / BATCH
    spread = np.sqrt(np.maximum((x**2).T @ x**2 / BATCH - found**2, 1e-12) / BATCH)
    z_first = (x.mean(0) - first) / (x.std(0) / np.sqrt(BATCH))
    # Bonferroni at 1e-6 over all comparisons.
    bound = scipy.stats.norm.isf(1e-6 / (2 * (second.size + first.size)))
    assert np.abs(z_first).max() < bound
    assert np.abs((found - second) / spread).max() < bound


@OF_LAWS
def test_active_magnitudes_are_of_the_law(law, truth):
    features = tg.FeatureDistribution([tg.Correlated(2, 0.02, magnitude=law), tg.Anticorrelated(2, 0.5, magnitude=law)])
    given_active, chance = sample_active(features, np.random.default_rng(3), 20_000)
    assert chance == pytest.approx(1 - 0.98 * 0.5)
    for x in (features.sample(1, 20_000), np.asarray(features.sample(jax.random.key(1), 20_000)), given_active):
        active = x[x > 0]
        if truth is None:
            assert set(active.tolist()) == {2.0}
        else:
            assert scipy.stats.kstest(active, truth.cdf).pvalue > 1e-4
            assert active.min() >= law.support[0]
            assert active.max() <= law.support[1]


@OF_LAWS
def test_a_magnitude_is_the_quantile_of_its_uniform(law, truth):
    u = np.linspace(0.001, 0.999, 999)
    if truth is not None:
        assert_allclose(law.drawn(u), truth.ppf(u), rtol=1e-12)
    single = np.asarray(law.drawn(jax.numpy.asarray(u, "f")))
    assert_allclose(single, law.drawn(u.astype("f")), rtol=2e-6)
    assert single.dtype == law.drawn(u.astype("f")).dtype == np.float32


def test_rounding_makes_no_magnitude_infinite():
    for one in (np.ones(1), np.ones(1, "f"), jax.numpy.ones(1, "f")):
        assert 5 < tg.HalfNormalMagnitude().drawn(one)[0] < 9


@OF_LAWS
def test_characteristic_functions_are_the_fourier_transform(law, truth):
    s = np.array([-2.0, 0.0, 0.01, 0.7, 11.0])
    if truth is None:
        by_integral = np.exp(2j * s)
    else:
        least, largest = truth.support()
        most = min(largest, 60.0)

        def part(turn: Any, at: float) -> float:
            return scipy.integrate.quad(lambda a: turn(at * a) * truth.pdf(a), least, most, limit=500)[0]

        by_integral = np.array([part(np.cos, each) + 1j * part(np.sin, each) for each in s])
    assert_allclose(law.characteristic(s), by_integral, atol=1e-10)
    # Of a set: a correlated pair is nothing, or both.
    pair = tg.Correlated(2, P, magnitude=law)
    assert_allclose(
        pair.characteristic(np.stack([s, 2 * s], -1)),
        1 - P + P * by_integral * law.characteristic(2 * s),
        atol=1e-10,
    )


class TestTheDefault:
    """Descriptions without a law are what they were before there were laws."""

    def test_is_not_written(self):
        one = tg.Correlated(size=2, density=0.05)
        assert one.model_dump() == {"kind": "correlated", "density": 0.05, "importance": 1.0, "size": 2}
        assert repr(one) == "Correlated(size=2, density=0.05)"
        given = tg.Correlated(size=2, density=0.05, magnitude=tg.UniformMagnitude(0, 1))
        assert one == given
        assert given.model_dump() == one.model_dump()
        assert "magnitude" not in repr(given)
        assert "magnitude" not in given._repr_html_()

    def test_leaves_digests_of_specs_as_they_were(self):
        spec = tg.Spec(features=[tg.Correlated(size=2, density=0.05)] * 3, hidden=2)
        assert "magnitude" not in json.dumps(spec.to_json())
        # As computed when sets had no field for magnitudes.
        assert spec.hash == "bc7fce1ce430de95"

    def test_leaves_samples_as_they_were(self):
        features = tg.FeatureDistribution(
            [tg.Independent(2, [0.2, 1.0]), tg.Anticorrelated(3, 0.4), tg.PartiallyCorrelated(3, 0.3, 0.4)]
        )
        assert hashlib.sha256(features.sample([7, 1], 1000).tobytes()).hexdigest()[:16] == "c0c4fd9fb2794d1b"
        assert hashlib.sha256(features.second_moment().tobytes()).hexdigest()[:16] == "c110588fd74c92a5"


def test_json_and_files_hold_the_law(tmp_path):
    sets = [values | {"magnitude": law} for values, _, _ in OWN_KINDS for law, _ in LAWS.values()]
    features = tg.FeatureDistribution(sets)
    again = tg.FeatureDistribution(json.loads(json.dumps(features.to_json())))
    assert again == features
    assert hash(again) == hash(features)
    assert pickle.loads(pickle.dumps(features)) == features
    text = """
    hidden = 2
    [[features]]
    kind = "correlated"
    size = 2
    density = 0.05
    magnitude = { kind = "half-normal", scale = 0.5 }
    [[features]]
    kind = "independent"
    count = 2
    density = 0.05
    [features.magnitude]
    low = 0.5
    """
    (tmp_path / "spec.toml").write_text(text, encoding="utf-8")
    spec = tg.Spec.from_toml(tmp_path / "spec.toml")
    assert spec.features.sets == (
        tg.Correlated(2, 0.05, magnitude=tg.HalfNormalMagnitude(0.5)),
        tg.Independent(2, 0.05, magnitude=tg.UniformMagnitude(0.5, 1)),
    )
    names = "FeatureDistribution", "Correlated", "Independent", "HalfNormalMagnitude", "UniformMagnitude"
    assert eval(repr(spec.features), {name: getattr(tg, name) for name in names}) == spec.features
    assert tg.Spec.from_json(spec.to_json()) == spec
    assert "HalfNormalMagnitude(scale=0.5)" in spec.features._repr_html_()


def test_overrides_reach_the_law():
    spec = tg.Spec(features=[tg.Correlated(2, 0.05), tg.Independent(3, 0.1)], hidden=2)
    assert spec.override(["features.0.magnitude.high=2"]).features.sets == (
        tg.Correlated(2, 0.05, magnitude=tg.UniformMagnitude(0, 2)),
        tg.Independent(3, 0.1),
    )
    everywhere = spec.override(["features.magnitude.kind=constant", "features.magnitude.value=3"])
    assert [each.magnitude for each in everywhere.features.sets] == [tg.ConstantMagnitude(3)] * 2
    grid = tg.grid(spec, {"features.magnitude.high": [1, 2]})
    assert [each.features.sets[1].magnitude.support for each in grid] == [(0, 1), (0, 2)]
    laws = tg.grid(spec, magnitude=[tg.ConstantMagnitude(2), tg.HalfNormalMagnitude()])
    assert [each.features.sets[0].magnitude.kind for each in laws] == ["constant", "half-normal"]


SET = tg.Independent(2, 0.2, magnitude=tg.UniformMagnitude(0.5, 2))


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: tg.UniformMagnitude(2, 1), r"UniformMagnitude\(low=2.0\): low must lie below high=1.0; Constant"),
        (lambda: tg.UniformMagnitude(1, 1), r"low must lie below high=1.0; ConstantMagnitude is one value"),
        (lambda: tg.UniformMagnitude(-1, 1), r"UniformMagnitude\(low=-1\): low must be a finite number of at least 0"),
        (lambda: tg.ConstantMagnitude(0), r"ConstantMagnitude\(value=0\): value must be a finite number above 0"),
        (
            lambda: tg.ConstantMagnitude(1e10),
            r"value=10000000000\.0\): value must lie between 1e-9 and 1e9, as training",
        ),
        (lambda: tg.HalfNormalMagnitude(np.inf), r"HalfNormalMagnitude\(scale=inf\): scale must be a finite number"),
        (lambda: tg.HalfNormalMagnitude(True), r"HalfNormalMagnitude\(scale=True\): scale must be a finite number"),
        (lambda: tg.Correlated(2, 0.1, magnitude=2), r"Correlated\(magnitude=2\): magnitude must be a law such as Uni"),
        (
            lambda: tg.Correlated(2, 0.1, magnitude={"kind": "halfnormal"}),
            r"Correlated\(magnitude.kind='halfnormal'\): magnitude.kind must be a known kind; did you mean 'half-norm",
        ),
        (
            lambda: tg.Correlated(2, 0.1, magnitude={"hihg": 2}),
            r"Correlated\(magnitude.hihg=2\): there is no key 'magnitude.hihg'; did you mean 'magnitude.high'\?",
        ),
        (
            lambda: tg.Spec(features=[SET], hidden=1).override(["features.magnitude.low=3"]),
            r"Spec\(features.0.magnitude.low=3.0\): features.0.magnitude.low must lie below high=2.0",
        ),
        (lambda: tg.Equivariant(3, 0.1, 1.0, magnitude=tg.UniformMagnitude(0, 2)), r"there is no key 'magnitude'"),
        (
            lambda: tg.Empirical([[1.0, 2.0]], magnitude=tg.UniformMagnitude(0, 2)),
            r"Empirical\(magnitude=.*\): there is no key 'magnitude'",
        ),
    ],
)
def test_says_what_is_wrong(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


W, b = np.full((4, 2), 0.3), np.zeros(4)


def spec(features: tg.FeatureDistribution, **settings: Any) -> tg.Spec:
    return tg.Spec(features=features, hidden=2, seeds=1, **settings)


REFUSED: dict[str, Callable[[tg.FeatureDistribution], Any]] = {
    "population_loss": lambda f: tg.population_loss(W, b, f),
    "population_loss|JAX": lambda f: tg.population_loss(jax.numpy.asarray(W), jax.numpy.asarray(b), f),
    "population_gradient": lambda f: tg.population_gradient(W, b, f),
    "critical_point": lambda f: tg.critical_point(W, b, f),
    "population loss": lambda f: evaluate(W[None], b[None], f),
    "train|Exact": lambda f: tg.train(spec(f, training=tg.Exact(steps=2))),
    "train|Flow": lambda f: tg.train(spec(f, training=tg.Flow(steps=2))),
    "iterate": lambda f: next(tg.iterate(spec(f, training=tg.Exact(steps=2)))),
}
"""What needs the exact loss of a ReLU, by what its sentence begins with."""


@pytest.mark.parametrize("law", ["range", "constant", "half-normal"])
@pytest.mark.parametrize("call", REFUSED)
def test_the_exact_loss_of_a_relu_is_refused(call, law):
    magnitude = LAWS[law][0]
    why = {"constant": "a constant makes outputs take single values"}.get(law, "its series is known for these only")
    for values, _, _ in OWN_KINDS:
        features = tg.FeatureDistribution([tg.Independent(1, 0.1), values | {"magnitude": magnitude}])
        rule = (
            rf"^{call.split('|')[0]}.*features=\[…, .*{type(magnitude).__name__}.*\): magnitudes must be uniform on "
            rf"\[0, high\], with one high for all sets, for the population loss of a ReLU, as {why}.*; train with "
            "Sampled, and use empirical_loss on samples"
        )
        with pytest.raises(ValueError, match=rule):
            REFUSED[call](features)


@OF_LAWS
def test_the_linear_model_needs_moments_only(law, truth):
    """x̂ = W Wᵀ x + b, worked out by hand: E|x̂ − x|² = tr(M E[xxᵀ] Mᵀ) + 2 bᵀ M E[x] + |b|², with M = W Wᵀ − 1."""
    features = tg.FeatureDistribution([tg.Correlated(3, P, magnitude=law), tg.Independent(1, 0.2, magnitude=law)])
    mean, square = moments(truth)
    p = np.array([P] * 3 + [0.2])
    second = np.outer(p, p) * mean**2
    second[:3, :3] = P * mean**2
    np.fill_diagonal(second, p * square)
    rng = np.random.default_rng(0)
    W, b = rng.normal(size=(4, 2)) / 2, rng.normal(size=4) / 5
    M = W @ W.T - np.eye(4)
    by_hand = np.trace(M @ second @ M.T) + 2 * b @ M @ (p * mean) + b @ b
    assert tg.population_loss(W, b, features, activation="linear") == pytest.approx(by_hand, rel=1e-10)
    dW, db = tg.population_gradient(W, b, features, activation="linear")
    assert_allclose(db, 2 * (M @ (p * mean) + b), rtol=1e-8, atol=1e-10)
    steps = np.zeros_like(W)
    steps[1, 0] = 1e-5
    ends = [tg.population_loss(W + sign * steps, b, features, activation="linear") for sign in (1, -1)]
    assert dW[1, 0] == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-5)
    # The best linear model of rank 4 has no loss; of rank 2, the two least eigenvalues of the covariance.
    values = np.linalg.eigvalsh(second - np.outer(p, p) * mean**2)
    assert tg.linear_optimum(features, 2).loss == pytest.approx(values[:2].sum(), rel=1e-9)


def test_a_table_stands_for_the_usual_magnitudes():
    features = tg.FeatureDistribution([tg.Correlated(2, 0.1, magnitude=tg.UniformMagnitude(0, 2))])
    assert features.gated
    with pytest.raises(ValueError, match=r"UniformMagnitude\(high=2.0\)\): a mixture table stands for magnitudes that"):
        list(features.tables())


def test_where_a_set_is_active_does_not_depend_on_the_law():
    """Of a correlated pair, given that it is active: mean and covariance of two magnitudes."""
    features = tg.FeatureDistribution([tg.Correlated(2, 0.1, magnitude=tg.HalfNormalMagnitude(3))])
    mean, covariance = tg.local_moments(features, 0)
    truth = scipy.stats.halfnorm(scale=3)
    assert_allclose(mean, [truth.mean()] * 2, rtol=1e-12)
    assert_allclose(covariance, np.eye(2) * truth.var(), rtol=1e-9, atol=1e-12)


def test_dead_outputs_go_by_the_largest_magnitude():
    import xarray as xr

    coords = {"seed": [0], "step": [0], "feature": [0, 1]}
    weights = xr.DataArray(np.ones((1, 1, 2, 1)), coords, ("seed", "step", "feature", "hidden"))
    bias = xr.DataArray(np.full((1, 1, 2), -3.0), coords, ("seed", "step", "feature"))

    def dead(law: tg.Magnitude) -> bool:
        return bool(
            tg.dead_outputs(weights, bias, tg.FeatureDistribution([tg.Independent(2, 0.9, magnitude=law)])).all()
        )

    # z = x₀ + x₁ − 3 is at most 2 h − 3, and with one active feature at most h − 3.
    assert dead(tg.UniformMagnitude(0, 1.49))
    assert not dead(tg.UniformMagnitude(0, 3.01))
    assert not dead(tg.ConstantMagnitude(2))
    with pytest.raises(ValueError, match=r"dead_outputs\(features=.*HalfNormal.*must have a largest value"):
        dead(tg.HalfNormalMagnitude())
    rows = tg.FeatureDistribution([tg.Empirical([[0.0, 4.0], [1.0, 0.0]])])
    assert not tg.dead_outputs(weights, bias, rows).any()


def test_a_law_of_ones_own():
    class Ramp(tg.Magnitude):
        """The density 2a on [0, 1]."""

        kind = "ramp"  # not as an argument of the class, which would add it to the kinds of all tests

        @property
        def support(self):
            return 0.0, 1.0

        def moments(self, active=1.0):
            return active * 2 / 3, active / 2

        def drawn(self, u):
            return u**0.5

    one = tg.Correlated(2, 0.3, magnitude=Ramp())
    x = tg.FeatureDistribution([one]).sample(0, BATCH)
    second = x.T @ x / BATCH
    assert_allclose(second, one.second_moment(), rtol=0.01)
    assert_array_equal(one.second_moment(), [[0.15, 0.3 * (2 / 3) ** 2], [0.3 * (2 / 3) ** 2, 0.15]])
    with pytest.raises(ValueError, match=r"Ramp\(\).characteristic\(.*\): this law has none in closed form"):
        one.characteristic(np.zeros(2))
