"""The design of a sweep: which Specs there are, by product, zip, at random, or as a Sobol sequence."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal, assert_never, cast, final, get_args

import numpy as np
from jaxtyping import Float64
from pydantic import field_validator, model_validator

from tegum.core.arguments import is_integer, is_number
from tegum.core.description import Count, Description, broken, plain, short, short_keys
from tegum.core.words import nearest
from tegum.training.dataset import differences
from tegum.training.spec.grid import MOST_SPECS, Grid, check_apart, labels_of, plain_value, varied
from tegum.training.spec.spec import Spec

Way = Literal["product", "zip", "random", "sobol"]
"""How values of parameters are combined."""

_OWN = {"low", "high", "scale", "count"}
"""The keys by which a table of a TOML file is a range, and not values of several keys."""


class Between(Description):
    """A range of values: for designs that draw from it, or evenly spaced ones if a count is given.

    Raises:
        ValueError: `low` is not below `high`, or a logarithmic range does not lie above 0.

    Example:
        >>> import tegum as tg
        >>> tg.Between(0.01, 1.0, scale="log", count=3).spaced()
        [0.01, 0.1, 1.0]
        >>> tg.Between(2, 6, count=3).spaced()
        [2, 4, 6]

    """

    positional: ClassVar[tuple[str, ...]] = ("low", "high")
    low: int | float
    """The least value."""
    high: int | float
    """The largest value; if both are ints, values are whole numbers, and both ends may occur."""
    scale: Literal["linear", "log"] = "linear"
    """Whether equal differences are equally likely, or equal ratios."""
    count: Count | None = None
    """The number of evenly spaced values, for a product or a zip."""

    if TYPE_CHECKING:

        def __init__(
            self,
            low: float,
            high: float,
            *,
            scale: Literal["linear", "log"] = "linear",
            count: int | None = None,
        ) -> None: ...

    @field_validator("low", "high", mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        value = plain(value)
        if not is_number(value) or not math.isfinite(value):
            raise ValueError("must be a finite number")
        return value

    @model_validator(mode="after")
    def _ends_fit(self) -> Between:
        if not self.low < self.high:
            raise broken("high", self.high, f"must be above low, which is {self.low}")
        if self.scale == "log" and self.low <= 0:
            raise broken("low", self.low, "must be above 0 for a logarithmic scale")
        return self

    def at(self, parts: Float64[np.ndarray, " draw"]) -> list[Any]:
        """Return the values at some parts of the way from the least to the largest.

        Args:
            parts: numbers in [0, 1).

        Returns:
            Ints if both ends are ints, and floats otherwise.

        """
        low, high = float(self.low), float(self.high)
        whole = is_integer(self.low) and is_integer(self.high)
        if whole:  # every whole number has an equal share of a linear scale
            low, high = low - 0.5 * (self.scale == "linear"), high + 0.5 * (self.scale == "linear")
        match self.scale:
            case "linear":
                found = low + parts * (high - low)
            case "log":
                found = np.exp(math.log(low) + parts * (math.log(high) - math.log(low)))
            case _:
                assert_never(self.scale)
        if not whole:
            return [min(max(each, low), high) for each in found.tolist()]
        return np.clip(np.rint(found), self.low, self.high).astype(int).tolist()

    def spaced(self) -> list[Any]:
        """Return evenly spaced values, `count` of them.

        Returns:
            Both ends and what lies between; of whole numbers, those that differ after rounding.

        Raises:
            ValueError: there is no count.

        """
        if self.count is None:
            raise ValueError(f"{self!r}: must have a count, the number of values, where nothing is drawn from it")
        if self.scale == "log":
            found = np.geomspace(self.low, self.high, self.count).tolist()
            found[0], found[-1] = self.low, self.high if self.count > 1 else self.low
        else:
            found = np.linspace(self.low, self.high, self.count).tolist()
        if is_integer(self.low) and is_integer(self.high):
            return list(dict.fromkeys(round(each) for each in found))
        return found


@final
@dataclass(frozen=True)
class Design:
    """The Specs of a sweep, with what differs between them."""

    spec: Spec | None
    """The Spec whose keys are varied; None if the Specs are listed."""
    listed: tuple[Spec, ...]
    """The Specs, where they are listed."""
    parameters: Mapping[str, Any]
    """The parameters as they were given, in JSON's types."""
    way: Way
    """How their values are combined."""
    count: int | None
    """The number of Specs that are drawn; None if none are."""
    seed: int
    """The seed of the draws."""
    values: Mapping[str, Mapping[str, Sequence[Any]]]
    """For each parameter its keys, with the value of each key in every Spec."""

    @cached_property
    def specs(self) -> tuple[Spec, ...]:
        """The Specs, in the order of the sweep."""
        if self.spec is None:
            return self.listed
        if not self.values:
            return (self.spec,)
        return tuple(self.spec.override(changes) for changes in self._changes())

    def _changes(self) -> Iterator[dict[str, Any]]:
        flat = {key: values for keys in self.values.values() for key, values in keys.items()}
        for row in zip(*flat.values(), strict=True):
            yield dict(zip(flat, row, strict=True))

    @property
    def coordinates(self) -> dict[str, list[Any]]:
        """What tells the Specs apart, as labels by name: the parameters, or what differs between listed Specs."""
        if self.spec is None:
            return differences([spec.to_json() for spec in self.listed]) if len(self.listed) > 1 else {}
        return {name: labels_of(next(iter(keys.values()))) for name, keys in self.values.items()}

    def to_json(self) -> dict[str, Any]:
        """The design in JSON's types; `from_json` makes the same Specs of it."""
        if self.spec is None:
            return {"specs": [spec.to_json() for spec in self.listed]}
        drawn = {"count": self.count, "seed": self.seed} if self.way in ("random", "sobol") else {}
        return {"spec": self.spec.to_json(), "parameters": dict(self.parameters), "way": self.way, **drawn}

    @classmethod
    def from_json(cls, given: Mapping[str, Any], call: str) -> Design:
        """The design that `to_json` has described."""
        if "specs" in given:
            return design([Spec.from_json(each) for each in given["specs"]], call=call)
        spec = Spec.from_json(given["spec"])
        drawn = {"count": given.get("count"), "seed": given.get("seed", 0)}
        return design(spec, given["parameters"] or None, way=given["way"], **drawn, call=call)


