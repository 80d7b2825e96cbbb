"""Measures: a number with its interval and its null, and how to make one from shares and means of an ensemble."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Num

from tegum.analysis.statistics import bootstrap_mean, wilson

LONGEST_SHORT_UNIT = 9
"""A unit of at most this many letters stands beside a value in a narrow table."""


@final
@dataclass(frozen=True)
class Measure:
    """A measured number with its unit, its 95 % interval, and what the null gives."""

    key: str
    """The name for programs, which never changes: words of lower-case letters and digits joined by underscores. What a
    measure belongs to (a system, a size) comes first, followed by a dot: "sets.escaped_plateaus_at_saddles"."""
    name: str
    """The name for people: a short English phrase, which may be reworded at any time."""
    value: int | float | None
    """The measured number, or None if it could not be measured."""
    unit: str
    """What `value` is counted or measured in ("rad", "runs", "share"), or "" for a pure number. Results of earlier
    versions have "1" for a pure number, and are shown without a unit all the same."""
    low: float | None = None
    """The lower end of the 95 % interval."""
    high: float | None = None
    """The upper end of the 95 % interval."""
    n: int | None = None
    """The number of independent runs it rests on."""
    null: float | None = None
    """The value of the measure where the effect is absent."""
    meaning: str = ""
    """What is measured, in words that stand alone."""

    def __post_init__(self) -> None:
        """Refuse a malformed key, and turn NaN, which JSON lacks, into None: not measured.

        Numbers of numpy and xarray become Python's, which JSON can write.
        """
        check_key(self.key)
        for name in ("value", "low", "high", "n", "null"):
            number = getattr(self, name)
            if number is not None:
                number = number.item() if hasattr(number, "item") else number
                object.__setattr__(self, name, number if math.isfinite(number) else None)

    def parts(self) -> tuple[str, str, str]:
        """The value with its unit, the 95 % interval and the null, each as short as a table needs; "" if there is none.

        Shares are given in percent: ("82 %", "[52, 95]", "5 %").
        """
        if self.value is None:
            return "not measured", "", ""
        scale, sign = (100, " %") if self.unit == "share" else (1, "")
        value, low, high, null = (
            None if number is None else _number(scale * number if scale != 1 else number)
            for number in (self.value, self.low, self.high, self.null)
        )
        unit = self.unit.removesuffix("s") if self.value == 1 else self.unit
        unit = sign or (f" {unit}" if self.unit not in ("", "1") and len(unit) <= LONGEST_SHORT_UNIT else "")
        interval = f"[{low}, {high}]" if low is not None and high is not None else ""
        return f"{value}{unit}", interval, "" if null is None else f"{null}{sign}"

    def text(self) -> str:
        """The value with its interval and its null, as in "0.82 [0.52, 0.95], null 0.05"."""
        if self.value is None:
            return "not measured"
        text = _number(self.value)
        if self.low is not None and self.high is not None:
            text += f" [{_number(self.low)}, {_number(self.high)}]"
        return text if self.null is None else f"{text}, null {_number(self.null)}"

    def line(self) -> str:
        """The name, the value with its unit, and the number of runs, on one line."""
        return f"{self.name}: {self.text_with_unit()}{'' if self.n is None else f', n = {self.n}'}"

    def text_with_unit(self) -> str:
        """The value with its interval, its null and its unit, as in "4.2 [4.0, 4.4] (rad)"."""
        return self.text() if self.unit in ("", "1") or self.value is None else f"{self.text()} ({self.unit})"


def check_key(key: str) -> None:
    """Refuse a text that cannot be the key of a measure or a criterion.

    Raises:
        ValueError: the text is no key.

    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)*", key):
        raise ValueError(f"key={key!r}: must be words of a-z, 0-9 and _, with dots between them")


def in_key(number: int | float, digits: int = 6) -> str:
    """A non-negative number as part of a key: 0.05 becomes "0_05", and 0.00001 becomes "1e_05"."""
    return f"{number:.{digits}g}".replace(".", "_").replace("-", "_").replace("+", "")


def by_key(measures: Iterable[Measure]) -> dict[str, Measure]:
    """Measures by their keys, as in `by_key(summary.measures)`.

    Raises:
        ValueError: two measures have the same key.

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
    """A share with its Wilson interval.

    Args:
        key: of the measure.
        name: of the measure.
        hits: the number of cases counted.
        total: the number of cases in all. With 0, nothing is measured.
        meaning: what is measured; the two counts are put before it.
        runs: the number of independent runs, if the cases are not themselves runs.
        null: the share where the effect is absent.

    Raises:
        ValueError: `hits` exceeds `total`.

    """
    if not total:
        return Measure(key, name, None, "share", n=0, null=null, meaning=meaning)
    independent = total if runs is None else runs
    low, high = wilson(hits / total, independent)
    return Measure(key, name, hits / total, "share", low, high, independent, null, f"{hits} of {total}; {meaning}")


def average(
    key: str, name: str, values: Num[np.ndarray, " run"], unit: str, meaning: str, *, null: float | None = None
) -> Measure:
    """A mean over runs, one value per run, with a bootstrapped interval; not measured if there are no values."""
    if not len(values):
        return Measure(key, name, None, unit, n=0, null=null, meaning=meaning)
    low, high = bootstrap_mean(values)
    return Measure(key, name, float(values.mean()), unit, low, high, len(values), null, meaning)


def by_run(values: Sequence[tuple[int, int | float]]) -> Num[np.ndarray, " run"]:
    """The mean value of each run, from pairs (seed, value): values of one run are not independent."""
    runs = dict.fromkeys(seed for seed, _ in values)
    return np.array([np.mean([value for seed, value in values if seed == run]) for run in runs])


def said(measure: Measure | None) -> str:
    """The value of a measure inside a sentence: "63 %", "0.394"; "an unknown share" or "an unknown number" without."""
    if measure is None or measure.value is None:
        return "an unknown share" if measure is not None and measure.unit == "share" else "an unknown number"
    return f"{_number(100 * measure.value)} %" if measure.unit == "share" else _number(measure.value)


def weakest(measured: Mapping[str, Measure], keys: Iterable[str]) -> str | None:
    """The key of the measure whose interval lies least far above its null, of those that must all lie above theirs."""

    def margin(key: str) -> float:
        each = measured[key]
        return -math.inf if each.low is None else each.low - (each.null or 0.0)

    return min((key for key in keys if key in measured), key=margin, default=None)


def mean(values: Sequence[float]) -> float | None:
    """The mean, or None if there are no values."""
    return float(np.mean(values)) if values else None


def _number(value: int | float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
