"""Hold every function's cognitive complexity to its limit, and let no function that is above it grow.

Cognitive complexity (G. A. Campbell, SonarSource 2018) counts the breaks in the flow of a function, each the more the
deeper it is nested; complexipy computes it. `complexity.toml` beside this script names the functions above the limit,
with the most that each may have, and why for those that are far above. With `--write` it is brought up to date: numbers
fall, functions that have become simple leave, and what is new or has grown is still for a person to enter.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

from complexipy import file_complexity

LIMIT = 25
"""A function above it has to be in the file."""
NEEDS_REASON = 30
"""A function above it has to say there why it is not simpler."""
FOLDERS = ("src", "tests", "benchmarks", "docs", "web", ".ci")
ALLOWED = Path(__file__).with_name("complexity.toml")
HEADING = f"""\
# Functions whose cognitive complexity is above {LIMIT}, with the most that each may have: numbers only fall.
# Above {NEEDS_REASON} a reason says why the function is not simpler. Checked by complexity.py beside this file.

"""


def measured(root: Path) -> dict[str, int]:
    """The complexity of each function, by path and name; of several with one name in a file, the highest."""
    found: dict[str, int] = {}
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*.py")):
            # Without comments that excuse a function where it stands: excuses are read in one place.
            for function in file_complexity(str(path), no_ignore=True, with_plans=False).functions:
                name = f"{path.relative_to(root).as_posix()}::{function.name}"
                found[name] = max(function.complexity, found.get(name, 0))
    return found


def complaints(found: dict[str, int], allowed: dict[str, tuple[int, str]]) -> list[str]:
    """What does not fit, a sentence each."""
    sentences = []
    for name, complexity in found.items():
        most, reason = allowed.get(name, (LIMIT, ""))
        if complexity > most:
            sentences.append(f"{name} has a cognitive complexity of {complexity}, and may have {most}: split it")
        elif name in allowed and complexity < most:
            sentences.append(f"{name} has come down to {complexity}: enter that in {ALLOWED.name}, for {most}")
        if complexity > NEEDS_REASON and name in allowed and not reason.strip():
            sentences.append(f"{name} has {complexity}, above {NEEDS_REASON}: {ALLOWED.name} must say why")
    sentences += [f"{name} is in {ALLOWED.name}, but not in the code" for name in allowed if name not in found]
    return sentences


def brought_up_to_date(found: dict[str, int], allowed: dict[str, tuple[int, str]]) -> str:
    """The file with numbers that have fallen, and without functions that are gone or simple."""
    lines = []
    for name, (most, reason) in sorted(allowed.items()):
        complexity = min(most, found.get(name, 0))
        if complexity > LIMIT:
            why = f', reason = "{reason}"' if complexity > NEEDS_REASON and reason else ""
            lines.append(f'"{name}" = {{ complexity = {complexity}{why} }}\n')
    return HEADING + "".join(lines)


def main() -> int:
    """Check, or write; returns 1 where something does not fit."""
    content = tomllib.loads(ALLOWED.read_text(encoding="utf-8"))
    allowed = {name: (entry["complexity"], entry.get("reason", "")) for name, entry in content.items()}
    found = measured(ALLOWED.parent.parent)
    if "--write" in sys.argv[1:]:
        text = brought_up_to_date(found, allowed)
        ALLOWED.write_text(text, encoding="utf-8")
        content = tomllib.loads(text)
        allowed = {name: (entry["complexity"], entry.get("reason", "")) for name, entry in content.items()}
    sentences = complaints(found, allowed)
    print("\n".join(sentences) or f"no function above {LIMIT} is new or has grown; {len(allowed)} are named")
    return 1 if sentences else 0


if __name__ == "__main__":
    sys.exit(main())
