"""What tegum computes now is what the golden files hold, to which the page's science is bound."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

GOLDEN = Path(__file__).parents[2] / "web" / "golden"

RELATIVE, ABSOLUTE = 1e-9, 1e-11
"""What another processor may make of the same formula."""


@pytest.fixture(scope="module")
def make() -> ModuleType:
    """The script that makes the files."""
    spec = importlib.util.spec_from_file_location("golden_make", GOLDEN / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # data classes look their module up
    spec.loader.exec_module(module)
    return module


def differences(found: Any, kept: Any, path: str = "") -> list[str]:
    """Where two JSON values differ: numbers by more than rounding, all else at all."""
    if isinstance(kept, dict) and isinstance(found, dict):
        keys = [] if found.keys() == kept.keys() else [f"{path}: keys {sorted(found)} and {sorted(kept)}"]
        return keys + [
            line for key in kept.keys() & found.keys() for line in differences(found[key], kept[key], f"{path}.{key}")
        ]
    if isinstance(kept, list) and isinstance(found, list):
        if len(found) != len(kept):
            return [f"{path}: {len(found)} and {len(kept)} items"]
        pairs = enumerate(zip(found, kept, strict=True))
        return [line for at, (one, other) in pairs for line in differences(one, other, f"{path}[{at}]")]
    numbers = all(isinstance(each, int | float) and not isinstance(each, bool) for each in (found, kept))
    if numbers:
        alike = math.isclose(found, kept, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
    else:
        alike = type(found) is type(kept) and found == kept
    return [] if alike else [f"{path}: {found!r} and {kept!r}"]


def test_files_hold_what_tegum_computes(make: ModuleType) -> None:
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(make.FILES)
    for name in make.FILES:
        kept = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
        lines = differences(make.entries(name), kept, name)
        assert not lines, "\n".join([*lines[:10], "python web/golden/make.py writes the files anew"])


def test_differences_are_found() -> None:
    kept = {"a": [1.0, 2.0], "name": "pentagon", "none": None, "flag": True}
    assert differences({**kept, "a": [1.0 + 1e-12, 2.0]}, kept) == []
    for other in ({"a": [1.0, 2.1]}, {"a": [1.0]}, {"name": "hexagon"}, {"none": 0.0}, {"flag": 1}, {"more": 1}):
        assert len(differences({**kept, **other}, kept)) == 1, other


def test_files_are_small() -> None:
    assert sum(path.stat().st_size for path in GOLDEN.glob("*.json")) < 300_000
