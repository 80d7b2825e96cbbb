"""SAELens itself: dictionaries, generators, training, and synthetic models there and back."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sae_lens import BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig
from sae_lens import synthetic as theirs
from scipy import stats

import tegum as tg
from tegum.torch import Hidden, ToyModel, saelens

PAIRS = tg.FeatureDistribution([tg.Correlated(size=2, density=0.2)] * 3)
MODEL = ToyModel(np.random.default_rng(0).normal(size=(6, 2)), dtype=torch.float32)
SAMPLES = 200_000


def test_a_dictionary_and_a_generator_give_our_samples_and_hidden_activations():
    dictionary, generator = saelens.feature_dictionary(MODEL), saelens.FeatureActivations(PAIRS, seed=3)
    assert isinstance(dictionary, theirs.FeatureDictionary)
    assert isinstance(generator, theirs.ActivationGenerator)
    assert_array_equal(dictionary.feature_vectors.detach(), MODEL.weights.detach())
    assert not dictionary.bias.any()
    batches = theirs.SyntheticActivationIterator(dictionary, generator, batch_size=64)
    for k, expected in enumerate(Hidden(MODEL, 64, seed=3, features=PAIRS, batches=3)):
        torch.testing.assert_close(next(batches), expected)
        assert_array_equal(saelens_batch(k), PAIRS.sample([3, k], 64).astype(np.float32))
    # Magnitudes are uniform on [0, 1].
    assert_allclose(generator.mean_firing_magnitudes, 1 / 2, rtol=1e-6)
    assert_allclose(generator.std_firing_magnitudes, 12**-0.5, rtol=1e-6)
    assert_allclose(generator.firing_probabilities, 0.2, rtol=1e-6)


def saelens_batch(k: int) -> torch.Tensor:
    generator = saelens.FeatureActivations(PAIRS, seed=3)
    generator.batches_drawn = k
    return generator(64)


def autoencoder() -> BatchTopKTrainingSAE:
    torch.manual_seed(0)
    return BatchTopKTrainingSAE(BatchTopKTrainingSAEConfig(d_in=2, d_sae=6, k=1))


def test_training_can_be_repeated():
    trained = []
    for _ in range(2):
        sae = autoencoder()
        dictionary, generator = saelens.feature_dictionary(MODEL), saelens.FeatureActivations(PAIRS)
        theirs.train_toy_sae(sae, dictionary, generator, training_samples=20_480)
        trained.append(sae.W_dec.detach().clone())
    assert torch.equal(*trained)
    assert not torch.equal(trained[0], autoencoder().W_dec)


def test_scores_are_theirs_where_directions_are_not_turned_around():
    rng = np.random.default_rng(1)
    truth = rng.normal(size=(8, 16))
    found = rng.permutation(truth + 0.3 * rng.normal(size=truth.shape))
    score = theirs.mean_correlation_coefficient(torch.from_numpy(found), torch.from_numpy(truth))
    assert float(tg.match_directions(found, truth).matched_cosine) == pytest.approx(score, rel=1e-9)


# Synthetic models

RANDOM = np.random.default_rng(2)
FACTORS = RANDOM.normal(size=(6, 2))
FACTORS *= 0.7 / np.linalg.norm(FACTORS, axis=1, keepdims=True)
OURS = {
    "constant": [tg.Independent(4, [0.1, 0.2, 0.3, 0.4], magnitude=tg.ConstantMagnitude(1.5)),
                 tg.Independent(2, 0.05, magnitude=tg.ConstantMagnitude(1.5))],
    "half-normal": [tg.Independent(6, 0.125, magnitude=tg.HalfNormalMagnitude(0.5))],
    "copula": [tg.Copula(0.2, factors=FACTORS[:4], magnitude=tg.ConstantMagnitude(2.0)),
               tg.Independent(2, 0.2, magnitude=tg.ConstantMagnitude(2.0))],
    "copula of a matrix": [tg.Copula(0.2, FACTORS @ FACTORS.T + np.diag(1 - np.square(FACTORS).sum(1)),
                                     magnitude=tg.ConstantMagnitude(2.0))],
    "hierarchy": [tg.Hierarchy([-1, 0, 0, 1, -1, 4], [0.5, 0.4, 0.3, 0.6, 0.2, 0.7],
                               magnitude=tg.ConstantMagnitude(1.0))],
    "hierarchy, half-normal": [tg.Hierarchy([-1, 0, 0, 1, -1, 4], [0.5, 0.4, 0.3, 0.25, 0.2, 0.125],
                                            magnitude=tg.HalfNormalMagnitude(2.0))],
    "exclusive": [tg.Hierarchy([-1, 0, 0, 0, 1, 1], [0.8, 0.5, 0.3, 0.2, 0.6, 0.1], exclusive=True,
                               magnitude=tg.ConstantMagnitude(1.5))],
    "exclusive, half-normal": [tg.Hierarchy([-1, 0, 0, 0, -1, 4], [0.4, 0.3, 0.2, 0.1, 0.5, 0.25],
                                            exclusive=[True, False, False, False, True, False],
                                            magnitude=tg.HalfNormalMagnitude())],
}  # fmt: skip


def assert_drawn_from(features: tg.FeatureDistribution, x: np.ndarray) -> None:
    """First moments and activity of pairs lie within five standard errors of the exact ones."""
    active = (x > 0).astype(float)
    for values, expected in ((x, features.first_moment()), (active, features.density)):
        error = values.std(0) / np.sqrt(len(x)) + 1e-6
        assert (abs(values.mean(0) - expected) < 5 * error).all()
    products = np.einsum("bi,bj->bij", x, x)
    error = products.std(0) / np.sqrt(len(x)) + 1e-6
    assert (abs(products.mean(0) - features.second_moment()) < 5 * error).all()


@pytest.mark.parametrize("name", OURS)
def test_ours_becomes_theirs_with_the_same_moments_and_comes_back(name, tmp_path):
    features = tg.FeatureDistribution(OURS[name])
    made = saelens.to_synthetic_model(MODEL, features)
    made.save(tmp_path / "model")
    loaded = theirs.SyntheticModel.load_from_disk(tmp_path / "model")
    for each in (made, loaded):
        torch.manual_seed(0)
        hidden, x = each.sample_with_features(SAMPLES)
        assert_drawn_from(features, x.numpy())
        assert_allclose(hidden.detach(), x.numpy() @ MODEL.weights.detach().numpy(), rtol=1e-4, atol=1e-5)
    back = saelens.from_synthetic_model(tmp_path / "model")
    assert_array_equal(back.directions, MODEL.weights.detach())
    assert not back.bias.any()
    assert_allclose(back.features.first_moment(), features.first_moment(), rtol=1e-6)
    assert_allclose(back.features.second_moment(), features.second_moment(), rtol=1e-5)
    if name in ("half-normal", "hierarchy", "hierarchy, half-normal"):
        assert back.features == features


THEIRS = {
    "zipfian": {"firing_probability": theirs.ZipfianFiringProbabilityConfig(), "bias": 1.0},
    "magnitudes by number": {
        "firing_probability": theirs.LinearFiringProbabilityConfig(),
        "mean_firing_magnitudes": theirs.LinearMagnitudeConfig(0.5, 2.0),
    },
    "half-normal": {
        "mean_firing_magnitudes": 0.0,
        "std_firing_magnitudes": theirs.FoldedNormalMagnitudeConfig(1.0, 0.3),
    },
    "low rank": {"correlation": theirs.LowRankCorrelationConfig(rank=3, correlation_scale=0.4)},
    "hierarchy": {
        "firing_probability": theirs.ConstantFiringProbabilityConfig(0.3),
        "hierarchy": theirs.HierarchyConfig(total_root_nodes=2, branching_factor=(2, 4), max_depth=2),
    },
    "exclusive": {
        "firing_probability": theirs.RandomFiringProbabilityConfig(max_prob=0.9, min_prob=0.4),
        "hierarchy": theirs.HierarchyConfig(1, 3, 2, mutually_exclusive_portion=1.0, scale_children_by_parent=True),
    },
    "exclusive, half-normal": {
        "firing_probability": theirs.ConstantFiringProbabilityConfig(0.9),
        "hierarchy": theirs.HierarchyConfig(2, 3, 1, mutually_exclusive_portion=1.0, compensate_probabilities=True),
        "mean_firing_magnitudes": 0.0,
        "std_firing_magnitudes": 1.0,
    },
}


@pytest.mark.parametrize("name", THEIRS)
def test_theirs_becomes_ours_with_the_same_moments(name, tmp_path):
    made = theirs.SyntheticModel(theirs.SyntheticModelConfig(num_features=12, hidden_dim=5, seed=1, **THEIRS[name]))
    made.save(tmp_path / "model")
    for source in (made, tmp_path / "model"):
        found = saelens.from_synthetic_model(source)
        torch.manual_seed(0)
        hidden, x = made.sample_with_features(SAMPLES)
        assert_drawn_from(found.features, x.numpy())
        assert_allclose(hidden.detach(), x.numpy() @ found.directions + found.bias, rtol=1e-4, atol=1e-5)
    assert_drawn_from(found.features, found.features.sample(0, SAMPLES))


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"std_firing_magnitudes": 0.1}, "a deviation of 0 (constant) or a mean of 0 (half-normal)"),
        (
            {"hierarchy": theirs.HierarchyConfig(2, 2, 1), "correlation": theirs.LowRankCorrelationConfig(2)},
            "correlations together with a hierarchy are no set of tegum",
        ),
        (
            {
                "correlation": theirs.LowRankCorrelationConfig(2),
                "mean_firing_magnitudes": 0.0,
                "std_firing_magnitudes": 1.0,
            },
            "correlated features must have constant magnitudes",
        ),
        (
            {
                "hierarchy": theirs.HierarchyConfig(2, 2, 1),
                "mean_firing_magnitudes": theirs.LinearMagnitudeConfig(1, 2),
            },
            "magnitudes must have one law where features depend on each other",
        ),
        (
            {
                "hierarchy": theirs.HierarchyConfig(2, 2, 1, scale_children_by_parent=True),
                "mean_firing_magnitudes": 0.0,
                "std_firing_magnitudes": 1.0,
            },
            "children must not be scaled by their parent",
        ),
    ],
)
def test_what_tegum_cannot_describe_is_refused_in_a_sentence(config, sentence):
    made = theirs.SyntheticModel(theirs.SyntheticModelConfig(num_features=6, hidden_dim=2, seed=0, **config))
    with pytest.raises(ValueError, match=re.escape(sentence)):
        saelens.from_synthetic_model(made)


def test_a_function_that_modifies_and_a_folder_of_something_else_are_refused(tmp_path):
    made = theirs.SyntheticModel(theirs.SyntheticModelConfig(num_features=6, hidden_dim=2, seed=0))
    made.activation_generator = theirs.ActivationGenerator(6, 0.1, modify_activations=lambda x: x**2)
    with pytest.raises(ValueError, match="a function modifies them"):
        saelens.from_synthetic_model(made)
    with pytest.raises(ValueError, match="must be the folder of a synthetic model of SAELens"):
        saelens.from_synthetic_model(tmp_path)


CONSTANT, HALF = tg.ConstantMagnitude(), tg.HalfNormalMagnitude()


@pytest.mark.parametrize(
    ("sets", "sentence"),
    [
        ([tg.Independent(6, 0.1)], "magnitudes must be constant, or half-normal outside of a Copula"),
        ([tg.Correlated(6, 0.1, magnitude=CONSTANT)], "sets must be Independent, Copula or Hierarchy"),
        ([tg.Independent(5, 0.1, magnitude=CONSTANT)], "there must be 6 features, as in the model, not 5"),
        ([tg.Independent(6, 0.6, magnitude=tg.HalfNormalMagnitude())], "a density must be at most ½"),
        ([tg.Copula(0.1, factors=FACTORS, magnitude=tg.HalfNormalMagnitude())], "half-normal outside of a Copula"),
        ([tg.Copula([0.1] * 5 + [0.2], factors=FACTORS, magnitude=CONSTANT)], "all features must have one density"),
        ([tg.Copula(0.1, factors=np.ones((6, 1)), magnitude=CONSTANT)], "and feature 0 shares all of it"),
        (
            [tg.Hierarchy([-1, 0, 0, 0, -1, -1], [0.3] + [0.32] * 3 + [0.3] * 2, exclusive=True, magnitude=HALF)],
            "at most ½ for half-normal magnitudes, before one of those that exclude one another is chosen",
        ),
        ([tg.Anticorrelated(6, 1.0, magnitude=CONSTANT)], "sets must be Independent, Copula or Hierarchy"),
        ([tg.ExactlyK(6, 2, magnitude=CONSTANT)], "sets must be Independent, Copula or Hierarchy"),
        (
            [tg.Independent(6, [0.1] * 5 + [5e-6], magnitude=CONSTANT)],
            "at least 5.96e-06, as SAELens draws smaller ones",
        ),
        (
            [tg.Independent(6, 2.9e-6, magnitude=HALF)],
            "in float32 with an error of more than 1 %, and feature 0 has 5.8e",
        ),
        (
            [tg.Copula(1e-7, factors=FACTORS, magnitude=CONSTANT)],
            "and feature 0 has 1e-07; FeatureActivations draws any",
        ),
        (
            [tg.Hierarchy([-1, 0, -1, -1, -1, -1], [0.1, 1e-6, 1, 1, 1, 1], magnitude=CONSTANT)],
            "and feature 1 has 1e-06",
        ),
        (
            [tg.Independent(3, 0.1, magnitude=CONSTANT), tg.Independent(3, 0.1, magnitude=tg.ConstantMagnitude(2))],
            "all sets must have one law of magnitude",
        ),
    ],
)
def test_what_saelens_cannot_express_is_refused_in_a_sentence(sets, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        saelens.to_synthetic_model(MODEL, sets)


def test_several_runs_are_no_dictionary():
    with pytest.raises(ValueError, match="the model must be of one run, and this one has 2"):
        saelens.feature_dictionary(ToyModel(np.ones((2, 3, 2))))


def test_the_least_probability_is_where_float32_of_saelens_is_right_to_one_in_a_hundred():
    """The real generator's thresholds, by SciPy's normal law; and its uniforms, which are multiples of 2⁻²⁴."""
    least = saelens._LEAST_PROBABILITY
    p = torch.logspace(np.log10(least), 0, 100_001, dtype=torch.float64).float()
    generator = theirs.ActivationGenerator(len(p), p, correlation_matrix=(torch.zeros(len(p), 1), torch.ones(len(p))))
    fires = stats.norm.sf(generator.correlation_thresholds.double())
    assert_allclose(fires, p.double(), rtol=0.01)
    assert_allclose(np.ceil(p.double() * 2**24) / 2**24, p.double(), rtol=0.01)
    torch.manual_seed(0)
    uniforms = torch.rand(10**6).double() * 2**24
    assert torch.equal(uniforms, uniforms.round())
    # Below it they are not: nothing fires any more, or what should fire once in 10⁹ samples does sixty times.
    tiny = theirs.ActivationGenerator(1, 1e-8, correlation_matrix=(torch.zeros(1, 1), torch.ones(1)))
    assert tiny.correlation_thresholds.item() == np.inf
    fired = sum(int(torch.bernoulli(torch.full((10**7,), 1e-9)).sum()) for _ in range(20))
    assert stats.poisson.sf(fired - 1, 0.2) < 1e-3
    assert 1e-3 < stats.poisson.cdf(fired, 2e8 / 2**24) < 1 - 1e-3


def test_what_is_written_of_exclusive_children_fires_as_often_as_the_choice_needs():
    """Two children of ½ must both fire for certain; of 0.7 and 0.3, the first fires for certain: 1 − 0.6 / 2 = 0.7."""
    for density, expected in (([0.5, 0.5], [1, 1]), ([0.7, 0.3], [1, 0.6]), ([0.12, 0.12], [1 - 0.76**0.5] * 2)):
        tree = tg.Hierarchy([-1, 0, 0], [0.5, *density], exclusive=True, magnitude=CONSTANT)
        made = saelens.to_synthetic_model(MODEL, [tree, tg.Independent(3, 0.1, magnitude=CONSTANT)])
        assert_allclose(made.activation_generator.firing_probabilities[1:3], expected, rtol=1e-6)
        [root] = made.hierarchy.roots
        assert root.mutually_exclusive_children
        assert not any(child.mutually_exclusive_children for child in root.children)


def spoiled(**changes) -> theirs.SyntheticModel:
    made = theirs.SyntheticModel(theirs.SyntheticModelConfig(num_features=6, hidden_dim=2, seed=0))
    for name, change in changes.items():
        holder = made.feature_dict if hasattr(made.feature_dict, name) else made.activation_generator
        if isinstance(change, torch.Tensor):
            setattr(holder, name, torch.nn.Parameter(change) if holder is made.feature_dict else change)
        else:
            getattr(holder, name).data[change[0]] = change[1]
    return made


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"firing_probabilities": (2, 0.0)}, "firing_probabilities must lie in (0, 1], and that of feature 2 is 0"),
        ({"firing_probabilities": (2, 1.5)}, "firing_probabilities must lie in (0, 1], and that of feature 2 is 1.5"),
        ({"firing_probabilities": (2, np.nan)}, "firing_probabilities must be finite, and it is not at [2]"),
        ({"firing_probabilities": torch.full((4,), 0.5)}, "firing_probabilities must have the shape (6,), as the conf"),
        ({"mean_firing_magnitudes": (0, np.inf)}, "mean_firing_magnitudes must be finite, and it is not at [0]"),
        ({"feature_vectors": ((3, 1), np.nan)}, "feature_vectors must be finite, and it is not at [3, 1]"),
        (
            {"feature_vectors": torch.ones(5, 2)},
            "feature_vectors must have the shape (6, 2), as the configuration says",
        ),
        ({"bias": (1, np.inf)}, "bias must be finite, and it is not at [1]"),
    ],
)
def test_synthetic_models_that_contradict_themselves_are_refused_in_a_sentence(changes, sentence, tmp_path):
    made = spoiled(**changes)
    with pytest.raises(ValueError, match=re.escape(f"from_synthetic_model(SyntheticModel): {sentence}")):
        saelens.from_synthetic_model(made)
    if "mean_firing_magnitudes" not in changes:  # which files do not hold
        made.save(tmp_path)
        with pytest.raises(ValueError, match=re.escape(sentence)):
            saelens.from_synthetic_model(tmp_path)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"roots": [{"feature_index": 9}]}', "must be None or different features, from 0 to 5, not 9"),
        ('{"roots": [{"feature_index": -1}]}', "must be the folder of a synthetic model of SAELens: "),
        ('{"roots": [{"feature_index": true}]}', "must be None or different features, from 0 to 5, not True"),
        (
            '{"roots": [{"feature_index": 1, "children": [{"feature_index": 1}]}]}',
            "must be None or different features, from 0 to 5, not 1 twice",
        ),
        (
            '{"roots": [{"children": [{"feature_index": 1}, {"feature_index": 2}], '
            '"mutually_exclusive_children": true}]}',
            "children that exclude one another must be features, and so must their parent",
        ),
        ('{"roots": 3}', "must be the folder of a synthetic model of SAELens"),
        ("[" * 100_000, "must be the folder of a synthetic model of SAELens"),
    ],
)
def test_hierarchies_that_lie_are_refused_in_a_sentence(text, sentence, tmp_path):
    theirs.SyntheticModel(theirs.SyntheticModelConfig(num_features=6, hidden_dim=2, seed=0)).save(tmp_path)
    (tmp_path / "hierarchy.json").write_text(text)
    with pytest.raises(ValueError, match=re.escape(sentence)) as caught:
        saelens.from_synthetic_model(tmp_path)
    assert str(caught.value).startswith(f"from_synthetic_model({str(tmp_path)!r}): ")


def test_a_threshold_beyond_float32_is_no_feature():
    config = theirs.SyntheticModelConfig(
        num_features=6, hidden_dim=2, seed=0, correlation=theirs.LowRankCorrelationConfig(2),
        firing_probability=theirs.ConstantFiringProbabilityConfig(1e-8),
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"every feature must fire, and feature 0 has no finite threshold"):
        saelens.from_synthetic_model(theirs.SyntheticModel(config))


def test_wrong_arguments_get_a_sentence():
    """In a process of its own: here types are checked while tests run, which would come first."""
    ran = subprocess.run([sys.executable, "-W", "ignore", "-c", WRONG], capture_output=True, text=True, timeout=200)
    assert ran.stderr == ""
    assert ran.stdout.splitlines() == [
        "feature_dictionary(source=None): source must be a Dataset or a ToyModel",
        "feature_dictionary(model): weights and biases must be finite in float32, and weights[1] is not; the run "
        "may have diverged",
        "FeatureActivations(None): source must be a FeatureDistribution, a list of sets, or a trajectory",
        "FeatureActivations(seed=None): seed must be an int of at least 0, or a list of them",
        "FeatureActivations.sample(batch_size=None): batch_size must be an int of at least 1",
        "from_synthetic_model(source=None): source must be a SyntheticModel or a string or a path",
        "to_synthetic_model(model=None): model must be a ToyModel",
        "to_synthetic_model(features=None): features must be a FeatureDistribution or a list of FeatureSets",
        "to_synthetic_model(model): weights and biases must be finite in float32, and weights[1] is not; the run "
        "may have diverged",
    ]


WRONG = """
import numpy as np, tegum as tg
from tegum.torch import ToyModel, saelens
model, sets = ToyModel(np.ones((2, 1))), [tg.Independent(2, 0.1, magnitude=tg.ConstantMagnitude())]
diverged = ToyModel([[1.0], [1.0]])
diverged.weights.data[1] = np.inf
for call in (
    lambda: saelens.feature_dictionary(None), lambda: saelens.feature_dictionary(diverged),
    lambda: saelens.FeatureActivations(None), lambda: saelens.FeatureActivations(sets, None),
    lambda: saelens.FeatureActivations(sets).sample(None), lambda: saelens.from_synthetic_model(None),
    lambda: saelens.to_synthetic_model(None, sets), lambda: saelens.to_synthetic_model(model, None),
    lambda: saelens.to_synthetic_model(diverged, sets),
):
    try:
        call()
        print("no error")
    except ValueError as error:
        print(error)
"""


def test_a_feature_that_is_never_active_has_magnitudes_of_zero():
    generator = saelens.FeatureActivations([tg.Empirical(np.array([[1.0, 0.0], [3.0, 0.0]]))])
    assert generator.firing_probabilities.tolist() == [1, 0]
    assert generator.mean_firing_magnitudes.tolist() == [2, 0]
    assert generator.std_firing_magnitudes.tolist() == [1, 0]