def design(
    spec: Any,
    parameters: Any = None,
    *,
    way: Any = "product",
    count: Any = None,
    seed: Any = 0,
    call: str = "sweep",
) -> Design:
    """The design of a sweep; whatever it is given is checked here.

    Args:
        spec: the Spec whose keys are varied, a grid, or Specs in a list.
        parameters: for each parameter, as `grid` takes them, its values, a `Between`, or a dictionary of values by key
            for keys that change together.
        way: "product" (every combination), "zip" (the first values of all, the second of all, …), "random" or "sobol"
            (each value drawn independently, or all by a scrambled Sobol sequence, which fills the space evenly).
        count: the number of Specs that are drawn.
        seed: the seed of the draws.
        call: what errors begin with.

    Raises:
        ValueError: naming `call`: a parameter is unknown, or its values do not fit the way.

    """
    way = _way(way, call)
    if not is_integer(seed) or not 0 <= seed < 2**63:
        raise ValueError(f"{call}(seed={short(seed)}): seed must be an int of at least 0")
    if not isinstance(spec, Spec):
        return _listed(spec, parameters, call)
    _check_all_runs(spec, call)
    if parameters is not None and not isinstance(parameters, Mapping):
        raise ValueError(f"{call}(parameters={short(parameters)}): parameters must be a dictionary of values by key")
    drawn = way in ("random", "sobol")
    if drawn and (not is_integer(count) or not 1 <= (count or 0) <= MOST_SPECS):
        rule = f"must be the number of Specs that are drawn, from 1 to {MOST_SPECS:,}, with way={way!r}"
        raise ValueError(f"{call}(count={short(count)}): count {rule}")
    if not drawn and count is not None:
        raise ValueError(f"{call}(count={short(count)}): count is for way='random' and way='sobol', which draw Specs")
    given = {str(name): _read(value, f"{call}({name}={short(value)})") for name, value in (parameters or {}).items()}
    if drawn and not given:
        raise ValueError(f"{call}(way={way!r}): there must be at least one parameter to draw")
    match way:
        case "product":
            values = _product(given, call)
        case "zip":
            values = _zip(given, call)
        case "random":
            parts = np.random.default_rng([seed, 0x5EED]).random((count or 1, len(given)))
            values = _drawn(spec, given, parts, call)
        case "sobol":
            values = _drawn(spec, given, _sobol(count or 1, len(given), seed), call)
        case _:
            raise ValueError(f"{call}(way={way!r}): there is no such way")
    check_apart(values, call)
    in_json = {name: _in_json(value) for name, value in given.items()}
    made = Design(spec, (), in_json, way, None if count is None else int(count), int(seed), values)
    try:
        _ = made.specs
    except ValueError as error:
        raise ValueError(f"{call}(…): {error}") from None
    return made


