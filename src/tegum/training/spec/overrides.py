"""Descriptions from outside: TOML files, and single changes as on a command line."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tegum.core.description import short
from tegum.core.inputs.files import obstacle, reason, shown

_BARE_WORD = re.compile(r"[A-Za-z_][\w.\-]*")
_BARE_POINT = re.compile(r"[+-]?(\d+\.|\.\d+)([eE][+-]?\d+)?")
"""A float that TOML does not accept: it requires digits on both sides of the point."""


_LARGEST = 2**26
"""The most bytes of a TOML file; a start of half a million numbers takes a tenth of that."""

_DEEPEST = 16
"""The most parts of a key; those of a Spec have at most four."""

Changes = Iterable[str] | Mapping[str, Any]
"""Changes as on a command line, ["training.steps=20000"], or as {"training.steps": 20000}."""


class KeyChange(NamedTuple):
    """One change, as `read_changes` returns it."""

    text: str
    """The text of the change, "training.steps=20000"."""
    path: tuple[str, ...]
    """The parts of the key."""
    value: Any


def read_toml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The content of a TOML file.

    Raises:
        ValueError: there is no such file, it cannot be read, or it is not TOML; the message names the file and, for a
            mistake in the TOML, the line.

    """
    file = Path(path)
    name = shown(file)
    if found := obstacle(file):
        rule = "there is no such file" if found == "and there is none" else f"this must be a TOML file, {found}"
        raise ValueError(f"{name}: {rule}")
    try:
        if file.stat().st_size > _LARGEST:
            raise ValueError(f"{name}: the file has more than {_LARGEST // 2**20} MiB, too much for a description")
        content = file.read_bytes()
    except OSError as error:
        raise ValueError(f"{name}: the file cannot be read ({reason(error)})") from None
    try:
        text = content.decode("utf-8-sig")  # with or without the byte order mark that some editors write
    except UnicodeDecodeError:
        wide = content[:2] in (b"\xff\xfe", b"\xfe\xff")
        rule = "UTF-16, but TOML must be UTF-8" if wide else "not UTF-8 text, as TOML must be"
        raise ValueError(f"{name}: the file is {rule}") from None
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name}: the file is not valid TOML: {_one_line(error, text)}") from None


def read_changes(changes: Changes) -> list[KeyChange]:
    """Changes as text, each "key=value", or as a dictionary of values by key.

    A key is dotted. A value in text is TOML, or a bare word, which is a string; the word `none` is None.

    Raises:
        ValueError: a text has no "=", no key, or no value that can be read.

    """
    if isinstance(changes, Mapping):
        return [KeyChange(f"{key}={short(value)}", _path(key, key), value) for key, value in changes.items()]
    return [_parse(text) for text in ([changes] if isinstance(changes, str) else changes)]


def _parse(text: str) -> KeyChange:
    key, equals, written = (part.strip() for part in text.partition("="))
    if not equals:
        raise ValueError(f"override {short(text)}: must be written key=value, for instance hidden=3")
    return KeyChange(text, _path(key, text), _value(text, written))


def _path(key: str, text: str) -> tuple[str, ...]:
    path = tuple(part.strip() for part in key.split("."))
    if not all(path):
        raise ValueError(f"override {short(text)}: must name a key, for instance hidden=3 or training.steps=100")
    if len(path) > _DEEPEST:
        raise ValueError(f"override {short(text)}: must name a key of at most {_DEEPEST} parts, not of {len(path)}")
    return path


def override(values: Mapping[str, Any], changes: Iterable[KeyChange]) -> dict[str, Any]:
    """A copy of nested dictionaries and lists (as from TOML or JSON) in which some values are changed.

    In a list, a number picks an item, counted from 0, and any other key changes every item:
    "features.0.density" and "features.density". Missing tables are created. Keys and values are not checked here, but
    by the description that is then read from the result.

    Args:
        values: the dictionary, which stays as it is.
        changes: the changes; if two change the same key, the later one wins.

    Raises:
        ValueError: a change leads into something that is not a table.

    """
    result: dict[str, Any] = _copied(values)
    for change in changes:
        _set(result, change, 0)
    return result


def _copied(value: Any) -> Any:
    # Not deepcopy, which preserves sharing: in [table] * 3 a change of one would change all.
    if isinstance(value, Mapping):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list | tuple) else value


def _set(container: Any, change: KeyChange, depth: int) -> None:
    here, key, rest = ".".join(change.path[:depth]), change.path[depth], change.path[depth + 1 :]
    if isinstance(container, list):
        if not key.isdecimal():
            for item in container:
                _set(item, change, depth)
        elif int(key) < len(container):
            if rest:
                _set(container[int(key)], change, depth + 1)
            else:
                container[int(key)] = change.value
        else:
            raise ValueError(
                f"override {short(change.text)}: there is no item {key} in {here}, "
                f"which has {len(container)} (the first is {here}.0)"
            )
    elif isinstance(container, dict):
        if rest:
            _set(container.setdefault(key, {}), change, depth + 1)
        else:
            container[key] = change.value
    else:
        raise ValueError(
            f"override {short(change.text)}: there is no key {'.'.join(change.path)!r}; "
            f"{here} is {short(container)}, not a table"
        )


def _value(text: str, written: str) -> Any:
    if written in ("none", "None"):
        return None
    try:
        read = tomllib.loads(f"value = {written}")
        if read.keys() == {"value"}:
            return read["value"]
    except (ValueError, RecursionError):
        pass
    if _BARE_WORD.fullmatch(written):
        return written
    if _BARE_POINT.fullmatch(written):
        return float(written)
    raise ValueError(f"override {short(text)}: the value must be a number, a word, or another TOML value")


def _one_line(error: BaseException, text: str) -> str:
    message = " ".join(str(error).split())
    message = message.replace("end of document", f"the end of the file, line {len(text.splitlines())}")
    return message[:1].lower() + message[1:]
