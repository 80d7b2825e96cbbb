"""One branch of critical points along a parameter of the features, extended on demand: see `continuation`."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any, Literal, TypeAlias, assert_never, final

import numpy as np

from tegum.analysis.landscape.critical_points import STEPS, CriticalPoint, characterised
from tegum.analysis.landscape.newton import newton_step, solve
from tegum.analysis.landscape.surface import Surface, distance
from tegum.core.arguments import refusing
from tegum.core.description import Description, nearest, short
from tegum.core.features.distribution import FeatureDistribution
from tegum.core.loss.population import check_series
from tegum.core.model import Activation
from tegum.core.threads import serial_blas

Parameter: TypeAlias = str | Callable[[float], FeatureDistribution]
"""A key of the sets ("density", or "0.density" of the first), or the features as a function of a number."""

SMALLEST = 1e-5
"""The smallest step along a branch, relative to the range of the parameter. If shorter ones are needed the branch ends;
where exactly is extrapolated."""

STRAY = 0.3
"""The corrector may move this fraction of what the predictor moved; otherwise the step is halved."""

FARTHEST = 0.1
"""The farthest a step may move θ, relative to max(1, |θ|)."""

SLACK = 1e-6
"""The corrector may always move this far, relative to max(1, |θ|), as soft modes are less well determined than
rounding alone would allow."""

SAME = 10
"""A branch that ends meets another one if that is at most this many of its last steps away; steps shorten in
proportion to the distance from the end."""

NOISE = 1e-8
"""Noise in the difference of eigenvalues at neighbouring points, relative to the largest; common errors cancel."""

SHARPER = 1e-2
"""The tolerance where an eigenvalue passes zero, relative to that along the branch."""

PROBE = 1e-3
"""How far beyond the end of a branch to check whether another one continues there, relative to the range."""

CORRECTIONS = 8
"""The most steps of the corrector."""


@final
@dataclass(frozen=True)
class BranchChange:
    """What happens to a branch at one value of the parameter."""

    kind: Literal["eigenvalue", "jump", "touch", "fold", "merger", "lost"]
    """What happens. An eigenvalue passes zero ("eigenvalue"), jumps over it on a kink ("jump"), or comes down to zero
    and rises again ("touch"), as where the branch turns into one with more symmetry. Or the branch ends: it folds
    back ("fold"), meets another one ("merger"), or no step leads on and neither of these is seen ("lost")."""
    value: float
    """The value of the parameter at which it happens."""
    error: float
    """How far from that value the true one may lie, in units of the parameter."""
    eigenvalues: tuple[int, ...] = ()
    """The numbers of the eigenvalues that pass zero, counted from 0 for the lowest."""

    def __str__(self) -> str:
        count = f"{len(self.eigenvalues)} eigenvalue(s)"
        what = {
            "eigenvalue": f"{count} pass through zero",
            "jump": f"{count} jump over zero, on a kink",
            "touch": f"{count} touch zero: the branch goes over into another one",
            "fold": "the branch folds back",
            "merger": "the branch meets another and ends",
            "lost": "the branch is lost",
        }[self.kind]
        return f"{what} at {self.value:.10g} ± {self.error:.1g}"


@refusing
def vary(features: FeatureDistribution, parameter: str, value: float) -> FeatureDistribution:
    """Change one key of the features, such as their density, in every set that has it or in one set.

    Args:
        features: the feature distribution, which is not changed itself.
        parameter: a key of a set: "density", "importance", "strength", "width" or "magnitude.high"; with a number
            before it, as in "0.density", that of one set, counted from 0.
        value: the new value, for every feature of a set alike.

    Returns:
        A new feature distribution.

    Raises:
        ValueError: `features` is not a FeatureDistribution, there is no such set, no set has such a key, or the
            value is out of range.

    Example:
        >>> import tegum as tg
        >>> features = tg.FeatureDistribution([tg.Correlated(size=2, density=0.1)] * 2)
        >>> tg.vary(features, "1.density", 0.4).density.tolist()
        [0.1, 0.1, 0.4, 0.4]

    """
    if not isinstance(features, FeatureDistribution):
        raise ValueError(f"vary(features={type(features).__name__}): features must be a FeatureDistribution")
    chosen, key = _key(features, parameter, "vary")
    try:
        return _varied(features, chosen, key, value)
    except ValueError as error:
        raise ValueError(f"vary(features, {parameter!r}, {value!r}): {error}") from None


def _varied(features: FeatureDistribution, chosen: Sequence[int], key: str, value: float) -> FeatureDistribution:
    sets = [_with(each, key, value) if i in chosen else each for i, each in enumerate(features.sets)]
    return FeatureDistribution(sets)


def _with(given: Any, key: str, value: float) -> Any:
    """A set, or the law of its magnitudes, with another value of a key; "magnitude.high" is that of the law."""
    name, _, inner = key.partition(".")
    return given.replace(**{name: _with(getattr(given, name), inner, value) if inner else value})


@final
@dataclass(frozen=True)
class Path:
    """The losses along a parameter of the features."""

    name: str
    """The name of the parameter."""
    features_at: Callable[[float], FeatureDistribution]
    """The features at a value of the parameter."""
    own: Callable[[FeatureDistribution], float | None]
    """The value of the parameter in given features, None if they have no single one."""
    count: int
    """The number n of features."""
    hidden: int
    """The number m of hidden dimensions."""
    activation: Activation
    """The activation of the model."""
    tol: float
    """The tolerance of critical points."""
    call: str
    """The call that errors name."""

    @classmethod
    def of(
        cls, parameter: Parameter, features: FeatureDistribution, point: CriticalPoint, tol: float, call: str
    ) -> Path:
        """The path along which to follow a point; if the parameter is a key of the sets, it is varied in `features`."""
        n, m = point.weights.shape
        shape = n, m, point.activation, tol, call
        if not isinstance(parameter, str):
            return cls("parameter", parameter, lambda _: None, *shape)
        varied = _key(features, parameter, call)

        def own(some: FeatureDistribution) -> float | None:
            chosen, key = _key(some, parameter, call)
            held = {value for i in chosen for value in np.ravel(attrgetter(key)(some.sets[i])).tolist()}
            return held.pop() if len(held) == 1 else None

        return cls(parameter, lambda value: _varied(features, *varied, value), own, *shape)

    def start(self, point: CriticalPoint, otherwise: float) -> float:
        """The value of the parameter at which a point was found."""
        value = self.own(point.features)
        return otherwise if value is None else value

    def surface(self, value: float) -> Surface:
        """The loss at a value of the parameter."""
        try:
            features = self.features_at(value)
        except ValueError as error:
            raise ValueError(f"{self.call}({self.name} = {value:g}): {error}") from error
        if not isinstance(features, FeatureDistribution) or features.n != self.count:
            rule = f"it must return a FeatureDistribution of {self.count} features, as the configuration has"
            raise ValueError(f"{self.call}: {self.name}({value:g}) is {short(features)}: {rule}")
        check_series(f"{self.call}({self.name} = {value:g}, {{}})", features, self.activation)
        return Surface(features, self.hidden, self.tol, self.activation)


@final
class Track:
    """One branch as far as it is known; to reach a new value it is followed from the nearest known point."""

    def __init__(self, path: Path, point: CriticalPoint, start: float, span: float, call: str) -> None:
        self.path: Path = path
        self.span: float = span
        surface, theta = path.surface(start), point.theta
        found = characterised(surface, *solve(surface, theta, STEPS), theta)
        if not found.converged:
            raise ValueError(f"{call}: there must be a critical point nearby at {path.name} = {start:g}; {found}")
        self.known: list[tuple[float, CriticalPoint]] = [(start, found)]
        """The known values and points, in ascending order."""
        self._ends: dict[bool, BranchChange] = {}
        """Where the branch ends, above (True) and below (False)."""

    def at(self, value: float) -> CriticalPoint | BranchChange:
        """The point of the branch at a value; or how and where the branch ends before it."""
        place = bisect.bisect_left(self.known, value, key=lambda each: each[0])
        neighbours = self.known[max(place - 1, 0) : place + 1]
        nearer, *other = sorted(neighbours, key=lambda each: abs(each[0] - value))
        found = self._walk(*nearer, value)
        # Near a fold the value may be reachable only from the other side.
        return self._walk(*other[0], value) if isinstance(found, BranchChange) and other else found

    def _walk(self, at: float, point: CriticalPoint, value: float) -> CriticalPoint | BranchChange:
        """Follow the branch from a known point."""
        upwards = value > at
        step, growth = value - at, 2
        while at != value:
            if upwards in self._ends and at == self.known[-1 if upwards else 0][0]:
                return self._ends[upwards]
            there = value if abs(step) >= abs(value - at) else at + step
            with serial_blas(len(point.theta)):
                found = self._next(point, there)
            if found and not self._rebounds(at, point, there, found):
                bisect.insort(self.known, (there, found), key=lambda each: each[0])
                # A step length that was just too long would be so again.
                at, point, step, growth = there, found, growth * (there - at), 2
                continue
            growth = 1
            if abs(step := (there - at) / 2) < SMALLEST * self.span:
                end = self._end(at, point, there)
                # Between known points the branch cannot end for good.
                if at == self.known[-1 if upwards else 0][0]:
                    self._ends[upwards] = end
                return end
        return point

    def _next(self, point: CriticalPoint, value: float) -> CriticalPoint | None:
        """The point of this branch at a value close to that of a given point; None if the step was too long."""
        surface, theta = self.path.surface(value), point.theta
        size = max(1.0, float(np.linalg.norm(theta)))
        # A Newton step with the Hessian at the old value is Euler's predictor.
        if point.kinks:
            # On a kink the modes are means over both sides, so they are recomputed.
            foreseen, _ = solve(surface, theta, 1)
        else:
            modes = np.concatenate([point.mode_weights.reshape(len(point.eigenvalues), -1), point.mode_bias], 1)
            slopes = modes @ surface.slope(theta).gradient
            foreseen = theta + newton_step(point.eigenvalues, slopes, size) @ modes
        step = float(np.linalg.norm(foreseen - theta))
        if step > FARTHEST * size:
            return None
        reach = STRAY * step + SLACK * size
        found, slope = solve(surface, foreseen, CORRECTIONS, reach)
        if np.linalg.norm(slope.gradient) > surface.tol or np.linalg.norm(found - foreseen) > reach:
            return None
        there = characterised(surface, found, slope, theta)
        return there if there.converged else None

    def _rebounds(self, at: float, point: CriticalPoint, there: float, found: CriticalPoint) -> bool:
        """Whether an eigenvalue predicted to pass zero did not: the step has switched to the branch it meets there."""
        place = bisect.bisect_left(self.known, at, key=lambda each: each[0]) + (-1 if there > at else 1)
        if not 0 <= place < len(self.known):
            return False
        value, before = self.known[place]
        if not before.eigenvalues.size == point.eigenvalues.size == found.eigenvalues.size:
            return False
        foreseen = point.eigenvalues + (point.eigenvalues - before.eigenvalues) * (there - at) / (at - value)
        noise = NOISE * np.abs(point.eigenvalues).max()
        clear = (np.abs(foreseen) > noise) & (np.abs(found.eigenvalues) > noise)
        turned = (foreseen * point.eigenvalues < 0) & (found.eigenvalues * point.eigenvalues > 0)
        return bool((clear & turned).any())

    def _end(self, at: float, point: CriticalPoint, beyond: float) -> BranchChange:
        # Just beyond a fold ∇L is still almost zero.
        try:
            surface = self.path.surface(beyond + PROBE * self.span * np.sign(beyond - at))
        except ValueError:
            surface = self.path.surface(beyond)
        found, slope = solve(surface, point.theta, STEPS)
        soft = np.abs(point.eigenvalues).min() < 0.01 * np.abs(point.eigenvalues).max()
        if not soft:
            kind = "lost"
        elif np.linalg.norm(slope.gradient) <= surface.tol and surface.distance(found, point.theta) < self.near(at):
            kind = "merger"
        else:
            kind = "fold"
        return BranchChange(kind, *self._extrapolated(at, beyond, kind))

    def near(self, end: float) -> float:
        """The distance within which another configuration counts as meeting the branch at its end."""
        last = self.known[-2:] if end == self.known[-1][0] else self.known[:2]
        if len(last) < 2:
            return 0.0
        (_, one), (_, other) = last
        return SAME * distance(one.weights, one.bias, other.weights, other.bias)

    def _extrapolated(self, at: float, beyond: float, kind: Literal["fold", "merger", "lost"]) -> tuple[float, float]:
        """Extrapolate where the softest eigenvalue λ would be zero, with an error.

        At a distance d from a fold, λ is proportional to √d; where a branch grows out of another one, to d. The
        parameter is therefore a series in λ without a linear term, or with one.
        """
        match kind:
            case "merger":
                power = 1
            case "fold" | "lost":
                power = 2
            case _:
                assert_never(kind)
        # The step that is too long is a fixed fraction, not far below 1, of the distance to the end.
        plain = beyond, 10 * abs(beyond - at)
        last = self.known[-3:] if beyond > at else self.known[:3][::-1]
        number = int(np.argmin(np.abs(last[-1][1].eigenvalues)))
        if len(last) < 3 or len({point.eigenvalues.size for _, point in last}) > 1:
            return plain
        offsets = np.array([value - at for value, _ in last])
        soft = np.array([point.eigenvalues[number] for _, point in last])
        terms = np.stack([np.ones(3), soft**power, soft ** (power + 1)], 1)
        rough = np.linalg.lstsq(terms[1:, :2], offsets[1:], rcond=None)[0][0]
        fine = np.linalg.lstsq(terms, offsets, rcond=None)[0][0]
        if not 0 <= fine / (beyond - at) <= 20:
            return plain
        return float(at + fine), float(5 * abs(fine - rough) + 1e-8 * self.span)

    def passages(self, known: Sequence[tuple[float, CriticalPoint]]) -> list[BranchChange]:
        """The places at which eigenvalues pass zero between known points, in ascending order of the parameter."""
        found = []
        for number in range(max((point.negative + point.undecided for _, point in known), default=0)):
            last: tuple[float, int, int] | None = None
            for value, point in known:
                sign, modes = _sign(point, number), len(point.eigenvalues)
                # If rotations appear or vanish, the numbers refer to other modes.
                if last and last[2] == modes and sign * last[1] < 0:
                    same = [
                        i
                        for i, change in enumerate(found)
                        if last[0] <= change.value <= value
                        and isinstance(there := self.at(change.value), CriticalPoint)
                        and abs(there.eigenvalues[number]) <= 10 * there.eigenvalue_error[number]
                    ]
                    if same:
                        change = found[same[0]]
                        numbers = (*change.eigenvalues, number)
                        found[same[0]] = BranchChange(change.kind, change.value, change.error, numbers)
                    elif passage := self.passage(number, last[0], value):
                        found.append(passage)
                if sign:
                    last = value, sign, modes
        return sorted(found + _touches(known), key=lambda change: change.value)

    def passage(self, number: int, low: float, high: float) -> BranchChange | None:
        """Where an eigenvalue with different signs at two values passes zero; None if the branch ends in between."""

        def eigenvalue(value: float) -> float:
            return float(self._existing(value).eigenvalues[number])

        precision = 1e-9 * self.span
        try:
            root = root_of(eigenvalue, low, high, precision)
            near, far = (
                (max(low, root - width), min(high, root + width)) for width in (1e-6 * self.span, 1e-3 * self.span)
            )
            whole = abs(eigenvalue(high) - eigenvalue(low))
            rise = eigenvalue(near[1]) - eigenvalue(near[0])
            slope = (eigenvalue(far[1]) - eigenvalue(far[0])) / (far[1] - far[0])
            point = self._sharper(root)
        except _TrackEndedError:
            return None
        unsure = float(point.eigenvalue_error[number])
        if abs(rise) > 1e-2 * whole + 10 * unsure:
            return BranchChange("jump", root, near[1] - near[0], (number,))
        error = 2 * precision + (abs(float(point.eigenvalues[number])) + unsure) / max(abs(slope), 1e-300)
        return BranchChange("eigenvalue", root, error, (number,))

    def _existing(self, value: float) -> CriticalPoint:
        if isinstance(point := self.at(value), BranchChange):
            raise _TrackEndedError
        return point

    def _sharper(self, value: float) -> CriticalPoint:
        """The point at a value with its eigenvalues known better than along the branch, as few points need it."""
        theta, surface = self._existing(value).theta, self.path.surface(value)
        surface = replace(surface, tol=SHARPER * surface.tol)
        return characterised(surface, theta, surface.slope(theta), theta)


class _TrackEndedError(Exception):
    pass


def _touches(known: Sequence[tuple[float, CriticalPoint]]) -> list[BranchChange]:
    """The places at which an eigenvalue falls to zero and rises again at once, with a corner rather than smoothly."""
    found: list[BranchChange] = []
    lowest = max((point.negative for _, point in known), default=0)
    for number in range(lowest + 1):
        series = [
            (value, abs(float(point.eigenvalues[number])), float(point.eigenvalue_error[number]))
            for value, point in known
            if number < len(point.eigenvalues)
        ]
        for i in range(2, len(series) - 2):
            if (place := _corner(series, i)) is None:
                continue
            middle, gap, width = place
            if all(abs(middle - change.value) > change.error + gap for change in found):
                found.append(BranchChange("touch", middle, gap + width / 10, (number,)))
    return found


def _corner(series: Sequence[tuple[float, float, float]], i: int) -> tuple[float, float, float] | None:
    """Where a size, given as (value, size, error), falls to zero near point i along straight lines; None if nowhere.

    Returns:
        The place at which both lines meet zero, the gap between their zeros, and the distance of the outer points.

    """
    at, size, _ = series[i]
    if not series[i - 1][1] >= size <= series[i + 1][1]:
        return None
    # Lines through two points well above the minimum on either side.
    clear = [(value, other) for value, other, error in series if other > max(3 * size, error)]
    left = [each for each in clear if each[0] < at][-2:]
    right = [each for each in clear if each[0] > at][:2][::-1]
    if len(left) < 2 or len(right) < 2:
        return None
    zeros = [b[0] - b[1] * (b[0] - a[0]) / (b[1] - a[1]) if b[1] < a[1] else np.inf for a, b in (left, right)]
    gap, width = abs(zeros[1] - zeros[0]), right[1][0] - left[1][0]
    # For a smooth minimum the gap would be half of the width.
    return (float(sum(zeros)) / 2, float(gap), width) if gap < 0.15 * width else None


def root_of(function: Callable[[float], float], low: float, high: float, precision: float) -> float:
    """The zero of a function with different signs at `low` and `high`, to `precision` (Brent's method)."""
    # Imported here, as it takes longer to import than all of analysis.
    from scipy.optimize import brentq

    root: Any = brentq(function, low, high, xtol=precision)
    return float(root)


def _sign(point: CriticalPoint, number: int) -> int:
    """The sign of one eigenvalue; 0 if it is undecided or there is no such eigenvalue."""
    if number >= len(point.eigenvalues) or abs(point.eigenvalues[number]) <= point.eigenvalue_error[number]:
        return 0
    return int(np.sign(point.eigenvalues[number]))


def _key(features: FeatureDistribution, parameter: str, call: str) -> tuple[list[int], str]:
    """The numbers of the sets that a parameter changes, and its key in them."""
    shown = f"{call}(parameter={parameter!r})"
    if not isinstance(parameter, str):
        raise ValueError(
            f'{shown}: parameter must be a key of the sets, such as "density", or "0.density" for the first set'
        )
    number, key = "", parameter.removeprefix("features.")
    first, _, rest = key.partition(".")
    count = len(features.sets)
    if rest and not any(isinstance(getattr(each, first, None), Description) for each in features.sets):
        number, key = first, rest
    if number and not (number.isdecimal() and int(number) < count):
        raise ValueError(f"{shown}: there is no set {number!r}; the sets have the numbers 0 to {count - 1}")
    chosen = [int(number)] if number else range(count)
    known = [_keys(each) for each in features.sets]
    fitting = [i for i in chosen if key in known[i]]
    if not fitting:
        raise ValueError(f"{shown}: there is no such key; {nearest(key, set().union(*(known[i] for i in chosen)))}")
    return fitting, key


def _keys(given: Description) -> set[str]:
    """What can vary in a set: its own keys, and those of the law of its magnitudes; not the number of its features."""
    keys = set()
    for name in set(type(given).model_fields) - {"size", "count"}:
        held = getattr(given, name)
        keys |= {f"{name}.{inner}" for inner in _keys(held)} if isinstance(held, Description) else {name}
    return keys
