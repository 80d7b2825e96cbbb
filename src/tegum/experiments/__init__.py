"""Experiments by name: tegum's own, those of other packages, and those in files of your own.

Every package here whose `__init__.py` holds one `Experiment` is an experiment; `energy_levels` is called
`energy-levels`. Other installed packages declare theirs as entry points in the group `tegum.experiments`, and a file is
named by its path. There is no list to maintain. Everything that a new experiment needs can be imported from here.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from tegum.experiments.files import own_lines
    from tegum.experiments.framework import Experiment, Findings
    from tegum.experiments.reporting import Measure, average, share
    from tegum.experiments.summary import Criterion, Size, Summary
    from tegum.experiments.varied import ANY, Range
    from tegum.figures.style import Kind

__all__ = [
    "ANY",
    "Criterion",
    "Experiment",
    "Findings",
    "Listed",
    "Measure",
    "Range",
    "Summary",
    "average",
    "claims",
    "get",
    "listed",
    "names",
    "own_lines",
    "own_lines_of_result",
    "redraw",
    "result_html",
    "share",
]

_HOME = {
    "own_lines": "files",
    **dict.fromkeys(("Experiment", "Findings"), "framework"),
    **dict.fromkeys(("Criterion", "Summary"), "summary"),
    **dict.fromkeys(("Measure", "average", "share"), "reporting"),
    **dict.fromkeys(("ANY", "Range"), "varied"),
}


class Listed(NamedTuple):
    """An experiment as `tegum list` shows it."""

    name: str
    claim: str
    origin: str
    """Where it comes from: "tegum", or "package NAME VERSION"."""
    question: str = ""
    """What is asked, in a few plain words; empty where the experiment does not say."""
    seconds: Mapping[Size, float] = MappingProxyType({})
    """About how long each size takes on two cores, as far as it was measured."""

    @classmethod
    def of(cls, experiment: Experiment[Any], name: str, origin: str) -> Listed:
        """How an experiment is listed under a name."""
        return cls(name, experiment.claim, origin, experiment.question, experiment.seconds)


def names() -> list[str]:
    """The names of all experiments, tegum's own and those of other packages, in alphabetical order.

    An experiment of another package whose name is taken is called PACKAGE.NAME.
    """
    from tegum.experiments.installed import installed

    own = _own()
    return sorted([*own, *(each.name for each in installed(own))])


def get(name: str | os.PathLike[str]) -> Experiment[Any]:
    """The experiment of that name, or in that file.

    Args:
        name: one of `names()`; PACKAGE.NAME for one of another package; or the path of a file, as a `Path` or as text
            ending in .py, or in .py:CLASS if the file holds several.

    Raises:
        ValueError: there is no experiment of this name (the message suggests the nearest), none in the file, or more
            than one; or its package cannot be imported.
        FileNotFoundError: there is no such file.
        Exception: whatever the file itself raises.

    """
    from tegum.experiments.files import load, split

    file = split(name)
    if file is not None:
        return load(*file)
    own, name = _own(), str(name)
    if name in own:
        from tegum.experiments.framework import chosen, ready

        module = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
        return ready(chosen(module, None, name), None, name)
    from tegum.experiments.installed import installed

    others = installed(own)
    for other in others:
        if name in (other.name, other.qualified):
            return other.load()
    from tegum.core.description import nearest

    known = nearest(name, [*own, *(other.name for other in others)])
    beside = f"; the file {name}.py is run as {name}.py" if Path(f"{name}.py").is_file() else ""
    raise ValueError(f"experiment {name!r}: there is no experiment of this name; {known}{beside}")


def made_by(summary: Summary, call: str) -> Experiment[Any]:
    """The experiment that has made a result; of a file that has changed since, with a warning.

    Args:
        summary: the summary of the result.
        call: the beginning of every message.

    Raises:
        ValueError: there is no such experiment any more, or its file is not where it was.

    """
    source = summary.source or {}
    try:
        found = get(_maker(summary))
    except FileNotFoundError:
        file, rule = source.get("file", summary.name), "it is needed, and must be where it was"
        raise ValueError(f"{call}: the file of the experiment, {file}, is not there; {rule}") from None
    own = None if found.origin is None else found.origin.source.get("sha256")
    if own != source.get("sha256"):
        warnings.warn(f"{call}: the code of the experiment has changed since, and the new code is used", stacklevel=3)
    return found


def redraw(
    result: str | os.PathLike[str],
    *,
    kind: Kind = "pdf",
    width: float | None = None,
    style: str | None = None,
    caption: bool = False,
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Draw the figures of a result again, from the findings that were stored with it.

    They are drawn in tegum's style, then under whatever your own matplotlibrc sets, then in the style that is asked
    for. The files of `tegum run` do not depend on your settings.

    Args:
        result: the folder of a result.
        kind: the format, "png", "svg" or "pdf"; the suffix of `out` takes precedence.
        width: the width in inches; by default 7.2, two columns of a journal, of which one has 3.4.
        style: a style of matplotlib's, such as "dark_background", or the path of a style sheet; "default" leaves
            nothing of tegum's own.
        caption: whether to set the caption below each figure.
        out: the file of the first figure; further ones stand beside it, with a word added. By default the files have
            the names of the experiment's figures, in the result's folder.
        overwrite: whether to replace files that are there.

    Returns:
        The files.

    Raises:
        ValueError: the result has no stored findings, or its experiment has changed too much; or the width, style or
            suffix is none.
        FileNotFoundError: there is no result, or no such folder for the files.
        FileExistsError: something is there that is not to be replaced.
        OSError: a file cannot be written.

    """
    from tegum.experiments.redrawing import draw_again
    from tegum.experiments.summary import Summary

    call = f"draw {os.fspath(result)}"
    return draw_again(
        made_by(Summary.read(result), call), Path(result), kind=kind, width=width, style=style, caption=caption,
        out=None if out is None else Path(out), overwrite=overwrite, call=call,
    )  # fmt: skip


