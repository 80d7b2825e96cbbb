"""What ARCHITECTURE.md says is what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from layers import ROOT, written

FOLDERS = [ROOT / name for name in ("src", "tests", "docs", "benchmarks", "web/src", "web/test", "web/golden", ".ci")]
THERE = sorted([*ROOT.glob("*"), *(path for folder in FOLDERS for path in [folder, *folder.rglob("*")])])
PAGES = [path for path in THERE if path.suffix == ".md"]


def test_the_picture_of_the_layers_is_the_present_one():
    """`python docs/layers.py --write` draws it anew."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    assert written(text) == text


def test_architecture_is_read_on_three_screens():
    lines = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 150
    assert max(map(len, lines)) <= 120


@pytest.mark.parametrize("name", ["ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_files_that_are_named_are_there(name):
    """Also modules that are named by their last part, such as `sampled/cpu.py`."""
    text = (ROOT / name).read_text(encoding="utf-8")
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    there = [f"/{path.relative_to(ROOT).as_posix()}/" for path in THERE]
    # These stand for any experiment.
    text = text.replace("experiments/NAME/", "experiments/pair/").replace("experiments/my_jumps/", "experiments/pair/")
    for named in re.findall(r"`([\w./-]+(?:\.py|\.md|/))`", text):
        assert any(path.endswith(f"/{named.strip('/')}/") for path in there), named


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_between_pages_lead_somewhere(page: Path):
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        # Building the documentation makes these, and then looks at links to them itself.
        assert "generated" in Path(link).parts or (page.parent / link).exists(), link
