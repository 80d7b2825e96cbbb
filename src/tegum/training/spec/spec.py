"""One frozen description of a run, the same in Python, in TOML, and on the command line."""

from __future__ import annotations

import bisect
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from jaxtyping import Float, Shaped
from pydantic import BeforeValidator, SerializeAsAny, field_validator, model_serializer, model_validator

from tegum.core.arguments import is_integer
from tegum.core.description import Count, Description, Positive, Whole, broken, chosen, short
from tegum.core.features.distribution import FeatureDistribution
from tegum.core.features.empirical import Empirical
from tegum.core.features.sets import FeatureSet
from tegum.core.inputs.arrays import numbers_of
from tegum.core.inputs.files import ADDRESS, shown
from tegum.core.model import ACTIVATIONS, Activation
from tegum.core.words import on_one_line
from tegum.training.spec.changes import Change, phases, read_dated
from tegum.training.spec.methods import Sampled, Training
from tegum.training.spec.overrides import Changes, KeyChange, override, read_changes, read_toml
from tegum.training.spec.runs import chosen_runs
from tegum.training.spec.snapshots import Snapshots

if TYPE_CHECKING:
    KnownActivation = Activation
else:
    KnownActivation = Annotated[str, BeforeValidator(lambda value: chosen(value, ACTIVATIONS))]


class Start(Description):
    """Given weights and biases from which to start, the same for every run or one for each.

    Raises:
        ValueError: an array does not hold finite numbers of at most 1e30, or has the wrong number of axes.

    Example:
        >>> import tegum as tg
        >>> weights, bias = tg.Start([[1.0], [-1.0]]).arrays()
        >>> weights.shape, bias.tolist()
        ((2, 1), [0.0, 0.0])

    """

    positional: ClassVar[tuple[str, ...]] = ("weights", "bias")
    weights: tuple[Any, ...]
    """The weights W at the start, of shape (n, m), or (seeds, n, m) for one start per run."""
    bias: tuple[Any, ...] | None = None
    """The biases b at the start, of shape (n,), or (seeds, n) for one start per run; None is zero."""

    if TYPE_CHECKING:

        def __init__(self, weights: Any, bias: Any = None) -> None: ...

    @field_validator("weights", mode="before")
    @classmethod
    def _weights_are_an_array(cls, value: Any) -> tuple[Any, ...]:
        return _nested_tuples(value, ("feature", "hidden"), "(n, m) or (seeds, n, m)")

    @field_validator("bias", mode="before")
    @classmethod
    def _bias_is_an_array(cls, value: Any) -> tuple[Any, ...] | None:
        return None if value is None else _nested_tuples(value, ("feature",), "(n,) or (seeds, n)")

    @staticmethod
    def table(value: Any) -> Any:
        """Spell out the two short forms, weights or a tuple (weights, bias).

        Args:
            value: any description of a start.

        Returns:
            A dictionary of fields for a short form, and anything else as it is.

        """
        if value is None or isinstance(value, Start | Mapping | str):
            return value
        if isinstance(value, tuple) and len(value) == 2:
            weights, bias = value
            # A tuple of two may also be the weights of two features.
            if bias is None or _dimensions(weights) == _dimensions(bias) + 1:
                return {"weights": weights, "bias": bias}
        return {"weights": value}

    @classmethod
    def of(cls, value: Any) -> Start | None:
        """Return a start as it is, or build the one that weights, a tuple (weights, bias) or a dictionary describes.

        Args:
            value: a `Start`, weights, a tuple of weights and bias, a dictionary of the fields, or None.

        Returns:
            The start, or None for None.

        Raises:
            ValueError: `value` is none of these, or breaks a rule.

        """
        value = cls.table(value)
        if isinstance(value, str):
            raise ValueError("must be a Start, weights, or a tuple of weights and bias")
        return cls.read(value) if isinstance(value, Mapping) else value

    def arrays(self) -> tuple[Float[np.ndarray, "*seed n m"], Float[np.ndarray, "*every n"]]:
        """Return the weights and the bias as arrays.

        Returns:
            Weights, shape (n, m) or (seeds, n, m), and bias, shape (n,) or (seeds, n), in float64.

        """
        weights = np.array(self.weights, dtype=np.float64)
        return weights, np.zeros(weights.shape[-2]) if self.bias is None else np.array(self.bias, np.float64)

    def __repr_args__(self) -> Iterable[tuple[str, Any]]:
        for name in self.positional:
            value = getattr(self, name)
            yield name, None if value is None else _Shown(short(np.array(value)))


