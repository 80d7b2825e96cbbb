"""The result of an experiment: what was claimed, measured and decided, as summary.json holds it."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, final, get_args

from tegum.core.reprs import html_table
from tegum.data.results import SUMMARY
from tegum.experiments.reporting import Measure, check_key

Size = Literal["quick", "default", "full"]
"""quick: 10 to 60 seconds on two cores, and up to a minute more the first time, to compile; default: what the README
shows; full: for publication."""

Verdict = Literal["holds", "holds in part", "does not hold", "not tested"]

SCHEMA = 3
"""The version of the format of summary.json. Since version 2, measures and criteria have keys; since version 3, a
criterion has a title and names the measure that decides it, and there are a question and an answer."""


@final
@dataclass(frozen=True)
class Criterion:
    """One part of the claim, fixed in one sentence before the run, and whether the run passed it."""

    key: str
    """The name for programs, as for a measure."""
    text: str
    passed: bool
    title: str = ""
    """The text in a few plain words (at most 40 letters fit), for the first screen; by default the text itself."""
    measure: str | None = None
    """The key of the measure that decides it; of several, the one that comes closest to failing, or fails by most. None
    if no number decides."""
    needs: str = ""
    """What the interval of the measure has to exceed, such as "50 %", if that is not its null."""

    def __post_init__(self) -> None:
        """Refuse a malformed key, and turn numpy's booleans into Python's, which JSON can write."""
        check_key(self.key)
        object.__setattr__(self, "passed", bool(self.passed))


@final
@dataclass(frozen=True)
class Summary:
    """The result of running an experiment, as written to summary.json."""

    name: str
    claim: str
    verdict: Verdict
    criteria: tuple[Criterion, ...]
    measures: tuple[Measure, ...]
    caption: str
    """What the figure shows, in sentences; it is not part of the picture."""
    size: Size
    spec: Mapping[str, Any]
    """For each of `trainings`, its Spec or list of Specs in JSON form. Those of `further` follow from these runs, and
    are stored with their trajectories."""
    seed: Mapping[str, Any]
    """For each training, the base seed of all its random numbers, or a list of them."""
    versions: Mapping[str, str]
    wall_time_s: float
    files: tuple[Path, ...]
    """Every file that was written, this summary last."""
    source: Mapping[str, Any] | None = None
    """For an experiment that is not tegum's own: `file`, its `sha256`, the `class` if it was named, and the sha256 of
    its `neighbours`, the modules in the same folder that it imports; or `package` and `version`. Left out of the JSON
    for tegum's own experiments."""
    question: str = ""
    """What is asked, in a few plain words."""
    answer: str = ""
    """What was found, in a sentence or two for those who do not know the field."""
    further_captions: Mapping[str, str] = field(default_factory=dict)
    """The captions of further figures, by the names of their files without the suffix."""

    def to_json(self) -> dict[str, Any]:
        """The summary as dictionaries and lists for JSON, with files by their names in the folder."""
        found = {"schema": SCHEMA} | asdict(self) | {"files": [file.name for file in self.files]}
        if self.source is None:
            del found["source"]
        return found

    def __repr__(self) -> str:
        met = sum(criterion.passed for criterion in self.criteria)
        return f"<Summary of {self.name} ({self.size}): {self.verdict}, {met} of {len(self.criteria)} criteria met>"

    def _repr_html_(self) -> str:
        rows = [("claim", self.claim), ("verdict", self.verdict)]
        rows += [("✓" if criterion.passed else "✗", criterion.text) for criterion in self.criteria]
        rows.append(("files", ", ".join(map(str, self.files))))
        return html_table(f"{self.name} ({self.size})", rows)

    @classmethod
    def read(cls, folder: str | os.PathLike[str]) -> Summary:
        """Read the summary in the folder of a result, written by this version of tegum or an earlier one.

        In schema 1, measures and criteria had no keys. Keys are then made from their texts. Before schema 3, criteria
        had neither titles nor measures that decide them, and there was no question and no answer.

        Args:
            folder: a folder that `run` has written.

        Raises:
            FileNotFoundError: there is no summary.json.
            ValueError: it is not the summary of an experiment, or has a later schema.

        """
        path = Path(folder) / SUMMARY
        call = f"Summary.read({str(folder)!r})"
        schema: Any = 1
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            schema = found.pop("schema", 1)
            if type(schema) is not int or schema > SCHEMA:
                raise TypeError(schema)
            measures, criteria = ([dict(each) for each in found[name]] for name in ("measures", "criteria"))
            for each, text in [*((one, "name") for one in measures), *((one, "text") for one in criteria)]:
                each.setdefault("key", _slug(each[text]))
            parts = {
                "measures": tuple(Measure(**each) for each in measures),
                "criteria": tuple(Criterion(**each) for each in criteria),
                "files": tuple(path.parent / name for name in found["files"]),
            }
            read = cls(**(found | parts))
            for each in (read, *read.measures, *read.criteria):
                _check_types(each)
            return read
        except FileNotFoundError:
            raise FileNotFoundError(f"{call}: there is no {SUMMARY} in it") from None
        except (TypeError, KeyError, AttributeError, ValueError, RecursionError):
            if type(schema) is int and schema > SCHEMA:
                rule = f"its schema is {schema}; this version of tegum reads up to {SCHEMA}"
                raise ValueError(f"{call}: {rule}") from None
            raise ValueError(f"{call}: {SUMMARY} is not the summary of an experiment") from None


def _check_types(read: Summary | Measure | Criterion) -> None:
    """Refuse what a summary cannot hold; raises TypeError."""
    texts = ("key", "name", "title", "text", "needs", "unit", "meaning", "claim", "caption", "question", "answer")
    ok = all(isinstance(vars(read).get(name, ""), str) for name in texts)
    match read:
        case Summary():
            ok &= read.size in get_args(Size) and read.verdict in get_args(Verdict)
            ok &= type(read.wall_time_s) in (int, float) and math.isfinite(read.wall_time_s)
            ok &= all(isinstance(each, dict) for each in (read.spec, read.seed, read.versions, read.further_captions))
            ok &= read.source is None or isinstance(read.source, dict)
            ok &= all(isinstance(each, str) for each in read.further_captions.values())
        case Measure():
            numbers = (read.value, read.low, read.high, read.n, read.null)
            ok &= all(each is None or type(each) in (int, float) for each in numbers)
        case Criterion():
            ok &= read.measure is None or isinstance(read.measure, str)
    if not ok:
        raise TypeError(read)


def _slug(text: str) -> str:
    """A key made from a text."""
    return re.sub(r"[^a-z0-9]+", "_", f"a {text}".lower()).strip("_")
