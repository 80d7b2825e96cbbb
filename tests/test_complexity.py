"""The check of cognitive complexity in CI notices what is new, what has grown, and what has become simpler."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def check() -> ModuleType:
    spec = importlib.util.spec_from_file_location("complexity", Path(__file__).parents[1] / ".ci" / "complexity.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_measures_what_the_definition_counts(check: ModuleType, tmp_path: Path) -> None:
    """Campbell's rules: 1 for each `for` and `if`, and 1 more for each level around it."""
    (tmp_path / "src").mkdir()
    lines = ["def f(x):  # complexipy: ignore", "  for i in x:", "    if i:", "      if i > 1:", "        return i"]
    (tmp_path / "src" / "a.py").write_text("\n".join([*lines, "class A:", "  def g(self): pass", ""]))
    assert check.measured(tmp_path) == {"src/a.py::f": 1 + 2 + 3, "src/a.py::A::g": 0}


@pytest.mark.parametrize(
    ("complexity", "most", "reason", "words"),
    [
        (25, None, "", []),
        (26, None, "", ["may have 25"]),
        (30, 30, "", []),
        (31, 30, "", ["may have 30", "must say why"]),
        (31, 31, "", ["must say why"]),
        (31, 31, "a reason", []),
        (26, 31, "a reason", ["come down to 26"]),
        (None, 31, "a reason", ["not in the code"]),
    ],
)
def test_complains(check: ModuleType, complexity: int | None, most: int | None, reason: str, words: list[str]) -> None:
    found = {} if complexity is None else {"f": complexity}
    sentences = check.complaints(found, {} if most is None else {"f": (most, reason)})
    assert len(sentences) == len(words)
    assert all(word in sentence for word, sentence in zip(words, sentences, strict=True))


def test_numbers_only_fall(check: ModuleType) -> None:
    allowed = {"fallen": (50, "a reason"), "grown": (26, ""), "simple": (40, "a reason"), "gone": (40, "a reason")}
    text = check.brought_up_to_date({"fallen": 40, "grown": 70, "simple": 25, "new": 99}, allowed)
    entries = text.removeprefix(check.HEADING).splitlines()
    assert entries == ['"fallen" = { complexity = 40, reason = "a reason" }', '"grown" = { complexity = 26 }']
