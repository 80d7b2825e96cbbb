"""The limit on memory: what it is made of, how a user changes it, and the sentence."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tegum.core.limits import TIME_VARIABLE, VARIABLE, check_memory, check_time, memory_limit, readable


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (9_949_999, "9.9 MB"),
        (2_700_000_000_000, "2.7 TB"),
        (8 * 10**18, "8.0 EB"),
        (10**30, "1e+12 EB"),
        (10**400, "1e+22 EB"),
    ],
)
def test_sizes_are_readable(size: int, text: str) -> None:
    assert readable(size) == text


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1000", 1000),
        ("64GB", 64 * 10**9),
        (" 500 mb ", 500 * 10**6),
        ("1.5 GiB", 3 * 2**29),
        ("2g", 2 * 10**9),
        ("1e9", 10**9),
        ("0", 0),
    ],
)
def test_a_user_sets_the_limit(monkeypatch: pytest.MonkeyPatch, text: str, size: int) -> None:
    monkeypatch.setenv(VARIABLE, text)
    assert memory_limit() == size
    check_memory("call()", "it", size)
    with pytest.raises(ValueError, match=r"^call\(n=5\): the table would take .* and TEGUM_MEMORY_LIMIT allows "):
        check_memory("call(n=5)", "the table", size + 1)


@pytest.mark.parametrize("text", ["nonsense", "-5", "5 XB", "inf", "nan", "1,000", "0x10", "٣GB", "64 GB GB"])
def test_nonsense_is_refused_in_a_sentence(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(ValueError, match=r"^TEGUM_MEMORY_LIMIT='.*': must be a number of bytes, or one with a unit"):
        check_memory("call()", "it", 1)


def test_without_a_word_of_the_user_the_machine_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for unset in (lambda: monkeypatch.delenv(VARIABLE, raising=False), lambda: monkeypatch.setenv(VARIABLE, "")):
        unset()
        limit = memory_limit()
        assert limit is not None
        assert 0 < limit <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    check_memory("call()", "it", 10**6)
    sentence = (
        r"^train\(Spec\(snapshots=9\)\): the trajectory would take 2\.7 EB of memory, and this process may use "
        r"[\d.]+ [MG]B; fewer snapshots fit, and the environment variable TEGUM_MEMORY_LIMIT raises the limit$"
    )
    with pytest.raises(ValueError, match=sentence):
        check_memory("train(Spec(snapshots=9))", "the trajectory", 27 * 10**17, "fewer snapshots fit")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux's account of the process")
def test_the_limits_of_a_process_and_of_control_groups_count() -> None:
    """In fresh processes: RLIMIT_AS and RLIMIT_DATA; and control groups as two files of each version say them."""
    code = """
import resource, pathlib
from tegum.core import limits
whole = limits.memory_limit()
for which in (resource.RLIMIT_DATA, resource.RLIMIT_AS):
    fields = pathlib.Path("/proc/self/statm").read_text().split()
    used = int(fields[0 if which == resource.RLIMIT_AS else 5]) * resource.getpagesize()
    resource.setrlimit(which, (used + 10**9, resource.RLIM_INFINITY))
    assert 0.9e9 < limits.memory_limit() <= 10**9 < whole, limits.memory_limit()
    resource.setrlimit(which, (resource.RLIM_INFINITY,) * 2)
files = {
    "/proc/self/cgroup": "12:cpu,memory:/docker/a\\n1:cpu:/\\n0::/user/b\\n",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes": "700\\n",
    "/sys/fs/cgroup/memory/memory.usage_in_bytes": "300\\n",
    "/sys/fs/cgroup/memory/memory.stat": "cache 5\\ntotal_inactive_file 100\\n",
    "/sys/fs/cgroup/user/b/memory.max": "max\\n",
    "/sys/fs/cgroup/user/b/memory.current": "300\\n",
    "/sys/fs/cgroup/user/memory.max": "900\\n",
    "/sys/fs/cgroup/user/memory.current": "100\\n",
}
limits._lines = lambda path: files.get(str(path), "").splitlines()
assert sorted(limits._of_containers()) == [700 - (300 - 100), 900 - 100]
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_what_takes_longer_than_a_year_is_refused_unless_a_user_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    check_time("call(steps=5)", "it", 364 * 86400.0)
    sentence = (
        "call(steps=5): it would take about 3 years, and the limit is 365 days; fewer steps take less, and the "
        "environment variable TEGUM_TIME_LIMIT raises the limit"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        check_time("call(steps=5)", "it", 3 * 365 * 86400.0, "fewer steps take less")
    monkeypatch.setenv(TIME_VARIABLE, "5 years")
    check_time("call(steps=5)", "it", 3 * 365 * 86400.0)
    for text in ("1.5h", "1.5 hours", "90 minutes", "5400 seconds", "5400", "0.0625 d"):
        monkeypatch.setenv(TIME_VARIABLE, text)
        check_time("call(steps=5)", "it", 5400.0)
    with pytest.raises(ValueError, match=r"about 2\.5 h, and TEGUM_TIME_LIMIT allows 90 min; the environment"):
        check_time("call(steps=5)", "it", 9000.0)


@pytest.mark.parametrize("text", ["soon", "-5", "5 fortnights", "nan", "1:30"])
def test_a_time_that_is_none_is_refused_in_a_sentence(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(TIME_VARIABLE, text)
    with pytest.raises(ValueError, match=r"^TEGUM_TIME_LIMIT='.*': must be a time such as 12 h or 30 days"):
        check_time("call()", "it", 1.0)
