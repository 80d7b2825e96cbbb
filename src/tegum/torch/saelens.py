# pyright: reportMissingImports=false
"""Toy models and their features for SAELens (`pip install sae-lens`), and its synthetic models as features of tegum.

    from sae_lens.synthetic import train_toy_sae
    from tegum.torch import saelens

    train_toy_sae(sae, saelens.feature_dictionary(model), saelens.FeatureActivations(features), training_samples=10**6)

SAELens's own synthetic models have random directions, and features whose magnitudes are the positive part of a normal
variable. Here directions are learned, and magnitudes those of tegum. What both can describe goes from one to the other.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float, Float32
from sae_lens import synthetic
from torch import Tensor

from tegum.core.arguments import is_integer, refusing
from tegum.core.description import short
from tegum.core.features.copula import Copula
from tegum.core.features.distribution import FeatureDistribution
from tegum.core.features.hierarchy import Hierarchy
from tegum.core.features.magnitudes import ConstantMagnitude, HalfNormalMagnitude, Magnitude
from tegum.core.features.sets import FeatureSet, Independent
from tegum.torch.choices import before_choice, chosen
from tegum.torch.exchange import parameters_of_one
from tegum.torch.model import ToyModel
from tegum.torch.samples import Samples, features_of

_VARIANCE_TOLERANCE = 1e-5
"""How far what is meant to be a variance of 1 may be from it by rounding in float32."""

_LEAST_PROBABILITY = 100 * 2.0**-24
"""The least probability of firing, 6e-6, that SAELens surely draws to 1 %.

It compares with uniforms of float32, which are multiples of 2⁻²⁴, so that a probability p acts as the next multiple
above it, and p < 2⁻²⁴ as 2⁻²⁴. Beside correlations, its thresholds √2 erfinv(1 − 2p) come from a 1 − 2p that is rounded
to a multiple of 2⁻²⁴; they are infinite for p < 2⁻²⁶, so that nothing ever fires.
"""

_CHOICE_TOLERANCE = 1e-4
"""How far, relative to it, a density may be from what probabilities of firing make of it."""


@refusing
def feature_dictionary(source: xr.Dataset | ToyModel) -> synthetic.FeatureDictionary:
    """Make SAELens's dictionary of a toy model: its vectors are the rows of W, as long as they are, and it has no bias.

    Args:
        source: a run, such as `tg.best(run)`, of which the final state is taken, or a model of one run; with any
            activation, which plays no part in hidden activations.

    Returns:
        A `FeatureDictionary`, which turns samples of features into hidden activations h = Wᵀ x.

    Raises:
        ValueError: it is a model of several runs, or its parameters are not finite in float32.

    """
    model = source if isinstance(source, ToyModel) else ToyModel.from_run(source)
    W, _ = parameters_of_one(model, "feature_dictionary(model)")
    made = synthetic.FeatureDictionary(*W.shape, bias=False, initializer=None, device=W.device)
    made.feature_vectors.data = W
    return made


class FeatureActivations(synthetic.ActivationGenerator):
    """SAELens's generator of feature activations, with the samples of a feature distribution of any kind.

    The k-th call draws batch number k of `Samples`, so that training is the same whenever it is repeated.

    Args:
        source: the feature distribution, a list of sets, or a trajectory that was trained on them.
        seed: as for `Samples`.

    Raises:
        ValueError: an argument breaks its rule; the sentence names it.

    Example:
        >>> import tegum as tg
        >>> from tegum.torch import saelens
        >>> pairs = tg.FeatureDistribution([tg.Correlated(size=2, density=0.5)] * 3)
        >>> generator = saelens.FeatureActivations(pairs, seed=7)
        >>> first, second = generator.sample(10), generator.sample(10)
        >>> bool((second.numpy() == pairs.sample([7, 1], 10).astype("float32")).all())
        True

    """

    features: FeatureDistribution
    """What is sampled."""
    batches_drawn: int
    """The number of the next batch: how many have been drawn already."""

    def __init__(
        self, source: FeatureDistribution | Sequence[FeatureSet] | xr.Dataset, seed: int | Sequence[int] = 0
    ) -> None:
        if not isinstance(source, FeatureDistribution | xr.Dataset | list | tuple):
            rule = "source must be a FeatureDistribution, a list of sets, or a trajectory"
            raise ValueError(f"FeatureActivations({short(source)}): {rule}")
        if not (is_integer(seed) or (isinstance(seed, list | tuple) and all(map(is_integer, seed)))):
            rule = "seed must be an int of at least 0, or a list of them"
            raise ValueError(f"FeatureActivations(seed={short(seed)}): {rule}")
        samples = Samples(features_of(source) if isinstance(source, xr.Dataset) else source, 1, seed)
        density, first = samples.features.density, samples.features.first_moment()
        square = np.diag(samples.features.second_moment())
        # A feature that is never active, as in data of one's own, has magnitudes of 0.
        share = np.where(density > 0, density, 1.0)
        mean = first / share
        spread = np.sqrt(np.maximum(square / share - mean**2, 0))
        tensors = (torch.from_numpy(each) for each in (density, spread, mean))
        super().__init__(samples.features.n, *tensors)
        self.features, self._samples, self.batches_drawn = samples.features, samples, 0

    def sample(self, batch_size: int) -> Tensor:
        """Draw the next batch.

        Args:
            batch_size: the number of samples.

        Returns:
            Feature activations, shape (batch, n), float32.

        Raises:
            ValueError: `batch_size` is no int of at least 1.

        """
        if not (is_integer(batch_size) and batch_size >= 1):
            rule = "batch_size must be an int of at least 1"
            raise ValueError(f"FeatureActivations.sample(batch_size={short(batch_size)}): {rule}")
        key = [*self._samples.seed, self.batches_drawn]
        self.batches_drawn += 1
        return torch.from_numpy(self.features.sample(key, batch_size)).to(self.firing_probabilities)


class SyntheticFeatures(NamedTuple):
    """What a synthetic model of SAELens is in tegum's terms."""

    features: FeatureDistribution
    """The feature distribution."""
    directions: Float32[np.ndarray, "feature hidden"]
    """The direction of each feature, a row as long as it is in the model."""
    bias: Float32[np.ndarray, " hidden"]
    """What is added to all hidden activations; tegum's models have none there."""