def _way(given: Any, call: str) -> Way:
    if not isinstance(given, str) or given not in get_args(Way):
        hint = f"; {nearest(given, get_args(Way))}" if isinstance(given, str) else ""
        raise ValueError(f"{call}(way={short(given)}): way must be one of {', '.join(get_args(Way))}{hint}")
    return cast("Way", given)


def _listed(given: Any, parameters: Any, call: str) -> Design:
    if isinstance(given, Grid):
        if parameters is not None:
            raise ValueError(f"{call}(grid, parameters=…): a grid has parameters of its own")
        whole = {name: {key: list(values) for key, values in keys.items()} for name, keys in given.parameters.items()}
        return design(given.spec, whole, call=call)
    if not isinstance(given, Sequence) or isinstance(given, str | bytes) or not given:
        raise ValueError(f"{call}({short(given, 60)}): must be given a Spec, a grid, or a list of Specs")
    for number, each in enumerate(given):
        if not isinstance(each, Spec):
            raise ValueError(f"{call}([…]): item {number}, {short(each, 60)}, must be a Spec")
        _check_all_runs(each, call)
    if parameters is not None:
        raise ValueError(f"{call}([…], parameters=…): parameters vary one Spec, and a list of Specs was given")
    if len(given) > MOST_SPECS:
        raise ValueError(f"{call}([…]): there are {len(given):,} Specs; at most {MOST_SPECS:,} are allowed")
    return Design(None, tuple(given), {}, "product", None, 0, {})


def _check_all_runs(spec: Spec, call: str) -> None:
    if not isinstance(spec.runs, range) and [*spec.runs] != [*range(spec.seeds)]:
        rule = "a sweep trains all runs of a Spec, and packs choose theirs; give the Spec without some_runs"
        raise ValueError(f"{call}({short(spec, 60)}): {rule}")


def _read(value: Any, call: str) -> Any:
    """A range from a table of a TOML file, or the values as they are; what can be read only once is read here."""
    if isinstance(value, Mapping) and {"low", "high"} <= {*value} <= _OWN:
        try:
            return Between.read(value)
        except ValueError as error:
            raise ValueError(f"{call}: {error}") from None
    if isinstance(value, Mapping):
        return {key: _listed_once(each) for key, each in value.items()}
    return _listed_once(value)


def _listed_once(values: Any) -> Any:
    if isinstance(values, str | bytes | Mapping | Description | Sequence) or not isinstance(values, Iterable):
        return values
    return getattr(values, "tolist", lambda: list(values))()


def _in_json(value: Any) -> Any:
    if isinstance(value, Between):
        return value.model_dump(mode="json", exclude_defaults=True)
    if isinstance(value, Mapping):
        return {str(key): _in_json(each) for key, each in value.items()}
    return (
        [plain_value(each) for each in value] if isinstance(value, Sequence) and not isinstance(value, str) else value
    )


