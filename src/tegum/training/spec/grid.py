"""Grids: every combination of values of some parameters of a Spec."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final, overload

import numpy as np

from tegum.core.description import Description, plain, short, short_keys
from tegum.core.reprs import html_table
from tegum.core.words import closest, nearest
from tegum.data.schema import FIELDS, GRID, SPEC, SPEC_HASH
from tegum.training.spec.labels import one_type
from tegum.training.spec.spec import Spec

MOST_SPECS = 100_000
"""The most Specs of a grid: each is built and checked beforehand, which takes about 0.1 ms."""

_LONGEST_NAME = 100
"""The most letters of a parameter's name: names of stored coordinates are names of files."""

_SHADOWED = ("density", "importance")
"""Properties of features whose names a parameter may take."""

_RESERVED = {*FIELDS, SPEC, SPEC_HASH, GRID} - {*_SHADOWED, "hidden"}
"""Names of variables of a trajectory; `hidden` is left, as a grid over it is split before it is trained."""


@final
@dataclass(frozen=True)
class Grid(Sequence[Spec]):
    """Every combination of values of some parameters of a Spec, the last parameter varying fastest.

    It is a sequence of Specs, and `train` trains it as such, but its trajectory has a dimension for each parameter.
    `tg.grid` makes it.

    Example:
        >>> import tegum as tg
        >>> spec = tg.Spec(features=[tg.Independent(6, 0.1)], hidden=2)
        >>> grid = tg.grid(spec, density=[0.1, 0.5], rate=[1e-3, 2e-3, 4e-3])
        >>> grid.shape, len(grid), grid[-1].features.density[0].item(), grid[-1].training.rate
        ((2, 3), 6, 0.5, 0.004)

    """

    spec: Spec
    """The Spec whose keys are varied; what is not varied is the same everywhere."""
    parameters: Mapping[str, Mapping[str, tuple[Any, ...]]]
    """For each parameter, in order, the keys of the Spec that it varies, and the values of each key. Keys of one
    parameter change together."""

    def __hash__(self) -> int:
        return hash(tuple(spec.hash for spec in self.specs))

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of values of each parameter."""
        return tuple(len(next(iter(keys.values()))) for keys in self.parameters.values())

    @property
    def labels(self) -> dict[str, dict[str, list[Any]]]:
        """The values as coordinates hold them: numbers (NaN for None) or booleans, and anything else as text."""
        return {
            name: {key: labels_of(values) for key, values in keys.items()} for name, keys in self.parameters.items()
        }

    @cached_property
    def specs(self) -> tuple[Spec, ...]:
        """The Specs, the last parameter varying fastest."""
        return tuple(self.spec.override(changes) for changes in self._changes())

    def _changes(self) -> Iterator[dict[str, Any]]:
        steps = [
            [dict(zip(keys, values, strict=True)) for values in zip(*keys.values(), strict=True)]
            for keys in self.parameters.values()
        ]
        for chosen in itertools.product(*steps):
            yield {key: value for part in chosen for key, value in part.items()}

    def __len__(self) -> int:
        return math.prod(self.shape)

    @overload
    def __getitem__(self, index: int) -> Spec: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Spec]: ...
    def __getitem__(self, index: int | slice) -> Spec | Sequence[Spec]:
        return self.specs[index]

    def split(self, parameter: str) -> dict[Any, Grid | Spec]:
        """Split the grid along one parameter, such as one whose values change shapes.

        Args:
            parameter: the name of the parameter.

        Returns:
            For each of its values the grid of the other parameters, or the Spec if there is no other.

        Raises:
            ValueError: the grid has no such parameter.

        Example:
            >>> import tegum as tg
            >>> spec = tg.Spec(features=[tg.Independent(6, 0.1)], hidden=2)
            >>> parts = tg.grid(spec, hidden=[2, 3], density=[0.1, 0.5]).split("hidden")
            >>> {hidden: part.shape for hidden, part in parts.items()}
            {2: (2,), 3: (2,)}

        """
        if parameter not in self.parameters:
            rule = f"the grid has no such parameter; {nearest(str(parameter), self.parameters)}"
            raise ValueError(f"Grid.split({short(parameter)}): {rule}")
        own = self.parameters[parameter]
        rest = {name: keys for name, keys in self.parameters.items() if name != parameter}
        labels = next(iter(self.labels[parameter].values()))
        found: dict[Any, Grid | Spec] = {}
        for label, values in zip(labels, zip(*own.values(), strict=True), strict=True):
            spec = self.spec.override(dict(zip(own, values, strict=True)))
            found[label] = Grid(spec, rest) if rest else spec
        return found

    def __repr__(self) -> str:
        ranges = [f"{name} {_range(next(iter(keys.values())))}" for name, keys in self.labels.items()]
        return f"<Grid of {' × '.join(map(str, self.shape))} Specs: {', '.join(ranges)}>"

    def _repr_html_(self) -> str:
        rows = [(key, _range(values)) for keys in self.labels.values() for key, values in keys.items()]
        return html_table(f"Grid of {' × '.join(map(str, self.shape))} Specs", rows) + self.spec._repr_html_()


def grid(spec: Spec, parameters: Mapping[str, Any] | None = None, **values: Any) -> Grid:
    """Describe a grid: every combination of values of some parameters of a Spec.

    Args:
        spec: the Spec whose keys are varied.
        parameters: values by key, for keys that are not words of Python: {"training.rate": [1e-3, 1e-2]}.
        values: values by key. A key is one that `Spec.override` knows, and may be shortened to its last part where
            that is unique or belongs to the features or to the way of training: density, importance, rate. Instead
            of values a dictionary of values by key will do: `p={"features.0.density": [0.1, 0.2],
            "features.1.density": [0.3, 0.4]}` names a parameter p, by whose first key it is selected, and varies
            its keys together.

    Returns:
        The grid; its parameters are in the order given.

    Raises:
        ValueError: `spec` is no Spec, a key is unknown, values are missing, occur twice or break a rule, a parameter
            has a name that a trajectory needs, or there are more than 100,000 combinations.

    Example:
        >>> import tegum as tg
        >>> spec = tg.Spec(features=[tg.Independent(3, 0.1)], hidden=1, training=tg.Sampled(steps=10), seeds=2)
        >>> grid = tg.grid(spec, density=[0.1, 0.5], rate=[1e-3, 1e-2, 1e-1])
        >>> run = tg.train(grid)
        >>> run.loss.dims, run.loss.shape[:3]
        (('density', 'rate', 'seed', 'step'), (2, 3, 2))
        >>> run.sel(density=0.5).sel(rate=0.09, method="nearest").loss.dims
        ('seed', 'step')

    """
    if not isinstance(spec, Spec):
        raise ValueError(f"grid(spec={short(spec)}): spec must be a Spec")
    if parameters is not None and not isinstance(parameters, Mapping):
        raise ValueError(f"grid(parameters={short(parameters)}): parameters must be a dictionary of values by key")
    if twice := sorted({*map(str, parameters or {})} & values.keys()):
        raise ValueError(f"grid({twice[0]}=…): {twice[0]} is given twice")
    given = {**(parameters or {}), **values}
    if not given:
        raise ValueError("grid(spec): there must be at least one parameter with its values, such as density=[0.1, 0.2]")
    keys = short_keys(Spec)
    made = Grid(spec, {name: varied(name, value, keys, "grid") for name, value in given.items()})
    check_apart(made.parameters, "grid")
    if len(made) > MOST_SPECS:
        raise ValueError(f"grid(…): there are {len(made):,} combinations of values; at most {MOST_SPECS:,} are allowed")
    try:
        _ = made.specs
    except ValueError as error:
        raise ValueError(f"grid(…): {error}") from None
    return made


def check_apart(parameters: Mapping[str, Mapping[str, Any]], call: str) -> None:
    """Refuse parameters that vary the same thing.

    Raises:
        ValueError: naming `call`: two of them do.

    """
    named = [key for keys in parameters.values() for key in keys]
    if repeated := [key for key in named if named.count(key) > 1]:
        raise ValueError(f"{call}({repeated[0]}=…): two parameters vary this key")
    for one, other in itertools.combinations(named, 2):
        if _overlap(one, other):
            raise ValueError(
                f"{call}({other}=…): {one} is varied as well, and one would undo the other; vary one of them"
            )


def _overlap(one: str, other: str) -> bool:
    """Whether two keys change the same thing, such as "features.density" and "features.0.density"."""
    parts = one.split("."), other.split(".")
    sets = [next((part for part in key if part.isdigit()), None) for key in parts]
    if None not in sets and sets[0] != sets[1]:
        return False
    short_one, short_other = ([part for part in key if not part.isdigit()] for key in parts)
    least = min(len(short_one), len(short_other))
    return short_one[:least] == short_other[:least]


def varied(
    name: Any, given: Any, keys: Mapping[str, str], called: str, *, repeated: bool = False
) -> dict[str, tuple[Any, ...]]:
    """The keys that a parameter varies, with their values.

    Args:
        name: the parameter, a key of a Spec in full or shortened, or a name of its own for several keys.
        given: its values, or those of several keys.
        keys: the keys of a Spec by what they may be shortened to.
        called: the function whose argument it is.
        repeated: whether a value may occur twice.

    Raises:
        ValueError: naming the call: there is no such key, or its values are none.

    """
    call = f"{called}({name if isinstance(name, str) else short(name)}={short(given)})"
    if not isinstance(name, str) or name in _RESERVED:
        rule = f"{short(name)} is a variable of every trajectory"
        raise ValueError(f"{call}: {rule}; give the parameter a name of its own, as in p={{'training.kind': […]}}")
    if len(name) > _LONGEST_NAME or not all(part.isidentifier() or part.isdigit() for part in name.split(".")):
        rule = f"{short(name)} must be a word, or words and numbers with dots between them, to name a stored coordinate"
        raise ValueError(f"{call}: {rule}")
    several = given if isinstance(given, Mapping) else {name: given}
    found: dict[str, tuple[Any, ...]] = {}
    for key, values in several.items():
        whole = key if isinstance(key, str) and "." in key else keys.get(key) if isinstance(key, str) else None
        if whole is None:
            near = closest(str(key), keys)
            hint = f"did you mean {near!r}?" if near else "a key is one of a Spec, such as density, importance or rate"
            raise ValueError(f"{call}: there is no key {short(key)}; {hint}")
        found[whole] = _listed(key, values, call)
    lengths = {len(values) for values in found.values()}
    if len(lengths) != 1 or lengths == {0}:
        raise ValueError(f"{call}: there must be at least one value, and as many of each key that changes together")
    if not repeated:
        _check_labels(labels_of(next(iter(found.values()))), call)
    return found


def _listed(key: Any, values: Any, call: str) -> tuple[Any, ...]:
    if isinstance(values, np.ndarray):
        values = values.tolist()  # an array without a dimension is a number
    if isinstance(values, str | bytes | Mapping | Description) or not isinstance(values, Iterable):
        raise ValueError(f"{call}: {key} must be a list of values")
    return tuple(map(plain, values))


def _check_labels(labels: list[Any], call: str) -> None:
    """Refuse values that selecting by value could not tell apart."""
    seen: set[Any] = set()
    for label in labels:
        known = float(label) if isinstance(label, int | float) and not isinstance(label, bool) else str(label)
        if known in seen:
            raise ValueError(f"{call}: the value {short(label)} is given twice; values must differ, to be selected by")
        seen.add(known)


def labels_of(values: Iterable[Any]) -> list[Any]:
    """Values as coordinates hold them: numbers (NaN for None) or booleans, and anything else as text."""
    return one_type(list(map(plain_value, values)))


def plain_value(value: Any) -> Any:
    """A value as JSON holds it."""
    if isinstance(value, Description):
        return value.model_dump(mode="json")
    if isinstance(value, list | tuple):
        return [plain_value(item) for item in value]
    return value.tolist() if hasattr(value, "tolist") else value


def _range(values: Sequence[Any]) -> str:
    """A few values as text, or of many the first and the last."""
    if len(values) <= 4:
        return ", ".join(map(_shown, values))
    return f"{_shown(values[0])} … {_shown(values[-1])} ({len(values)} values)"


def _shown(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else short(value, 30) if not isinstance(value, str) else value
