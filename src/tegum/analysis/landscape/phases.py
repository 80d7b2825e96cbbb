"""Phase boundaries: where two configurations have equal losses, as roots in a parameter with an error bar.

Each configuration is a branch of critical points (`tegum.analysis.landscape.continuation`), refined at every value
at which the two are compared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, final

import numpy as np
from jaxtyping import Float

from tegum.analysis.landscape.critical_points import CriticalPoint, critical_point
from tegum.analysis.landscape.surface import checked, distance
from tegum.analysis.landscape.tracks import BranchChange, Parameter, Path, Track, root_of
from tegum.core.arguments import refusing
from tegum.core.features.distribution import FeatureDistribution
from tegum.progress.showing import shown
from tegum.progress.tasks import Phases

MERGED = 1e-3
"""Branches closer than this fraction of their distance at the ends of the range, where their losses cross, cross
themselves there."""

IDENTICAL = 1e-5
"""Configurations closer than this, in the distance of their parameters, are the same."""

AROUND = 1e-3
"""How far around the end of one branch an eigenvalue of the other is first searched, as a fraction of the range."""


@final
@dataclass(frozen=True, eq=False)
class Boundary:
    """The value of a parameter at which two configurations have the same loss.

    Example:
        One dimension, two features: which of them a linear model should keep changes where their importances are
        equal.

        >>> import tegum as tg
        >>> sets = [tg.Independent(count=1, density=0.3, importance=each) for each in (0.5, 1.0)]
        >>> features = tg.FeatureDistribution(sets)
        >>> first = tg.critical_point([[1.0], [0.0]], [0.0, 0.15], features, activation="linear")
        >>> second = tg.critical_point([[0.0], [1.0]], [0.15, 0.0], features, activation="linear")
        >>> boundary = tg.phase_boundary(first, second, features, "0.importance", low=0.5, high=1.5)
        >>> boundary.kind, round(boundary.value, 6), round(boundary.slope, 6)
        ('first order', 1.0, -0.0775)

    """

    parameter: str
    """The name of the parameter that changes."""
    value: float
    """The value of the parameter at the boundary."""
    error: float
    """How far from `value` the true value may lie: what the root finder leaves, and (error_a + error_b) / |slope|."""
    loss: float
    """The loss of both configurations at the boundary, summed over features."""
    slope: float
    """The derivative of L_a − L_b with respect to the parameter; negative if a is the better one beyond the boundary.
    """
    kind: Literal["first order", "continuous"]
    """"first order" if two branches cross and the better configuration changes at once, or "continuous" if one grows
    out of the other where an eigenvalue passes zero."""
    a: CriticalPoint = field(repr=False)
    """The first configuration at the boundary, or next to it if it ends there."""
    b: CriticalPoint = field(repr=False)
    """The second configuration at the boundary, or next to it if it ends there."""
    values: Float[np.ndarray, " evaluated"] = field(repr=False)
    """The values of the parameter at which both configurations were computed, rising."""
    differences: Float[np.ndarray, " evaluated"] = field(repr=False)
    """The difference L_a − L_b at each of these values."""

    def __str__(self) -> str:
        return f"{self.kind} boundary at {self.parameter} = {self.value:.10g} ± {self.error:.1g}"


@refusing
def phase_boundary(
    config_a: Any,
    config_b: Any,
    features: FeatureDistribution,
    parameter: Parameter,
    low: float,
    high: float,
    *,
    tol: float = 1e-9,
    start: float | None = None,
    progress: bool | Callable[[str, None], None] | None = True,
) -> Boundary:
    """Find the value of a parameter at which two configurations have the same loss.

    Both are followed from where they were found and refined at every value, so that their losses are exact and they
    keep their identity. If one of them grows out of the other within the range, the boundary is where that happens:
    an eigenvalue of the other passes zero. Compare Elhage et al. 2022, "Superposition as a Phase Change".

    Args:
        config_a: a `CriticalPoint`, or (weights, bias) near one.
        config_b: the other configuration.
        features: the feature distribution in which the parameter is varied; if the parameter is a function, only
            those it returns count.
        parameter: what changes: a key as `vary` takes it, or a function from a number to a FeatureDistribution.
        low: the lower end of the range of the parameter.
        high: the upper end of the range.
        tol: the precision of the root, as a fraction of the range; and, as in `critical_point`, of what is computed
            at each value.
        start: the value at which both configurations were found; None is the value in each one's features (those of
            the point, or `features`), or `low` if these have none.
        progress: whether to show progress, as in `train`; or a function that is called with each value at which the
            losses are compared, as text, and with None, as their number is not known in advance.

    Returns:
        The boundary, with its error, its kind and both configurations there.

    Raises:
        ValueError: the range is empty, `tol` does not lie between 0 and 1, the configurations are the same, neither
            has the lower loss at one end of the range and the higher at the other, or a branch ends within the range
            other than in the other branch.

    Example:
        One dimension, two features: which of them a linear model should keep changes where their importances are
        equal.

        >>> import tegum as tg
        >>> sets = [tg.Independent(count=1, density=0.3, importance=each) for each in (0.5, 1.0)]
        >>> features = tg.FeatureDistribution(sets)
        >>> first = tg.critical_point([[1.0], [0.0]], [0.0, 0.15], features, activation="linear")
        >>> second = tg.critical_point([[0.0], [1.0]], [0.15, 0.0], features, activation="linear")
        >>> print(tg.phase_boundary(first, second, features, "0.importance", low=0.5, high=1.5))
        first order boundary at 0.importance = 1 ± 2e-09

    """
    call = "phase_boundary"
    if not (np.isfinite([low, high]).all() and low < high):
        raise ValueError(f"{call}(low={low!r}, high={high!r}): low must lie below high")
    tol = checked(tol, call)
    if isinstance(parameter, str) and not isinstance(features, FeatureDistribution):
        raise ValueError(f"{call}(features={type(features).__name__}): features must be a FeatureDistribution")
    with shown(
        progress, Phases(f"boundary in {parameter if isinstance(parameter, str) else 'a parameter'}"), call
    ) as report:
        tracks = []
        for name, config in (("config_a", config_a), ("config_b", config_b)):
            point = config
            if not isinstance(config, CriticalPoint):
                if not isinstance(config, tuple) or len(config) != 2:
                    rule = "it must be a CriticalPoint or (weights, bias)"
                    raise ValueError(f"{call}({name}={type(config).__name__}): {rule}")
                own = features if isinstance(parameter, str) else parameter(low if start is None else start)
                point = critical_point(*config, own, tol=tol)
            path = Path.of(parameter, features, point, tol, call)
            begin = path.start(point, low) if start is None else start
            tracks.append(Track(path, point, begin, high - low, f"{call}({name})"))
        return _Pair((tracks[0], tracks[1]), low, high, report).boundary(tol)


class _Difference(NamedTuple):
    """L_a − L_b at one value of the parameter."""

    value: float
    error: float
    a: CriticalPoint
    b: CriticalPoint

    @property
    def distance(self) -> float:
        """The distance between the two configurations."""
        return distance(self.a.weights, self.a.bias, self.b.weights, self.b.bias)

    @property
    def identical(self) -> bool:
        """Whether they are the same configuration."""
        return self.distance < IDENTICAL


class _OneBranchEndedError(Exception):
    """One of the branches ends before it reaches a value of the parameter."""

    def __init__(self, number: int, change: BranchChange) -> None:
        super().__init__(number, change)
        self.number, self.change = number, change


class _Pair:
    """Two branches over one range."""

    def __init__(
        self, tracks: tuple[Track, Track], low: float, high: float, report: Callable[[str, None], None]
    ) -> None:
        self.tracks, self.low, self.high, self.report = tracks, low, high, report
        self.name = tracks[0].path.name
        self.evaluated: dict[float, float] = {}

    def difference(self, value: float) -> _Difference:
        """L_a − L_b at a value; raises _OneBranchEndedError if one of the branches does not reach it."""
        self.report(f"{self.name} = {value:.6g}", None)
        if isinstance(a := self.tracks[0].at(value), BranchChange):
            # Then the other branch need not be followed.
            raise _OneBranchEndedError(0, a)
        if isinstance(b := self.tracks[1].at(value), BranchChange):
            raise _OneBranchEndedError(1, b)
        self.evaluated[value] = a.loss - b.loss
        return _Difference(a.loss - b.loss, _loss_error(a) + _loss_error(b), a, b)

    def boundary(self, tol: float) -> Boundary:
        ends, cut = [], None
        for value in (self.low, self.high):
            try:
                ends.append((value, self.difference(value)))
            except _OneBranchEndedError as error:
                if merged := self._merged(error):
                    return merged
                # The losses may change their order before this branch ends.
                cut = error
                value, _ = min(self.tracks[error.number].known, key=lambda each: abs(each[0] - value))
                ends.append((value, self._existing(value)))
        (low, first), (high, last) = ends
        if first.identical != last.identical:
            return self._parting((low, high) if first.identical else (high, low))
        if first.identical:
            raise ValueError("phase_boundary(config_a, config_b): they lead to one and the same critical point")
        if not all(abs(each.value) > each.error for each in (first, last)) or first.value * last.value > 0:
            where = f"L_a − L_b is {first.value:.4g} and {last.value:.4g} at {self.name} = {low:g} and {high:g}"
            if cut is not None:
                raise ValueError(f"{self._sentence(cut)}; as far as both exist, {where}: no change of order")
            raise ValueError(
                f"phase_boundary(low, high): {where}; the losses must change their order between low and high"
            )
        precision = tol * (self.high - self.low)
        root = root_of(lambda value: self._existing(value).value, low, high, precision)
        at = self._existing(root)
        slope = self._slope(root, at)
        if at.distance < MERGED * max(first.distance, last.distance):
            for number in (0, 1):
                if passage := self._passage(number, root):
                    return self._made(passage.value, passage.error, slope, "continuous", at.a, at.b)
        error = 2 * precision + (abs(at.value) + at.error) / max(abs(slope), 1e-300)
        return self._made(root, error, slope, "first order", at.a, at.b)

    def _existing(self, value: float) -> _Difference:
        """The difference at a value at which both branches must exist."""
        try:
            return self.difference(value)
        except _OneBranchEndedError as error:
            raise ValueError(self._sentence(error)) from None

    def _sentence(self, ended: _OneBranchEndedError) -> str:
        name, where = ("config_a", "config_b")[ended.number], f"between {self.name} = {self.low:g} and {self.high:g}"
        return f"phase_boundary({name}): its branch must not end {where}; {ended.change}"

    def _parting(self, ends: tuple[float, float]) -> Boundary:
        """The boundary between the values where the two branches coincide and those where they are distinct."""
        same, apart = ends
        while abs(apart - same) > AROUND * (self.high - self.low):
            middle = (same + apart) / 2
            same, apart = (middle, apart) if self._existing(middle).identical else (same, middle)
        at = self._existing(apart)
        for number in (0, 1):
            if passage := self._passage(number, apart):
                return self._made(passage.value, passage.error, self._slope(apart, at), "continuous", at.a, at.b)
        where = f"at {self.name} = {same:g}, and no eigenvalue passes zero there"
        raise ValueError(f"phase_boundary(config_a, config_b): they become one critical point {where}")

    def _merged(self, ended: _OneBranchEndedError) -> Boundary | None:
        """The boundary at which one branch ends in the other; None if it does not."""
        change, track, other = ended.change, self.tracks[ended.number], self.tracks[1 - ended.number]
        last, point = min(track.known, key=lambda each: abs(each[0] - change.value))
        opposite = other.at(last)
        if (
            change.kind != "merger"
            or not isinstance(opposite, CriticalPoint)
            or distance(point.weights, point.bias, opposite.weights, opposite.bias) > track.near(last)
            or not (passage := self._passage(1 - ended.number, change.value))
        ):
            return None
        a, b = (point, opposite) if ended.number == 0 else (opposite, point)
        at = _Difference(a.loss - b.loss, _loss_error(a) + _loss_error(b), a, b)
        return self._made(passage.value, passage.error, self._slope(last, at), "continuous", a, b)

    def _passage(self, number: int, value: float) -> BranchChange | None:
        """The point around a value at which an eigenvalue of one branch passes zero, if there is one."""
        track, width = self.tracks[number], AROUND * (self.high - self.low)
        for _ in range(4):
            ends = max(self.low, value - width), min(self.high, value + width)
            points = [(end, track.at(end)) for end in ends]
            known = [(end, point) for end, point in points if isinstance(point, CriticalPoint)]
            if len(known) == 2 and (passages := track.passages(known)):
                return min(passages, key=lambda change: abs(change.value - value))
            width *= 4
        return None

    def _slope(self, value: float, at: _Difference) -> float:
        """d(L_a − L_b) / d parameter. As ∇L = 0 along a branch, only the explicit change of the features counts."""
        width = AROUND * (self.high - self.low)
        ends = max(self.low, value - width), min(self.high, value + width)
        differences = []
        for end in ends:
            surface = self.tracks[0].path.surface(end)
            losses, _ = surface.losses(np.array([at.a.theta, at.b.theta]))
            differences.append(losses[0] - losses[1])
        return float((differences[1] - differences[0]) / (ends[1] - ends[0]))

    def _made(
        self,
        value: float,
        error: float,
        slope: float,
        kind: Literal["first order", "continuous"],
        a: CriticalPoint,
        b: CriticalPoint,
    ) -> Boundary:
        values = sorted(self.evaluated)
        return Boundary(
            parameter=self.name,
            value=value,
            error=error,
            loss=(a.loss + b.loss) / 2,
            slope=slope,
            kind=kind,
            a=a,
            b=b,
            values=np.array(values),
            differences=np.array([self.evaluated[each] for each in values]),
        )


def _loss_error(point: CriticalPoint) -> float:
    """A bound on the error of the loss, including the remaining distance to the critical point."""
    soft = np.abs(point.eigenvalues)
    # Along modes that are flat within their errors the loss hardly changes either.
    stiff = soft[soft > point.eigenvalue_error]
    left = (point.gradient_norm + point.gradient_error) ** 2 / (2 * stiff.min(initial=1.0))
    return point.loss_error + left
