"""The line search of L-BFGS: which step comes next, for one run at a time.

A step is accepted by the Wolfe conditions, or by the approximate ones of Hager & Zhang (2005, equation 4.1), which ask
for the decrease of the loss by the slopes alone: near a minimum the decrease itself drowns in rounding long before the
gradient does. Until then an interval is kept that has a slope downwards at its lower end, and a slope upwards or too
high a loss at its upper one (their section 4). A run's `RunState` holds the search.
"""

from __future__ import annotations

import math
from enum import IntEnum

from tegum.core.compiled.compile import inlined

_DECREASE, _CURVATURE = 0.1, 0.9
"""δ and σ of Hager & Zhang."""
_ALLOWED, _ROUNDING = 1e-10, 1e-15
"""By how much the loss may rise with the approximate conditions, relative to itself and to that of no model at all."""
_JUMP = 1e-10
"""The most that the loss may rise for its estimated error, relative to that of no model at all."""
_MOST_TRIALS = 20


class Verdict(IntEnum):
    """Of one trial."""

    GO_ON = 0
    ACCEPT = 1
    FAIL = 2


@inlined
def begin_search(state, slope):
    """Start a search with the step 1 along a direction of this slope."""
    state.slope = slope
    state.alpha = 1.0
    state.low = 0.0
    state.low_value = state.value
    state.low_slope = slope
    state.high = math.inf
    state.high_slope = math.nan
    state.width = math.inf
    state.trials = 0.0
    state.blocked = 0.0


@inlined
def judge_trial(state, value, slope, error):
    """The `Verdict` of the trial at alpha, of this loss and slope; to go on, alpha becomes the next step to try."""
    state.trials += 1
    finite = math.isfinite(value) and math.isfinite(slope)
    ceiling = _ceiling(state, error)
    # After a trial outside of the range of the series the step cannot be made longer, however steep it still is.
    flat = slope >= _CURVATURE * state.slope or state.blocked > 0
    if finite and flat and _descends(state, value, slope, ceiling):
        return Verdict.ACCEPT
    if state.trials >= _MOST_TRIALS:
        return Verdict.FAIL
    if not finite:
        _shorten(state)
    elif slope < 0 and value <= ceiling:
        _lengthen(state, value, slope)
    else:
        # Beyond the minimum: the upper end of the interval.
        state.high = state.alpha
        state.high_slope = slope
        state.high_value = value
        _inside(state)
    narrow = math.isfinite(state.high) and state.high - state.low <= 1e-14 * state.high
    return Verdict.FAIL if narrow else Verdict.GO_ON


@inlined
def _ceiling(state, error):
    """The loss that counts as no rise with the approximate conditions.

    After a search that found nothing the loss may also rise by its estimated error: next to a corner what is summed in
    closed form changes from one trial to the next, and the loss jumps by as much, while the slopes stay right.
    """
    ceiling = state.value + _ALLOWED * abs(state.value) + _ROUNDING * state.size
    if state.failures > 0:
        ceiling += min(error, _JUMP * state.size)
    return ceiling


@inlined
def _descends(state, value, slope, ceiling):
    """Whether the loss has fallen enough, by itself or, where that drowns in rounding, by the slopes."""
    enough = value <= state.value + _DECREASE * state.alpha * state.slope
    nearly = value <= ceiling and slope <= (2 * _DECREASE - 1) * state.slope
    return enough or nearly


@inlined
def _shorten(state):
    """The step leaves the range of the series: something shorter, and any that descends enough."""
    reach = state.alpha - state.low
    state.blocked = 1.0
    state.high = state.alpha
    state.high_slope = math.nan
    state.width = reach
    state.alpha = state.low + 0.4 * reach


@inlined
def _lengthen(state, value, slope):
    """The slope still leads down: to where it would vanish on a straight line, or inside the interval that there is."""
    rise = slope - state.low_slope
    further = -slope * (state.alpha - state.low) / rise if rise > 0 else math.inf
    state.low = state.alpha
    state.low_value = value
    state.low_slope = slope
    if math.isinf(state.high):
        state.alpha += min(max(further, state.alpha), 9 * state.alpha)
    else:
        _inside(state)


@inlined
def _inside(state):
    """The minimum of the cubic through both ends, or the middle where intervals do not shrink."""
    width = state.high - state.low
    share = 0.5
    if not math.isnan(state.high_slope) and width <= 0.7 * state.width:
        share = _cubic_share(state, width)
    state.width = width
    state.alpha = state.low + share * width


@inlined
def _cubic_share(state, width):
    """Where the minimum of the cubic lies in the interval, as a part of it (Nocedal & Wright 2006, equation 3.59).

    Where that is no place inside, or the losses differ by little more than rounding, the secant's zero of the slope.
    """
    low_slope, high_slope = state.low_slope, state.high_slope
    rise = state.high_value - state.low_value
    mean = low_slope + high_slope - 3 * rise / width
    square = mean * mean - low_slope * high_slope
    share = 0.5
    if square >= 0:
        root = math.sqrt(square)
        share = 1 - (high_slope + root - mean) / (high_slope - low_slope + 2 * root)
    if high_slope >= 0 and (not 0 < share < 1 or abs(rise) < 1e-8 * abs(state.value)):
        share = low_slope / (low_slope - high_slope)
    return min(max(share, 0.05), 0.95) if math.isfinite(share) else 0.5
