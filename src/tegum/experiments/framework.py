"""The parts of every experiment: a claim, trainings, measures, criteria fixed beforehand, a figure, and a verdict.

An experiment says what to train (`trainings`, and `further` where that depends on earlier runs), measures the
trajectories (`analyse`) and draws what it found (`draw`). Each call can be used alone. `run` joins them and writes a
folder:

    run.zarr                     every snapshot; one such store per training, by its name
    NAME.png, NAME.svg           the figure; further ones are NAME-WORD.png, NAME-WORD.svg
    NAME.html                    all of it as a page, with runs as films
    findings.npz                 what `draw` needs besides the trajectories, so that `tegum draw` need not analyse again
    summary.json                 claim, verdict, every measured number, and how they were obtained

The result is built up in a subfolder `partial`, each trajectory as soon as it is trained and the summary last. Once it
is complete it replaces any earlier result. A folder with a summary therefore holds a complete result, and an unfinished
run can be resumed from what it left in `partial`.
"""

from __future__ import annotations

import abc
import json
import os
import platform
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast, final

from tegum.core.inputs.python_files import owned_by
from tegum.data.results import SUMMARY
from tegum.experiments.reporting import Measure
from tegum.experiments.summary import Criterion, Size, Summary, Verdict
from tegum.experiments.varied import Range, refuse

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from tegum.training.engine import Segment
    from tegum.training.spec.overrides import Changes
    from tegum.training.spec.spec import Spec

_LIBRARIES = ("tegum", "diffrax", "jax", "matplotlib", "numba", "numpy", "xarray", "zarr")


Shown = TypeVar("Shown")
"""The type of what an experiment's own figure needs."""


@final
@dataclass(frozen=True)
class Findings(Generic[Shown]):
    """What an analysis found."""

    measures: tuple[Measure, ...]
    criteria: tuple[Criterion, ...]
    caption: str | tuple[str, ...]
    """What the figure shows, in sentences; of several figures a caption for each, in their order."""
    shown: Shown = field(default=cast("Shown", None))
    """What the experiment's own `draw` needs besides the trajectories; most experiments need nothing. It is stored if
    it is made of numbers, text, arrays, xarray objects, and tuples, lists, mappings and dataclasses of these."""
    tested: bool = True
    """Whether there was anything to compare with the criteria: a claim that was not tested is not refuted."""
    answer: str = ""
    """The answer to the experiment's question, in a sentence or two for those who do not know the field."""

    def __post_init__(self) -> None:
        """Refuse a criterion that names a measure which is not there."""
        keys = {measure.key for measure in self.measures}
        for each in self.criteria:
            if each.measure is not None and each.measure not in keys:
                rule = f"its measure {each.measure!r} is not one of the findings' measures"
                raise ValueError(f"Findings(criteria): criterion {each.key!r}: {rule}")


@final
@dataclass(frozen=True)
class Origin:
    """The origin of an experiment that is not one of tegum's own."""

    name: str
    """The name by which the experiment is found."""
    source: Mapping[str, Any]
    """What summary.json records: a file with its sha256 and those of its neighbours, or a package and its version."""
    root: Path
    """The folder, or the single file, that holds the code."""

    def owns(self, file: str) -> bool:
        """Whether a Python file belongs to it, and not to tegum or to something installed inside its folder."""
        return owned_by(self.root, file)

    def __str__(self) -> str:
        if "package" in self.source:
            return f"package {self.source['package']} {self.source['version']}"
        return str(self.source["file"])


