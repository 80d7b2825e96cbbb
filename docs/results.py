"""The stored results that the documentation shows: those of each experiment's default form.

    python docs/results.py            names those that were made by other Specs than today's; returns 1 if there are any
    python docs/results.py NAME …     runs these experiments again and stores their results (minutes each)

Stored are the figures, and the summary without the Specs themselves, of which a digest says whether they have changed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tegum import experiments

PLACE = Path(__file__).parent / "results"


def digest(specs: Mapping[str, Any]) -> str:
    """A digest of the Specs of an experiment's trainings, as a summary has them.

    Numbers count to six digits: starts that are computed differ in the last ones from one machine to another.
    """
    return hashlib.sha256(json.dumps(_rounded(specs), sort_keys=True).encode()).hexdigest()[:16]


def _rounded(value: Any) -> Any:
    match value:
        case float():
            return f"{value:.6g}" if abs(value) > 1e-12 else "0"
        case dict():
            return {key: _rounded(each) for key, each in value.items()}
        case list() | tuple():
            return [_rounded(each) for each in value]
        case _:
            return value


def digest_today(name: str) -> str:
    """The digest of what the default form trains today."""
    found = experiments.get(name).trainings("default")
    return digest(
        {
            key: [one.to_json() for one in each] if isinstance(each, Sequence) else each.to_json()
            for key, each in found.items()
        }
    )


def stored(name: str) -> dict[str, Any]:
    """The stored summary of an experiment."""
    return json.loads((PLACE / name / "summary.json").read_text(encoding="utf-8"))


def keep(result: Path) -> None:
    """Store the figures of a result, and its summary without the Specs."""
    summary = json.loads((result / "summary.json").read_text(encoding="utf-8"))
    place = PLACE / summary["name"]
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    for figure in result.glob("*.png"):
        shutil.copy(figure, place)
    summary["spec_digest"] = digest(summary.pop("spec"))
    for key in ("seed", "files"):
        del summary[key]
    text = json.dumps(summary, indent=1, ensure_ascii=False)
    (place / "summary.json").write_text(f"{text}\n", encoding="utf-8")


def main(names: Sequence[str]) -> int:
    """Run experiments again, or say which ones should be."""
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            experiments.get(name).run(Path(folder) / "result")
            keep(Path(folder) / "result")
    old = [name for name in experiments.names() if stored(name)["spec_digest"] != digest_today(name)]
    for name in old:
        print(f"{name}: today's default form trains something else; python docs/results.py {name}")
    return bool(old)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
