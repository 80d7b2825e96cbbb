"""Feature distributions: samples agree with the exact moments, and these with moments derived by hand."""

from __future__ import annotations

import inspect
import json
import pickle
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import jax
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from tegum.core.features.distribution import FeatureDistribution
from tegum.core.features.sets import (
    Anticorrelated,
    Correlated,
    Equivariant,
    FeatureSet,
    GatedSet,
    Independent,
    PartiallyCorrelated,
)
from tegum.core.features.tables import MixtureTable
from tegum.core.loss.population import population_loss
from tegum.training.engine import train
from tegum.training.spec.methods import Sampled
from tegum.training.spec.spec import Spec

BATCH = 100_000

# Under the jaxtyping import hook an argument of a wrong type never reaches the function's own check.
sample_unchecked = inspect.unwrap(FeatureDistribution.sample)


# Co-activation probabilities by hand: what each kind promises in words, not its mixture table


def together_independent(p: list[float]) -> np.ndarray:
    """P(i and j active) = p_i p_j; P(i active) = p_i on the diagonal."""
    return np.array([[p[i] if i == j else p[i] * p[j] for j in range(len(p))] for i in range(len(p))])


def together_correlated(p: list[float]) -> np.ndarray:
    """One threshold u is shared: i and j are active when u < min(p_i, p_j)."""
    return np.array([[min(p[i], p[j]) for j in range(len(p))] for i in range(len(p))])


def together_anticorrelated(p: list[float]) -> np.ndarray:
    """Member i is chosen with probability 1/k, then gated by p_i; two are never active together."""
    return np.diag([p_i / len(p) for p_i in p])


def together_partial(p: list[float], strength: float) -> np.ndarray:
    return strength * together_correlated(p) + (1 - strength) * together_independent(p)


@dataclass(frozen=True)
class Known:
    """A distribution with its co-activation probabilities set by set, derived by hand."""

    sets: list[FeatureSet]
    blocks: list[np.ndarray]
    features: FeatureDistribution = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "features", FeatureDistribution(self.sets))

    @property
    def together(self) -> np.ndarray:
        """P(i and j active), P(i active) on the diagonal; sets are independent."""
        active = np.concatenate([np.diag(block) for block in self.blocks])
        together = np.outer(active, active)
        end = 0
        for block in self.blocks:
            start, end = end, end + len(block)
            together[start:end, start:end] = block
        return together

    @property
    def first(self) -> np.ndarray:
        """E[x_i] = P(i) E[U]."""
        return np.diag(self.together) / 2

    @property
    def second(self) -> np.ndarray:
        """E[x_i x_j] = P(i, j) E[U]², E[x_i²] = P(i) E[U²]."""
        return self.moment_of_products(1)

    def moment_of_products(self, power: int) -> np.ndarray:
        """E[(x_i x_j)^power], from E[U^a] = 1/(a + 1)."""
        n = len(self.together)
        return self.together * np.where(np.eye(n, dtype=bool), 1 / (2 * power + 1), 1 / (power + 1) ** 2)

    def reordered(self, order: list[int]) -> Known:
        return Known([self.sets[i] for i in order], [self.blocks[i] for i in order])


UNEQUAL = [0.05, 0.3, 0.12, 0.3]

KNOWN = {
    "independent": Known([Independent(5, 0.1)], [together_independent([0.1] * 5)]),
    "independent, unequal": Known([Independent(4, UNEQUAL)], [together_independent(UNEQUAL)]),
    "correlated": Known([Correlated(3, 0.05)], [together_correlated([0.05] * 3)]),
    "correlated, unequal": Known([Correlated(4, UNEQUAL)], [together_correlated(UNEQUAL)]),
    "anticorrelated": Known([Anticorrelated(4, 0.4)], [together_anticorrelated([0.4] * 4)]),
    "anticorrelated, unequal": Known([Anticorrelated(4, UNEQUAL)], [together_anticorrelated(UNEQUAL)]),
    "anticorrelated, always one": Known([Anticorrelated(3, 1.0)], [together_anticorrelated([1.0] * 3)]),
    "partial": Known([PartiallyCorrelated(3, 0.2, 0.6)], [together_partial([0.2] * 3, 0.6)]),
    "partial, unequal": Known([PartiallyCorrelated(4, UNEQUAL, 0.3)], [together_partial(UNEQUAL, 0.3)]),
    "always active": Known([Independent(2, 1.0), Correlated(2, 1.0)], [np.ones((2, 2))] * 2),
    "mixed": Known(
        [
            Correlated(2, 0.1),
            Anticorrelated(3, [0.9, 0.3, 0.6]),
            Independent(2, [0.05, 0.5]),
            PartiallyCorrelated(2, [0.2, 0.4], 0.5),
            Correlated(3, [1.0, 0.25, 0.5]),
        ],
        [
            together_correlated([0.1, 0.1]),
            together_anticorrelated([0.9, 0.3, 0.6]),
            together_independent([0.05, 0.5]),
            together_partial([0.2, 0.4], 0.5),
            together_correlated([1.0, 0.25, 0.5]),
        ],
    ),
}

