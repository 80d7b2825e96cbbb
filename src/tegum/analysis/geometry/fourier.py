"""One feature in k orientations: Fourier modes of its embeddings, the rotations they keep, and variances of modes.

The k orientations of a set on a circle (`Equivariant`) are permuted by the cyclic group: a rotation by s steps turns
feature i into feature i + s. The real irreducible representations of this group are the Fourier modes, of frequency
r = 0, 1, …, ⌊k/2⌋. They have dimension 1 for r = 0 and, if k is even, for r = k/2, and dimension 2 otherwise.
Embeddings W have the transform Ŵ_r = Σ_i W_i e^{−2πi ri/k}, a vector in hidden space whose length is unchanged by
rotations of hidden space and of the orientations.

A model treats all orientations alike if the Gram matrix W Wᵀ is circulant: rotating the features is then the same as
rotating hidden space. Embeddings with a single frequency 0 < r < k/2 that do so form a regular polygon in a plane:
the star polygon {k/r}, if r and k are coprime.

Weights are the rows of W that belong to one set, in the order of its orientations, as NumPy arrays or DataArrays.
Diverged matrices and malformed weights are treated as in `tegum.analysis.geometry.measures`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from tegum.analysis.geometry.measures import ArrayMeasure, Kind, Matrices
from tegum.analysis.linear.subspaces import PerMatrix, matrix_shape, renamed
from tegum.core.arguments import refusing

ALIKE = 0.05
"""Gram matrices that differ by no more than this fraction of their norm count as equal."""

_HARMONICS = 1e-18
"""Fourier coefficients, at most 1, whose squares are below this are neglected."""


def multiplicities(size: int) -> Int[np.ndarray, " frequency"]:
    """The dimensions of the irreducible representations r = 0, …, ⌊size/2⌋: 1 for r = 0 and r = size/2, otherwise 2.

    Args:
        size: k, the number of orientations.

    Returns:
        Dimensions, shape (frequency,).

    Raises:
        ValueError: `size` is not an int of at least 1.

    """
    _check_size("multiplicities", size)
    frequencies = np.arange(size // 2 + 1)
    return np.where((frequencies == 0) | (2 * frequencies == size), 1, 2)


@refusing
def mode_power(weights: Kind) -> Kind:
    """Compute the share of ‖W‖² in each Fourier mode over the orientations of a set.

    ‖Ŵ_r‖² counts twice for modes of dimension 2 (Parseval). As a null: if the orientations are relabelled at random,
    each frequency is expected to hold its dimension/(k − 1) of what r = 0 leaves.

    Args:
        weights: the rows of one set in the order of its orientations, shape (..., k, m).

    Returns:
        Shares in [0, 1], shape (..., ⌊k/2⌋ + 1), summing to 1; zero where W is zero, NaN for a diverged matrix.

    Raises:
        ValueError: weights are not real matrices with the axes (feature, hidden), neither of them empty.

    Example:
        A regular pentagon, in its own order, is a pure mode of frequency 1; visiting its corners in steps of two
        makes the frequency 2.

        >>> import tegum as tg
        >>> import numpy as np
        >>> angles = 2 * np.pi * np.arange(5) / 5
        >>> pentagon = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        >>> tg.mode_power(np.stack([pentagon, pentagon[[0, 2, 4, 1, 3]]])).round(6).tolist()
        [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]

    """
    size = (matrix_shape(weights) or (1, 1))[0]
    twice = multiplicities(size)

    def kernel(W: Matrices) -> Float[np.ndarray, "matrix feature"]:
        power = np.square(np.abs(np.fft.rfft(W, axis=1))).sum(-1) * twice
        total = power.sum(-1, keepdims=True)
        shares = np.divide(power, total, out=np.zeros_like(power), where=total > 0)
        # Padded to the length of the feature axis, which it replaces for now.
        return np.pad(shares, ((0, 0), (0, size - len(twice))))

    answer = ArrayMeasure("mode_power", "share of the Fourier mode").of(kernel, weights)
    return renamed(answer, "feature", "frequency", np.arange(len(twice)))


@refusing
def equivariance_defect(weights: Kind) -> Kind:
    """Measure how far a set is from treating its orientations alike: how far W Wᵀ is from circulant.

    The distance is that from the nearest circulant matrix, which has the means along the wrapped diagonals; it is
    relative to the norm of W Wᵀ, both in the Frobenius norm.

    Args:
        weights: the rows of one set in the order of its orientations, shape (..., k, m).

    Returns:
        Relative distance in [0, 1], shape (...): 0 if all orientations are treated alike, and for W = 0; NaN for a
        diverged matrix.

    Raises:
        ValueError: weights are not real matrices with the axes (feature, hidden), neither of them empty.

    Example:
        A square is equivariant. Keeping one of its four corners leaves a Gram matrix with a single entry 1, whose
        nearest circulant matrix has 1/4 on the diagonal: the distance is √(1 − 1/4).

        >>> import tegum as tg
        >>> import numpy as np
        >>> square = np.array([[1.0, 0], [0, 1], [-1, 0], [0, -1]])
        >>> one_corner = square * [[1], [0], [0], [0]]
        >>> tg.equivariance_defect(np.stack([square, one_corner])).round(4).tolist()
        [0.0, 0.866]

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
    """Count how many of the k rotations of the orientations leave the Gram matrix unchanged.

    The answer is k if all orientations are treated alike, and 1 (the identity) if no rotation is kept. Otherwise it
    is usually a divisor of k, because the rotations that a matrix keeps exactly form a subgroup.

    Args:
        weights: the rows of one set in the order of its orientations, shape (..., k, m).
        tolerance: the largest change of the Gram matrix that counts as none, as a fraction of its norm, in [0, 1).

    Returns:
        Counts from 1 to k, shape (...); −1 for a diverged matrix.

    Raises:
        ValueError: weights are not real matrices with the axes (feature, hidden), neither of them empty, or the
            tolerance lies outside [0, 1).

    Example:
        A square keeps all four rotations; if only two opposite corners are left, half of them.

        >>> import tegum as tg
        >>> import numpy as np
        >>> square = np.array([[1.0, 0], [0, 1], [-1, 0], [0, -1]])
        >>> tg.kept_rotations(np.stack([square, square * [[1], [0], [1], [0]]])).tolist()
        [4, 2]

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
        "kept_rotations", "number of rotations kept", dims=(), dtype=np.int64, undefined=-1, pairwise=True
    )
    return measure.of(kernel, weights)


@refusing
def mode_variances(
    size: int, density: float, width: float
) -> tuple[Float[np.ndarray, " frequency"], Float[np.ndarray, " frequency"]]:
    """Compute the second moment and variance along one direction of each Fourier mode of an `Equivariant` set.

    Both are in closed form. The tuning curve κ(θ) = exp((cos θ − 1)/width²) has the Fourier coefficients κ_q =
    e^{−β} I_q(β) with β = 1/width² and the modified Bessel functions I_q (Abramowitz & Stegun 9.6.34). On k
    orientations the frequencies q ≡ ±r (mod k) are indistinguishable, so that the second moment is (p/3) k Σ_l
    κ_{r+lk}², an eigenvalue of the circulant matrix E[x xᵀ]. The variance differs at r = 0 only, by k (p κ_0/2)².

    Args:
        size: k, the number of orientations, at least 1.
        density: p, in (0, 1].
        width: the width of the tuning curve, in radians, above 0.

    Returns:
        Second moments and variances, each of shape (⌊k/2⌋ + 1,), for r = 0, …, ⌊k/2⌋.

    Raises:
        ValueError: a number is out of its range.

    Example:
        Weighted by the modes' dimensions, the second moments add up to the trace of E[x xᵀ].

        >>> import tegum as tg
        >>> moments, variances = tg.mode_variances(size=5, density=0.1, width=1.0)
        >>> trace = tg.Equivariant(size=5, density=0.1, width=1.0).second_moment().trace()
        >>> bool(abs(moments @ [1, 2, 2] - trace) < 1e-12)
        True

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
    """Gram matrices of W divided by its largest entry, and their norms; 1 for W = 0."""
    peak = np.abs(W).max((-2, -1), keepdims=True)
    scaled = W / np.where(peak > 0, peak, 1.0)
    gram = scaled @ scaled.swapaxes(-1, -2)
    norm = np.linalg.norm(gram, axis=(-2, -1))
    return gram, np.where(norm > 0, norm, 1.0)


def _check_size(call: str, size: Any) -> None:
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1:
        raise ValueError(f"{call}(size={size!r}): size must be an int of at least 1")
