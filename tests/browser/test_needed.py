"""What the tests in a browser need is asked for in one sentence; none of them is skipped for the lack of it."""

from __future__ import annotations

from pathlib import Path

import browsers
import pytest


def test_what_is_missing_is_told_in_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert browsers.missing() is None
    monkeypatch.setattr(browsers, "WEB", tmp_path)
    assert browsers.missing() == "web/node_modules is missing: run `npm ci` in web/"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert browsers.missing() == "chromium is missing: run `apt-get install chromium`"
    monkeypatch.setattr(browsers, "find_spec", lambda name: None if name == "selenium" else name)
    assert browsers.missing() == "the Python package selenium is missing: run `pip install -e '.[browser]'`"