each_known = pytest.mark.parametrize("known", KNOWN.values(), ids=KNOWN.keys())


def assert_means_agree(draws: np.ndarray, mean: np.ndarray, square: np.ndarray) -> None:
    """The mean over axis 0 agrees with E[d] = mean, given E[d²] = square; where nothing varies, it is exact.

    The bound on max |z| is Bonferroni's: a family of correct means fails with probability below 1e-6.
    """
    sample_mean = draws.mean(0)
    variance = square - mean**2
    varies = variance > 1e-12
    assert_allclose(sample_mean[~varies], mean[~varies], atol=1e-6)
    z = (sample_mean - mean)[varies] / np.sqrt(variance[varies] / len(draws))
    bound = scipy.stats.norm.isf(1e-6 / 2 / max(1, z.size))
    assert np.abs(z).max(initial=0) < bound


def assert_drawn_from(known: Known, x: np.ndarray) -> None:
    n = known.features.n
    upper = np.triu_indices(n)
    assert x.shape == (BATCH, n)
    assert x.min() >= 0
    assert x.max() <= 1
    active = (x != 0).astype(np.float64)
    products, gates = (np.stack([a[:, i] * a[:, j] for i, j in zip(*upper, strict=True)], 1) for a in (x, active))

    assert_means_agree(x, known.first, np.diag(known.second))
    assert_means_agree(products, known.second[upper], known.moment_of_products(2)[upper])
    assert_means_agree(gates, known.together[upper], known.together[upper])
    for value in x.T:
        # Given that a feature is active, its magnitude is uniform.
        assert scipy.stats.kstest(value[value != 0], "uniform").pvalue > 1e-6 / n


# Sampling


@each_known
def test_numpy_samples_have_the_moments_derived_by_hand(known: Known):
    assert_drawn_from(known, known.features.sample(1, BATCH))


# The mixed one has a set of every kind; each distribution more costs a second of compilation.
@pytest.mark.parametrize("name", ["correlated, unequal", "mixed"])
def test_jax_samples_have_the_moments_derived_by_hand(name: str):
    known = KNOWN[name]
    x = jax.jit(lambda key: known.features.sample(key, BATCH))(jax.random.key(1))
    assert isinstance(x, jax.Array)
    assert_drawn_from(known, np.asarray(x, dtype=np.float64))


@pytest.mark.parametrize("order", [[4, 3, 2, 1, 0], [2, 0, 4, 1, 3]], ids=str)
def test_reordered_sets_reorder_the_moments_and_the_samples(order: list[int]):
    known = KNOWN["mixed"]
    moved = known.reordered(order)
    columns = np.concatenate([np.flatnonzero(known.features.set_of_feature == number) for number in order])
    assert_array_equal(moved.features.first_moment(), known.features.first_moment()[columns])
    assert_array_equal(moved.features.second_moment(), known.features.second_moment()[np.ix_(columns, columns)])
    assert_drawn_from(moved, moved.features.sample(5, BATCH))


def test_the_magnitudes_of_a_correlated_set_are_independent():
    x = Known([Correlated(2, 0.5)], [together_correlated([0.5] * 2)]).features.sample(2, BATCH)
    a, b = x[x[:, 0] > 0].T
    assert scipy.stats.pearsonr(a, b).pvalue > 1e-6
    assert scipy.stats.kstest(np.maximum(a, b) ** 2, "uniform").pvalue > 1e-6