def result_html(result: str | os.PathLike[str]) -> str:
    """The result in a folder as one HTML file, with its figures, claim, criteria and numbers, and runs as films.

    Args:
        result: the folder of a result.

    Returns:
        A whole HTML document, which needs no network.

    Raises:
        ValueError: the summary or a trajectory cannot be read.
        FileNotFoundError: there is no result, or a trajectory is missing.

    """
    from tegum.experiments.redrawing import opened
    from tegum.experiments.result_page import page_of_folder
    from tegum.experiments.summary import Summary

    call, place = f"result_html({os.fspath(result)!r})", Path(result)
    summary = Summary.read(place)
    try:
        experiment = made_by(summary, call)
        _, findings = opened(experiment, place, call)
        drawn = experiment.drawn_runs(findings)
    except Exception:
        drawn = {}
    return page_of_folder(place, drawn)


def own_lines_of_result(error: BaseException, result: str | os.PathLike[str]) -> str | None:
    """The traceback of an error in drawing a result again, as `own_lines` gives it for the experiment that made it.

    Raises:
        ValueError: there is no such experiment, or `result` is no result.
        FileNotFoundError: there is no result, or the file of the experiment is not there.

    """
    from tegum.experiments.files import own_lines, split
    from tegum.experiments.summary import Summary

    of = _maker(Summary.read(result))
    return own_lines(error, of if split(of) else get(of))


def _maker(summary: Summary) -> str:
    """The name under which the experiment that has made a result is found."""
    source = summary.source or {}
    return ":".join(str(source[key]) for key in ("file", "class") if key in source) or summary.name


def listed() -> list[Listed]:
    """All experiments with their claims, in order of name.

    An experiment of another package that cannot be imported is left out, with a warning.
    """
    from tegum.experiments.installed import installed

    own = _own()
    found = [Listed.of(get(name), name, "tegum") for name in own]
    for other in installed(own):
        try:
            found.append(Listed.of(other.load(), other.name, str(other)))
        except ValueError as error:
            warnings.warn(str(error), stacklevel=2)
    return sorted(found, key=lambda each: each.name)


def claims() -> dict[str, str]:
    """The claim of each experiment, in one sentence, by name."""
    return {each.name: each.claim for each in listed()}


def _own() -> list[str]:
    return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__) if module.ispkg)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