@refusing
def from_synthetic_model(source: synthetic.SyntheticModel | str | os.PathLike[str]) -> SyntheticFeatures:
    """Describe a synthetic model of SAELens, or the folder of a saved one.

    A feature that fires with probability p becomes one of density p and constant magnitude where the standard deviation
    of its magnitude is 0. Where the mean is 0 it becomes one of density p/2 and half-normal magnitude, as the negative
    half of the normal variable is cut off. Correlations become a `Copula`, and a hierarchy a `Hierarchy`: where
    children exclude one another one of those that fire is chosen, so that child i is active with probability
    p_i ∫ Π_{j≠i} (1 − p_j t) dt over [0, 1].

    Probabilities are those that the model states; SAELens itself draws what is below 6e-6 with an error of more than
    1 %, as it computes in float32.

    Args:
        source: the model, or the path of its folder.

    Returns:
        Features, directions and bias.

    Raises:
        ValueError: the model has something that tegum cannot describe: other magnitudes, correlations together with a
            hierarchy, children that are scaled by their parent, or children that exclude one another without a parent;
            or its parts contradict each other, or hold numbers that are not finite.

    """
    model: Any = source
    call = "from_synthetic_model(SyntheticModel)"
    if not isinstance(source, synthetic.SyntheticModel):
        call = f"from_synthetic_model({os.fspath(source)!r})"
        try:
            model = synthetic.SyntheticModel.load_from_disk(os.fspath(source))
        except Exception as error:  # SAELens raises all kinds of errors
            reason = " ".join(str(error).split())[:160]
            raise ValueError(f"{call}: it must be the folder of a synthetic model of SAELens: {reason}") from None
    n, m = model.cfg.num_features, model.cfg.hidden_dim
    vectors = _held(model.feature_dict.feature_vectors, "feature_vectors", (n, m), call).numpy()
    bias = _held(model.feature_dict.bias, "bias", (m,), call).numpy()
    try:
        features = _features(model, n, call)
    except ValueError as error:  # of a set of tegum, which does not know of the model
        said = str(error)
        raise ValueError(said if said.startswith(call) else f"{call}: {said}") from None
    return SyntheticFeatures(features, vectors, bias)


def _held(tensor: Tensor, name: str, shape: tuple[int, ...], call: str) -> Tensor:
    """A tensor of a synthetic model, apart from it, in float32 on the CPU."""
    if tuple(tensor.shape) != shape:
        raise ValueError(
            f"{call}: {name} must have the shape {shape}, as the configuration says, not {tuple(tensor.shape)}"
        )
    held = tensor.detach().to("cpu", torch.float32, copy=True)
    if not bool(held.isfinite().all()):
        raise ValueError(
            f"{call}: {name} must be finite, and it is not at {torch.nonzero(~held.isfinite())[0].tolist()}"
        )
    return held