MIXED = KNOWN["mixed"].features


@pytest.mark.parametrize("key", [0, 3, [3, 1], (2**70, 0), np.int64(5)], ids=str)
def test_the_same_key_gives_the_same_samples(key: Any):
    assert_array_equal(MIXED.sample(key, 50), MIXED.sample(key, 50))


def test_rare_features_have_magnitudes_of_their_own_under_a_jax_key():
    x = np.asarray(FeatureDistribution([Independent(4, density=1e-4)]).sample(jax.random.key(2), 2**20)).ravel()
    active = x[x > 0]
    # About 419 ± 20; 838 values would be all there were with uniforms of 23 bits, of which 90 or so would come twice.
    assert abs(len(active) - 4e-4 * 2**20) < 100
    assert len(np.unique(active)) == len(active)
    assert scipy.stats.kstest(active, "uniform").pvalue > 1e-3


def test_the_same_jax_key_gives_the_same_samples_compiled_or_not():
    key, features = jax.random.key(4), KNOWN["correlated, unequal"].features
    expected = features.sample(key, BATCH)
    assert_array_equal(features.sample(key, BATCH), expected)
    # A compiled u / q may round differently in its last bit.
    assert_allclose(jax.jit(lambda key: features.sample(key, BATCH))(key), expected, rtol=1e-6)
    assert not np.array_equal(features.sample(jax.random.key(5), BATCH), expected)


def test_different_keys_give_different_samples():
    # NumPy's own SeedSequence takes several of these for one: it pads with zeros and splits at 32 bits.
    keys = [
        0,
        1,
        2**32,
        2**64,
        [0, 0],
        [0, 1],
        [1, 0],
        [0, 0, 0],
        [1, 0, 0],
        [2**32, 0],
        [0, 2**32],
        [0, 1, 0],
    ]
    drawn = [MIXED.sample(key, 20) for key in keys]
    assert all(not np.array_equal(a, b) for a, b in combinations(drawn, 2))


def test_an_int_and_its_list_are_one_key():
    assert_array_equal(MIXED.sample(7, 5), MIXED.sample([7], 5))
    assert_array_equal(MIXED.sample((7,), 5), MIXED.sample(np.int32(7), 5))


def test_streams_stay_what_they_are_between_versions():
    features = FeatureDistribution([Correlated(2, 0.5), Independent(2, [0.3, 0.9])])
    expected = [
        [0.0, 0.0, 0.9537105409791018, 0.005415435551772769],
        [0.0, 0.0, 0.0, 0.2986871267654229],
        [0.981412287488819, 0.4717059208087506, 0.0, 0.4924270035151998],
    ]
    assert_array_equal(features.sample(0, 3), expected)
    expected = [[0.6812136137616465, 0.8324071443434735, 0.19047371259708606, 0.5028828943214525]]
    assert_array_equal(features.sample((1, 2**40), 1), expected)


@pytest.mark.parametrize("batch", [1, 700, 9000])
def test_equal_sets_and_large_batches_are_drawn_as_one_after_another(batch):
    sets = [
        *[Correlated(3, [0.1, 0.2, 0.3])] * 5,
        *[Independent(7, 0.5)] * 3,
        PartiallyCorrelated(4, 0.2, 0.5),
        *[Equivariant(5, 0.3, 1.0)] * 2,
        Independent(1, 0.5),
    ]
    # The stream of an int: its length and its one 32-bit word, in NumPy's Philox.
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([1, 1, 5])))
    one_by_one = np.concatenate([each.draw(generator.random, batch) for each in sets], axis=1)
    assert_array_equal(FeatureDistribution(sets).sample(5, batch), one_by_one)


def test_a_set_that_draws_once_for_all_samples_is_drawn_whole():
    class Shared(Independent):
        def draw(self, uniforms, batch):
            return np.broadcast_to(uniforms((1, self.features)), (batch, self.features))

    x = FeatureDistribution([Shared(3, 0.5)] * 2).sample(5, 10_000)
    assert (x == x[0]).all()
    assert len(np.unique(x)) == 6


def test_samples_have_the_precision_of_their_source():
    assert MIXED.sample(0, np.int64(3)).dtype == np.float64
    assert KNOWN["correlated, unequal"].features.sample(jax.random.key(0), BATCH).dtype == np.float32


