"""Measures of weights that a user brings, such as a dictionary's directions, and of activations of its features."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tegum.analysis.dictionaries import coactivation as together
from tegum.analysis.dictionaries import embeddings as geometry
from tegum.core.arguments import refusing
from tegum.core.description import short
from tegum.core.inputs import orientation
from tegum.core.inputs.arrays import numbers_of
from tegum.core.inputs.sparse import checked
from tegum.core.limits import check_memory
from tegum.progress.showing import shown
from tegum.progress.tasks import Phases

if TYPE_CHECKING:
    import xarray as xr

QUANTILES = (0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999)
"""The probabilities at which quantiles of cosines are given."""

BINS = 101
"""The number of bins in the histogram of cosines."""

LOCAL = 32
"""The number of features whose local bases are measured if none are named."""


@refusing
def analyse(
    weights: Any,
    activations: Any = None,
    *,
    threshold: float = 0.5,
    scale: float | None = None,
    neighbours: bool = True,
    features: Sequence[int] | None = None,
    companions: int = 8,
    key: int = 0,
    normalise: bool = False,
    centre: bool = False,
    progress: bool | geometry.Progress | None = True,
) -> xr.Dataset:
    """Measure the geometry of feature directions that you bring, with activations also their co-activation.

    With activations, local bases are measured too. The directions may be the decoder of a sparse autoencoder or any
    other matrix. The Gram matrix of all features is never built: 100,000 directions in 1,024 dimensions take less
    than 4 GB, and the search for neighbours, which grows as n² m, some minutes on two cores. Everything else takes
    seconds.

    Every measure comes with its null: variables named `*_null` are what random directions have. Dimensionality is
    that of Elhage et al. 2022, "Feature Dimensionality". The local measures ask the question of "Local
    Almost-Orthogonal Bases": whether features that are active together have nearly orthogonal directions and fill
    the local principal subspace.

    Args:
        weights: shape (n, m), with feature directions as rows; an array, possibly memory-mapped from a file, what
            `load_dictionary` returned, a tensor, or a sparse matrix.
        activations: shape (samples, n), an array, a tensor or a sparse matrix; a feature is active where it is not
            0.
        threshold: the fraction of the scale that the row of a represented feature must reach, in [0, 1).
        scale: the norm of a fully represented feature; None is the longest row.
        neighbours: whether to search for the nearest and the most opposite feature of each feature.
        features: the features whose local bases are measured; None is the 32 most correlated with their companions,
            among those active in at least 100 samples.
        companions: the number of most correlated features that are listed for each feature.
        key: the seed of the random samples.
        normalise: whether directions are first scaled to unit norm, so that all count alike.
        centre: whether the mean direction is first subtracted from all of them; with `normalise` it is the mean of
            unit directions, and what is left is scaled to unit norm again. Rows of zeros stay, and count for nothing.
        progress: whether to show progress, as in `train`; or a function that is called with the name of the present
            part and the fraction of it that is done.

    Returns:
        A Dataset. By feature: norm, dimensionality, represented, nearest, opposite and their cosines; with
        activations density, mean_activation, companion and correlation (feature, place). By `local`, the features
        whose local bases are measured: local_capture and what it is compared with. By axis the spectrum of WᵀW;
        quantiles and a histogram of cosines. Single numbers, such as total_dimensions, have no dimension. The attribute
        `likely_transposed` says why the directions may be the columns; it is empty if nothing suggests that.

    Raises:
        ValueError: weights or activations are not matrices of finite real numbers that fit together, or an option is
            out of range.

    Example:
        Two antipodal pairs in the plane, which is a square: each feature has half a dimension, all of them two.

        >>> import tegum as tg
        >>> import numpy as np
        >>> found = tg.analyse(np.concatenate([np.eye(2), -np.eye(2)]))
        >>> found.opposite.values.tolist(), found.dimensionality.values.tolist(), float(found.total_dimensions)
        ([2, 3, 0, 1], [0.5, 0.5, 0.5, 0.5], 2.0)

    """
    import xarray as xr

    W = _checked(weights, threshold, scale, companions)
    n = len(W)
    x = None if activations is None else together.as_sparse(activations, "analyse")
    if x is not None and x.shape[1] != n:
        raise ValueError(
            f"analyse(activations of shape {x.shape}): activations must have {n} columns, one for each row of weights"
        )
    _check_features(features, x, n)
    largest, mean = geometry.peak(W, "analyse"), 0.0
    doubt = _likely_transposed(weights, W)
    if normalise or centre:
        W, mean = geometry.directions(W, largest, normalise=normalise, centre=centre, call="analyse(weights)")
        largest = geometry.peak(W, "analyse")
    # What may be refused comes first, and what takes long after it.
    with shown(progress, Phases(f"analysing {n:,} × {W.shape[1]:,}"), "analyse") as report:
        activity = {} if x is None else _activity(W, x, features, companions, key, report)
        measured = _geometry(W, largest, threshold, scale, neighbours, key, report) | activity
    if centre:
        measured["mean_norm"] = (), mean, "norm of the mean direction, which was subtracted"
    names = {
        "feature": ("feature", np.arange(n), "number of the feature"),
        "axis": ("axis", np.arange(len(measured["spectrum"][1])), "number of the principal axis"),
        "quantile": ("quantile", np.array(QUANTILES), "probability"),
    }
    return xr.Dataset(
        {name: _variable(*held) for name, held in measured.items()},
        {name: _variable(*held) for name, held in names.items()},
        {
            "schema": "tegum analysis",
            "threshold": threshold,
            "scale": "the longest row" if scale is None else scale,
            "key": key,
            "normalise": normalise,
            "centre": centre,
            "dtype": str(W.dtype),
            "likely_transposed": doubt,
        },
    )


def _geometry(
    W: np.ndarray,
    largest: float,
    threshold: float,
    scale: float | None,
    neighbours: bool,
    key: int,
    report: geometry.Progress,
) -> dict[str, Any]:
    n, m = W.shape
    shares = geometry.shares(W, largest, report)
    norms, spectrum = shares.norms, shares.spectrum
    present = geometry.represented(norms, threshold, scale)
    measured: dict[str, Any] = {
        "norm": ("feature", norms, "norm of the feature's direction"),
        "dimensionality": ("feature", shares.dimensionality, "feature dimensionality"),
        "dimensionality_null": ("feature", shares.null, "dimensionality among random directions of these norms"),
        "represented": ("feature", present, "feature is represented"),
        "features": ((), n, "number of features"),
        "dimensions": ((), m, "number of dimensions"),
        "represented_features": ((), int(present.sum()), "number of represented features"),
        "total_dimensions": ((), float(shares.dimensionality.sum()), "sum of feature dimensionalities"),
        "total_dimensions_null": (
            (),
            float(shares.null.sum()),
            "sum of feature dimensionalities among random directions of these norms",
        ),
        "dimensions_per_feature": ((), m / total if (total := spectrum.sum()) > 0 else np.inf, "m / |W|² (Frobenius)"),
        "effective_rank": ((), geometry.effective_rank(spectrum), "exp of the entropy of singular values"),
        "participation_ratio": ((), geometry.participation_ratio(spectrum), "(Σ λ)² / Σ λ² of the spectrum"),
        "spectrum": ("axis", spectrum, "eigenvalues of WᵀW"),
    }
    sample = geometry.sampled_cosines(W, norms, key)
    report("cosines", 1.0)
    if sample.size:
        reach = max(float(np.abs(sample).max()), 1e-3)
        edges = np.linspace(-reach, reach, BINS + 1)
        width = np.diff(edges)
        measured |= {
            "pairs": ((), sample.size, "pairs of features whose cosines were computed"),
            "cosine_quantile": ("quantile", np.quantile(sample, QUANTILES), "cosine of two features"),
            "cosine_quantile_null": ("quantile", geometry.null_quantile(QUANTILES, m), "cosine of random directions"),
            "squared_cosine": ((), float(np.square(sample).mean()), "mean squared cosine of two features"),
            "squared_cosine_null": ((), 1 / m, "mean squared cosine of random directions"),
            "bin": ("bin", (edges[1:] + edges[:-1]) / 2, "middle of a bin of cosines"),
            "cosine_density": ("bin", np.histogram(sample, edges)[0] / sample.size / width, "density of cosines"),
            "cosine_density_null": (
                "bin", np.diff(geometry.null_cdf(edges, m)) / width, "density of cosines of random directions",
            ),
        }  # fmt: skip
    if neighbours:
        near = geometry.neighbours(W, norms, report)
        others = int((norms > 0).sum()) - 1
        measured |= {
            "nearest": ("feature", near.nearest, "feature of the largest cosine, −1 if there is none"),
            "nearest_cosine": ("feature", near.nearest_cosine, "cosine with the nearest feature"),
            "opposite": ("feature", near.opposite, "feature of the least cosine, −1 if there is none"),
            "opposite_cosine": ("feature", near.opposite_cosine, "cosine with the most opposite feature"),
        }
        if others > 0:
            null = geometry.null_nearest_quantile(QUANTILES, m, others)
            for name, sign in (("nearest", 1), ("opposite", -1)):
                found = near.nearest_cosine if sign > 0 else near.opposite_cosine
                measured[f"{name}_quantile"] = "quantile", np.nanquantile(found, QUANTILES), f"cosine, {name} feature"
                # The distribution of the least cosine mirrors that of the largest.
                mirrored = null if sign > 0 else -null[::-1]
                measured[f"{name}_quantile_null"] = "quantile", mirrored, f"cosine, {name} of as many random directions"
    return measured


def _activity(
    W: np.ndarray, x: Any, features: Sequence[int] | None, most: int, key: int, report: geometry.Progress
) -> dict[str, Any]:
    each = together.marginals(x)
    found = together.companions(x, each, most, report)
    chosen = together.candidates(x, each, found, LOCAL) if features is None else np.array(features, np.int64)
    alone = [int(one) for one in chosen if found.feature[one, 0] < 0]
    if alone:
        raise ValueError(f"analyse(features=[…, {alone[0]}, …]): the feature must be active together with another one")
    local = together.local_measures(W, x, found, chosen, key, report) if len(chosen) else []
    m = W.shape[1]
    activity: dict[str, Any] = {
        "samples": ((), x.shape[0], "number of samples"),
        "active_features": ((), x.nnz / x.shape[0], "features active in a sample, on average"),
        "density": ("feature", each.density, "probability that the feature is active"),
        "mean_activation": ("feature", each.mean, "mean activation"),
        "companion": (("feature", "place"), found.feature, "most correlated features, −1 if there are fewer"),
        "correlation": (("feature", "place"), found.correlation, "Pearson correlation of activations"),
        "correlation_null": (
            (),
            1 / np.sqrt(x.shape[0]),
            "standard deviation of the correlation of independent features",
        ),
    }
    columns = {
        "local_feature": (chosen, "feature whose active samples are analysed"),
        "local_samples": ([one.samples for one in local], "samples in which the feature is active (at most 20,000)"),
        "local_rank": ([one.rank for one in local], "companions, and dimension of the local principal subspace"),
        "local_capture": ([one.capture for one in local], "share of the companions' directions in the local subspace"),
        "local_capture_null": ([one.rank / m for one in local], "local_capture of a random subspace of that rank"),
        "local_capture_everywhere": (
            [one.everywhere for one in local],
            "share of the companions' directions in the principal subspace of all samples, of that rank",
        ),
        "local_capture_others": (
            [one.others for one in local], "share of as many other features' directions in the local subspace",
        ),
        "local_interference": ([one.interference for one in local], "mean squared cosine, feature and companions"),
    }  # fmt: skip
    activity |= {name: ("local", np.asarray(held), meaning) for name, (held, meaning) in columns.items()}
    return activity | {"local_interference_null": ((), 1 / m, "mean squared cosine of random directions")}


def summary(found: xr.Dataset) -> dict[str, Any]:
    """Summarise an analysis in JSON-able numbers with their meanings: single ones, means and quantiles.

    NaN and infinity, which JSON lacks, become None.

    Args:
        found: what `analyse` returned.

    Returns:
        What was done to the directions, the probabilities of the quantiles, and the measures by name.

    """
    numbers: dict[str, Any] = {}
    for name, variable in found.data_vars.items():
        values, meaning = variable.values, str(variable.attrs["long_name"])
        if variable.ndim == 0:
            described: Any = {"value": _plain(values)}
        elif variable.dims in (("quantile",), ("axis",), ("local",), ("bin",)):
            described = {"values": [_plain(value) for value in values], "along": variable.dims[0]}
        elif values.dtype == np.bool_:
            described = {"true": int(values.sum()), "of": values.size}
        elif name in ("nearest", "opposite", "companion"):
            continue  # numbers of features have no quantiles
        else:
            finite = values[np.isfinite(values)]
            described = {
                "mean": _plain(finite.mean()) if finite.size else None,
                "of": int(finite.size),
                "quantiles": {
                    str(p): _plain(np.quantile(finite, p)) if finite.size else None for p in (0.0, *QUANTILES, 1.0)
                },
            }
        numbers[str(name)] = described | {"meaning": meaning}
    prepared: dict[str, Any] = {name: bool(found.attrs.get(name, False)) for name in ("normalise", "centre")}
    prepared["likely_transposed"] = found.attrs.get("likely_transposed", "")
    return prepared | {"quantiles": list(QUANTILES), "measures": numbers}


def _plain(value: Any) -> Any:
    number = value.item()
    return number if not isinstance(number, float) or np.isfinite(number) else None


def _variable(dims: Any, values: Any, meaning: str) -> Any:
    import xarray as xr

    return xr.Variable(dims, np.asarray(values), {"long_name": meaning, "units": "1"})


def _checked(weights: Any, threshold: float, scale: float | None, companions: int) -> np.ndarray:
    if hasattr(weights, "data_vars"):
        raise ValueError("analyse(weights=Dataset): weights must be a matrix, as run.weights.isel(seed=0, step=-1) is")
    try:
        W = numbers_of(weights, ("feature", "hidden"))
    except ValueError as error:
        raise ValueError(f"analyse(weights={short(weights)}): weights {error}") from None
    if hasattr(W, "tocsr"):
        try:
            W = checked(W)
        except ValueError as error:
            raise ValueError(f"analyse(weights={short(weights)}): weights {error}") from None
        n, m = W.shape
        check_memory("analyse(weights)", f"{n:,} × {m:,} weights, dense", n * m * W.dtype.itemsize, "fewer fit")
        W = W.toarray()
    if W.ndim != 2 or 0 in W.shape or W.dtype.kind not in "fiub":
        raise ValueError(
            f"analyse(weights of shape {W.shape}, {W.dtype}): weights must be a matrix of real numbers, with a row "
            "for each feature"
        )
    if not 0 <= threshold < 1:
        raise ValueError(f"analyse(threshold={threshold!r}): threshold must lie in [0, 1)")
    if scale is not None and not 0 < scale < np.inf:
        raise ValueError(f"analyse(scale={scale!r}): scale must be positive and finite, or None for the longest row")
    if isinstance(companions, bool) or not isinstance(companions, int | np.integer) or companions < 1:
        raise ValueError(f"analyse(companions={companions!r}): companions must be an int of at least 1")
    return W.astype(np.float32) if W.dtype.kind == "b" else W.astype(np.float64) if W.dtype.itemsize > 8 else W


def _likely_transposed(weights: Any, W: np.ndarray) -> str:
    """Why directions may be the columns; with a warning if that rests on more than the shape, or if there are none."""
    if "likely_transposed" in getattr(weights, "attrs", {}):
        return str(weights.attrs["likely_transposed"])  # Who loaded a dictionary has been told.
    if not W.any():
        rule = "weights hold nothing but zeros, so that no feature has a direction"
        warnings.warn(f"analyse(weights of shape {W.shape}): {rule}", stacklevel=4)
        return ""
    if {"feature", "hidden"} <= {*getattr(weights, "dims", ())}:
        return ""  # Whoever named the dimensions has decided.
    found = orientation.doubt(W, *orientation.norms(W), weak=False)
    if found:
        warnings.warn(f"analyse(weights of shape {W.shape}): weights are more likely transposed: {found}", stacklevel=4)
    return found


def _check_features(features: Sequence[int] | None, x: Any, n: int) -> None:
    if features is None:
        return
    if x is None:
        raise ValueError("analyse(features=…): features are analysed by their activations, which must be given")
    for one in features:
        if isinstance(one, bool) or not isinstance(one, int | np.integer) or not 0 <= one < n:
            raise ValueError(f"analyse(features=[…, {one!r}, …]): each must be an int from 0 to {n - 1}")
        if x[:, [int(one)]].nnz < 2:
            raise ValueError(f"analyse(features=[…, {one!r}, …]): the feature must be active in at least two samples")