@refusing
def to_synthetic_model(
    model: ToyModel, features: FeatureDistribution | Sequence[FeatureSet]
) -> synthetic.SyntheticModel:
    """Make a synthetic model of SAELens, whose `save(path)` writes files, of a toy model and features.

    It can express features that are independent, or active by a Gaussian copula or a hierarchy, with magnitudes that
    are constant or half-normal. For features of other kinds, `FeatureActivations` draws them in memory. Of children
    that exclude one another SAELens chooses one of those that fire: their probabilities of firing are such that the
    chosen one has the density that it has here. Probabilities of firing must be at least 6e-6, as SAELens draws smaller
    ones in float32 with an error of up to more than 1 %.

    The model's own `to(device)` makes it anew from its configuration, which holds only one probability for all
    features. Save it, and load it on the device.

    Args:
        model: a model of one run.
        features: the feature distribution, or a list of sets.

    Returns:
        A `SyntheticModel`.

    Raises:
        ValueError: a synthetic model cannot express the features; the sentence says why.

    """
    call = "to_synthetic_model(features)"
    features = features if isinstance(features, FeatureDistribution) else FeatureDistribution(list(features))
    try:
        dictionary = feature_dictionary(model)
    except ValueError as error:
        raise ValueError(
            f"to_synthetic_model(model): {str(error).removeprefix('feature_dictionary(model): ')}"
        ) from None
    if features.n != dictionary.num_features:
        raise ValueError(f"{call}: there must be {dictionary.num_features} features, as in the model, not {features.n}")
    firings = [_firing(each, call) for each in features.sets]
    laws = {(firing.mean, firing.deviation) for firing in firings}
    if len(laws) > 1:
        raise ValueError(f"{call}: all sets must have one law of magnitude, as files of SAELens hold only one")
    [(mean, deviation)] = laws
    probability = np.concatenate([firing.probability for firing in firings]).astype(np.float32)
    if (least := probability.min()) < _LEAST_PROBABILITY:
        rule = f"every feature must fire with a probability of at least {_LEAST_PROBABILITY:.3g}"
        raise ValueError(
            f"{call}: {rule}, as SAELens draws smaller ones in float32 with an error of more than 1 %, and feature "
            f"{int(probability.argmin())} has {least:.3g}; FeatureActivations draws any"
        )
    correlation = None
    if any(isinstance(each, Copula) for each in features.sets):
        if np.ptp(probability) > 0:
            rule = "all features must have one density beside a Copula, as SAELens restores thresholds from one number"
            raise ValueError(f"{call}: {rule}; they have {probability.min():g} to {probability.max():g}")
        correlation = _correlations(features.sets, call)
    config = synthetic.SyntheticModelConfig(
        num_features=features.n,
        hidden_dim=dictionary.hidden_dim,
        firing_probability=synthetic.ConstantFiringProbabilityConfig(
            float(str(probability.mean(dtype=float).astype(np.float32)))
        ),
        mean_firing_magnitudes=mean,
        std_firing_magnitudes=deviation,
        bias=False,
    )
    made = synthetic.SyntheticModel(
        config, feature_dict=dictionary, hierarchy=_roots(features.sets), correlation_matrix=correlation
    )
    made.activation_generator.firing_probabilities = torch.from_numpy(probability)
    return made


class _Firing(NamedTuple):
    """A set as SAELens describes its features: x = max(0, mean + deviation · z) with this probability, else 0."""

    probability: Float[np.ndarray, " size"]
    mean: float
    deviation: float


def _firing(each: FeatureSet, call: str) -> _Firing:
    if not isinstance(each, Independent | Copula | Hierarchy):
        rule = "sets must be Independent, Copula or Hierarchy, as no others are described in files of SAELens"
        raise ValueError(f"{call}: {rule}, not {each!r}; FeatureActivations draws any")
    probability = _firing_probabilities(each, call) if isinstance(each, Hierarchy) else each.densities
    match each.magnitude:
        case ConstantMagnitude(value=value):
            return _Firing(probability, value, 0.0)
        case HalfNormalMagnitude(scale=scale) if not isinstance(each, Copula):
            if (probability > 0.5).any():
                rule = "a density must be at most ½ for half-normal magnitudes"
                if (each.densities <= 0.5).all():
                    rule += ", before one of those that exclude one another is chosen"
                raise ValueError(f"{call}: {rule}, as SAELens cuts off half of a normal law; {each!r}")
            return _Firing(2 * probability, 0.0, scale)
        case _:
            rule = "magnitudes must be constant, or half-normal outside of a Copula, as SAELens knows no others"
            raise ValueError(f"{call}: {rule}: {each!r}")