# Exact moments


@each_known
def test_exact_moments_are_those_derived_by_hand(known: Known):
    features = known.features
    assert_allclose(features.density, np.diag(known.together), rtol=1e-14)
    assert_allclose(features.first_moment(), known.first, rtol=1e-14)
    assert_allclose(features.second_moment(), known.second, rtol=1e-14)
    assert_allclose(features.covariance(), known.second - np.outer(known.first, known.first), atol=1e-16)


def test_a_few_moments_as_plain_numbers():
    pair = Correlated(2, [0.12, 0.6])
    assert_allclose(pair.first_moment(), [0.06, 0.3])
    assert_allclose(pair.second_moment(), [[0.04, 0.03], [0.03, 0.2]])
    rivals = Anticorrelated(2, [0.12, 0.6])
    assert_allclose(rivals.active(), [0.06, 0.3])
    assert_allclose(rivals.second_moment(), [[0.02, 0], [0, 0.1]], atol=1e-17)
    partial = PartiallyCorrelated(2, 0.2, 0.5)
    assert_allclose(partial.second_moment(), [[0.2 / 3, 0.03], [0.03, 0.2 / 3]])


@pytest.mark.parametrize("density", [0.07, 1.0, [0.2, 0.5, 0.2], [1.0, 0.01, 0.4]], ids=str)
def test_partial_correlation_runs_from_independent_to_correlated(density: Any):
    without, full = PartiallyCorrelated(3, density, 0.0), PartiallyCorrelated(3, density, 1.0)
    assert_allclose(without.second_moment(), Independent(3, density).second_moment(), rtol=1e-14)
    assert_allclose(full.second_moment(), Correlated(3, density).second_moment(), rtol=1e-14)
    assert len(without.table().weights) == 1


def test_sets_of_one_feature_are_all_alike():
    for alone in (Correlated(1, 0.3), Anticorrelated(1, 0.3), PartiallyCorrelated(1, 0.3, 0.4)):
        assert_allclose(alone.second_moment(), Independent(1, 0.3).second_moment())


densities = st.floats(1e-6, 1.0)


@st.composite
def described_sets(draw: st.DrawFn) -> dict[str, Any]:
    size = draw(st.integers(1, 5))
    density, importance = (
        draw(st.one_of(number, st.lists(number, min_size=size, max_size=size)))
        for number in (densities, st.just(0.0) | st.floats(1e-30, 100))
    )
    kind = draw(st.sampled_from(["independent", "correlated", "anticorrelated", "partially-correlated"]))
    more = {"strength": draw(st.floats(0, 1))} if kind == "partially-correlated" else {}
    name = "count" if kind == "independent" else "size"
    return {"kind": kind, name: size, "density": density, "importance": importance, **more}


# Described only: a strategy that builds sets would run what checks annotations, which draws random numbers.
described = st.lists(described_sets(), min_size=1, max_size=4)
property_test = settings(max_examples=80, deadline=None, database=None, derandomize=True)


@property_test
@given(described)
def test_covariance_is_symmetric_positive_and_zero_between_sets(sets: list[dict[str, Any]]):
    features = FeatureDistribution(sets)
    covariance = features.covariance()
    assert covariance.shape == (features.n, features.n)
    assert_allclose(covariance, covariance.T, rtol=0, atol=1e-15)
    assert np.linalg.eigvalsh(covariance).min() >= -1e-13
    assert np.all(np.diag(covariance) > 0)
    between = features.set_of_feature[:, None] != features.set_of_feature
    assert_array_equal(covariance[between], 0)


@property_test
@given(described)
def test_mixture_tables_are_probabilities(sets: list[dict[str, Any]]):
    features = FeatureDistribution(sets)
    for each, (weights, gates) in zip(features.sets, features.tables(), strict=True):
        assert_allclose(weights.sum(), 1, rtol=1e-14)
        assert np.all(weights > 0)
        assert gates.shape == (len(weights), each.features)
        assert np.all((gates >= 0) & (gates <= 1))
        assert weights.dtype == gates.dtype == np.float64


