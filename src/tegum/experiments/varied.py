"""Which changes an experiment allows to its Specs; everything else is refused before anything is trained."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

if TYPE_CHECKING:
    from tegum.training.spec.overrides import KeyChange
    from tegum.training.spec.spec import Spec


@final
@dataclass(frozen=True)
class Range:
    """The values that a key may have: a number within bounds, or a word. The Spec may restrict them further."""

    low: int | float = -math.inf
    """The least value allowed."""
    high: int | float = math.inf
    """The largest value allowed."""
    never: int | float | None = None
    """A number in between that is not allowed."""

    def holds(self, value: Any) -> bool:
        """Whether a value is allowed; a list or a table never is."""
        if isinstance(value, int | float):
            return not (value < self.low or value > self.high or value == self.never)
        return value is None or isinstance(value, str)

    def rule(self, value: Any) -> str:
        """The rule that a refused value breaks, to follow "must": "be at least 2", "not be 10"."""
        if not isinstance(value, int | float):
            return "be a single number or word"
        bounded = math.isfinite(self.low) or math.isfinite(self.high)
        return f"be {self}" if bounded else f"not be {self.never:g}"

    def __str__(self) -> str:
        low, high = (f"{bound:,g}" if math.isfinite(bound) else "" for bound in (self.low, self.high))
        match bool(low), bool(high):
            case True, True:
                bounds = f"from {low} to {high}"
            case True, False:
                bounds = f"at least {low}"
            case False, True:
                bounds = f"at most {high}"
            case _:
                bounds = ""
        never = "" if self.never is None else f"not {self.never:g}"
        return ", ".join(part for part in (bounds, never) if part)


ANY = Range()
"""Any number or word that the Spec accepts."""

SPARSEST = Range(low=1e-3)
"""The range of feature densities: samples of sparser features contain almost nothing."""

RATE = Range(high=0.1)
"""The range of learning rates: with larger ones, weights may grow too large for exact losses to be computed."""

SAMPLING: Mapping[str, Range] = {
    "training.rate": RATE,
    **dict.fromkeys((f"training.{key}" for key in ("schedule", "warmup", "weight_decay", "batch", "evaluation")), ANY),
}
"""The settings of mini-batch training that can vary, apart from the optimiser and the number of steps."""


def refuse(name: str, varies: Mapping[str, Range], changes: Iterable[KeyChange]) -> None:
    """Refuse a change to a key that does not vary in an experiment, or to a value out of its range.

    Args:
        name: the name of the experiment.
        varies: the keys that vary, with their ranges.
        changes: the changes, as `read_changes` returns them.

    Raises:
        ValueError: a change is refused; the message quotes it and says what can be changed.

    """
    for change in changes:
        key, call = _key(change), f"{name}: run({_quoted(change.text)})"
        if key not in varies:
            known = [f"{each} ({range_})" if str(range_) else each for each, range_ in varies.items()]
            can = f"these keys can: {', '.join(known)}" if known else "nothing can"
            raise ValueError(f"{call}: {key} cannot be changed here; {can}")
        if not varies[key].holds(change.value):
            raise ValueError(f"{call}: {key} must {varies[key].rule(change.value)}")


def refuse_room(name: str, spec: Spec) -> None:
    """Refuse a Spec in which every feature can have a dimension of its own, so that there is no superposition.

    Raises:
        ValueError: there are at least as many hidden dimensions as features.

    """
    if spec.hidden >= spec.features.n:
        rule = f"hidden must be below the number of features, {spec.features.n}: there is no superposition otherwise"
        raise ValueError(f"{name}: run(hidden={spec.hidden}): {rule}")


def _quoted(text: str, limit: int = 120) -> str:
    """A change on one line, cut to a bounded length."""
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[:limit]}…"


def _key(change: KeyChange) -> str:
    """The key that a change names, in its long form and without the numbers of sets."""
    path = [part for part in change.path if not part.isdecimal()]
    if path == ["snapshots"]:
        match change.value:
            case Mapping():
                pass
            case list():
                path.append("steps")
            case _:
                path.append("count")
    return ".".join(path)
