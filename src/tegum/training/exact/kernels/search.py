"""The line search of L-BFGS: which step comes next, for one lane at a time.

A step is accepted by the Wolfe conditions, or by the approximate ones of Hager & Zhang (2005, equation 4.1), which ask
for the decrease of the loss by the slopes alone: near a minimum the decrease itself drowns in rounding long before the
gradient does. Until then an interval is kept that has a slope downwards at its lower end, and a slope upwards or too
high a loss at its upper one (their section 4).
"""

from __future__ import annotations

import math

from tegum.core.compiled.compile import inlined
from tegum.core.compiled.lanes import WIDE_LANES as L

# Rows of a lane's scalars. First what is kept between steps, …
VALUE, OFFSET, STEP, LEVEL, FINE, NEXT, TAU, PHASE, ESTIMATE, REDUCED, BARREN, MOVED = range(12)
GAMMA, MARK_STEP, MARK_VALUE, MARK_NORM, DIGEST = range(12, 17)
SAVED = 17
# … then what belongs to one search.
NEEDS, ALPHA, LOW, LOW_VALUE, LOW_SLOPE, HIGH, HIGH_SLOPE, WIDTH, TRIALS, BLOCKED, SLOPE, COLUMN, SIZE, HIGH_VALUE = (
    range(17, 31)
)
SCALARS = 31

_DECREASE, _CURVATURE = 0.1, 0.9
"""δ and σ of Hager & Zhang."""
_ALLOWED, _ROUNDING = 1e-10, 1e-15
"""By how much the loss may rise with the approximate conditions, relative to itself and to that of no model at all."""
_JUMP = 1e-10
"""The most that the loss may rise for its estimated error, relative to that of no model at all."""
_MOST_TRIALS = 20

GO_ON, ACCEPT, FAIL = 0, 1, 2


@inlined
def begin_search(scalars, lane, slope):
    """Start a search with the step 1 along a direction of this slope."""
    scalars[SLOPE * L + lane] = slope
    scalars[ALPHA * L + lane] = 1.0
    scalars[LOW * L + lane] = 0.0
    scalars[LOW_VALUE * L + lane] = scalars[VALUE * L + lane]
    scalars[LOW_SLOPE * L + lane] = slope
    scalars[HIGH * L + lane] = math.inf
    scalars[HIGH_SLOPE * L + lane] = math.nan
    scalars[WIDTH * L + lane] = math.inf
    scalars[TRIALS * L + lane] = 0.0
    scalars[BLOCKED * L + lane] = 0.0


@inlined
def next_step(scalars, lane, value, slope, error):
    """Judge the trial at ALPHA, of this loss and slope; unless it is accepted, write the next one to ALPHA.

    After a search that found nothing the loss may also rise by its estimated error: next to a corner what is summed in
    closed form changes from one trial to the next, and the loss jumps by as much, while the slopes stay right.
    """
    alpha = scalars[ALPHA * L + lane]
    before, downwards = scalars[VALUE * L + lane], scalars[SLOPE * L + lane]
    low = scalars[LOW * L + lane]
    ceiling = before + _ALLOWED * abs(before) + _ROUNDING * scalars[SIZE * L + lane]
    if scalars[BARREN * L + lane] > 0:
        ceiling += min(error, _JUMP * scalars[SIZE * L + lane])
    finite = math.isfinite(value) and math.isfinite(slope)
    enough = value <= before + _DECREASE * alpha * downwards
    nearly = value <= ceiling and slope <= (2 * _DECREASE - 1) * downwards
    scalars[TRIALS * L + lane] += 1
    if finite and (enough or nearly) and (slope >= _CURVATURE * downwards or scalars[BLOCKED * L + lane] > 0):
        return ACCEPT
    if scalars[TRIALS * L + lane] >= _MOST_TRIALS:
        return FAIL
    if not finite:
        # The step leaves the range of the series: something shorter, and any that descends enough.
        scalars[BLOCKED * L + lane] = 1.0
        scalars[HIGH * L + lane] = alpha
        scalars[HIGH_SLOPE * L + lane] = math.nan
        scalars[WIDTH * L + lane] = alpha - low
        scalars[ALPHA * L + lane] = low + 0.4 * (alpha - low)
    elif slope < 0 and value <= ceiling:
        rise = slope - scalars[LOW_SLOPE * L + lane]
        further = -slope * (alpha - low) / rise if rise > 0 else math.inf
        high = scalars[HIGH * L + lane]
        scalars[LOW * L + lane] = alpha
        scalars[LOW_VALUE * L + lane] = value
        scalars[LOW_SLOPE * L + lane] = slope
        if math.isinf(high):
            scalars[ALPHA * L + lane] = alpha + min(max(further, alpha), 9 * alpha)
        else:
            _inside(scalars, lane)
    else:
        scalars[HIGH * L + lane] = alpha
        scalars[HIGH_SLOPE * L + lane] = slope
        scalars[HIGH_VALUE * L + lane] = value
        _inside(scalars, lane)
    low, high = scalars[LOW * L + lane], scalars[HIGH * L + lane]
    return FAIL if math.isfinite(high) and high - low <= 1e-14 * high else GO_ON


@inlined
def _inside(scalars, lane):
    """The secant's zero of the slope inside the interval, or its middle where intervals do not shrink."""
    low, high = scalars[LOW * L + lane], scalars[HIGH * L + lane]
    low_slope, high_slope = scalars[LOW_SLOPE * L + lane], scalars[HIGH_SLOPE * L + lane]
    width = high - low
    share = 0.5
    if not math.isnan(high_slope) and width <= 0.7 * scalars[WIDTH * L + lane]:
        rise = scalars[HIGH_VALUE * L + lane] - scalars[LOW_VALUE * L + lane]
        mean = low_slope + high_slope - 3 * rise / width
        square = mean * mean - low_slope * high_slope
        if square >= 0:
            root = math.sqrt(square)
            share = 1 - (high_slope + root - mean) / (high_slope - low_slope + 2 * root)
        if high_slope >= 0 and (not 0 < share < 1 or abs(rise) < 1e-8 * abs(scalars[VALUE * L + lane])):
            share = low_slope / (low_slope - high_slope)
        share = min(max(share, 0.05), 0.95) if math.isfinite(share) else 0.5
    scalars[WIDTH * L + lane] = width
    scalars[ALPHA * L + lane] = low + share * width