@property_test
@given(described)
def test_json_round_trip(sets: list[dict[str, Any]]):
    features = FeatureDistribution(sets)
    assert features.to_json() == sets
    again = FeatureDistribution(json.loads(json.dumps(features.to_json())))
    assert again == features
    assert hash(again) == hash(features)
    assert_array_equal(again.second_moment(), features.second_moment())
    assert_array_equal(again.importance, features.importance)


# Describing distributions


@pytest.mark.parametrize("kind", ["independent", "correlated", "anticorrelated", "partially-correlated", "equivariant"])
def test_equal_ones_stay_equal_when_what_they_derive_is_kept(kind: str):
    def made(density: float) -> FeatureDistribution:
        rest: dict[str, Any] = {"count" if kind == "independent" else "size": 3, "density": density}
        rest |= {"partially-correlated": {"strength": 0.5}, "equivariant": {"width": 1.0}}.get(kind, {})
        features = FeatureDistribution([{"kind": kind, **rest}])
        features.second_moment()
        if features.gated:
            list(features.tables())
        return features

    one, same, other = made(0.3), made(0.3), made(0.4)
    assert one == same
    assert {one: 1}[same] == 1
    assert one != other
    assert one.sets[0] != one


def test_the_json_form_is_a_list_of_plain_sets():
    assert FeatureDistribution([Correlated(2, 0.05), Independent(2, np.array([0.1, 0.2]), 3)]).to_json() == [
        {"kind": "correlated", "density": 0.05, "importance": 1.0, "size": 2},
        {"kind": "independent", "density": [0.1, 0.2], "importance": 3.0, "count": 2},
    ]


def test_copies_repeat_a_set():
    three = FeatureDistribution([{"kind": "correlated", "size": 2, "density": 0.05, "copies": 3}])
    assert three == FeatureDistribution([Correlated(2, 0.05)] * 3)
    assert three.n == 6
    assert_array_equal(three.set_of_feature, [0, 0, 1, 1, 2, 2])


def test_what_is_known_of_each_feature():
    features = FeatureDistribution([Anticorrelated(2, 0.4, [1, 2]), Independent(1, 0.3, importance=0.5)])
    assert features.kind_of_feature == ["anticorrelated", "anticorrelated", "independent"]
    assert_allclose(features.density, [0.2, 0.2, 0.3])
    assert_array_equal(features.importance, [1, 2, 0.5])
    assert features.gated


def test_distributions_are_values():
    features = FeatureDistribution([Correlated(2, (0.1, 0.2))])
    assert features.n == 2
    same = FeatureDistribution([Correlated(size=2, density=[0.1, 0.2])])
    assert {features: "found"}[same] == "found"
    assert pickle.loads(pickle.dumps(features)) == features
    with pytest.raises(AttributeError, match="frozen"):
        features.sets[0].density = 0.3


# A kind that is no kind of the package


@pytest.fixture
def chain() -> Iterator[type[GatedSet]]:
    class Chain(GatedSet, kind="chain"):
        """The first 0, 1, …, k features are active, each number as often: one class is all it takes."""

        positional = ("size", "density", "importance")
        size: int
        density: float = 1.0

        @property
        def features(self) -> int:
            return self.size

        def table(self) -> MixtureTable:
            k = self.size
            return MixtureTable(np.full(k + 1, 1 / (k + 1)), np.tri(k + 1, k, -1))

    yield Chain
    del FeatureSet.kinds["chain"]


@pytest.mark.parametrize(
    ("weights", "gates", "sentence"),
    [
        ([0.5, 0.4], np.eye(2), "the weights sum to 0.9: weights must sum to 1; what is left is the probability of"),
        ([0.7, 0.5], np.eye(2), "the weights sum to 1.2: weights must sum to 1"),
        ([1.5, -0.5], np.eye(2), "weights must be probabilities in [0, 1], and one is 1.5"),
        ([0.5, np.nan], np.eye(2), "weights must be probabilities in [0, 1], and one is nan"),
        ([0.5, 0.5], 2 * np.eye(2), "gates must be probabilities in [0, 1], and one is 2"),
        ([0.5, 0.5], np.eye(3)[:2], "weights of shape (2,) and gates of shape (2, 3): weights must have the shape"),
        ([[0.5, 0.5]], np.eye(2), "weights of shape (1, 2) and gates of shape (2, 2): weights must have the shape"),
        ([0.5, 0.5], "gates", "it must be MixtureTable(weights, gates), two arrays of numbers"),
    ],
)
def test_a_table_that_is_no_mixture_is_refused_wherever_it_is_used(weights, gates, sentence):
    class Pair(GatedSet, kind="pair"):
        @property
        def features(self) -> int:
            return 2

        def table(self) -> Any:
            return weights, gates

    try:
        features = FeatureDistribution([Pair(density=0.5)])
        for use in (
            features.second_moment,
            lambda: features.sample(0, 5),
            lambda: population_loss(np.eye(2), np.zeros(2), features),
            lambda: train(Spec(features=features, hidden=1, training=Sampled(steps=1))),
        ):
            with pytest.raises(ValueError, match=re.escape(f"Pair.table(): {sentence}")):
                use()
    finally:
        del FeatureSet.kinds["pair"]


