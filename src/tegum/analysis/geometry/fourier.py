"""One feature in k orientations: Fourier modes of its embeddings, the rotations they keep, and variances of modes.

The k orientations of a set on a circle (`Equivariant`) are turned into one another by the cyclic group: a rotation by
s steps makes feature i feature i + s. Its real irreducible representations are the Fourier modes: with the frequency
r = 0, 1, …, ⌊k/2⌋, of one dimension for r = 0 and, if k is even, for r = k/2, and of two for all others. Embeddings
W have the transform Ŵ_r = Σ_i W_i e^{−2πi ri/k}, a vector in hidden space, whose length no rotation of hidden
space and none of the orientations changes.

A model treats all orientations alike where the Gram matrix W Wᵀ is circulant: then rotating the features is the same
as rotating hidden space. Embeddings of a single frequency 0 < r < k/2 that do are a regular polygon in a plane: the
star polygon {k/r}, if r and k have no common divisor.

Weights are those of one set: its rows of W, in the order of its orientations. They come as numpy arrays or DataArrays,
and diverged ones are treated, as in `tegum.analysis.geometry.measures`; every measure raises ValueError as said there.
It says itself what else it refuses.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from tegum.analysis.geometry.measures import ArrayMeasure, Kind, Matrices
from tegum.analysis.linear.subspaces import PerMatrix, matrix_shape, renamed
from tegum.core.arguments import refusing

ALIKE = 0.05
"""Gram matrices that differ by no more than this part of their norm are the same."""

_HARMONICS = 1e-18
"""Squares of Fourier coefficients that are less, of coefficients of at most 1, are left out."""


def multiplicities(size: int) -> Int[np.ndarray, " frequency"]:
    """The dimensions of the irreducible representations r = 0, …, ⌊size/2⌋: 1 for r = 0 and r = size/2, else 2.

    Raises ValueError if the size is no int of at least 1.
    """
    _check_size("multiplicities", size)
    frequencies = np.arange(size // 2 + 1)
    return np.where((frequencies == 0) | (2 * frequencies == size), 1, 2)


@refusing
def mode_power(weights: Kind) -> Kind:
    """The share of |W|² in each Fourier mode over the orientations: in [0, 1], (..., frequency), summing to 1.

    |Ŵ_r|² counts twice for modes of two dimensions (Parseval). Zero where W is zero. Where orientations are relabelled
    at random, each frequency is expected to have its multiplicity/(k − 1) of what r = 0 leaves.

    Args:
        weights: shape (..., k, m), the rows of one set.

    Raises:
        ValueError: as said for the module.

    """
    size = (matrix_shape(weights) or (1, 1))[0]
    twice = multiplicities(size)

    def kernel(W: Matrices) -> Float[np.ndarray, "matrix feature"]:
        power = np.square(np.abs(np.fft.rfft(W, axis=1))).sum(-1) * twice
        total = power.sum(-1, keepdims=True)
        shares = np.divide(power, total, out=np.zeros_like(power), where=total > 0)
        # As long as the axis that it stands for.
        return np.pad(shares, ((0, 0), (0, size - len(twice))))

    answer = ArrayMeasure("mode_power", "share of the Fourier mode").of(kernel, weights)
    return renamed(answer, "feature", "frequency", np.arange(len(twice)))


@refusing
def equivariance_defect(weights: Kind) -> Kind:
    """The distance of the Gram matrix from the nearest circulant one, over its norm; in [0, 1], shape (...).

    0 where all orientations are treated alike, and for W = 0. The nearest circulant matrix has the means along
    wrapped diagonals; norms are Frobenius.

    Args:
        weights: shape (..., k, m), the rows of one set.

    Raises:
        ValueError: as said for the module.

    """
    size = (matrix_shape(weights) or (1, 1))[0]
    difference = (np.arange(size)[:, None] - np.arange(size)) % size
    member = (difference.ravel() == np.arange(size)[:, None]) / size

    def kernel(W: Matrices) -> PerMatrix:
        gram, norm = _gram(W)
        means = gram.reshape(len(W), -1) @ member.T
        return np.linalg.norm(gram - means[:, difference], axis=(-2, -1)) / norm

    return ArrayMeasure("equivariance_defect", "distance from equivariance", dims=(), pairwise=True).of(kernel, weights)


@refusing
def kept_rotations(weights: Kind, tolerance: float = ALIKE) -> Kind:
    """How many of the k rotations leave the Gram matrix as it is: an int from 1 to k, shape (...), −1 if diverged.

    k where all orientations are treated alike, and 1, the rotation by nothing, where none is kept. Otherwise often a
    divisor of k: the rotations that a matrix keeps exactly are a subgroup.

    Args:
        weights: shape (..., k, m), the rows of one set.
        tolerance: by how large a part of its norm the Gram matrix may change, in [0, 1).

    Raises:
        ValueError: as said for the module, or the tolerance lies outside [0, 1).

    """
    if not 0 <= tolerance < 1:
        raise ValueError(f"kept_rotations(tolerance={tolerance!r}): tolerance must lie in [0, 1)")

    def kernel(W: Matrices) -> Int[np.ndarray, " matrix"]:
        gram, norm = _gram(W)
        changes = [
            np.linalg.norm(np.roll(gram, (step, step), (1, 2)) - gram, axis=(-2, -1)) for step in range(W.shape[1])
        ]
        return (np.array(changes) <= tolerance * norm).sum(0)

    measure = ArrayMeasure(
        "kept_rotations", "rotations that are kept", dims=(), dtype=np.int64, undefined=-1, pairwise=True
    )
    return measure.of(kernel, weights)


@refusing
def mode_variances(
    size: int, density: float, width: float
) -> tuple[Float[np.ndarray, " frequency"], Float[np.ndarray, " frequency"]]:
    """Second moments and variances along one direction of each Fourier mode of an `Equivariant` set, in closed form.

    The tuning κ(θ) = exp((cos θ − 1)/width²) has the Fourier coefficients κ_q = e^{−β} I_q(β), β = 1/width², with the
    modified Bessel functions I_q (Abramowitz & Stegun 9.6.34). Over k orientations the frequencies q ≡ ±r (mod k)
    look alike, so that the second moment is (p/3) k Σ_l κ_{r+lk}², an eigenvalue of E[x xᵀ] as that is circulant. The
    variance differs at r = 0 alone, by k (p κ_mean/2)² with κ_mean = κ_0.

    Args:
        size: k, the number of orientations, at least 1.
        density: p, in (0, 1].
        width: of the tuning, in radians, above 0.

    Returns:
        Second moments and variances, for r = 0, …, ⌊k/2⌋.

    Raises:
        ValueError: a number is out of its range.

    """
    from scipy.special import ive

    _check_size("mode_variances", size)
    if not 0 < density <= 1:
        raise ValueError(f"mode_variances(density={density!r}): density must lie in (0, 1]")
    if not (width > 0 and np.isfinite(width)):
        raise ValueError(f"mode_variances(width={width!r}): width must be a positive number")
    beta, squares = width**-2.0, np.zeros(0)
    while not len(squares) or squares[-1] > _HARMONICS:
        squares = np.square(ive(np.arange(2 * len(squares) + 4 * size), beta))
    at = np.arange(len(squares))
    # Negative frequencies have the same coefficients.
    both = [squares[at % size == r].sum() + squares[(at % size == -r % size) & (at > 0)].sum() for r in range(size)]
    moments = density / 3 * size * np.array(both)[: size // 2 + 1]
    variances = moments.copy()
    variances[0] -= size * density**2 / 4 * squares[0]
    return moments, variances


def _gram(W: Matrices) -> tuple[Float[np.ndarray, "matrix feature feature"], PerMatrix]:
    """Gram matrices of W over its largest entry, and their norms: 1 where W is zero."""
    peak = np.abs(W).max((-2, -1), keepdims=True)
    scaled = W / np.where(peak > 0, peak, 1.0)
    gram = scaled @ scaled.swapaxes(-1, -2)
    norm = np.linalg.norm(gram, axis=(-2, -1))
    return gram, np.where(norm > 0, norm, 1.0)


def _check_size(call: str, size: Any) -> None:
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1:
        raise ValueError(f"{call}(size={size!r}): size must be an int of at least 1")
