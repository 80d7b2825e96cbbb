"""The page's science trains models to the same end states as tegum does."""

from __future__ import annotations

from pathlib import Path

import end_states
import pytest
from end_states import CASES, Comparison, homogeneity, interval


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    if why := end_states.missing():
        pytest.fail(why)
    end_states.build()


def agree(found: list[Comparison], least: float) -> None:
    """That both sides end alike, as far as chance explains, and that the page names its runs as tegum would."""
    for each in found:
        assert each.misnamed == [], each.case.what
        assert each.p_states > least, f"{each.case.what}: {each.page} and {each.python}"
        assert each.p_losses > least, each.case.what


def test_sixteen_runs_of_each_system_end_alike() -> None:
    agree(end_states.compare(16), 1e-3)


@pytest.mark.slow
def test_two_hundred_runs_of_each_system_end_alike() -> None:
    found = end_states.compare(200)
    agree(found, 1e-3)
    for each in found:
        # A share that is neither 0 nor 1 says something.
        assert 0.02 < each.page.count(each.case.shown) / 200 < 0.98, each.case.what


def test_states_of_different_origin_are_told_apart() -> None:
    # Fisher's exact test has p = 1.2e-7 for these; 10,000 permutations can say no less than 1e-4.
    assert homogeneity(["a"] * 18 + ["b"] * 2, ["a"] * 2 + ["b"] * 18) < 2e-4
    # Of 20 choices of 3 from 6, two differ as much: 0.1.
    assert homogeneity(["a"] * 3, ["b"] * 3) == pytest.approx(0.1, abs=0.01)
    assert homogeneity(["a", "b"], ["a", "b"]) == 1.0


def test_intervals_are_those_of_clopper_and_pearson() -> None:
    # 5 of 20: 0.0866 to 0.4910 (Newcombe 1998 and any table); none of 20: 0 to 1 − 0.025^(1/20).
    assert interval(5, 20) == pytest.approx((0.0866, 0.4910), abs=5e-5)
    assert interval(0, 20) == pytest.approx((0.0, 1 - 0.025 ** (1 / 20)))


def test_what_is_missing_is_told_in_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert end_states.missing() is None
    monkeypatch.setattr(end_states, "WEB", tmp_path)
    assert end_states.missing() == "web/node_modules is missing: run `npm ci` in web/"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "npm ci" in (end_states.missing() or "")


def test_cases_have_systems_of_their_own() -> None:
    assert len({case.what for case in CASES}) == len(CASES) == 5
