"""What the tests in notebooks need is asked for in one sentence; none of them is skipped for the lack of it."""

from __future__ import annotations

from pathlib import Path

import notebook_servers
import pytest


def test_what_is_missing_is_told_in_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert notebook_servers.missing() is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert notebook_servers.missing() == "chromium is missing: run `apt-get install chromium`"
    monkeypatch.setattr(notebook_servers, "find_spec", lambda name: None if name == "marimo" else name)
    sentence = "the Python package marimo is missing: run `pip install -e '.[notebook-tests]'`"
    assert notebook_servers.missing() == sentence