def _exclusive_children(each: Hierarchy) -> dict[int, list[int]]:
    """The children of each parent whose children exclude one another."""
    excludes = np.broadcast_to(each.exclusive, each.features)
    found = {
        parent: [child for child, its in enumerate(each.parents) if its == parent]
        for parent in np.flatnonzero(excludes).tolist()
    }
    return {parent: children for parent, children in found.items() if len(children) > 1}


def _firing_probabilities(each: Hierarchy, call: str) -> Float[np.ndarray, " size"]:
    """The probability of each feature, given its parent, before one of those that exclude one another is chosen."""
    probability = each.densities
    for parent, children in _exclusive_children(each).items():
        wanted = probability[children]
        found = before_choice(wanted)
        # As SAELens holds them.
        if (np.abs(chosen(found.astype(np.float32).astype(float)) / wanted - 1) > _CHOICE_TOLERANCE).any():
            rule = "children that exclude one another must have densities that come of choosing one of those that fire"
            raise ValueError(
                f"{call}: {rule}, as SAELens does, and for the children of {parent} none are found: {each!r}"
            )
        probability[children] = found
    return probability


def _correlations(sets: Sequence[FeatureSet], call: str) -> synthetic.LowRankCorrelationMatrix:
    """Factors and what is left to each feature, those of every set in columns of their own."""
    factors = []
    for each in sets:
        if not isinstance(each, Copula):
            factors.append(np.zeros((each.features, 0)))
        elif each.factors is not None:
            factors.append(np.array(each.factors))
        else:
            # The smallest eigenvalue is what every variable has to itself.
            values, axes = np.linalg.eigh(np.array(each.correlation))
            factors.append(axes[:, 1:] * np.sqrt(np.maximum(values[1:] - max(values[0], 0.0), 0.0)))
    ends = list(itertools.accumulate((each.shape[1] for each in factors), initial=0))
    whole = np.concatenate(
        [
            np.pad(each, ((0, 0), (start, ends[-1] - end)))
            for each, (start, end) in zip(factors, itertools.pairwise(ends), strict=True)
        ]
    )
    rest = 1 - np.square(whole).sum(1)
    if rest.min() <= 0:
        rule = "each feature must have a part of its variable to itself, as SAELens asks for"
        raise ValueError(f"{call}: {rule}, and feature {int(rest.argmin())} shares all of it")
    return synthetic.LowRankCorrelationMatrix(torch.from_numpy(whole).float(), torch.from_numpy(rest).float())


def _roots(sets: Sequence[FeatureSet]) -> synthetic.Hierarchy | None:
    """The trees of all hierarchies."""
    roots, first = [], 0
    for each in sets:
        if isinstance(each, Hierarchy):
            nodes = [synthetic.HierarchyNode(first + number) for number in range(each.features)]
            for node, parent in zip(nodes, each.parents, strict=True):
                if parent < 0:
                    roots.append(node)
                else:
                    nodes[parent].children = [*nodes[parent].children, node]
            # Only now, as SAELens lets no node without children say so.
            for parent in _exclusive_children(each):
                nodes[parent].mutually_exclusive_children = True
        first += each.features
    return synthetic.Hierarchy(roots, synthetic.hierarchy_modifier(roots)) if roots else None


def _features(model: synthetic.SyntheticModel, n: int, call: str) -> FeatureDistribution:
    generator = model.activation_generator
    related = generator.correlation_matrix is not None or generator.low_rank_correlation is not None
    if related and model.hierarchy is not None:
        raise ValueError(f"{call}: correlations together with a hierarchy are no set of tegum")
    if generator.modify_activations is not None and model.hierarchy is None:
        raise ValueError(f"{call}: activations must not be modified but by a hierarchy, and a function modifies them")
    names = ("mean_firing_magnitudes", "std_firing_magnitudes", "firing_probabilities")
    mean, deviation, fires = (_numbers(_held(getattr(generator, name), name, (n,), call)) for name in names)
    if (wrong := (fires <= 0) | (fires > 1)).any():
        rule = "firing_probabilities must lie in (0, 1]"
        raise ValueError(f"{call}: {rule}, and that of feature {int(wrong.argmax())} is {fires[wrong][0]:g}")
    laws = [_law(*each, call) for each in zip(mean, deviation, strict=True)]
    # The half of normal variables around 0 that is negative is cut off.
    kept = np.where([isinstance(law, HalfNormalMagnitude) for law in laws], 0.5, 1.0)
    density = kept * fires
    if not related and model.hierarchy is None:
        groups = [list(group) for _, group in itertools.groupby(range(len(laws)), key=laws.__getitem__)]
        return FeatureDistribution(
            [Independent(len(group), _short(density[group]), magnitude=laws[group[0]]) for group in groups]
        )
    if len(set(laws)) > 1:
        raise ValueError(f"{call}: magnitudes must have one law where features depend on each other")
    if model.hierarchy is not None:
        return FeatureDistribution([_hierarchy(model.hierarchy, density, laws[0], call)])
    if isinstance(laws[0], HalfNormalMagnitude):
        raise ValueError(f"{call}: correlated features must have constant magnitudes, as half of the normal ones are 0")
    return FeatureDistribution([_copula(generator, laws[0], call)])


