"""Limits on the memory and time of a call, and the one sentence that refuses a call beyond them.

Code that is about to allocate an array whose size follows from a user's number first says how large it will be
(`check_memory`): operating systems grant memory that they do not have, and kill the process once it is used. A call
that is predicted to take more than a year probably has a number with a few zeros too many (`check_time`).
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator
from pathlib import Path

VARIABLE = "TEGUM_MEMORY_LIMIT"
"""The environment variable by which a user raises or lowers the limit: a number of bytes, or "500MB", "64 GB"."""

TIME_VARIABLE = "TEGUM_TIME_LIMIT"
"""The environment variable by which a user raises or lowers the limit on time: "12 h", "30 days", or seconds."""

YEAR = 365 * 86400.0
"""The longest that a call may be predicted to take, in seconds, unless `TEGUM_TIME_LIMIT` says otherwise."""

_NEGLIGIBLE = 2**24
"""Allocations of fewer bytes are not checked: every machine has them, and a check takes some hundred microseconds."""

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
_SECONDS = {
    name: seconds
    for seconds, names in {
        1: ("", "s", "second", "seconds"),
        60: ("min", "minute", "minutes"),
        3600: ("h", "hour", "hours"),
        86400: ("d", "day", "days"),
        YEAR: ("year", "years"),
    }.items()
    for name in names
}
_TIME = re.compile(r"\s*((?:\d+\.?\d*|\.\d+)(?:e\d{1,2})?)\s*([a-z]*)\s*", re.IGNORECASE | re.ASCII)
_SIZE = re.compile(r"\s*((?:\d+\.?\d*|\.\d+)(?:e\d{1,2})?)\s*(?:([kmgtpe]?)(i?)b?)?\s*", re.IGNORECASE | re.ASCII)


def readable(size: int) -> str:
    """A number of bytes in readable form: "2.7 TB", "340 MB"."""
    unit, value = 0, float(min(size, 10**40))
    while value >= 999.5 and unit < len(_UNITS) - 1:
        unit, value = unit + 1, value / 1000
    digits = 0 if unit == 0 or value >= 9.95 else 1
    return f"{value:,.{digits}f} {_UNITS[unit]}" if value < 1e6 else f"{value:.0e} {_UNITS[unit]}"


def check_memory(call: str, what: str, size: int, instead: str = "") -> None:
    """Refuse an allocation beyond the available memory.

    Args:
        call: the call with the value that makes it large, `train(Spec(snapshots=1000000000))`.
        what: what takes the memory, "the trajectory".
        size: in bytes.
        instead: what the user could do, "fewer snapshots or seeds fit".

    Raises:
        ValueError: `size` is beyond the limit, or `TEGUM_MEMORY_LIMIT` is not a size.

    """
    given = os.environ.get(VARIABLE) or None
    if given is None and size < _NEGLIGIBLE:
        return
    limit = memory_limit()
    if limit is None or size <= limit:
        return
    has = "this process may use" if given is None else f"{VARIABLE} allows"
    raise ValueError(
        f"{call}: {what} would take {readable(size)} of memory, and {has} {readable(limit)}; "
        f"{instead + ', and ' if instead else ''}the environment variable {VARIABLE} raises the limit"
    )


def duration(seconds: int | float) -> str:
    """A time in readable form: "40 s", "3 min", "2.5 h", "12 days", "30,000 years"."""
    minutes, hours, days = seconds / 60, seconds / 3600, seconds / 86400
    if seconds < 100:
        return f"{seconds:.0f} s"
    if minutes < 100:
        return f"{minutes:.0f} min"
    if hours < 48:
        return f"{hours:.1f} h" if hours < 10 else f"{hours:.0f} h"
    if days < 1000:
        return f"{days:,.0f} days"
    return f"{days / 365:,.0f} years" if days < 1e8 else f"{days / 365:.0e} years"


def exact_loss_seconds(models: int, features: int, hidden: int) -> float:
    """A rough lower bound on the seconds that one core needs for the exact loss of some models, or for its gradient.

    Measured with the fewest frequencies, where sixteen lanes fill two registers. Close to a kink of the loss, or with
    a tighter tolerance, it takes a hundred times as long.

    Args:
        models: the number of models.
        features: features per model, n; each of its n outputs depends on all n of them.
        hidden: the hidden dimension of a model.

    """
    return 1e-9 * models * features**2 * (60 + 5 * hidden)


def finite_loss_seconds(models: int, samples: int, features: int, hidden: int) -> float:
    """A rough lower bound on the seconds that one core needs for the loss of some models over the rows of a matrix.

    Measured, with its gradient, where eight lanes fill a register and few outputs are let through; where all are, it
    takes three times as long.

    Args:
        models: the number of models.
        samples: the number of rows.
        features: features per model.
        hidden: the hidden dimension of a model.

    """
    return 1e-9 * models * samples * features * (1 + 0.08 * hidden)


def check_time(call: str, what: str, seconds: float, instead: str = "", *, least: bool = False) -> None:
    """Refuse a call that would take longer than the limit, a year by default.

    Args:
        call: the call with the value that makes it long, `train(Spec(training.steps=1000000000000000))`.
        what: what takes the time, "training".
        seconds: about how long.
        instead: what the user could do, "fewer steps take less".
        least: whether `seconds` is a lower bound that the call may well exceed by far.

    Raises:
        ValueError: `seconds` is beyond the limit, or `TEGUM_TIME_LIMIT` is not a time.

    """
    given = os.environ.get(TIME_VARIABLE)
    limit = _time(given) if given else YEAR
    if seconds <= limit:
        return
    allowed = f"{TIME_VARIABLE} allows" if given else "the limit is"
    raise ValueError(
        f"{call}: {what} would take {'at least' if least else 'about'} {duration(seconds)}, and {allowed} "
        f"{duration(limit)}; {instead + ', and ' if instead else ''}the environment variable {TIME_VARIABLE} raises "
        "the limit"
    )


@functools.lru_cache(maxsize=8)
def _time(text: str) -> float:
    match = _TIME.fullmatch(text)
    if match is None or (unit := match.group(2).lower()) not in _SECONDS:
        raise ValueError(f"{TIME_VARIABLE}={text!r}: must be a time such as 12 h or 30 days, or a number of seconds")
    return float(match.group(1)) * _SECONDS[unit]


def memory_limit() -> int | None:
    """The bytes that this process may still allocate, or `TEGUM_MEMORY_LIMIT` if that is set; None if unknown.

    This is the machine's available memory, or less where a container (cgroup) or a limit of the process (RLIMIT_AS,
    RLIMIT_DATA) allows less.

    Raises:
        ValueError: `TEGUM_MEMORY_LIMIT` is not a size.

    """
    if given := os.environ.get(VARIABLE):
        return _size(given)
    bounds = [bound for bound in (*_of_machine(), *_of_containers(), *_of_process()) if bound is not None]
    return max(min(bounds), 0) if bounds else None


@functools.lru_cache(maxsize=8)
def _size(text: str) -> int:
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"{VARIABLE}={text!r}: must be a number of bytes, or one with a unit, such as 500MB or 64GB")
    number, prefix, binary = match.groups()
    power = " kmgtpe".index((prefix or " ").lower())
    return int(float(number) * (1024 if binary else 1000) ** power)


def _of_machine() -> Iterator[int | None]:
    """The available memory, or all installed memory where the system does not report what is available."""
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemAvailable:"):
            yield int(line.split()[1]) * 1024
            return
    try:
        yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return


def _of_containers() -> Iterator[int | None]:
    """What each of the process's control groups still allows, in both versions of their file system."""
    for line in _lines("/proc/self/cgroup"):
        _, controllers, path = line.rstrip("\n").split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        root = Path("/sys/fs/cgroup/memory" if controllers else "/sys/fs/cgroup")
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if controllers else ("memory.max", "memory.current")
        # Inside a container the path is often the host's, while the root is the container's own.
        place = root / path.lstrip("/")
        for folder in (place, *(each for each in place.parents if each.is_relative_to(root))):
            limit, used = (_number(folder / name) for name in names)
            if limit is not None and used is not None:
                # The file cache is released when memory runs short.
                yield limit - max(used - _cached_files(folder), 0)


