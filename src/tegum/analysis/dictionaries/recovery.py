"""How well the directions of a dictionary recover directions that are known, beside what random ones recover."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from tegum.analysis.geometry.measures import ZERO_TOLERANCE
from tegum.core.arguments import refusing
from tegum.core.inputs.arrays import numbers_of

if TYPE_CHECKING:
    import xarray as xr


@refusing
def match_directions(found: Any, truth: Any, *, draws: int = 100, key: int = 0) -> xr.Dataset:
    """Match the directions of a dictionary one-to-one with true ones, so that the sum of cosines is largest.

    Each true direction gets one of those found at most, and each of those found goes to one true direction at most
    (an assignment problem, solved exactly: Kuhn 1955, by SciPy). Cosines keep their sign: features are not negative, so
    that the opposite direction is that of another feature. Rows of zeros have no direction and get no partner.

    The null is what as many random directions reach, matched in the same way: in few dimensions some of them are near
    any direction, and the more so the more there are.

    Args:
        found: shape (n′, m), directions as rows of any length, such as the decoder of a sparse autoencoder; an array or
            a tensor.
        truth: shape (n, m), true directions as rows of any length, such as `weights` of a toy model. Leave out features
            that a model does not represent (`tg.represented`), whose directions mean nothing.
        draws: the number of random dictionaries, at least 1.
        key: the seed of the random dictionaries.

    Returns:
        A Dataset. By feature, a row of `truth`: `match`, the number of its partner among those found (−1 if it has
        none), `cosine` with it (0 if it has none), and `nearest_cosine`, with the nearest of all of those found, which
        several features may share. Single numbers: `matched_cosine`, the mean of `cosine`; `matched_cosine_null` and
        `matched_cosine_null_std`, the mean and the standard deviation of the same over random dictionaries.

    Raises:
        ValueError: `found` and `truth` are not matrices of finite real numbers with as many columns, one of them has no
            direction, or an option is out of range.

    Example:
        Two of three true directions are found, one of them exactly, and the other at an angle of 60°.

        >>> import tegum as tg
        >>> import numpy as np
        >>> match = tg.match_directions([[0.0, 3.0, 0.0], [0.5, 0.0, 0.75**0.5]], np.eye(3)[[0, 1]])
        >>> match.match.values.tolist(), match.cosine.values.round(6).tolist(), float(match.matched_cosine.round(6))
        ([1, 0], [0.5, 1.0], 0.75)

    """
    import xarray as xr

    rows, given = _directions("found", found), _directions("truth", truth)
    if rows.shape[1] != given.shape[1]:
        raise ValueError(
            f"match_directions(found of shape {rows.shape}): found must have {given.shape[1]} columns, as truth has"
        )
    if draws < 1:
        raise ValueError(f"match_directions(draws={draws}): draws must be an int of at least 1")
    there, known = np.flatnonzero(rows.any(1)), np.flatnonzero(given.any(1))
    cosines = given[known] @ rows[there].T
    match, cosine, nearest = np.full(len(given), -1), np.zeros(len(given)), np.zeros(len(given))
    features, partners = _assignment(cosines)
    match[known[features]] = there[partners]
    cosine[known[features]] = cosines[features, partners]
    nearest[known] = cosines.max(1)
    random = np.random.default_rng(key)
    null = np.zeros(draws)
    for draw in range(draws):
        drawn = random.standard_normal((len(there), rows.shape[1]))
        by_chance = given[known] @ (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).T
        null[draw] = by_chance[_assignment(by_chance)].sum() / len(given)
    by_feature = {
        "match": (match, "number of the direction found that is matched with the feature, −1 if there is none"),
        "cosine": (cosine, "cosine with the matched direction"),
        "nearest_cosine": (nearest, "cosine with the nearest direction found"),
    }
    single = {
        "matched_cosine": (cosine.mean(), "mean cosine with the matched direction"),
        "matched_cosine_null": (null.mean(), "mean cosine with the matched one of random directions"),
        "matched_cosine_null_std": (null.std(), "standard deviation of the same over random dictionaries"),
    }
    variables = {name: ("feature", values, words) for name, (values, words) in by_feature.items()}
    variables |= {name: ((), value, words) for name, (value, words) in single.items()}
    return xr.Dataset(
        {name: (dims, value, {"long_name": words, "units": "1"}) for name, (dims, value, words) in variables.items()},
        {"feature": ("feature", np.arange(len(given)), {"long_name": "number of the true direction", "units": "1"})},
        {"schema": "tegum match", "found": len(rows), "draws": draws, "key": key},
    )


def _directions(name: str, given: Any) -> Float[np.ndarray, "row hidden"]:
    """Rows of unit norm, or of zeros."""
    try:
        array = numbers_of(given, ("feature", "hidden"))
    except ValueError as error:
        raise ValueError(f"match_directions({name}={type(given).__name__}): {name} {error}") from None
    if hasattr(array, "tocsr") or array.ndim != 2 or 0 in array.shape or array.dtype.kind not in "fiu":
        rule = f"{name} must be a dense matrix of real numbers, a row for each direction"
        raise ValueError(f"match_directions({name} of shape {np.shape(array)}): {rule}")
    rows = array.astype(np.float64)
    largest = np.abs(rows).max()
    if not np.isfinite(largest) or largest == 0:
        rule = f"{name} must be finite, and have a row that is not 0"
        raise ValueError(f"match_directions({name} of shape {array.shape}): {rule}")
    rows /= largest
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, norms, out=np.zeros_like(rows), where=norms > ZERO_TOLERANCE)


def _assignment(cosines: Float[np.ndarray, "feature row"]) -> tuple[Int[np.ndarray, " pair"], Int[np.ndarray, " pair"]]:
    """The pairs of features and rows for which the sum of cosines is largest."""
    from scipy.optimize import linear_sum_assignment

    return linear_sum_assignment(cosines, maximize=True)
