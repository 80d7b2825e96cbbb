"""Specs as a page asks for them: with changes on the way, and of their runs only some."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from tegum.core.description import short
from tegum.server.reading import Asked
from tegum.training.engine import Segment, iterate
from tegum.training.spec.spec import Spec
from tegum.training.state import TrainingState

Changes: TypeAlias = Sequence[Mapping[str, Any]]

SEGMENT_SECONDS = 0.05
"""About how long a page waits for the next frames, or for the end of what it has stopped, in seconds."""


def spec_of(asked: Asked, readable: Sequence[Path]) -> Spec:
    """The Spec that a page asks for, with its changes.

    Args:
        asked: what the page has sent.
        readable: files and folders from which activations may be read.

    Returns:
        The Spec.

    Raises:
        ValueError: it is no Spec, or reads a file elsewhere; one sentence says why.

    """
    sets = asked.spec.get("features")
    for each in sets if isinstance(sets, list) else []:
        path = each.get("path") if isinstance(each, dict) else None
        if path is not None and not _inside(path, readable):
            raise ValueError(f"Spec(features.path={short(path)}): activations must lie in the folder of the lab")
    spec = Spec.from_json(asked.spec)
    return spec.replace(changes=[*asked.changes]) if asked.changes else spec


def in_force(spec: Spec, step: int) -> Spec:
    """The Spec of what is in force at a step, after the changes up to it.

    Raises:
        ValueError: the training has no such step.

    """
    if step > spec.training.steps:
        raise ValueError(f"step={step}: there is no such step; training.steps is {spec.training.steps}")
    return spec.in_force(step)


def _inside(path: Any, readable: Sequence[Path]) -> bool:
    if not isinstance(path, str):
        return False
    try:
        place = Path(path).resolve()
    except (OSError, ValueError, RuntimeError):
        return False
    return any(place == each or place.is_relative_to(each) for each in readable)


def check_run(spec: Spec, run: int) -> None:
    """Refuse the number of a run that a Spec does not have.

    Raises:
        ValueError: it has none of this number.

    """
    if run >= spec.seeds:
        which = f"numbers 0 to {spec.seeds - 1:,}" if spec.seeds > 1 else "one run, number 0"
        raise ValueError(f"run={run}: there is no such run; the Spec has {which}")


def trained(spec: Spec, runs: Sequence[int], state: TrainingState | None, threads: int) -> Generator[Segment]:
    """Train some runs of a Spec from a state on, in short segments, with the bits that they have in the whole.

    Args:
        spec: the Spec with its changes.
        runs: the numbers of the runs.
        state: where to go on; None is the start.
        threads: how many threads train.

    Yields:
        Segments.

    """
    yield from iterate(spec, state, runs=runs, threads=threads, segment_seconds=SEGMENT_SECONDS)


def parted(spec: Spec) -> tuple[Spec, list[dict[str, Any]]]:
    """A Spec without its changes, and these as a page has them."""
    return spec.replace(changes=()), [each.model_dump(mode="json") for each in spec.changes]


def same_until(one: Changes, other: Changes) -> float:
    """The step from which on two runs that differ by their changes alone may differ; infinite where they do not."""
    for mine, theirs in zip(one, other, strict=False):
        if mine != theirs:
            return float(min(_step(mine), _step(theirs)))
    longer = (one if len(one) > len(other) else other)[min(len(one), len(other)) :]
    return float(_step(longer[0])) if longer else float("inf")


def _step(change: Mapping[str, Any]) -> int:
    return int(change.get("step", 0))
