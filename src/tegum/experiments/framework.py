"""What every experiment is: a claim, trainings, measures, criteria fixed beforehand, a figure, and a verdict.

An experiment tells what to train (`trainings`), measures the trajectories (`analyse`) and draws what it found
(`draw`): three calls, each usable alone. `run` joins them and writes a folder:

    run.zarr                     every snapshot, one such store for each training by its name
    NAME.png, NAME.svg           the figure
    summary.json                 claim, verdict, every measured number, and how they came about

Until all of it is there it grows in the folder `partial` inside, trajectories as soon as they are trained and the
summary last; then it takes the place of an earlier result. A folder with a summary is a whole result, and what an
unfinished run has left in `partial` can be gone on with.
"""

from __future__ import annotations

import abc
import json
import os
import platform
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar, cast, final

from tegum.data.results import SUMMARY
from tegum.experiments.reporting import Measure, check_key
from tegum.experiments.varied import Range, refuse

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from tegum.training.engine import Segment
    from tegum.training.spec.overrides import Changes
    from tegum.training.spec.spec import Spec

Size = Literal["quick", "default", "full"]
"""Half a minute to about two minutes on two cores; what the README shows; for publication."""

Verdict = Literal["holds", "holds in part", "does not hold", "not tested"]

SCHEMA = 2
"""Of summary.json: since the second, measures and criteria have keys."""

_LIBRARIES = ("tegum", "diffrax", "jax", "matplotlib", "numba", "numpy", "xarray", "zarr")


@final
@dataclass(frozen=True)
class Criterion:
    """A part of the claim in one sentence, fixed before the run, and whether the run passed it."""

    key: str
    """For programs, as that of a measure."""
    text: str
    passed: bool

    def __post_init__(self) -> None:
        """Refuse a key that is none."""
        check_key(self.key)


Shown = TypeVar("Shown")
"""What an experiment's own figure needs."""


@final
@dataclass(frozen=True)
class Findings(Generic[Shown]):
    """What an analysis found."""

    measures: tuple[Measure, ...]
    criteria: tuple[Criterion, ...]
    caption: str
    """What the figure shows, in sentences."""
    shown: Shown = field(default=cast("Shown", None))
    """What the experiment's own `draw` needs besides the trajectories; most need nothing."""
    tested: bool = True
    """Whether there was anything to compare with the criteria; what was not tested is not refuted."""


@final
@dataclass(frozen=True)
class Summary:
    """The result of a run of an experiment, as summary.json tells it."""

    name: str
    claim: str
    verdict: Verdict
    criteria: tuple[Criterion, ...]
    measures: tuple[Measure, ...]
    caption: str
    size: Size
    spec: Mapping[str, Any]
    """For each training its Spec in JSON form, or the list of them."""
    seed: Mapping[str, Any]
    """For each training the base seed of all its random numbers, or the list of them."""
    versions: Mapping[str, str]
    wall_time_s: float
    files: tuple[Path, ...]
    """Everything that was written, this summary last."""

    def to_json(self) -> dict[str, Any]:
        """The summary as JSON-able dictionaries and lists; files by their names in the folder."""
        return {"schema": SCHEMA} | asdict(self) | {"files": [file.name for file in self.files]}

    @classmethod
    def read(cls, folder: str | os.PathLike[str]) -> Summary:
        """The summary in a result's folder, of this version of tegum or an earlier one.

        In the first schema measures and criteria had no keys: theirs are made of their texts.

        Args:
            folder: that `run` has written.

        Raises:
            FileNotFoundError: there is no summary.json.
            ValueError: it is not the summary of an experiment, or of a later schema.

        """
        path = Path(folder) / SUMMARY
        call = f"Summary.read({str(folder)!r})"
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            schema = told.pop("schema", 1)
            if isinstance(schema, int) and schema > SCHEMA:
                raise ValueError(f"{call}: its schema is {schema}; this version of tegum reads up to {SCHEMA}")
            measures, criteria = ([dict(each) for each in told[name]] for name in ("measures", "criteria"))
            for each, text in [*((one, "name") for one in measures), *((one, "text") for one in criteria)]:
                each.setdefault("key", _slug(each[text]))
            parts = {
                "measures": tuple(Measure(**each) for each in measures),
                "criteria": tuple(Criterion(**each) for each in criteria),
                "files": tuple(path.parent / name for name in told["files"]),
            }
            return cls(**(told | parts))
        except FileNotFoundError:
            raise FileNotFoundError(f"{call}: there is no {SUMMARY} in it") from None
        except (TypeError, KeyError, AttributeError, UnicodeDecodeError, json.JSONDecodeError):
            raise ValueError(f"{call}: {SUMMARY} is not the summary of an experiment") from None


