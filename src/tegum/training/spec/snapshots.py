"""Which steps of a run are recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, assert_never

import numpy as np
from jaxtyping import Int64
from pydantic import field_validator, model_serializer, model_validator

from tegum.core.description import LIMIT, Count, Description, broken, plain, short
from tegum.core.limits import check_memory

MOST_LISTED = 10_000_000
"""Steps in a list: a description holds each of them."""


class Snapshots(Description):
    """The recorded steps: evenly spaced, evenly spaced on a logarithmic scale, or listed.

    The start (step 0) and the last step are always among them.
    """

    spacing: Literal["linear", "logarithmic"] = "linear"
    """Equal distances, or equal ratios from step 1 on."""
    count: Count = 100
    """How many besides the start; fewer are recorded where two would fall on one step."""
    steps: tuple[int, ...] | None = None
    """The steps themselves, in place of spacing and count."""

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            spacing: Literal["linear", "logarithmic"] = "linear",
            count: int = 100,
            steps: Sequence[int] | None = None,
        ) -> None: ...

    @staticmethod
    def table(value: Any) -> Any:
        """The long form of the two short ones: a count, or a list of steps. What is neither comes back."""
        value = plain(value)
        if isinstance(value, int) and not isinstance(value, bool):
            return {"count": value}
        if isinstance(value, list | tuple | range | np.ndarray):
            return {"steps": value}
        return value

    @classmethod
    def of(cls, value: Any) -> Snapshots:
        """Snapshots as they are, or those that a count, a list of steps or a dictionary describes.

        Raises:
            ValueError: it is none of these, or it describes none.

        """
        if isinstance(value, Snapshots):
            return value
        value = cls.table(value)
        if not isinstance(value, Mapping):
            raise ValueError("must be a Snapshots, a count, a list of steps, or a table of these keys")
        return cls.read(value)

    @field_validator("steps", mode="before")
    @classmethod
    def _steps_are_whole_numbers(cls, value: Any) -> tuple[int, ...] | None:
        if value is None:
            return None
        value = value.tolist() if isinstance(value, np.ndarray) else value
        if isinstance(value, list | tuple | range) and len(value) > MOST_LISTED:
            raise ValueError(f"must list at most {MOST_LISTED:,} steps; a count may be larger")
        steps = [plain(step) for step in value] if isinstance(value, list | tuple | range) else None
        if steps is None or not all(type(step) is int and 0 <= step < LIMIT for step in steps):
            raise ValueError("must be a list of ints of at least 0")
        return tuple(sorted(set(steps)))

    @model_validator(mode="after")
    def _listed_or_spaced(self) -> Snapshots:
        if self.steps is not None:
            for name in ("spacing", "count"):
                if name in self.model_fields_set:
                    raise broken(name, getattr(self, name), "must not be given together with steps")
        return self

    @model_serializer(mode="wrap")
    def _without_what_has_no_say(self, fields: Any) -> dict[str, Any]:
        listed = self.steps is not None
        return {key: value for key, value in fields(self).items() if (key == "steps") == listed}

    def at(self, last: int) -> Int64[np.ndarray, " step"]:
        """The recorded steps of a run of `last` steps: int64, rising, from 0 to `last`.

        Raises:
            ValueError: `last` is negative, or a listed step comes after it.

        """
        if last < 0:
            raise ValueError(f"at({short(last)}): the last step must be at least 0")
        if self.steps is None:
            what = "the numbers of the recorded steps"
            check_memory(f"Snapshots(count={self.count})", what, 48 * min(self.count, last), "fewer snapshots fit")
        if self.steps is not None:
            if self.steps and self.steps[-1] > last:
                raise ValueError(f"at({last}): the listed step {self.steps[-1]} comes after the last one")
            inner = np.array(self.steps, dtype=np.int64)
        elif last == 0:
            inner = np.zeros(0, dtype=np.int64)
        else:
            match self.spacing:
                case "linear":
                    inner = np.rint(np.linspace(0, last, min(self.count, last) + 1)[1:-1]).astype(np.int64)
                case "logarithmic":
                    inner = np.rint(np.geomspace(last, 1, min(self.count, last))[1:]).astype(np.int64)
                case _:
                    assert_never(self.spacing)
        return np.unique(np.concatenate([np.array([0, last], dtype=np.int64), inner]))
