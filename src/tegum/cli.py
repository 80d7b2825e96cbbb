"""The command line: one verb a stage. Results go to standard output, progress and complaints to standard error."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

from cyclopts import App, Parameter, Token

if TYPE_CHECKING:
    import xarray as xr

app = App(
    name="tegum",
    help="A laboratory for superposition: toy models trained, measured and seen as geometry.",
    version_flags=["--version"],
    version=lambda: _version(),
    suppress_keyboard_interrupt=False,  # `main` tells what an interruption has left
)

Changes = Annotated[
    tuple[str, ...],
    Parameter(name="--set", negative="", consume_multiple=False, help="Change a key of the Spec: hidden=3."),
]
Overwrite = Annotated[bool, Parameter(negative="", help="Replace an earlier result at the same place.")]


def _whole(_: Any, tokens: Sequence[Token]) -> int:
    # By itself cyclopts rounds: --seed 1.5 would show run 2.
    text = tokens[0].value
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"render {tokens[0].keyword} {text}: it must be a whole number") from None


Whole = Parameter(converter=_whole)


@app.command(name="list")
def list_() -> None:
    """List the experiments and their claims."""
    from tegum import experiments, terminal

    terminal.table("Experiments", ("name", "claim"), sorted(experiments.claims().items()))


@app.command
def run(
    name: str,
    *,
    out: Path | None = None,
    quick: Annotated[bool, Parameter(negative="")] = False,
    full: Annotated[bool, Parameter(negative="")] = False,
    changes: Changes = (),
    overwrite: Overwrite = False,
) -> None:
    """Run an experiment: train, measure, draw, and judge its claim.

    Parameters
    ----------
    name
        An experiment that `tegum list` names.
    out
        The folder for run.zarr, the figure (PNG, SVG) and summary.json; by default one with the experiment's name.
    quick
        A smaller ensemble, in under a minute.
    full
        The publication run.

    """
    from tegum import experiments, terminal

    if quick and full:
        raise ValueError("run --quick --full: an experiment is run either quick or full")
    experiment = experiments.get(name)
    folder = out if out is not None else Path(name)
    size: Literal["quick", "default", "full"] = "quick" if quick else "full" if full else "default"
    with terminal.Progress(f"{name} ({size})") as progress:
        summary = experiment.run(folder, size=size, changes=changes, overwrite=overwrite, progress=progress.segment)
    terminal.summary(summary)


@app.command
def train(
    spec: Path,
    *,
    out: Path | None = None,
    changes: Changes = (),
    threads: int | None = None,
    engine: Literal["auto", "kernel", "jax"] = "auto",
    overwrite: Overwrite = False,
) -> None:
    """Train the runs that a TOML file describes, and keep every snapshot.

    Parameters
    ----------
    spec
        The description, as the README shows it.
    out
        Where the trajectory goes; by default beside the description, with the ending .zarr.
    threads
        Threads; all cores by default. The numbers do not depend on it.
    engine
        For sampled training the fused CPU kernel, JAX, or whichever covers the description.

    """
    import tegum
    from tegum import terminal
    from tegum.data.store import check_place

    target = out if out is not None else _beside(spec, ".zarr")
    description = tegum.Spec.from_toml(spec, changes)
    if target.exists() and not overwrite:
        raise ValueError(f"train --out {target}: there is something already; --overwrite replaces it")
    # What can be refused is refused before training, not after it.
    check_place(target, overwrite=overwrite)
    with terminal.Progress(f"{spec.name} ({description.seeds} runs)") as progress:
        try:
            trajectory = tegum.train(description, threads=threads, engine=engine, progress=progress.segment)
        except tegum.TrainingInterrupted as interruption:
            tegum.save(interruption.run, target, overwrite=overwrite)
            _interrupted(f"what was done is kept in {target}")
    tegum.save(trajectory, target, overwrite=overwrite)
    _show(trajectory, target)


@app.command
def show(path: Path) -> None:
    """Tell what a stored trajectory holds: its Spec, how the runs ended, and which polytopes they found.

    Parameters
    ----------
    path
        A trajectory that `tegum train` or `tegum run` wrote.

    """
    import tegum

    _show(tegum.load(path), path)


@app.command
def render(
    path: Path,
    *,
    out: Path | None = None,
    seed: Annotated[int | None, Whole] = None,
    spec: Annotated[int | None, Whole] = None,
    dimensions: Literal[2, 3] | None = None,
    clock: Literal["snapshots", "linear", "logarithmic"] = "snapshots",
    start: Annotated[int | None, Whole, Parameter(name="--from")] = None,
    stop: Annotated[int | None, Whole, Parameter(name="--to")] = None,
    every: Annotated[int, Whole] = 1,
    fps: Annotated[int, Whole] = 25,
    seconds: float | None = None,
    width: Annotated[int, Whole] = 960,
    turn: float = 0.0,
    overwrite: Overwrite = False,
) -> None:
    """Write a film of one run: its embeddings in one pose beside the loss, as .mp4 or .gif.

    Parameters
    ----------
    path
        A trajectory that `tegum train` or `tegum run` wrote.
    out
        The film, with the ending .mp4 or .gif; by default beside the trajectory, as .mp4.
    seed
        Of the run; by default the first.
    spec
        The number of its Spec, where there are several.
    dimensions
        Of the picture; by default 2 where m ≤ 2, and 3 otherwise. More hidden dimensions are projected on principal
        directions, and the frame says so.
    clock
        What goes on evenly; by default each snapshot is shown for as long.
    start
        No snapshot before this step.
    stop
        No snapshot after this step.
    every
        Only every so many snapshots.
    fps
        Frames per second; a GIF has 50 at most.
    seconds
        How long the film is; by default it has a frame for each snapshot.
    width
        Of a frame, in pixels; it is half as high.
    turn
        Degrees by which the camera turns in three dimensions; 0, so that only learning moves.

    """
    import tegum
    from tegum import terminal
    from tegum.figures.motion import render as write

    target = out if out is not None else _beside(path, ".mp4")
    with terminal.Working(target.name) as working:
        film = write(
            tegum.load(path), target, seed=seed, spec=spec, dimensions=dimensions, clock=clock, start=start, stop=stop,
            every=every, fps=fps, seconds=seconds, width=width, turn=turn, overwrite=overwrite, progress=working.part,
        )  # fmt: skip
    terminal.wrote([film])


@app.command
def analyse(
    weights: Path,
    *,
    key: str | None = None,
    transpose: Annotated[bool, Parameter(negative="")] = False,
    activations: Path | None = None,
    activations_key: str | None = None,
    features: Annotated[tuple[int, ...], Parameter(negative="")] = (),
    companions: int = 8,
    threshold: float = 0.5,
    neighbours: bool = True,
    out: Path | None = None,
    overwrite: Overwrite = False,
) -> None:
    """Measure the geometry of feature directions, such as a dictionary's, and co-activation of its features.

    Parameters
    ----------
    weights
        A matrix with a direction in each row: .npy, .npz, .safetensors, or a zarr array or group.
    key
        The name of the matrix in the file; where there is one only, it is that.
    transpose
        The directions are the columns.
    activations
        A matrix with a sample in each row and a column for each feature; .npz also as scipy writes sparse ones.
    activations_key
        Its name in the file.
    features
        Features whose local bases are measured; by default those most correlated with others.
    companions
        Of how many of the most correlated features is told, and what a local basis has to hold.
    threshold
        A feature is represented if its norm is at least this part of the largest.
    neighbours
        Whether to search for each feature's neighbours, which takes minutes for 100,000 features.
    out
        A folder for summary.json, measures.zarr and the figure (PNG, SVG).

    """
    from tegum.analysis import analyse as analysis
    from tegum.data import results
    from tegum.data.matrices import open_matrix

    call = "analyse"
    target = None if out is None else results.check_results_place(out, overwrite=overwrite, call=call)
    given = open_matrix(weights, key, call=f"{call} {weights}")
    given = given.T if transpose else given
    x = None
    if activations is not None:
        x = open_matrix(activations, activations_key, call=f"{call} --activations {activations}", sparse=True)
    from tegum import terminal

    with terminal.Working(f"{weights.name} ({given.shape[0]:,} × {given.shape[1]:,})") as working:
        found = analysis.analyse(
            given,
            x,
            threshold=threshold,
            neighbours=neighbours,
            features=list(features) or None,
            companions=companions,
            progress=working.part,
        )
    terminal.analysis(str(weights), found)
    if target is None or out is None:
        return
    import json

    from tegum.figures.embeddings import embeddings
    from tegum.figures.style import rendered

    source = {"weights": str(weights), "key": key, "transpose": transpose}
    source |= {"activations": None if activations is None else str(activations), "activations_key": activations_key}
    told = {"source": source, "tegum_version": _version()} | analysis.summary(found)
    figure = embeddings(found, weights.name)
    text = json.dumps(told, indent=2, ensure_ascii=False, allow_nan=False)
    files = {f"embeddings.{kind}": rendered(figure, kind) for kind in ("png", "svg")}
    files[results.SUMMARY] = f"{text}\n".encode()
    results.write_results(target, found, files, overwrite=overwrite, call=call)
    terminal.wrote([out / name for name in (results.TABLE, *files)])


def main() -> None:
    """Run the command line; a wrong value ends in one sentence, not in a traceback."""
    # A cluster's polite kill is treated like Ctrl-C: what is done is kept.
    signal.signal(signal.SIGTERM, _stop)
    try:
        app()
    except KeyboardInterrupt as interruption:
        _interrupted("; ".join(getattr(interruption, "__notes__", ())))
    except BrokenPipeError:
        # The reader of our output went away, as `head` does.
        sys.stderr.close()
        raise SystemExit(1) from None
    except MemoryError as error:
        print(f"tegum: there is not enough memory: {error or 'a smaller number may fit'}", file=sys.stderr)
        raise SystemExit(2) from None
    except (ValueError, OSError) as error:
        print(f"tegum: {error}", file=sys.stderr)
        raise SystemExit(2) from None


def _interrupted(sentence: str) -> NoReturn:
    print(f"tegum: interrupted{'; ' if sentence else ''}{sentence}", file=sys.stderr)
    raise SystemExit(128 + signal.SIGINT)


def _stop(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _beside(path: Path, ending: str) -> Path:
    """The place beside a file or a store that has its name."""
    if not path.name:
        raise ValueError(f"{path}: a file or a store is wanted, and this is a folder")
    return path.with_suffix(ending)


def _version() -> str:
    import importlib.metadata

    return importlib.metadata.version("tegum")


def _show(trajectory: xr.Dataset, path: Path) -> None:
    from tegum import terminal
    from tegum.analysis.report import describe, endings, polytopes_found

    terminal.table(str(path), ("", ""), describe(trajectory))
    columns = ("result", "runs", "final loss, mean", "least", "largest")
    terminal.table("How the runs ended", columns, endings(trajectory))
    terminal.table("Polytopes at the last step", ("polytope", "runs", "share"), polytopes_found(trajectory))