class Experiment(abc.ABC, Generic[Shown]):
    """One claim, and how it is put to the test. A new one is a final class in a file of its own."""

    claim: ClassVar[str]
    """In one sentence."""

    varies: ClassVar[Mapping[str, Range]] = {}
    """The keys of its Specs that can be changed, with the values for which it measures, draws and tells what is right;
    any other is refused. A key names no set of features: "features.density" stands for "features.0.density" as well."""

    @property
    def name(self) -> str:
        """That of its file, with hyphens."""
        return type(self).__module__.rpartition(".")[2].replace("_", "-")

    @abc.abstractmethod
    def trainings(self, size: Size) -> Mapping[str, Spec | Sequence[Spec]]:
        """What to train: for each name ("run" where there is one only) a Spec, or Specs of one call."""

    def check(self, specs: Mapping[str, Spec | Sequence[Spec]]) -> None:
        """Refuse, before any training, what the values of several keys together make impossible.

        Raises:
            ValueError: naming the key that was changed, and the rule.

        """

    def changed(self, size: Size, changes: Changes = ()) -> dict[str, Spec | Sequence[Spec]]:
        """What to train, with changes to every Spec; what cannot be measured, drawn and told rightly is refused.

        Raises:
            ValueError: a key that does not vary here, or a value out of its range; the sentence says what varies.

        """
        from tegum.training.spec.overrides import read_changes

        given = changes if isinstance(changes, str | Mapping) else list(changes)
        refuse(self.name, self.varies, read_changes(given))
        specs = dict(self.trainings(size))
        if given:
            specs = {name: _each(spec, lambda one: one.override(given)) for name, spec in specs.items()}
        self.check(specs)
        return specs

    @abc.abstractmethod
    def analyse(self, runs: Mapping[str, xr.Dataset]) -> Findings[Shown]:
        """Measure the trajectories, by the names of their trainings, and compare with the criteria."""

    @abc.abstractmethod
    def draw(self, runs: Mapping[str, xr.Dataset], findings: Findings[Shown]) -> Figure:
        """The figure."""

    def run(
        self,
        out: str | os.PathLike[str],
        *,
        size: Size = "default",
        changes: Sequence[str] = (),
        overwrite: bool = False,
        resume: bool = False,
        progress: bool | Callable[[Segment], None] | None = True,
    ) -> Summary:
        """Train, analyse, draw, judge, and write it all to a folder.

        Should training be stopped, or analysis or drawing fail, what was trained is kept in the folder `partial`
        inside, and an earlier result stays as it is.

        Args:
            out: the folder; made if it is missing.
            size: how large an ensemble.
            changes: to every Spec, as `Spec.override` takes them: ["training.steps=20000"].
            overwrite: replace an earlier result in the folder, once the new one is whole; other files there are left
                alone.
            resume: go on from what an unfinished run has left in the folder, to the same numbers; where there is
                nothing, begin.
            progress: as in `train`, of all that is trained, measured and drawn; a function is called with each
                `Segment` of the trainings.

        Raises:
            ValueError: an unknown size, or changes that a Spec refuses or of what does not vary here.
            FileExistsError: the folder holds a result, or an unfinished one, that is not to be replaced.
            NotADirectoryError: `out` is a file.
            OSError: nothing can be written there, or the disk has no room for it.
            TrainingInterrupted: on Ctrl-C while training; what was done until then is kept in `out`.

        """
        from tegum.experiments.folder import Folder
        from tegum.figures.style import matplotlib, rendered
        from tegum.progress.showing import shown
        from tegum.progress.tasks import Stage

        matplotlib()  # What cannot be drawn is known before it is trained.
        begin = time.perf_counter()
        sizes = ("quick", "default", "full")
        if size not in sizes:
            raise ValueError(f"{self.name}: run(size={size!r}): size must be one of {', '.join(sizes)}")
        specs = self.changed(size, changes)
        files = self._files(specs)
        with (
            shown(progress, Stage(f"{self.name} ({size})"), "run"),
            Folder(Path(out), files, overwrite=overwrite, resume=resume, call=self.name, specs=specs) as folder,
        ):
            runs = {name: folder.train(name, spec, progress) for name, spec in specs.items()}
            with shown(True, Stage("measuring"), "run"):
                findings = self.analyse(runs)
            with shown(True, Stage("drawing"), "run"):
                figure = self.draw(runs, findings)
                pictures = {kind: rendered(figure, kind) for kind in ("png", "svg")}
            for kind, picture in pictures.items():
                folder.write(f"{self.name}.{kind}", picture)
            summary = Summary(
                name=self.name,
                claim=self.claim,
                verdict=verdict(findings.criteria) if findings.tested else "not tested",
                criteria=findings.criteria,
                measures=findings.measures,
                caption=findings.caption,
                size=size,
                spec={name: _each(spec, lambda one: one.to_json()) for name, spec in specs.items()},
                seed={name: _each(spec, lambda one: one.base_seed) for name, spec in specs.items()},
                versions=_versions(),
                wall_time_s=round(time.perf_counter() - begin, 3),
                files=tuple(folder.path / file for file in files),
            )
            text = json.dumps(summary.to_json(), indent=2, ensure_ascii=False, allow_nan=False)
            folder.publish(f"{text}\n".encode())
        return summary

    def _files(self, specs: Mapping[str, Any]) -> tuple[str, ...]:
        return (*(f"{name}.zarr" for name in specs), f"{self.name}.png", f"{self.name}.svg", SUMMARY)


def verdict(criteria: Sequence[Criterion]) -> Verdict:
    """All criteria passed: the claim holds; none: it does not; else it holds in part.

    Raises:
        ValueError: there are no criteria.

    """
    if not criteria:
        raise ValueError("verdict([]): a claim needs at least one criterion")
    passed = [criterion.passed for criterion in criteria]
    return "holds" if all(passed) else "holds in part" if any(passed) else "does not hold"


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", f"a {text}".lower()).strip("_")


def _each(spec: Spec | Sequence[Spec], of: Callable[[Spec], Any]) -> Any:
    return [of(one) for one in spec] if isinstance(spec, Sequence) else of(spec)


def _versions() -> dict[str, str]:
    from tegum.training.dataset import version_of

    return {"python": platform.python_version()} | {library: version_of(library) for library in _LIBRARIES}
