"""The figures of a result, drawn again from what was stored: in another format, size or style, without analysing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, final, get_args

from tegum.experiments import stored
from tegum.experiments.framework import Findings
from tegum.experiments.summary import Summary

if TYPE_CHECKING:
    import xarray as xr

    from tegum.experiments.framework import Experiment
    from tegum.figures.style import Kind


@final
class _StoredRuns(Mapping[str, "xr.Dataset"]):
    """The trajectories of a result by their names, each opened when it is asked for."""

    def __init__(self, summary: Summary) -> None:
        self._places = {file.stem: file for file in summary.files if file.suffix == ".zarr"}
        self._opened: dict[str, xr.Dataset] = {}

    def __getitem__(self, name: str) -> xr.Dataset:
        from tegum.data.store import load

        if name not in self._opened:
            self._opened[name] = load(self._places[name])
        return self._opened[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def draw_again(
    experiment: Experiment[Any],
    result: Path,
    *,
    kind: Kind,
    width: float | None,
    style: str | None,
    caption: bool,
    out: Path | None,
    overwrite: bool,
    call: str,
) -> list[Path]:
    """Draw the figures of a result of this experiment, as `tegum.experiments.redraw` says."""
    from tegum.data.atomic import replacing_file
    from tegum.figures import style as look

    shown = look.users_look(look.WIDTH if width is None else width, style, call)
    kind = kind if out is None or not out.suffix else _suffix(out, call)
    files = _places(experiment, result, out, kind, call)
    for file in files:
        if file.exists() and not overwrite:
            raise FileExistsError(f"{call}: {str(file)!r} is there already; overwrite=True (--overwrite) replaces it")
    runs, findings = opened(experiment, result, call)
    pictures = []
    with look.looking(shown), look.explaining_latex(shown, call):
        for figure, words in experiment.drawn(runs, findings).values():
            _fit(figure, width)
            pictures.append(look.rendered(figure, kind, words if caption else ""))
    for file, content in zip(files, pictures, strict=True):
        with replacing_file(file, overwrite=overwrite, call=f"{call}: writing {str(file)!r}") as part:
            part.write_bytes(content)
    return files


def _fit(figure: Any, width: float | None) -> None:
    """Scale the page of a figure that was not made for the width that is asked for, such as one of pyplot's."""
    size = figure.get_size_inches()
    if width is not None and abs(size[0] - width) > 1e-6:
        figure.set_size_inches(width, size[1] * width / size[0])


def _suffix(out: Path, call: str) -> Kind:
    from tegum.figures.style import Kind

    for kind in get_args(Kind):
        if out.suffix.lower() == f".{kind}":
            return kind
    raise ValueError(f"{call} --out {out}: the suffix must be .png, .svg or .pdf")


def _places(experiment: Experiment[Any], result: Path, out: Path | None, kind: str, call: str) -> list[Path]:
    if out is None:
        return [result / f"{name}.{kind}" for name in experiment.figure_names]
    if not out.parent.is_dir():
        raise FileNotFoundError(f"{call} --out {out}: there is no folder {str(out.parent)!r}")
    first = out.with_suffix(f".{kind}")
    return [first, *(first.with_name(f"{first.stem}-{word}.{kind}") for word in experiment.further_figures)]


def opened(experiment: Experiment[Any], result: Path, call: str) -> tuple[Mapping[str, xr.Dataset], Findings[Any]]:
    """The trajectories of a result, opened when they are asked for, and its findings.

    Raises:
        FileNotFoundError: there is no result.
        ValueError: it has no findings, or those of another version of the experiment.

    """
    summary = Summary.read(result)
    if stored.FILE not in {file.name for file in summary.files}:
        rule = "it was made before findings were stored, or they could not be; run the experiment again"
        raise ValueError(f"{call}: the result has no {stored.FILE} to draw from: {rule}")
    try:
        content = (result / stored.FILE).read_bytes()
    except OSError as error:
        raise ValueError(f"{call}: {stored.FILE} cannot be read: {error.strerror}") from None
    captions = (summary.caption, *(summary.further_captions.get(name, "") for name in experiment.figure_names[1:]))
    shown = stored.load(content, type(experiment).__module__, call)
    tested = summary.verdict != "not tested"
    return _StoredRuns(summary), Findings(summary.measures, summary.criteria, captions, shown, tested)