def test_a_kind_needs_a_name_and_features():
    class Nameless(GatedSet):
        count: Any = 2

        @property
        def features(self) -> Any:
            return self.count

        def table(self) -> Any:
            raise AssertionError

    with pytest.raises(ValueError, match=r"^Nameless\(\): must be of a kind with a name, as in class Nameless\("):
        Nameless(density=0.5)
    Nameless.kind = "named"
    for count in (0, 2.0, None, True):
        rule = f"must have features, an int of at least 1, and they are {count}"
        with pytest.raises(ValueError, match=re.escape(f"Nameless(): {rule}")):
            Nameless(density=0.5, count=count)


def test_a_kind_of_an_installed_package_is_found_by_its_name(tmp_path, monkeypatch):
    """As a file or the command line names it, in a process that has not imported the package."""
    (tmp_path / "rings.py").write_text(
        "import numpy as np, tegum as tg\n"
        "class Ring(tg.GatedSet, kind='ring'):\n"
        "    size: int\n"
        "    features = property(lambda self: self.size)\n"
        "    def table(self): return np.full(self.size, 1 / self.size), np.eye(self.size)\n"
    )
    info = tmp_path / "rings-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: rings\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[tegum.sets]\nring = rings:Ring\ntorus = rings:Torus\n")
    monkeypatch.syspath_prepend(tmp_path)
    table = {"kind": "ring", "size": 3, "density": 0.5}
    try:
        assert FeatureDistribution([table]).first_moment().tolist() == pytest.approx([1 / 6] * 3)
        with pytest.raises(ValueError, match=r"must be importable; rings:Torus is not: AttributeError: module 'rings'"):
            FeatureDistribution([table | {"kind": "torus"}])
        with pytest.raises(ValueError, match="must be a known kind"):
            FeatureDistribution([table | {"kind": "klein"}])
    finally:
        FeatureSet.kinds.pop("ring", None)


@pytest.fixture
def opposed() -> Iterator[type[FeatureSet]]:
    class Opposed(FeatureSet, kind="opposed"):
        """With probability `density` x = (u, 1 − u): no mixture of independent magnitudes."""

        positional = ("density",)
        density: float

        @property
        def features(self) -> int:
            return 2

        def active(self) -> np.ndarray:
            return np.full(2, self.density)

        def first_moment(self) -> np.ndarray:
            return np.full(2, self.density / 2)

        def second_moment(self) -> np.ndarray:
            return self.density * np.array([[1 / 3, 1 / 6], [1 / 6, 1 / 3]])

        def draw(self, uniforms: Callable[[tuple[int, ...]], Any], batch: int) -> Any:
            gate, u = uniforms((batch, 1)), uniforms((batch, 1))
            xp = u.__array_namespace__()
            return xp.where(gate < self.density, xp.concat([u, 1 - u], axis=1), 0)

    yield Opposed
    del FeatureSet.kinds["opposed"]


def test_a_new_gated_kind_is_one_class(chain: type[GatedSet]):
    features = FeatureDistribution([{"kind": "chain", "size": 3}, Independent(1, 0.5)])
    assert isinstance(features.sets[0], chain)
    assert FeatureDistribution(features.to_json()) == features
    # Feature i is active when more than i are, i and j when more than max(i, j) are.
    together = np.array([[(3 - max(i, j)) / 4 for j in range(3)] for i in range(3)])
    known = Known(list(features.sets), [together, np.array([[0.5]])])
    assert_allclose(features.second_moment(), known.second)
    assert features.gated
    assert len(list(features.tables())) == 2
    assert_drawn_from(known, features.sample(8, BATCH))
    assert_drawn_from(known, np.asarray(features.sample(jax.random.key(8), BATCH), dtype=np.float64))