def _cached_files(folder: Path) -> int:
    for line in _lines(folder / "memory.stat"):
        name, _, value = line.partition(" ")
        if name in ("inactive_file", "total_inactive_file"):
            return int(value)
    return 0


def _of_process() -> Iterator[int | None]:
    try:
        import resource
    except ImportError:  # Windows
        return
    pages = next(iter(_lines("/proc/self/statm")), "").split()
    if not pages:
        return
    page = os.sysconf("SC_PAGE_SIZE")
    for which, field in ((resource.RLIMIT_AS, 0), (resource.RLIMIT_DATA, 5)):
        limit, _ = resource.getrlimit(which)
        if limit != resource.RLIM_INFINITY:
            yield limit - int(pages[field]) * page


def _lines(path: str | Path) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _number(path: Path) -> int | None:
    """The number in a system file; None if there is no such file or it sets no limit."""
    text = "".join(_lines(path)).strip()
    return int(text) if text.isdigit() else None


def beyond_memory(size: int) -> str | None:
    """The clause "would take …" for something that exceeds the available memory; None if it fits.

    Raises:
        ValueError: `TEGUM_MEMORY_LIMIT` is not a size.

    """
    if os.environ.get(VARIABLE):
        memory_limit()
    try:
        check_memory("", "it", size)
    except ValueError as error:
        return str(error).removeprefix(": it ")
    return None
