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
"""The most steps in a list, as a description holds each of them."""


class Snapshots(Description):
    """The steps that are recorded: evenly spaced, evenly spaced on a logarithmic scale, or listed.

    The start (step 0) and the last step are always included.

    Raises:
        ValueError: a field breaks its rule, or `steps` is given together with another field.

    Example:
        >>> import tegum as tg
        >>> tg.Snapshots(count=4).at(100).tolist()
        [0, 25, 50, 75, 100]
        >>> tg.Snapshots(spacing="logarithmic", count=3).at(100).tolist()
        [0, 1, 10, 100]

    """

    spacing: Literal["linear", "logarithmic"] = "linear"
    """Whether snapshots have equal distances, or equal ratios from step 1 on."""
    count: Count = 100
    """The number of snapshots besides the start; fewer are recorded if two would fall on one step."""
    steps: tuple[int, ...] | None = None
    """The recorded steps themselves, in place of spacing and count."""

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
        """Spell out the two short forms, a count or a list of steps.

        Args:
            value: any description of snapshots.

        Returns:
            A dictionary of fields for a short form, and anything else as it is.

        """
        value = plain(value)
        if isinstance(value, int) and not isinstance(value, bool):
            return {"count": value}
        if isinstance(value, list | tuple | range | np.ndarray):
            return {"steps": value}
        return value

    @classmethod
    def of(cls, value: Any) -> Snapshots:
        """Return snapshots as they are, or build those that a count, a list of steps or a dictionary describes.

        Args:
            value: a `Snapshots`, a count, a list of steps, or a dictionary of the fields.

        Returns:
            The snapshots.

        Raises:
            ValueError: `value` is none of these, or breaks a rule.

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
    def _only_fields_in_use(self, fields: Any) -> dict[str, Any]:
        listed = self.steps is not None
        return {key: value for key, value in fields(self).items() if (key == "steps") == listed}

    def at(self, last: int) -> Int64[np.ndarray, " step"]:
        """List the recorded steps of a run.

        Args:
            last: the last step of the run.

        Returns:
            Steps as int64, rising, from 0 to `last`.

        Raises:
            ValueError: `last` is negative, a listed step comes after it, or the list does not fit in memory.

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