@pytest.mark.parametrize("key", [9, jax.random.key(9)], ids=["numpy", "jax"])
def test_a_kind_that_is_no_mixture_brings_its_own_moments_and_draw(opposed: type[FeatureSet], key: Any):
    features = FeatureDistribution([Correlated(2, 0.3), opposed(0.4), opposed(1.0)])
    assert not features.gated
    assert FeatureDistribution(features.to_json()) == features
    # Cov = p E[u(1−u)] − p²/4 within a set.
    expected = np.diag(0.4 / 3 - 0.04 + np.zeros(2)) + np.fliplr(np.diag(np.full(2, 0.4 / 6 - 0.04)))
    assert_allclose(features.covariance()[2:4, 2:4], expected, rtol=1e-14)
    assert_array_equal(features.covariance()[:2, 2:], 0)
    x = np.asarray(features.sample(key, BATCH), dtype=np.float64)
    assert_means_agree(x, features.first_moment(), np.diag(features.second_moment()))
    # E[x₂x₃] and, as E[u²(1−u)²] = 1/30, its square's.
    assert_means_agree(x[:, 2:3] * x[:, 3:4], np.array([0.4 / 6]), np.array([0.4 / 30]))
    assert_allclose(x[:, 4] + x[:, 5], 1, atol=1e-6)


def test_a_kind_that_is_no_mixture_has_no_table(opposed: type[FeatureSet]):
    features = FeatureDistribution([Correlated(2, 0.3), opposed(0.4)])
    with pytest.raises(ValueError, match=r"^Opposed\(density=0.4\): this set has no mixture table, as the kind 'opp"):
        list(features.tables())


# Bad input

NUMBERS = "must be a number, or a list of one number for each feature of the set"

REFUSED: list[tuple[Callable[[], Any], str]] = [
    (lambda: Correlated(density=1.7, size=2), "Correlated(density=1.7): density must lie in (0, 1]"),
    (lambda: Correlated(2, 0), "Correlated(density=0): density must lie in (0, 1]"),
    (lambda: Correlated(2, 0.0), "Correlated(density=0.0): density must lie in (0, 1]"),
    (lambda: Correlated(2, -0.1), "Correlated(density=-0.1): density must lie in (0, 1]"),
    (lambda: Correlated(2, float("nan")), "Correlated(density=nan): density must lie in (0, 1]"),
    (lambda: Correlated(2, float("inf")), "Correlated(density=inf): density must lie in (0, 1]"),
    (lambda: Independent(2, [0.5, 1.5]), "Independent(density=[0.5, 1.5]): density must lie in (0, 1]"),
    (lambda: Independent(2, "0.1"), f"Independent(density='0.1'): density {NUMBERS}"),
    (lambda: Independent(2, ["0.1", 0.2]), f"Independent(density=['0.1', 0.2]): density {NUMBERS}"),
    (lambda: Independent(2, True), f"Independent(density=True): density {NUMBERS}"),
    (lambda: Independent(2, None), f"Independent(density=None): density {NUMBERS}"),
    (lambda: Independent(2, []), f"Independent(density=[]): density {NUMBERS}"),
    (lambda: Independent(1, 0.5 + 0j), f"Independent(density=(0.5+0j)): density {NUMBERS}"),
    (lambda: Independent(1, 0.5, importance="high"), f"Independent(importance='high'): importance {NUMBERS}"),
    (
        lambda: Anticorrelated(2, 0.5, -1),
        "Anticorrelated(importance=-1): importance must be 0, or lie between 1e-30 and 1e30",
    ),
    (
        lambda: Anticorrelated(2, 0.5, float("nan")),
        "Anticorrelated(importance=nan): importance must be 0, or lie between 1e-30 and 1e30",
    ),
    (
        lambda: Correlated(2, [0.1, 0.2, 0.3]),
        "Correlated(density=(0.1, 0.2, 0.3)): density must be one number or 2, one for each feature of the set",
    ),
    (
        lambda: Correlated(3, 0.1, [1.0]),
        "Correlated(importance=(1.0,)): importance must be one number or 3, one for each feature of the set",
    ),
    (
        lambda: PartiallyCorrelated(2, 0.1, 1.2),
        "PartiallyCorrelated(strength=1.2): strength must lie in [0, 1]",
    ),
    (
        lambda: PartiallyCorrelated(2, 0.1, -0.1),
        "PartiallyCorrelated(strength=-0.1): strength must lie in [0, 1]",
    ),
    (lambda: MIXED.sample(0, 0), "sample(batch=0): batch must be an int of at least 1"),
    (lambda: MIXED.sample(0, -3), "sample(batch=-3): batch must be an int of at least 1"),
    (lambda: sample_unchecked(MIXED, 0, True), "sample(batch=True): batch must be an int of at least 1"),
    (lambda: sample_unchecked(MIXED, 0, 2.0), "sample(batch=2.0): batch must be an int of at least 1"),
    (lambda: sample_unchecked(MIXED, 0, "2"), "sample(batch='2'): batch must be an int of at least 1"),
]


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_bad_values_are_refused_in_one_sentence(call: Callable[[], Any], message: str):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (compared in full below)
        call()
    assert str(caught.value) == message