def _law(mean: float, deviation: float, call: str) -> Magnitude:
    if deviation == 0 and mean > 0:
        return ConstantMagnitude(mean)
    if mean == 0 and deviation > 0:
        return HalfNormalMagnitude(deviation)
    rule = "a magnitude must have a deviation of 0 (constant) or a mean of 0 (half-normal)"
    raise ValueError(f"{call}: {rule}, and one has mean {mean:g} and deviation {deviation:g}")


def _copula(generator: Any, law: Magnitude, call: str) -> Copula:
    from scipy.special import ndtr

    # Thresholds decide, which are not restored from the probabilities that are stored beside them.
    fires = ndtr(-generator.correlation_thresholds.double().cpu().numpy()).astype(np.float32)
    if not (fires > 0).all():
        raise ValueError(
            f"{call}: every feature must fire, and feature {int((~(fires > 0)).argmax())} has no finite threshold"
        )
    density = _short(fires)
    if generator.low_rank_correlation is None:
        return Copula(density, generator.correlation_matrix.double().cpu().numpy(), magnitude=law)
    factors, rest = (each.double().cpu().numpy() for each in generator.low_rank_correlation)
    variance = np.square(factors).sum(1) + rest**2
    if np.abs(variance - 1).max() > _VARIANCE_TOLERANCE:
        raise ValueError(f"{call}: correlations must have 1 on the diagonal, and there is {variance.max():g}")
    return Copula(density, factors=factors, magnitude=law)


def _check_nodes(roots: Sequence[synthetic.HierarchyNode], n: int, call: str) -> None:
    """Refuse nodes of features that are not there, or twice."""
    met, nodes = set[int](), list(roots)
    while nodes:
        node = nodes.pop()
        nodes += node.children
        if (own := node.feature_index) is None:
            continue
        if not is_integer(own) or not 0 <= own < n or own in met:
            rule = f"nodes of the hierarchy must be None or different features, from 0 to {n - 1}"
            raise ValueError(f"{call}: {rule}, not {short(own)}{' twice' if own in met else ''}")
        met.add(own)


def _hierarchy(given: synthetic.Hierarchy, density: np.ndarray, law: Magnitude, call: str) -> Hierarchy:
    parents, exclusive = np.full(len(density), -1), np.zeros(len(density), bool)
    density = density.copy()
    _check_nodes(given.roots, len(density), call)

    def visit(node: synthetic.HierarchyNode, parent: int) -> None:
        own = node.feature_index
        if node.scale_children_by_parent and not isinstance(law, ConstantMagnitude):
            raise ValueError(f"{call}: children must not be scaled by their parent, as those of {own} are")
        children = [child.feature_index for child in node.children]
        if node.mutually_exclusive_children and len(children) > 1:
            if own is None or None in children:
                raise ValueError(
                    f"{call}: children that exclude one another must be features, and so must their parent"
                )
            exclusive[own] = True
            density[children] = chosen(density[children])
        if own is not None:
            parents[own] = parent
        for child in node.children:
            visit(child, parent if own is None else own)

    for root in given.roots:
        visit(root, -1)
    return Hierarchy(
        parents, _short(density), exclusive=exclusive.tolist() if exclusive.any() else False, magnitude=law
    )


def _numbers(tensor: Tensor) -> np.ndarray:
    """The numbers of float32 with the fewest digits: 0.1, and not 0.10000000149."""
    return np.array([float(str(number)) for number in tensor.detach().float().cpu().numpy()])


def _short(values: np.ndarray) -> float | np.ndarray:
    return float(str(values[0])) if np.ptp(values) == 0 else values
