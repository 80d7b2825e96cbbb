"""What an experiment lets be changed in its Specs, and the refusal of everything else before anything is trained."""

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
    """The values that a key may have: a number within bounds, or one word; whatever else the Spec asks of it."""

    low: int | float = -math.inf
    """The least, included."""
    high: int | float = math.inf
    """The largest, included."""
    never: int | float | None = None
    """A number in between that it may not have."""

    def holds(self, value: Any) -> bool:
        """Whether a value is among them; a list or a table never is."""
        if isinstance(value, int | float):
            return not (value < self.low or value > self.high or value == self.never)
        return value is None or isinstance(value, str)

    def rule(self, value: Any) -> str:
        """What a refused value must do: "be at least 2", "not be 10"."""
        if not isinstance(value, int | float):
            return "be one number or word"
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
"""One number or word, as the Spec takes it."""

SPARSEST = Range(low=1e-3)
"""Density of features; in samples of sparser ones there is nothing to see."""

RATE = Range(high=0.1)
"""Of training: with a larger one weights may grow beyond where exact losses of them can be computed."""

SAMPLING: Mapping[str, Range] = {
    "training.rate": RATE,
    **dict.fromkeys((f"training.{key}" for key in ("schedule", "warmup", "weight_decay", "batch", "evaluation")), ANY),
}
"""Where all training is on mini-batches: how it goes, besides its optimiser and its steps."""


def refuse(name: str, varies: Mapping[str, Range], changes: Iterable[KeyChange]) -> None:
    """Refuse changes of what does not vary in an experiment, or beyond where it does.

    Args:
        name: of the experiment.
        varies: its keys with their ranges.
        changes: as `read_changes` reads them.

    Raises:
        ValueError: the sentence quotes the change and says what can be changed.

    """
    for change in changes:
        key, call = _key(change), f"{name}: run({_quoted(change.text)})"
        if key not in varies:
            known = [f"{each} ({range_})" if str(range_) else each for each, range_ in varies.items()]
            can = f"what can is {', '.join(known)}" if known else "nothing can"
            raise ValueError(f"{call}: {key} cannot be changed here; {can}")
        if not varies[key].holds(change.value):
            raise ValueError(f"{call}: {key} must {varies[key].rule(change.value)}")


def refuse_room(name: str, spec: Spec) -> None:
    """Refuse a Spec in which every feature can have a dimension of its own: nothing is in superposition.

    Raises:
        ValueError: there are no more features than hidden dimensions.

    """
    if spec.hidden >= spec.features.n:
        rule = f"hidden must be below the number of features, {spec.features.n}: there is no superposition otherwise"
        raise ValueError(f"{name}: run(hidden={spec.hidden}): {rule}")


def _quoted(text: str, limit: int = 120) -> str:
    """A change on one line, of bounded length."""
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[:limit]}…"


def _key(change: KeyChange) -> str:
    """The key that a change names, without the numbers of sets and in its long form."""
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