@pytest.mark.parametrize("key", [-1, [3, -1], 1.5, [1.5], True, [False], None, "12", [], [[1]], np.zeros(2)], ids=repr)
def test_a_bad_key_is_refused(key: Any):
    with pytest.raises(ValueError, match=r"^sample\(key=.*\): key must be an int of at least 0, a list of such"):
        sample_unchecked(MIXED, key, 3)


@pytest.mark.parametrize("size", [0, -1, 2.0, "2", True, None, float("nan")], ids=repr)
@pytest.mark.parametrize(("kind", "name"), [(Independent, "count"), (Correlated, "size"), (Anticorrelated, "size")])
def test_a_bad_size_is_refused(kind: type[FeatureSet], name: str, size: Any):
    with pytest.raises(ValueError, match=rf"^{kind.__name__}\({name}=") as caught:
        kind(**{name: size}, density=0.5)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("strength", [float("nan"), "0.5", True, None, [0.5, 0.5]], ids=repr)
def test_a_bad_strength_is_refused(strength: Any):
    with pytest.raises(ValueError, match=r"^PartiallyCorrelated\(strength="):
        PartiallyCorrelated(2, 0.1, strength)


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        ([], "at least one"),
        ("correlated", "list of feature sets"),
        (Correlated(2, 0.5), "list of feature sets"),
        (4, "list of feature sets"),
        ([4], "4"),
        ([Correlated(2, 0.5), None], "None"),
        ([{"size": 2, "density": 0.5}], "kind"),
        ([{"kind": "corelated", "size": 2, "density": 0.5}], "did you mean 'correlated'?"),
        ([{"kind": ["correlated"], "size": 2}], "kind=['correlated']"),
        (
            [{"kind": "correlated", "size": 2, "density": 1.5}],
            "density must lie in (0, 1]",
        ),
        ([{"kind": "correlated", "size": 2}], "density"),
        ([{"kind": "correlated", "size": 2, "density": 0.5, 3: 4}], "3=4"),
        ([{"kind": "correlated", "size": 2, "density": 0.5, "sparsity": 0.5}], "sparsity"),
        ([{"kind": "correlated", "size": 2, "density": 0.5, "copies": 0}], "copies=0"),
        ([{"kind": "correlated", "size": 2, "density": 0.5, "copies": True}], "copies=True"),
    ],
    ids=repr,
)
def test_a_bad_list_of_sets_is_refused(sets: Any, said: str):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (read below)
        FeatureDistribution(sets)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_number_too_large_for_a_float_is_refused():
    with pytest.raises(ValueError, match="importance must be small enough for a float"):
        Correlated(2, 0.5, 10**400)


def test_every_kind_of_the_package_has_a_name_in_files():
    assert {"independent", "correlated", "anticorrelated", "partially-correlated"} <= FeatureSet.kinds.keys()
    for name, kind in FeatureSet.kinds.items():
        assert kind.kind == name
