"""Measures: a number with its interval and its null; shares and means of an ensemble."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Num

from tegum.analysis.statistics import bootstrap_mean, wilson


@final
@dataclass(frozen=True)
class Measure:
    """A measured number with its unit, its 95 % interval, and what the null gives."""

    key: str
    """For programs, and the same for good: words of lower-case letters and digits, joined by underscores. What a
    measure is of (a system, a size) comes first, with a point behind it: "sets.escaped_plateaus_at_saddles"."""
    name: str
    """For people, in a few words of English that may be improved at any time."""
    value: int | float | None
    """None where it could not be measured."""
    unit: str
    """"1" where it has none, which is not shown."""
    low: float | None = None
    """The lower end of the 95 % interval."""
    high: float | None = None
    """Its upper end."""
    n: int | None = None
    """How many independent runs it rests on."""
    null: float | None = None
    """The same measure where the effect is absent."""
    meaning: str = ""

    def __post_init__(self) -> None:
        """Refuse a key that is none, and take NaN, which JSON does not know, for what could not be measured.

        Numbers of numpy and xarray become Python's, which JSON knows.
        """
        check_key(self.key)
        for name in ("value", "low", "high", "n", "null"):
            number = getattr(self, name)
            if number is not None:
                number = number.item() if hasattr(number, "item") else number
                object.__setattr__(self, name, number if math.isfinite(number) else None)

    def text(self) -> str:
        """The value with its interval and its null: "0.82 [0.52, 0.95], null 0.05"."""
        if self.value is None:
            return "not measured"
        text = _number(self.value)
        if self.low is not None and self.high is not None:
            text += f" [{_number(self.low)}, {_number(self.high)}]"
        return text if self.null is None else f"{text}, null {_number(self.null)}"

    def line(self) -> str:
        """The name, the value as text, the unit and the number of runs, on one line."""
        unit = "" if self.unit == "1" or self.value is None else f" ({self.unit})"
        return f"{self.name}: {self.text()}{unit}{'' if self.n is None else f', n = {self.n}'}"


def check_key(key: str) -> None:
    """Refuse what is no key of a measure or a criterion.

    Raises:
        ValueError: it is another text.

    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)*", key):
        raise ValueError(f"key={key!r}: must be words of a-z, 0-9 and _, with points between them")


def in_key(number: int | float, digits: int = 6) -> str:
    """A number of at least 0 as a part of a key: 0.05 is "0_05", a hundred thousandth "1e_05"."""
    return f"{number:.{digits}g}".replace(".", "_").replace("-", "_").replace("+", "")


def by_key(measures: Iterable[Measure]) -> dict[str, Measure]:
    """The measures by their keys: of a summary, `by_key(summary.measures)`.

    Raises:
        ValueError: two have one key.

    """
    found: dict[str, Measure] = {}
    for measure in measures:
        if measure.key in found:
            names = f"{found[measure.key].name!r} and {measure.name!r}"
            raise ValueError(f"by_key(measures): {names} have the same key, {measure.key!r}")
        found[measure.key] = measure
    return found


def share(
    key: str, name: str, hits: int, total: int, meaning: str, *, runs: int | None = None, null: float | None = None
) -> Measure:
    """A share with Wilson's interval.

    Args:
        key: of the measure.
        name: of the measure.
        hits: how many of `total`.
        total: of what the share is; with none nothing is measured.
        meaning: follows the two counts.
        runs: how many runs these come from, if they are no runs: so many are independent.
        null: the share where the effect is absent.

    Raises:
        ValueError: the hits are more than the total.

    """
    if not total:
        return Measure(key, name, None, "1", n=0, null=null, meaning=meaning)
    independent = total if runs is None else runs
    low, high = wilson(hits / total, independent)
    return Measure(key, name, hits / total, "1", low, high, independent, null, f"{hits} of {total}; {meaning}")


def average(
    key: str, name: str, values: Num[np.ndarray, " run"], unit: str, meaning: str, *, null: float | None = None
) -> Measure:
    """A mean over runs, one value for each, with a bootstrapped interval; not measured if there is no value."""
    if not len(values):
        return Measure(key, name, None, unit, n=0, null=null, meaning=meaning)
    low, high = bootstrap_mean(values)
    return Measure(key, name, float(values.mean()), unit, low, high, len(values), null, meaning)


def by_run(values: Sequence[tuple[int, int | float]]) -> Num[np.ndarray, " run"]:
    """From (seed, value) the mean of the values of each run, which are not independent."""
    runs = dict.fromkeys(seed for seed, _ in values)
    return np.array([np.mean([value for seed, value in values if seed == run]) for run in runs])


def mean(values: Sequence[float]) -> float | None:
    """The mean, or None where there are no values."""
    return float(np.mean(values)) if values else None


def _number(value: int | float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
