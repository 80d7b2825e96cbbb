"""What a page asks, checked as far as it can be before any work begins."""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, final

import numpy as np
from jaxtyping import Float64

from tegum.core.description import nearest, short

_PAGE = re.compile(r"[\w-]{8,64}", re.ASCII)
_STORE = re.compile(r"(?!\.)[^/\\\x00-\x1f\x7f]{1,200}\.zarr")
_LARGEST = 2**53
"""Whole numbers from here on are not exact in a page."""


class RefusedError(ValueError):
    """Why a request is refused, in a sentence, with the status of HTTP that says the same."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status

    def __reduce__(self) -> tuple[Any, ...]:
        """For pickle, which would give the sentence in place of the status."""
        return type(self), (self.status, *self.args), vars(self)


@final
@dataclass(frozen=True)
class Asked:
    """What is to be trained, or was: a Spec with changes on the way, as the page has them."""

    spec: Mapping[str, Any]
    changes: Sequence[Mapping[str, Any]]


@final
@dataclass(frozen=True)
class TrainRequest:
    """Train a run and send its frames."""

    id: int
    of: Asked
    run: int


@final
@dataclass(frozen=True)
class TakenRequest:
    """The last bundle of frames was taken."""

    id: int


@final
@dataclass(frozen=True)
class EnsembleRequest:
    """Train `first`, and every so many runs after it, below `runs`, to their ends."""

    id: int
    of: Asked
    first: int
    every: int
    runs: int


@final
@dataclass(frozen=True)
class StopRequest:
    """End whatever has this number."""

    id: int


@final
@dataclass(frozen=True)
class MeasureRequest:
    """Measure a state by what is in force at a step: "ask" for loss and gradient, "look" for the landscape around."""

    id: int
    of: Asked
    step: int
    weights: Float64[np.ndarray, " weight"]
    bias: Float64[np.ndarray, " number"]
    look: bool


@final
@dataclass(frozen=True)
class EventsRequest:
    """What happened in a run: one that the page has trained, or one of a store at `path`."""

    id: int
    of: Asked | None
    path: str | None
    run: int


@final
@dataclass(frozen=True)
class KeepRequest:
    """Store a run that the page has trained to its end, under a name in the folder."""

    id: int
    of: Asked
    run: int
    name: str


Request: TypeAlias = (
    TrainRequest | TakenRequest | EnsembleRequest | StopRequest | MeasureRequest | EventsRequest | KeepRequest
)


def parsed(body: bytes) -> Any:
    """The value that a text in JSON describes, without numbers that no float holds.

    Raises:
        RefusedError: it is not JSON.

    """
    try:
        return json.loads(body, parse_constant=_refuse, parse_float=_finite, parse_int=_whole)
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, f"the request must be JSON: {error}") from None


def page_of(given: Any) -> str:
    """The name that a page has given itself.

    Raises:
        RefusedError: it is none.

    """
    if not isinstance(given, str) or not _PAGE.fullmatch(given):
        rule = "must be 8 to 64 letters and digits that the page has drawn for itself"
        raise RefusedError(422, f"page={short(given, 80)}: {rule}")
    return given


def asked_of(given: Any) -> Asked:
    """The Spec and the changes of a request.

    Raises:
        RefusedError: they are no tables.

    """
    table = _table(given, "the request")
    changes = table.get("changes", [])
    if not isinstance(changes, list) or any(not isinstance(each, dict) for each in changes):
        raise RefusedError(422, f"changes={short(changes, 80)}: must be a list of tables")
    return Asked(_table(table.get("spec"), "spec"), changes)


def request_of(given: Any) -> Request:
    """The request that a page has sent.

    Raises:
        RefusedError: it is none, or a part of it is missing or cannot be.

    """
    table = _table(given, "request")
    kind, number = table.get("type"), _number(table, "id")
    match kind:
        case "train":
            return TrainRequest(number, asked_of(table), _number(table, "run"))
        case "taken":
            return TakenRequest(number)
        case "stop":
            return StopRequest(number)
        case "ensemble":
            first, every, runs = (_number(table, key) for key in ("first", "every", "runs"))
            if not every:
                raise RefusedError(422, "every=0: must be at least 1")
            return EnsembleRequest(number, asked_of(table), first, every, runs)
        case "ask" | "look":
            weights, bias = (_numbers(table.get(key), key) for key in ("weights", "bias"))
            return MeasureRequest(number, asked_of(table), _number(table, "step"), weights, bias, kind == "look")
        case "events":
            path = table.get("path")
            if path is not None and not isinstance(path, str):
                raise RefusedError(422, f"path={short(path, 80)}: must be the path of a store in the folder")
            return EventsRequest(number, asked_of(table) if path is None else None, path, _number(table, "run"))
        case "keep":
            return KeepRequest(number, asked_of(table), _number(table, "run"), _store(table.get("name")))
        case _:
            rule = f"must be a known request; {nearest(short(kind, 40), _KINDS)}"
            raise RefusedError(422, f"type={short(kind, 40)}: {rule}")


_KINDS = ("train", "taken", "ask", "ensemble", "stop", "look", "events", "keep")


def _table(given: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(given, dict):
        raise RefusedError(422, f"{name}={short(given, 80)}: must be a table")
    return given


def _number(table: Mapping[str, Any], key: str) -> int:
    value = table.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _LARGEST:
        raise RefusedError(422, f"{key}={short(value, 80)}: must be a whole number of at least 0, below 2**53")
    return value


def _numbers(given: Any, name: str) -> Float64[np.ndarray, " number"]:
    """An array of the page, row by row: nested lists, or the bytes of its float64, little-endian, in base64."""
    rule = "must be finite numbers, in lists or as float64 in base64"
    try:
        if isinstance(given, str):
            found = np.frombuffer(base64.b64decode(given, validate=True), "<f8")
        elif isinstance(given, list):
            found = np.array(given, np.float64)
        else:
            raise RefusedError(422, f"{name}={short(given, 80)}: {rule}")
    except (ValueError, TypeError, OverflowError, RecursionError, binascii.Error):
        raise RefusedError(422, f"{name}={short(given, 80)}: {rule}") from None
    if not np.isfinite(found).all():
        raise RefusedError(422, f"{name}: {rule}, and one is not finite")
    return found.astype(np.float64).reshape(-1)


def _store(given: Any) -> str:
    if not isinstance(given, str) or not _STORE.fullmatch(given) or not given.isprintable():
        rule = "must be a name without folders that ends in .zarr, such as mine.zarr"
        raise RefusedError(422, f"name={short(given, 80)}: {rule}")
    return given


def _refuse(text: str) -> Any:
    raise ValueError(f"{text} is no number in JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is too large a number")
    return value


def _whole(text: str) -> int:
    if len(text) > 20:
        raise ValueError(f"{text[:40]} is too large a number")
    return int(text)
