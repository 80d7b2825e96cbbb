"""Intervals and p-values for an ensemble of runs: shares, and means over runs."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
from jaxtyping import Float, Num

from tegum.core.limits import check_memory

_Z = 1.959963984540054
"""The 97.5 % quantile of the standard normal distribution."""


def wilson(share: float, n: int) -> tuple[float, float]:
    """Compute the 95 % interval of a probability from the share of successes in n independent trials.

    The interval (Wilson, Journal of the American Statistical Association 22, 1927) stays inside [0, 1] and remains
    valid at its ends, where bootstrapping shows no spread at all. If trials come in groups that may be alike, such
    as the jumps of one run, n is best taken as the number of groups: that is the interval if all trials of a group
    are equal and groups have the same size.

    Args:
        share: the share of successes, in [0, 1].
        n: the number of independent trials; with none the interval is [0, 1].

    Returns:
        The lower and the upper end.

    Raises:
        ValueError: the share lies outside [0, 1], or n is negative.

    Example:
        Without a success in n trials the upper end is z² / (n + z²), with z = 1.96.

        >>> from tegum.analysis.statistics import wilson
        >>> low, high = wilson(0.0, 10)
        >>> round(low, 4), round(high, 4), round(1.96**2 / (10 + 1.96**2), 4)
        (0.0, 0.2775, 0.2775)

    """
    if not 0 <= share <= 1:
        raise ValueError(f"wilson(share={share!r}): share must lie in [0, 1]")
    if n < 0:
        raise ValueError(f"wilson(n={n!r}): n must be at least 0")
    if n == 0:
        return 0.0, 1.0
    middle = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2))
    # Rounding must not put the share outside its own interval.
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))


def bootstrap_mean(values: Num[np.ndarray, " run"], *, resamples: int = 10_000, key: int = 0) -> tuple[float, float]:
    """Compute the 95 % bootstrap interval of a mean over independent runs, widened for few runs.

    Runs are resampled with replacement, and percentiles of the resampled means are taken. For few runs percentiles
    alone are too narrow: with five runs they cover the mean of a normal distribution four times in five, with two
    once in two. Both sides are therefore stretched by the factor by which Student's interval is wider than the
    normal one, t √(n / (n − 1)) / z (Hesterberg, American Statistician 69, 2015): a tenth for 20 runs.

    Args:
        values: one number per run, in any unit.
        resamples: the number of resampled means.
        key: the seed of the resampling.

    Returns:
        The lower and the upper end, in the unit of the values; NaN for fewer than two values, which show no spread.

    """
    if len(values) < 2:
        return math.nan, math.nan
    from scipy.special import stdtrit

    what = f"this many resamples of {len(values):,} runs"
    check_memory(f"bootstrap_mean(resamples={resamples})", what, 16 * int(resamples) * len(values), "fewer fit")
    drawn = np.random.default_rng(key).integers(len(values), size=(resamples, len(values)))
    given = np.asarray(values, np.float64)
    middle, n = given.mean(), len(given)
    sides = np.quantile(given[drawn].mean(-1), (0.025, 0.975)) - middle
    low, high = middle + sides * float(stdtrit(n - 1, 0.975)) / _Z * math.sqrt(n / (n - 1))
    return float(low), float(high)


def permutation_p(pairs: Float[np.ndarray, "run run"], *, draws: int = 10_000, key: int = 0) -> float:
    """Compute how often randomly permuted columns give at least the observed sum of the diagonal.

    `pairs[i, j]` compares what belongs to run i with what belongs to run j. Under the null hypothesis that a run's
    own is not special, every order of the columns is as good as the observed one, and the p-value is exact even for
    few runs. Permutations may leave columns in place; only counting those that leave none would make the p-value too
    small. All orders are evaluated if there are at most `draws`, otherwise as many random ones.

    Args:
        pairs: a square matrix over runs, in any unit.
        draws: the number of random orders, at least 1.
        key: the seed of the random orders.

    Returns:
        The p-value, at least 1 / (1 + draws), or one over the number of orders; NaN without runs.

    Example:
        Three runs whose diagonal is the best of the 3! = 6 orders.

        >>> import numpy as np
        >>> from tegum.analysis.statistics import permutation_p
        >>> round(permutation_p(np.eye(3)), 6)
        0.166667

    """
    count = len(pairs)
    if not count:
        return math.nan
    seen = float(np.trace(pairs))
    every = math.factorial(min(count, 20)) <= draws
    rows = np.arange(count)
    if not every:
        what = f"this many orders of {count:,} runs"
        check_memory(f"permutation_p(draws={draws})", what, 32 * int(draws) * count, "fewer fit")
    if every:
        orders = np.array(list(permutations(range(count))))
    else:
        orders = np.random.default_rng(key).permuted(np.tile(rows, (draws, 1)), axis=1)
    # Each order rounds its sum differently.
    often = int((pairs[rows, orders].sum(1) >= seen - 1e-9 * abs(seen)).sum())
    return often / len(orders) if every else (1 + often) / (1 + draws)