def _nested_tuples(value: Any, dims: tuple[str, ...], shapes: str) -> tuple[Any, ...]:
    """An array as tuples of floats: hashable, comparable, JSON-able."""
    array = numbers_of(value, dims)
    if hasattr(array, "tocsr"):
        raise ValueError("must be dense; .toarray() makes it so")
    # Sampled training computes in float32, which must hold these numbers.
    array = array.astype(np.float64) if array.dtype.kind in "iuf" else array
    finite = array.dtype.kind == "f" and array.size > 0 and bool((np.abs(array) <= 1e30).all())
    if not finite or array.ndim - len(dims) not in (0, 1):
        raise ValueError(f"must be an array of finite numbers of at most 1e30, of shape {shapes}")
    return _tuples(array.tolist())


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


class _Shown(str):
    """Text whose repr has no quotes."""

    __slots__ = ()
    __repr__ = str.__str__


def _dimensions(value: Any) -> int:
    try:
        return np.ndim(value)
    except ValueError:  # ragged lists
        return 0


class Spec(Description):
    """Everything that defines a training run: features, model, start, training, snapshots, and the number of runs.

    Two Specs are equal if all their values are, however they were written, and then have the same `hash`.

    Raises:
        ValueError: a field breaks its rule, or two fields do not fit together; one sentence quotes the key, the
            value and the rule.

    Example:
        >>> import tegum as tg
        >>> spec = tg.Spec(features=[tg.Independent(count=6, density=0.05)], hidden=2, seeds=8)
        >>> spec.features.n, spec.training.steps
        (6, 10000)
        >>> tg.Spec.from_json(spec.to_json()) == spec
        True

    """

    features: FeatureDistribution
    """The feature distribution; a list of sets will do."""
    hidden: Count
    """The number m of hidden dimensions."""
    activation: KnownActivation = "relu"
    """The activation of the model's output."""
    initial_scale: Positive | None = None
    """The standard deviation of normally distributed initial weights; None is Xavier's, √(2 / (n + m))."""
    start: Start | None = None
    """Given weights and biases from which to start, in place of random ones."""
    training: SerializeAsAny[Training] = Sampled()
    """The way of training: `Sampled`, `Exact` or `Flow`."""
    snapshots: Snapshots = Snapshots()
    """The steps that are recorded; a count or a list of steps will do."""
    seeds: Count = 1
    """The number of runs, numbered 0, 1, … and different in their random numbers."""
    base_seed: Whole = 0
    """The seed from which all runs' random numbers derive; Specs with the same one are paired run by run."""
    changes: tuple[Change, ...] = ()
    """Changes while the runs train, in the order of their steps; those at one step are made in the order listed."""

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            features: FeatureDistribution | Sequence[FeatureSet | Mapping[str, Any]],
            hidden: int,
            activation: Activation = "relu",
            initial_scale: float | None = None,
            start: Any = None,
            training: Training | Mapping[str, Any] = ...,
            snapshots: Snapshots | int | Sequence[int] | Mapping[str, Any] = ...,
            seeds: int = 1,
            base_seed: int = 0,
            changes: Sequence[Change | Mapping[str, Any]] = (),
        ) -> None: ...

    @field_validator("features", mode="before")
    @classmethod
    def _features_from_list(cls, value: Any) -> FeatureDistribution:
        if isinstance(value, FeatureDistribution):
            return value
        if not isinstance(value, list | tuple):
            raise ValueError("must be a FeatureDistribution, or a list of feature sets ([[features]] in TOML)")
        return FeatureDistribution(sets=tuple(value))

    @field_validator("start", mode="before")
    @classmethod
    def _start_from_arrays(cls, value: Any) -> Start | None:
        return Start.of(value)

    @field_validator("training", mode="before")
    @classmethod
    def _training_from_table(cls, value: Any) -> Training:
        return Training.of(value)

    @field_validator("snapshots", mode="before")
    @classmethod
    def _snapshots_from_short(cls, value: Any) -> Snapshots:
        return Snapshots.of(value)

    @field_validator("changes", mode="before")
    @classmethod
    def _changes_from_list(cls, value: Any) -> tuple[Change, ...]:
        return read_dated(value)

    @model_serializer(mode="wrap")
    def _without_no_changes(self, fields: Any) -> dict[str, Any]:
        # Descriptions without changes are what they were before there were any, and so are their digests.
        return {key: value for key, value in fields(self).items() if key != "changes" or self.changes}

    @model_validator(mode="after")
    def _changes_fit(self) -> Spec:
        if self.changes:
            _ = self._phases
        return self

    @model_validator(mode="after")
    def _parts_fit(self) -> Spec:
        listed, last = self.snapshots.steps, self.training.steps
        if listed and listed[-1] > last:
            rule = f"must not go beyond the last step of training, {last}"
            raise broken(("snapshots", "steps"), listed[-1], rule)
        if self.start is None:
            return self
        if self.initial_scale is not None:
            raise broken("initial_scale", self.initial_scale, "must not be given together with start")
        for name, shape in (("weights", (self.features.n, self.hidden)), ("bias", (self.features.n,))):
            value = getattr(self.start, name)
            if value is not None and np.shape(value) not in (shape, (self.seeds, *shape)):
                rule = f"must have shape {shape}, or {(self.seeds, *shape)} with a start for each seed"
                raise broken(("start", name), np.array(value), rule)
        return self

    @classmethod
    def from_json(cls, values: Mapping[str, Any] | str, changes: Changes = ()) -> Spec:
        """Build the Spec that a dictionary (as from TOML or JSON) or a JSON text describes, with `changes` to it.

        Args:
            values: the fields by their names, nested ones as dictionaries, `features` as a list.
            changes: changes to make before the Spec is checked, as `override` takes them.

        Returns:
            The Spec.

        Raises:
            ValueError: `values` is not JSON, or does not describe a Spec.

        """
        if isinstance(values, str):
            try:
                values = json.loads(values)
            except (ValueError, RecursionError) as error:
                raise ValueError(f"Spec.from_json({short(values)}): must be valid JSON: {error}") from None
        if not isinstance(values, Mapping):
            raise ValueError(f"Spec.from_json({short(values)}): must be a table of the keys of a Spec")
        return cls.read(_changed(values, read_changes(changes)))

    @classmethod
    def from_toml(cls, path: str | os.PathLike[str], changes: Changes = ()) -> Spec:
        """Read a Spec from a TOML file, with `changes` to it.

        The keys are the fields. `[training]` is `Sampled` unless it has another `kind`; each set of features is a
        table `[[features]]` with its `kind`, its values and possibly `copies`. The `path` of activations is relative
        to the file's folder, and in a change to the working directory; the Spec holds the absolute path.

        Args:
            path: the TOML file.
            changes: changes to make before the Spec is checked, as `override` takes them.

        Returns:
            The Spec.

        Raises:
            ValueError: naming the file: it does not exist, is not TOML, or does not describe a Spec.

        """
        values, read = read_toml(path), read_changes(changes)
        try:
            return cls.read(_changed(with_places(values, Path(path)), read))
        except ValueError as error:
            changed = f" with {', '.join(change.text for change in read)}" if read else ""
            raise ValueError(f"{shown(Path(path))}{on_one_line(changed)}: {error}") from None

    def override(self, changes: Changes) -> Spec:
        """Change a Spec as a command line does: ["hidden=3", "training.steps=20000"], or as {"hidden": 3}.

        A number in a key selects a set, counted from 0, and a key without one changes every set:
        "features.0.density=0.1", "features.density=0.1". A change of `training.kind` starts from that kind's
        defaults. The word `none` is None.

        Args:
            changes: texts "key=value", or a dictionary of values by their keys.

        Returns:
            The changed Spec; this one stays as it is.

        Raises:
            ValueError: a change cannot be read, its key is unknown, or its value is out of range.

        """
        return self.from_json(self.model_dump(mode="json", exclude_defaults=True), changes)

    def continued_from(
        self,
        weights: Shaped[np.ndarray, "*run feature hidden"],
        bias: Shaped[np.ndarray, "*run feature"] | None = None,
        *,
        training: Training,
        snapshots: Any = 1,
    ) -> Spec:
        """Return the Spec of runs that continue from given parameters, with another way of training.

        Args:
            weights: W of one run, shape (n, m), or of several, shape (seeds, n, m).
            bias: b of the same runs; None is zero.
            training: the way in which they continue.
            snapshots: as in a Spec; by default the beginning and the end.

        Returns:
            A Spec with that many seeds, for the same features and hidden dimensions.

        """
        seeds = len(weights) if np.ndim(weights) > 2 else 1
        given = [np.asarray(each, np.float64) for each in (weights, bias) if each is not None]
        start: Any = given[0] if bias is None else tuple(given)
        last = self.in_force(self.training.steps)
        return last.replace(training=training, snapshots=snapshots, seeds=seeds, initial_scale=None, start=start)

    def in_force(self, step: int | np.integer) -> Spec:
        """Return the Spec of what is in force at a step: for the update that follows it, and the loss recorded at it.

        Args:
            step: the step, from 0 to the last one.

        Returns:
            A Spec without changes, which has the features and the learning rate that the changes have left until then,
            and otherwise agrees with this one; this one itself if it has no changes.

        Raises:
            ValueError: `step` is no step of the training.

        Example:
            >>> import tegum as tg
            >>> training = tg.Sampled(steps=100, rate=0.01)
            >>> change = {"step": 60, "rate": 0.001}
            >>> spec = tg.Spec(features=[tg.Independent(3, 0.1)], hidden=1, training=training, changes=[change])
            >>> [spec.in_force(step).training.rate for step in (0, 59, 60, 100)]
            [0.01, 0.01, 0.001, 0.001]

        """
        if not is_integer(step) or not 0 <= step <= self.training.steps:
            rule = f"step must be an int from 0 to training.steps, which is {self.training.steps}"
            raise ValueError(f"in_force(step={short(step)}): {rule}")
        return self._during(bisect.bisect_right(self.changed_at, int(step)))

    @property
    def changed_at(self) -> tuple[int, ...]:
        """The steps after the start at which something becomes different; changes to what is in force are none."""
        return tuple(begin for begin, _, _ in self._phases[1:]) if self.changes else ()

    @cached_property
    def _phases(self) -> list[tuple[int, FeatureDistribution, Training]]:
        return phases(self.features, self.training, self.changes)

    def _during(self, phase: int) -> Spec:
        if not self.changes:
            return self
        _, features, training = self._phases[phase]
        made = self.replace(features=features, training=training, changes=())
        vars(made).update({key: value for key, value in vars(self).items() if key == _RUNS})
        return made

    @property
    def runs(self) -> Sequence[int]:
        """The numbers of the runs: 0, 1, …, or those chosen by `some_runs`."""
        return vars(self).get(_RUNS, range(self.seeds))

    def some_runs(self, runs: Sequence[int]) -> Spec:
        """Return the Spec of some of the runs, which keep their numbers, and with them their random numbers.

        Which runs they are is not part of what the Spec describes, and is lost in its JSON form and by `replace`.

        Args:
            runs: numbers of runs, each once, in any order.

        Returns:
            A Spec with as many seeds.

        Raises:
            ValueError: there is none, or a number is none of `self.runs`, or given twice.

        Example:
            >>> import tegum as tg
            >>> spec = tg.Spec(features=[tg.Independent(3, 0.1)], hidden=1, seeds=64)
            >>> some = spec.some_runs([5, 60])
            >>> some.seeds, list(some.runs)
            (2, [5, 60])

        """
        numbers = chosen_runs(runs, self.runs, "some_runs")
        start = self.start
        if start is not None:
            place = {number: at for at, number in enumerate(self.runs)}
            weights, bias = (
                each if each is None or np.ndim(each) == shared else tuple(each[place[number]] for number in numbers)
                for each, shared in ((start.weights, 2), (start.bias, 1))
            )
            start = Start(weights, bias)
        chosen = self.replace(seeds=len(numbers), **({} if start is None else {"start": start}))
        vars(chosen)[_RUNS] = numbers
        return chosen

    def to_json(self) -> dict[str, Any]:
        """Describe the Spec as dictionaries that JSON can hold, defaults included.

        Returns:
            The fields by their names; `from_json` builds an equal Spec from them.

        """
        return self.model_dump(mode="json")

    @cached_property
    def hash(self) -> str:
        """A name for the content: 16 hexadecimal digits, the same in every process and on every machine.

        It is the beginning of the SHA-256 of the JSON form with sorted keys and the shortest digits that reproduce
        each float. Every value counts, defaults included: one density for all features and a list of equal densities
        are different content. Only the place from which activations were read does not count; their digest does.
        """
        content = self.to_json()
        for each in content["features"]:
            if each["kind"] == Empirical.kind:
                each |= {"path": None, "key": None}
        text = json.dumps(_unsigned_zeros(content), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


_RUNS = "_runs"
"""The name under which a Spec remembers which runs of another one it stands for."""


def with_places(values: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """The values of a TOML file, with the paths of activations made absolute from the folder of the file."""
    features = values.get("features")
    if not isinstance(features, list):
        return dict(values)
    folder = os.path.abspath(file.parent)  # noqa: PTH100 - resolving links would change what is next to the folder
    moved = [
        item | {"path": os.path.join(folder, item["path"])}  # noqa: PTH118
        if isinstance(item, dict) and isinstance(item.get("path"), str) and not ADDRESS.match(item["path"])
        else item
        for item in features
    ]
    return {**values, "features": moved}


def _changed(values: Mapping[str, Any], changes: list[KeyChange]) -> dict[str, Any]:
    """The values with changes, which may also lead into a value that was written in its short form."""
    values = dict(values)
    if not changes:
        return values
    for name, kind in (("snapshots", Snapshots), ("start", Start)):
        if name in values:
            values[name] = kind.table(values[name])
        changes = [
            change._replace(value=kind.table(change.value)) if change.path == (name,) else change for change in changes
        ]
    kinds = [change.value for change in changes if change.path == ("training", "kind")]
    training = values.get("training", {})
    if kinds and isinstance(training, Mapping) and kinds[-1] != training.get("kind", Training.default_kind):
        # The fields of one kind mean nothing to another. Done first, so that the order of changes does not matter.
        values["training"] = {}
    return override(values, changes)


def _unsigned_zeros(value: Any) -> Any:
    """JSON-able values with −0.0 replaced by the equal 0.0."""
    if isinstance(value, dict):
        return {key: _unsigned_zeros(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_unsigned_zeros(item) for item in value]
    return value + 0.0 if isinstance(value, float) else value
