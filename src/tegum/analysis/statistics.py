"""Intervals for what an ensemble of runs shows: a share, or a mean over runs."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
from jaxtyping import Float, Num

from tegum.core.limits import check_memory

_Z = 1.959963984540054
"""The normal distribution's 97.5 % quantile."""


def wilson(share: float, n: int) -> tuple[float, float]:
    """The 95 % interval of a probability of which a share was seen in n independent trials.

    It stays inside [0, 1] and is honest at its ends, where bootstrapping shows no spread at all (Wilson,
    Journal of the American Statistical Association 22, 1927). Where trials come in groups that may be alike,
    as the jumps of one run, n is best the number of groups: that is the interval if all of a group are
    equal and groups are of one size.

    Args:
        share: in [0, 1].
        n: number of independent trials; with none the interval is [0, 1].

    Raises:
        ValueError: the share lies outside [0, 1], or n is negative.

    """
    if not 0 <= share <= 1:
        raise ValueError(f"wilson(share={share!r}): share must lie in [0, 1]")
    if n < 0:
        raise ValueError(f"wilson(n={n!r}): n must be at least 0")
    if n == 0:
        return 0.0, 1.0
    middle = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2))
    # Rounding must not leave the share outside its own interval.
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))


def bootstrap_mean(values: Num[np.ndarray, " run"], *, resamples: int = 10_000, key: int = 0) -> tuple[float, float]:
    """The 95 % interval of a mean over independent runs: percentiles of resampled means, stretched for few runs.

    Runs are drawn with replacement. The percentiles alone are too narrow where there are few runs: of five they cover
    the mean of a normal distribution four times in five, of two once in two. So both sides are stretched by what widens
    Student's interval from the normal one, t √(n / (n − 1)) / z (Hesterberg, American Statistician 69, 2015): a tenth
    for 20 runs.

    Args:
        values: one number for each run, of any unit.
        resamples: how many means.
        key: of the random numbers.

    Returns:
        Low and high, in the unit of the values; NaN where there are fewer than two, which show no spread.

    """
    if len(values) < 2:
        return math.nan, math.nan
    from scipy.special import stdtrit

    what = f"so many drawings of {len(values):,} runs"
    check_memory(f"bootstrap_mean(resamples={resamples})", what, 16 * int(resamples) * len(values), "fewer fit")
    drawn = np.random.default_rng(key).integers(len(values), size=(resamples, len(values)))
    given = np.asarray(values, np.float64)
    middle, n = given.mean(), len(given)
    sides = np.quantile(given[drawn].mean(-1), (0.025, 0.975)) - middle
    low, high = middle + sides * float(stdtrit(n - 1, 0.975)) / _Z * math.sqrt(n / (n - 1))
    return float(low), float(high)


def permutation_p(pairs: Float[np.ndarray, "run run"], *, draws: int = 10_000, key: int = 0) -> float:
    """How often as much as the diagonal adds up to where columns are dealt to rows at random.

    `pairs[i, j]` is what belongs to run i beside what belongs to run j. If no run's own has to do with it, every order
    of the columns is as good as theirs, and this p-value is exact: below any level as often as it says, for few runs as
    well. So columns are dealt to their own rows too; orders in which none is would make it too small. All orders are
    looked at where there are no more than `draws`, else so many by chance.

    Args:
        pairs: of any unit.
        draws: of orders, at least 1.
        key: of the random numbers.

    Returns:
        At least 1 / (1 + draws), or 1 over the number of orders; NaN with no run.

    """
    count = len(pairs)
    if not count:
        return math.nan
    seen = float(np.trace(pairs))
    every = math.factorial(min(count, 20)) <= draws
    rows = np.arange(count)
    if not every:
        what = f"so many orders of {count:,} runs"
        check_memory(f"permutation_p(draws={draws})", what, 32 * int(draws) * count, "fewer fit")
    if every:
        orders = np.array(list(permutations(range(count))))
    else:
        orders = np.random.default_rng(key).permuted(np.tile(rows, (draws, 1)), axis=1)
    # A sum has rounding of its own in every order.
    often = int((pairs[rows, orders].sum(1) >= seen - 1e-9 * abs(seen)).sum())
    return often / len(orders) if every else (1 + often) / (1 + draws)