def _values(given: Mapping[str, Any], call: str, *, repeated: bool) -> dict[str, dict[str, tuple[Any, ...]]]:
    """The values of each parameter, with ranges as evenly spaced values."""
    keys, found = short_keys(Spec), {}
    for name, value in given.items():
        if isinstance(value, Between):
            try:
                value = value.spaced()
            except ValueError as error:
                raise ValueError(f"{call}({name}=…): {error}") from None
        found[name] = varied(name, value, keys, call, repeated=repeated)
    return found


def _product(given: Mapping[str, Any], call: str) -> dict[str, dict[str, Sequence[Any]]]:
    several = _values(given, call, repeated=False)
    counts = [len(next(iter(keys.values()))) for keys in several.values()]
    if math.prod(counts) > MOST_SPECS:
        rule = f"at most {MOST_SPECS:,} are allowed, each with as many seeds as you like"
        raise ValueError(f"{call}(…): there are {math.prod(counts):,} combinations of values; {rule}")
    rows = list(itertools.product(*map(range, counts)))
    return {
        name: {key: [values[row[place]] for row in rows] for key, values in keys.items()}
        for place, (name, keys) in enumerate(several.items())
    }


def _zip(given: Mapping[str, Any], call: str) -> dict[str, dict[str, Sequence[Any]]]:
    several = _values(given, call, repeated=True)
    counts = {name: len(next(iter(keys.values()))) for name, keys in several.items()}
    if len({*counts.values()}) > 1:
        listed = ", ".join(f"{name} has {count}" for name, count in counts.items())
        raise ValueError(f"{call}(way='zip'): all parameters must have the same number of values, but {listed}")
    if counts and max(counts.values()) > MOST_SPECS:
        raise ValueError(
            f"{call}(way='zip'): there are {max(counts.values()):,} Specs; at most {MOST_SPECS:,} are allowed"
        )
    return {name: dict(keys) for name, keys in several.items()}


def _drawn(
    spec: Spec, given: Mapping[str, Any], parts: Float64[np.ndarray, "draw parameter"], call: str
) -> dict[str, dict[str, Sequence[Any]]]:
    """Values at random parts of their ranges, or drawn from those listed."""
    keys, found = short_keys(Spec), {}
    for place, (name, value) in enumerate(given.items()):
        if isinstance(value, Between):
            if value.count is not None:
                rule = "its count is for a product or a zip; the count of the sweep says how many are drawn"
                raise ValueError(f"{call}({name}={value!r}): {rule}")
            _check_whole(spec, keys.get(name, name), value, f"{call}({name}={value!r})")
            found[name] = varied(name, value.at(parts[:, place]), keys, call, repeated=True)
            continue
        listed = varied(name, value, keys, call, repeated=True)
        chosen = [int(part * len(next(iter(listed.values())))) for part in parts[:, place].tolist()]
        found[name] = {key: [values[each] for each in chosen] for key, values in listed.items()}
    return found


def _check_whole(spec: Spec, key: str, between: Between, call: str) -> None:
    """Refuse ints as the ends of a range where fractions may be meant: 1 and 3 of `strength` would give 1, 2 and 3."""
    if not (is_integer(between.low) and is_integer(between.high)):
        return
    try:
        spec.override({key: between.low + 0.5})
    except ValueError:  # as of hidden=2.5; of a key that there is not, something else tells
        return
    rule = "between two ints only whole numbers would be drawn, and this key takes fractions"
    ends = f"{float(between.low)} and {float(between.high)}"
    raise ValueError(f"{call}: {rule}; write {ends} for all numbers between them, or list the whole ones")


def _sobol(count: int, dimensions: int, seed: int) -> Float64[np.ndarray, "draw parameter"]:
    from scipy.stats import qmc

    # A power of two is drawn, for which the sequence is balanced, and the first ones are taken: a longer sweep
    # contains a shorter one.
    sequence = qmc.Sobol(dimensions, scramble=True, rng=np.random.default_rng([seed, 0x50B01]))
    return np.clip(sequence.random_base2(max(0, (count - 1).bit_length()))[:count], 0, np.nextafter(1, 0))
