"""Changes while a run trains: from a step on another learning rate, or other densities, strengths and importances."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, PlainValidator, field_validator, model_serializer

from tegum.core.description import Description, Positive, Whole, at, broken
from tegum.core.features.distribution import FeatureDistribution
from tegum.core.features.sets import FeatureSet, numbers_per_feature
from tegum.training.spec.methods import Descent, Training

if TYPE_CHECKING:
    from tegum.core.features.sets import Numbers

_PerFeature = Annotated[
    float | tuple[float, ...] | None,
    PlainValidator(lambda value: None if value is None else numbers_per_feature(value)),
]
"""As a set has it, or None where it stays."""

_CHANGEABLE = ("density", "strength", "importance")
"""What of a set may change."""


class SetChange(Description):
    """What becomes of one set of features, which keeps its kind and its size; None stays as it is.

    Raises:
        ValueError: a field breaks its rule. Whether the set allows the value is checked by the Spec.

    Example:
        >>> import tegum as tg
        >>> tg.SetChange(0, density=0.2).values
        {'density': 0.2}

    """

    positional: ClassVar[tuple[str, ...]] = ("set",)
    set: Whole
    """The number of the set in the Spec, counted from 0."""
    density: _PerFeature = None
    """The density of the set from then on, one number or one per feature."""
    strength: Annotated[float, Field(strict=True)] | None = None
    """The strength of a partially correlated set from then on."""
    importance: _PerFeature = None
    """The importance of the features of the set from then on, one number or one per feature."""

    if TYPE_CHECKING:

        def __init__(
            self,
            set: int,  # noqa: A002 (as in files)
            *,
            density: Numbers | None = None,
            strength: float | None = None,
            importance: Numbers | None = None,
        ) -> None: ...

    @model_serializer(mode="plain")
    def _only_what_changes(self) -> dict[str, Any]:
        return {"set": self.set} | {k: list(v) if isinstance(v, tuple) else v for k, v in self.values.items()}

    @property
    def values(self) -> dict[str, Any]:
        """The values that change, by their keys."""
        given = {key: getattr(self, key) for key in _CHANGEABLE}
        return {key: value for key, value in given.items() if value is not None}


class Change(Description):
    """A change at one step of training: in force for the update from that step to the next, and until changed again.

    The loss recorded at the step is already that of the changed features. Schedule and warm-up go on by the number of
    the step, on the changed rate.

    Raises:
        ValueError: a field breaks its rule. Whether the way of training has a rate, and the sets allow their values, is
            checked by the Spec.

    Example:
        >>> import tegum as tg
        >>> change = tg.Change(40, rate=0.002, sets=[tg.SetChange(0, density=0.2)])
        >>> spec = tg.Spec(
        ...     features=[tg.Independent(3, 0.1)], hidden=1, training=tg.Sampled(steps=100), changes=[change]
        ... )
        >>> [spec.in_force(step).features.density[0].item() for step in (39, 40)]
        [0.1, 0.2]

    """

    positional: ClassVar[tuple[str, ...]] = ("step",)
    step: Whole
    """The step from which on it counts; step 0 is the start."""
    rate: Positive | None = None
    """The learning rate from then on, before schedule and warm-up; None where it stays."""
    sets: tuple[SetChange, ...] = ()
    """What becomes of sets of features; sets that are not listed stay, and of one listed twice the last one counts."""

    if TYPE_CHECKING:

        def __init__(
            self, step: int, *, rate: float | None = None, sets: Sequence[SetChange | Mapping[str, Any]] = ()
        ) -> None: ...

    @field_validator("sets", mode="before")
    @classmethod
    def _sets_from_list(cls, value: Any) -> tuple[SetChange, ...]:
        return _listed(value, SetChange, "must be a list of changes of sets, each with the number of its set")

    @model_serializer(mode="plain")
    def _only_what_changes(self) -> dict[str, Any]:
        rate = {} if self.rate is None else {"rate": self.rate}
        sets = [each.model_dump() for each in self.sets]
        return {"step": self.step} | rate | ({"sets": sets} if sets else {})

    @classmethod
    def inner_keys(cls) -> Iterable[str]:
        """No keys: step and rate are those of training first, and a misspelt one is hardly meant for a change."""
        return ()


def read_dated(value: Any) -> tuple[Change, ...]:
    """Changes as a Spec has them, from a list of them or of tables that describe them.

    Raises:
        ValueError: it is no such list, or a change breaks a rule.

    """
    return _listed(value, Change, "must be a list of changes, each with its step ([[changes]] in TOML)")


def _listed(value: Any, kind: Any, rule: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(each, kind | Mapping) for each in value):
        raise ValueError(rule)
    found = []
    for number, each in enumerate(value):
        with at(number):
            found.append(each if isinstance(each, kind) else kind.read(each))
    return tuple(found)


def phases(
    features: FeatureDistribution, training: Training, changes: Sequence[Change]
) -> list[tuple[int, FeatureDistribution, Training]]:
    """What is in force from which step on: the features and the way of training, the first from step 0.

    A change that leaves everything as it is begins no phase, and changes at one step are one.

    Raises:
        ValueError: quoting the key of a change, counted from 0: its step is beyond the training or before the change
            before it, or what it changes does not exist or breaks its rule.

    """
    found, before = [(0, features, training)], 0
    for number, change in enumerate(changes):
        with at("changes", number):
            if change.step > training.steps:
                raise broken("step", change.step, f"must not go beyond the last step of training, {training.steps}")
            if change.step < before:
                raise broken("step", change.step, f"must not come before that of the change before it, {before}")
            before = change.step
            _, sets, way = found[-1]
            way = _with_rate(way, change.rate)
            for place, each in enumerate(change.sets):
                with at("sets", place):
                    sets = _with_set(sets, each)
        if found[-1][0] == change.step:
            del found[-1]
        if not found or (sets, way) != found[-1][1:]:
            found.append((change.step, sets, way))
    return found


def _with_rate(training: Training, rate: float | None) -> Training:
    if rate is None:
        return training
    if not isinstance(training, Descent):
        raise broken("rate", rate, f"must not be given, as training of the kind {training.kind!r} has no learning rate")
    return training.replace(rate=rate)


def _with_set(features: FeatureDistribution, change: SetChange) -> FeatureDistribution:
    if change.set >= len(features.sets):
        raise broken("set", change.set, f"must be the number of a set, at most {len(features.sets) - 1}")
    sets = list(features.sets)
    sets[change.set] = _changed(sets[change.set], change)
    return FeatureDistribution(sets)


def _changed(given: FeatureSet, change: SetChange) -> FeatureSet:
    for key, value in change.values.items():
        if key not in type(given).model_fields:
            raise broken(key, value, f"must not be given, as a set of the kind {given.kind!r} has none")
    made = given.replace(**change.values)
    if made.features != given.features:
        rule = f"must leave the set its {given.features} features"
        raise broken("density", change.density, rule)
    return made
