"""Arguments of public functions, checked against their annotations before the function begins.

Only kinds are checked (a number, a string, a DataArray, …), so that a wrong one gets one sentence and not an error from
deep inside; each function checks values and shapes itself.
"""

from __future__ import annotations

import functools
import inspect
import os
import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeVar

import numpy as np

from tegum.core.inputs.arrays import numbers_of

_Function = TypeVar("_Function", bound=Callable[..., Any])


class _Rule(NamedTuple):
    words: str
    holds: Callable[[Any], bool]


_DEFAULTS: dict[str, Any] = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}
"""What NumPy does by default on floating-point errors."""


def refusing(function: _Function) -> _Function:
    """Make a function refuse, with a ValueError, an argument of another kind than its annotation.

    Where a user has made NumPy raise on floating-point errors, inside the function NumPy behaves as by default.
    """
    signature = inspect.signature(function)
    found = {name: _rules(name, str(parameter.annotation)) for name, parameter in signature.parameters.items()}
    rules = {name: each for name, each in found.items() if each is not None}

    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        try:
            given = signature.bind(*args, **kwargs)
        except TypeError:
            return function(*args, **kwargs)  # raises the TypeError itself
        for name, value in given.arguments.items():
            if name not in rules or any(rule.holds(value) for rule in rules[name]):
                continue
            rule = " or ".join(rule.words for rule in rules[name])
            raise ValueError(f"{function.__name__}({name}={_shown(value)}): {name} must be {rule}")
        # Only errors that would raise: our own code ignores overflows where a run may have diverged.
        with np.errstate(**{each: _DEFAULTS[each] for each, what in np.geterr().items() if what == "raise"}):
            return function(*args, **kwargs)

    return checked  # type: ignore[return-value]


def _rules(name: str, annotation: str) -> tuple[_Rule, ...] | None:
    """A rule for each alternative of an annotation; None if one of them may be anything."""
    if (name, annotation) in _NAMED:
        return (_NAMED[name, annotation],)
    rules = []
    for part in re.split(r" \| (?![^\[]*\])", annotation):
        outer, _, inner = part.partition("[")
        if part in _PLAIN:
            rules.append(_PLAIN[part])
        elif outer in _ARRAYS:
            rules.append(_ARRAY)
        elif outer in ("Sequence", "Iterable") and inner:
            rules.append(_several(inner.removesuffix("]")))
        elif (kind := part.rpartition(".")[2]) in _CLASSES:
            rules.append(_Rule(f"a {kind}", functools.partial(_of_class, kind)))
        else:
            return None
    return tuple(rules)


def is_number(value: Any) -> bool:
    """Whether the value is a real number and not a bool."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return False
    return not isinstance(value, int) or abs(value) < 2**63  # NumPy holds a larger int as an object


def is_integer(value: Any) -> bool:
    """Whether the value is an int, of Python or NumPy, and not a bool."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _is_array(value: Any) -> bool:
    if _of_class("Dataset", value):
        return False
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        # JAX has dtypes that NumPy does not know.
        return getattr(value.dtype, "kind", "f") in "fiuVb"
    try:
        return is_number(value) or numbers_of(value).dtype.kind in "fiub"
    except (ValueError, TypeError):  # rows of different lengths, or nothing that makes an array
        return False


def _of_class(name: str, value: Any) -> bool:
    """Compared by name, as importing xarray for a check of something else would take long."""
    return any(each.__name__ == name for each in type(value).__mro__)


def _several(kind: str) -> _Rule:
    of_numbers = {"int": is_integer, "float": is_number}

    def holds(value: Any) -> bool:
        if isinstance(value, str | bytes | dict) or not isinstance(value, Iterable) or getattr(value, "ndim", 1) == 0:
            return False
        if _of_class("Dataset", value) or _of_class("Description", value):
            return False
        if kind in of_numbers:
            return all(of_numbers[kind](each) for each in value)
        if hasattr(value, "dtype"):
            return False
        if kind == "str":
            return hasattr(value, "__len__") and all(isinstance(each, str) for each in value)
        if iter(value) is value:  # an iterator can be read only once
            return True
        return kind not in _ITEMS or all(all(hasattr(each, name) for name in _ITEMS[kind]) for each in value)

    plain = {"int": "ints", "float": "numbers", "str": "names", "Kind": "Windows"}
    return _Rule(f"a list of {plain.get(kind, f'{kind}s')}", holds)


_ITEMS = {
    "Jump": ("seed", "feature", "start", "end", "before", "after"),
    "Event": ("jumps",),
    "Window": ("seed", "start", "end"),
    "Kind": ("seed", "start", "end"),  # of windows
}
"""The attributes by which items of a list are recognised."""
_CLASSES = (
    "FeatureDistribution", "CriticalPoint", "DataArray", "Dataset", "TrainingState", "Parts", "ToyModel",
    "SyntheticModel",
)  # fmt: skip
_ARRAYS = ("Float", "Int", "Num", "Shaped", "ArrayLike", "Kind", "np.ndarray")
_ARRAY = _Rule("an array of real numbers", _is_array)
_NAMED = {
    ("engine", "EngineName"): _Rule("'auto', 'kernel' or 'jax'", lambda value: isinstance(value, str)),
    ("state", "TrainingState | None"): _Rule(
        "the TrainingState of a Segment (segment.state), or None",
        lambda value: value is None or _of_class("TrainingState", value),
    ),
    ("key", "int"): _Rule("an int of at least 0", lambda value: is_integer(value) and value >= 0),
    ("threads", "int"): _Rule("an int of at least 1", lambda value: is_integer(value) and value >= 1),
    ("threads", "int | None"): _Rule(
        "an int of at least 1, or None", lambda value: value is None or (is_integer(value) and value >= 1)
    ),
}
"""Rules for parameters that mean the same in every function."""
_PLAIN = {
    "None": _Rule("None", lambda value: value is None),
    "float": _Rule("a number", is_number),
    "int": _Rule("an int below 2**63", lambda value: is_integer(value) and abs(int(value)) < 2**63),
    "bool": _Rule("True or False", lambda value: isinstance(value, bool | np.bool_)),
    "str": _Rule("a string", lambda value: isinstance(value, str)),
    "os.PathLike[str]": _Rule("a path", lambda value: isinstance(value, os.PathLike)),
    "Parameter": _Rule(
        "a key of the sets, or a function from a number to features",
        lambda value: isinstance(value, str) or callable(value),
    ),
} | {name: _Rule("one of its names", lambda value: isinstance(value, str)) for name in ("Activation", "Clock", "Where")}


def _shown(value: Any) -> str:
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{type(value).__name__} of {value.dtype}, {value.shape}"
    from tegum.core.description import short

    large = hasattr(value, "data_vars") or any(_of_class(name, value) for name in _CLASSES)
    return type(value).__name__ if large else short(value)