class Experiment(abc.ABC, Generic[Shown]):
    """One claim, and how it is put to the test: the base class of every experiment, tegum's own and yours.

    An experiment is a class without arguments. It defines

    - `claim`: one sentence that can turn out to be wrong;
    - `trainings(size)`: what to train, as Specs by name, in three sizes;
    - `analyse(runs)`: measure the trajectories, and compare them with criteria that were fixed beforehand;
    - `question`: the same in a few plain words, for `tegum list` and the first screen of a result;
    - `varies`: which keys of its Specs `--set` may change; without it, nothing can be changed;
    - `further(runs)`, if some trainings depend on the outcome of others;
    - `draw(runs, findings)`, if the default figure (losses and measures) is not enough; `further_figures`, if it draws
      several.

    Everything else (progress, interruption, `--resume`, the folder of the result, the verdict) comes with `run`. An
    experiment in a file `mine.py` is run with `tegum run mine.py`, and `tegum.experiments.get("mine.py")` finds it from
    Python.

    Example:
        >>> import tegum as tg
        >>> from tegum.experiments import ANY, Criterion, Experiment, Findings, average
        >>> class LossFalls(Experiment):
        ...     claim = "In 200 steps of training the loss falls below a third of the loss of zero weights."
        ...     question = "Does training lower the loss?"
        ...     varies = {"training.rate": ANY, "seeds": ANY}
        ...
        ...     def trainings(self, size):
        ...         seeds = {"quick": 4, "default": 16, "full": 64}[size]
        ...         features = [tg.Independent(4, density=0.5)]
        ...         training = tg.Sampled(steps=200, batch=256, rate=0.03)
        ...         return {"run": tg.Spec(features=features, hidden=3, training=training, snapshots=10, seeds=seeds)}
        ...
        ...     def analyse(self, runs):
        ...         # With W = 0 and b = 0 the loss is E[x²] = p/3 for each of four features.
        ...         ratio = runs["run"].loss.isel(step=-1).values / (4 * 0.5 / 3)
        ...         mean = average("final_loss", "final loss / loss of zero weights", ratio, "", "mean over runs")
        ...         text = "The mean final loss is below a third."
        ...         low = Criterion("below_a_third", text, mean.high < 1 / 3, "below a third", measure="final_loss")
        ...         return Findings((mean,), (low,), "Losses of four features in three dimensions.")
        >>> experiment = LossFalls()
        >>> runs = {name: tg.train(spec, progress=False) for name, spec in experiment.trainings("quick").items()}
        >>> experiment.analyse(runs).criteria[0].passed
        True

        `LossFalls().run("out", size="quick")` does the same, draws it and writes the folder.

    """

    claim: ClassVar[str]
    """The claim, in one sentence."""

    question: ClassVar[str] = ""
    """What is asked, in a few plain words; 44 letters fit into the line of `tegum list`."""

    seconds: ClassVar[Mapping[Size, float]] = {}
    """About how long each size takes on two cores, as far as it was measured."""

    varies: ClassVar[Mapping[str, Range]] = {}
    """The keys of its Specs that can be changed, each with the range in which measures, figure and verdict stay
    correct. Anything else is refused. Keys do not number the sets of features: "features.density" also covers
    "features.0.density"."""

    further_figures: ClassVar[tuple[str, ...]] = ()
    """If `draw` returns several figures: a word for each but the first, in their order. The first is written as
    NAME.png, and another one as NAME-WORD.png."""

    origin: Origin | None = None
    """Where it comes from, if from a file or another package; set by `tegum.experiments.get`."""

    @property
    def name(self) -> str:
        """The name of its file, with hyphens; in a notebook, which has no file, the name of its class."""
        if self.origin is not None:
            return self.origin.name
        module = type(self).__module__.rpartition(".")[2]
        if module == "__main__":
            file = getattr(sys.modules["__main__"], "__file__", None)
            module = Path(file).stem if file else re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", type(self).__name__).lower()
        return module.replace("_", "-")

    @abc.abstractmethod
    def trainings(self, size: Size) -> Mapping[str, Spec | Sequence[Spec]]:
        """What to train: by name ("run" if there is only one), a Spec, or several Specs to be trained in one call."""

    def check(self, specs: Mapping[str, Spec | Sequence[Spec]]) -> None:
        """Refuse, before any training, combinations of values that are impossible.

        Raises:
            ValueError: a combination is impossible; the message names the key that was changed, and the rule.

        """

    def changed(self, size: Size, changes: Changes = ()) -> dict[str, Spec | Sequence[Spec]]:
        """What to train, with changes applied to every Spec. A change that would make the results wrong is refused.

        Raises:
            ValueError: a key does not vary here, or a value is out of range; the message says what can be changed.

        """
        from tegum.training.spec.overrides import read_changes

        given = changes if isinstance(changes, str | Mapping) else list(changes)
        refuse(self.name, self.varies, read_changes(given))
        specs = self._checked(self.trainings(size), f"trainings({size!r})")
        if given:
            specs = {name: _each(spec, lambda one: one.override(given)) for name, spec in specs.items()}
        self.check(specs)
        return specs

    def further(self, runs: Mapping[str, xr.Dataset]) -> Mapping[str, Spec | Sequence[Spec]]:  # noqa: ARG002 (for those that override it)
        """What to train next, given what has been trained, such as descent from where runs ended; by default nothing.

        It is called again after each round, and names that are already trained are skipped, so it may always return
        everything it can name so far. Changes made by `--set` are in the Specs of the runs
        (`tegum.training.dataset.specs_of`).
        """
        return {}

    def train_all(
        self,
        specs: Mapping[str, Spec | Sequence[Spec]],
        train: Callable[[str, Spec | Sequence[Spec]], xr.Dataset] | None = None,
    ) -> dict[str, xr.Dataset]:
        """The trajectories of the given trainings, and of those that `further` adds until it adds no more.

        Args:
            specs: as returned by `trainings` or `changed`.
            train: called with the name and the Specs of each training; by default `tegum.train`, which stores nothing.

        Raises:
            ValueError: `further` returns something that cannot be trained.

        """
        if train is None:
            from tegum.training import engine

            train = lambda _, each: engine.train(each)  # noqa: E731 (a function of that name would hide the argument)
        runs: dict[str, xr.Dataset] = {}
        while specs:
            runs |= {name: train(name, each) for name, each in specs.items()}
            wanted = self._checked(self.further(runs), "further(runs)")
            specs = {name: each for name, each in wanted.items() if name not in runs}
        return runs

    @abc.abstractmethod
    def analyse(self, runs: Mapping[str, xr.Dataset]) -> Findings[Shown]:
        """Measure the trajectories, given by the names of their trainings, and compare them with the criteria."""

    def draw(self, runs: Mapping[str, xr.Dataset], findings: Findings[Shown]) -> Figure | tuple[Figure, ...]:
        """Draw the figure or figures; by default the losses of all runs, one panel per training, above the measures.

        It is also called by `tegum draw`, with findings that were stored, so it must not analyse. Captions are set
        below figures by whoever calls it.
        """
        from tegum.figures.losses import losses

        return losses(runs, [measure.line() for measure in findings.measures])

    def drawn(self, runs: Mapping[str, xr.Dataset], findings: Findings[Shown]) -> dict[str, tuple[Figure, str]]:
        """The figures that `draw` draws, each with its caption, by the names of their files without the suffix.

        Raises:
            ValueError: `draw` returned no figures, or not as many as `further_figures` and the captions name.

        """
        from tegum.figures.style import drawing

        with drawing():  # also for figures that are not made by tegum
            from matplotlib import rcParams
            from matplotlib.figure import Figure as AnyFigure

            if self.origin is not None:
                # Figures of other people keep their labels inside, unless they choose a layout.
                rcParams["figure.constrained_layout.use"] = True
            made = self.draw(runs, findings)
        figures = made if isinstance(made, tuple) else (made,)
        captions = findings.caption if isinstance(findings.caption, tuple) else (findings.caption,)
        names = self.figure_names
        if not all(isinstance(each, AnyFigure) for each in figures):
            kinds = ", ".join(type(each).__name__ for each in figures)
            raise ValueError(f"{self.name}: draw(runs, findings) must return a Figure or a tuple of them, not {kinds}")
        if len(figures) != len(names) or len(captions) > len(names):
            rule = f"with further_figures={self.further_figures!r} there must be {len(names)} figures and captions"
            raise ValueError(f"{self.name}: draw(runs, findings): {rule}, not {len(figures)} and {len(captions)}")
        padded = (*captions, *[""] * (len(names) - len(captions)))
        return {name: pair for name, pair in zip(names, zip(figures, padded, strict=True), strict=True)}  # noqa: C416

    def drawn_runs(self, findings: Findings[Shown]) -> Mapping[tuple[str, int], Sequence[int]]:  # noqa: ARG002 (for those that override it)
        """Which runs the figures show by themselves, for the films on the page of a result; by default none.

        Returns:
            The numbers of the runs, by the name of their training and the position of their Spec in it.

        """
        return {}

    @property
    def figure_names(self) -> tuple[str, ...]:
        """The names of the files of its figures, without the suffix."""
        return (self.name, *(f"{self.name}-{word}" for word in self.further_figures))

    def run(
        self,
        out: str | os.PathLike[str],
        *,
        size: Size = "default",
        changes: Sequence[str] = (),
        overwrite: bool = False,
        resume: bool = False,
        progress: bool | Callable[[Segment], None] | None = True,
        caption: bool = False,
        executor: Any = None,
    ) -> Summary:
        """Train, analyse, draw, judge, and write it all to a folder.

        If training is stopped, or analysis or drawing fails, what was trained is kept in the subfolder `partial`, and
        an earlier result stays as it is.

        Args:
            out: the folder; it is created if missing.
            size: the size of the ensemble.
            changes: changes to every Spec, in the form that `Spec.override` takes: ["training.steps=20000"].
            overwrite: replace an earlier result in the folder once the new one is complete. Other files there are left
                alone.
            resume: continue from what an unfinished run has left in the folder, with bit-identical results. If there is
                nothing, start from the beginning.
            progress: as in `train`, for everything that is trained, measured and drawn. A function is called with each
                `Segment` of the trainings.
            caption: whether the files of figures have their captions at the bottom; the summary always has them.
            executor: who trains, as `tegum.sweep` takes it: the address of a Dask scheduler, a client, or an executor;
                None trains in this process. What is measured and drawn is the same.

        Raises:
            ValueError: the size is unknown, or a change is refused, by a Spec or because that key does not vary here.
            FileExistsError: the folder holds a finished or unfinished result that is not to be replaced.
            NotADirectoryError: `out` is a file.
            OSError: nothing can be written there, or the disk has too little space.
            ValueError: `analyse` returned something else than `Findings`.
            TrainingInterrupted: Ctrl-C was pressed while training; what was done until then is kept in `out`.

        """
        from tegum.experiments import stored
        from tegum.experiments.folder import Folder
        from tegum.experiments.result_page import result_page
        from tegum.figures.style import matplotlib, rendered
        from tegum.progress.showing import shown
        from tegum.progress.tasks import Stage
        from tegum.training.engine import together
        from tegum.training.sizes import check_training

        matplotlib()  # If matplotlib cannot be imported, fail before training and not after.
        begin = time.perf_counter()
        sizes = ("quick", "default", "full")
        if size not in sizes:
            raise ValueError(f"{self.name}: run(size={size!r}): size must be one of {', '.join(sizes)}")
        specs = self.changed(size, changes)
        for spec in specs.values():
            check_training(together(spec, self.name), self.name, "auto", None, kept=True)
        source = None if self.origin is None else self.origin.source
        with (
            shown(progress, Stage(f"{self.name} ({size})"), "run"),
            Folder(
                Path(out), self._files(specs), overwrite=overwrite, resume=resume, call=self.name, specs=specs,
                source=source, executor=executor,
            ) as folder,
        ):  # fmt: skip
            runs = self.train_all(specs, lambda name, each: folder.train(name, each, progress))
            with shown(True, Stage("measuring"), "run"):
                findings = self.analyse(runs)
            if not isinstance(findings, Findings):
                raise ValueError(f"{self.name}: analyse(runs) must return Findings, not {type(findings).__name__}")
            with shown(True, Stage("drawing"), "run"):
                drawn = self.drawn(runs, findings)
                pictures = {
                    f"{name}.{kind}": rendered(figure, kind, words if caption else "")
                    for name, (figure, words) in drawn.items()
                    for kind in ("png", "svg")
                }
            for name, picture in pictures.items():
                folder.write(name, picture)
            files = self._files(runs)
            try:
                folder.write(stored.FILE, stored.dump(findings.shown, type(self).__module__))
            except TypeError as error:
                warnings.warn(f"{self.name}: {error}; `tegum draw` cannot draw this result again", stacklevel=2)
                files = tuple(file for file in files if file != stored.FILE)
            summary = Summary(
                name=self.name,
                claim=self.claim,
                verdict=verdict(findings.criteria) if findings.tested else "not tested",
                criteria=findings.criteria,
                measures=findings.measures,
                caption=drawn[self.name][1],
                further_captions={name: words for name, (_, words) in drawn.items() if name != self.name},
                size=size,
                spec={name: _each(spec, lambda one: one.to_json()) for name, spec in specs.items()},
                seed={name: _each(spec, lambda one: one.base_seed) for name, spec in specs.items()},
                versions=_versions(),
                wall_time_s=round(time.perf_counter() - begin, 3),
                files=tuple(folder.path / file for file in files),
                source=source,
                question=self.question,
                answer=findings.answer,
            )
            try:
                html = result_page(summary, pictures, runs, self.drawn_runs(findings))
                folder.write(f"{self.name}.html", html.encode(errors="backslashreplace"))
            except Exception as error:
                warnings.warn(f"{self.name}: the page {self.name}.html was not written: {error}", stacklevel=2)
                without = tuple(file for file in summary.files if file.suffix != ".html")
                summary = replace(summary, files=without)
            text = json.dumps(summary.to_json(), indent=2, ensure_ascii=False, allow_nan=False)
            # Half a surrogate pair in an answer or a caption, which UTF-8 does not have, must not cost the result.
            folder.publish(f"{text}\n".encode(errors="backslashreplace"))
        return summary

    def _files(self, names: Iterable[str]) -> tuple[str, ...]:
        from tegum.experiments.stored import FILE

        pictures = (f"{name}.{kind}" for name in self.figure_names for kind in ("png", "svg"))
        return (*(f"{name}.zarr" for name in names), *pictures, FILE, f"{self.name}.html", SUMMARY)

    def _checked(self, given: Any, call: str) -> dict[str, Spec | Sequence[Spec]]:
        """What `trainings` or `further` returned, if it can be trained and stored under its names."""
        from tegum.training.spec.spec import Spec

        if not isinstance(given, Mapping):
            rule = 'must give Specs by their names, such as {"run": spec}'
            raise ValueError(f"{self.name}: {call} {rule}, not {type(given).__name__}")
        for name, specs in given.items():
            if not (isinstance(name, str) and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name)):
                raise ValueError(f"{self.name}: {call} names a training {name!r}: use only letters, digits, - and _")
            several = specs if isinstance(specs, Sequence) else [specs]
            if not several or not all(isinstance(each, Spec) for each in several):
                rule = "must be a Spec, or a list of Specs that are trained in one call"
                raise ValueError(f"{self.name}: {call}[{name!r}] {rule}")
        return dict(given)


def chosen(module: ModuleType, kind: str | None, call: str) -> object:
    """The class of the experiment in a module: the one named, or the only one from which no other there derives.

    Raises:
        ValueError: there is no class of this name, no experiment at all, or more than one.

    """
    own = [each for each in vars(module).values() if isinstance(each, type) and issubclass(each, Experiment)]
    kinds = list(dict.fromkeys(each for each in own if each.__module__ == module.__name__))
    bases = {base for each in kinds for base in each.__mro__[1:]}
    last = [each.__name__ for each in kinds if each not in bases]
    if kind is not None:
        if hasattr(module, kind):
            return getattr(module, kind)
        raise ValueError(f"{call}: there is no class {kind!r} in it; its experiments are {', '.join(last) or 'none'}")
    match last:
        case [only]:
            return getattr(module, only)
        case []:
            raise ValueError(f"{call}: there is no experiment in it, a class derived from tegum.experiments.Experiment")
        case _:
            several = ", ".join(last)
            raise ValueError(f"{call}: there are several experiments in it, {several}; choose one as FILE.py:{last[0]}")


def ready(kind: object, origin: Origin | None, call: str) -> Experiment[Any]:
    """An instance of the class of an experiment, after checking that the class is complete.

    Raises:
        ValueError: the class is not an experiment, or lacks something that an experiment must have.

    """
    if not (isinstance(kind, type) and issubclass(kind, Experiment)):
        name = kind.__name__ if isinstance(kind, type) else type(kind).__name__
        raise ValueError(f"{call}: {name} is not a class derived from tegum.experiments.Experiment")
    missing = sorted(kind.__abstractmethods__)
    if not isinstance(getattr(kind, "claim", None), str):
        missing.insert(0, "claim")
    if missing:
        raise ValueError(f"{call}: {kind.__name__} lacks {', '.join(missing)}")
    experiment = kind()
    if origin is not None:
        object.__setattr__(experiment, "origin", origin)
    return experiment


def verdict(criteria: Sequence[Criterion]) -> Verdict:
    """The verdict: the claim holds if all criteria pass, does not hold if none does, and otherwise holds in part.

    Raises:
        ValueError: there are no criteria.

    """
    if not criteria:
        raise ValueError("verdict([]): a claim needs at least one criterion")
    passed = [criterion.passed for criterion in criteria]
    return "holds" if all(passed) else "holds in part" if any(passed) else "does not hold"


def _each(spec: Spec | Sequence[Spec], of: Callable[[Spec], Any]) -> Any:
    return [of(one) for one in spec] if isinstance(spec, Sequence) else of(spec)


def _versions() -> dict[str, str]:
    from tegum.training.dataset import version_of

    return {"python": platform.python_version()} | {library: version_of(library) for library in _LIBRARIES}
