"""The command line, one verb per stage. Results go to standard output, progress and errors to standard error."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_origin

from cyclopts import App, Parameter, Token

from tegum.core import signals
from tegum.data.keeping import KeptElsewhereError

if TYPE_CHECKING:
    import xarray as xr

app: App = App(
    name="tegum",
    help="A laboratory for superposition: toy models trained, measured and seen as geometry.",
    version_flags=["--version"],
    version=lambda: _version(),
    suppress_keyboard_interrupt=False,  # `main` says what an interrupted run has left
)

Changes = Annotated[
    tuple[str, ...],
    Parameter(name="--set", negative="", consume_multiple=False, help="Change a key of the Spec, as in hidden=3."),
]
Varied = Annotated[
    tuple[str, ...],
    Parameter(
        name="--set",
        negative="",
        consume_multiple=False,
        help="Change a key that the experiment allows to vary, as in seeds=32. The error for any other key lists them.",
    ),
]
Overwrite = Annotated[
    bool, Parameter(negative="", help="Replace an earlier result in the same place, once the new one is complete.")
]
Resume = Annotated[
    bool, Parameter(negative="", help="Continue what an unfinished call has left there; the result is bit-identical.")
]
Caption = Annotated[bool, Parameter(negative="", help="Set the caption under each figure.")]


def _whole(kind: Any, tokens: Sequence[Token]) -> Any:
    # Left to itself, cyclopts rounds: --seed 1.5 would show run 2.
    found = []
    for token in tokens:
        try:
            found.append(int(token.value))
        except ValueError:
            raise ValueError(f"{token.value} must be a whole number") from None
    return tuple(found) if get_origin(kind) is tuple else found[0]


Whole: Parameter = Parameter(converter=_whole)


_MOST_RUNS = 1_000_000
"""The most runs that a range may name."""


def _runs(kind: Any, tokens: Sequence[Token]) -> Any:  # noqa: ARG001 (what cyclopts calls)
    """Numbers, and ranges as in Python: 0:16 for the first sixteen."""
    found: list[int] = []
    for token in tokens:
        try:
            numbers = [int(part) for part in token.value.split(":")]
        except ValueError:
            numbers = []
        match numbers:
            case [number]:
                found.append(number)
            case [first, end] if 0 <= first < end <= first + _MOST_RUNS:
                found.extend(range(first, end))
            case _:
                rule = f"must be the number of a run, or a range of at most {_MOST_RUNS:,} such as 0:16"
                raise ValueError(f"{token.value} {rule}")
    return tuple(found)


Runs: Parameter = Parameter(converter=_runs, consume_multiple=True)


@app.command(name="list")
def list_(*, claims: Annotated[bool, Parameter(negative="")] = False) -> None:
    """List all experiments: what each asks, and about how long it takes on two cores.

    Parameters
    ----------
    claims
        Instead, list their claims in full, and where each comes from.

    """
    from tegum import experiments, screens, terminal

    if claims:
        rows = [(each.name, each.claim, each.origin) for each in experiments.listed()]
        terminal.table("Experiments", ("name", "claim", "from"), rows)
        return
    screens.experiments(experiments.listed())


@app.command
def run(
    name: str,
    *,
    out: Path | None = None,
    quick: Annotated[bool, Parameter(negative="")] = False,
    full: Annotated[bool, Parameter(negative="")] = False,
    everything: Annotated[bool, Parameter(name="--all", negative="")] = False,
    changes: Varied = (),
    overwrite: Overwrite = False,
    resume: Resume = False,
    caption: Caption = False,
    scheduler: str | None = None,
) -> None:
    """Run an experiment: train, measure, draw, and judge its claim.

    Parameters
    ----------
    name
        An experiment from `tegum list`, or one in a file of your own: mine.py, or mine.py:ClassName.
    out
        The folder for run.zarr, the figure (PNG, SVG) and summary.json; by default named after the experiment.
    quick
        Run a smaller ensemble, which takes 10 to 60 seconds on two cores, and up to a minute more the first time, to
        compile.
    full
        Run the large ensemble for publication.
    everything
        Print every measure, and not only the numbers that decide; `tegum show FOLDER` does so later.
    scheduler
        The address of a Dask scheduler, tcp://HOST:PORT, whose workers train; measuring and drawing stay here.

    """
    from tegum import experiments, screens, terminal

    if quick and full:
        raise ValueError("run --quick --full: choose either the quick or the full form")
    size: Literal["quick", "default", "full"] = "quick" if quick else "full" if full else "default"
    experiment = None
    try:
        experiment = experiments.get(name)
        folder = out if out is not None else Path(experiment.name)
        with terminal.working(f"{experiment.name} ({size})"):
            summary = experiment.run(
                folder,
                size=size,
                changes=changes,
                overwrite=overwrite,
                resume=resume,
                caption=caption,
                executor=scheduler,
            )
    except Exception as error:
        if (lines := experiments.own_lines(error, experiment or name)) is None:
            raise
        raise _InTheirCodeError(name, lines) from error
    (screens.everything if everything else screens.screen)(summary)


@app.command
def draw(
    result: Path,
    *,
    kind: Annotated[Literal["png", "svg", "pdf"], Parameter(name="--format")] = "pdf",
    width: float | None = None,
    style: str | None = None,
    caption: Caption = False,
    out: Path | None = None,
    overwrite: Annotated[bool, Parameter(negative="", help="Replace files that are there.")] = False,
) -> None:
    """Draw the figures of a result again, for a paper or a talk, from what was stored: nothing is analysed again.

    Unlike the files of `tegum run`, they obey your own matplotlibrc, and after it the style that is asked for.

    Parameters
    ----------
    result
        The folder of a result of `tegum run`.
    kind
        The format, if --out has no suffix that says it.
    width
        The width in inches: 7.2, as by default, for two columns of a journal, 3.4 for one.
    style
        A style of matplotlib's, such as dark_background, or the path of a style sheet; default leaves nothing of
        tegum's own.
    out
        The file of the first figure; further ones stand beside it. By default they are in the folder of the result.

    """
    from tegum import experiments, terminal

    try:
        files = experiments.redraw(
            result, kind=kind, width=width, style=style, caption=caption, out=out, overwrite=overwrite
        )
    except Exception as error:
        if (lines := experiments.own_lines_of_result(error, result)) is None:
            raise
        raise _InTheirCodeError(f"draw {result}", lines) from error
    terminal.wrote(files)


@app.command
def train(
    spec: Path,
    *,
    out: Path | None = None,
    changes: Changes = (),
    threads: Annotated[int | None, Whole] = None,
    engine: Literal["auto", "kernel", "jax"] = "auto",
    overwrite: Overwrite = False,
    resume: Resume = False,
    checkpoint: float = 20.0,
) -> None:
    """Train the runs that a TOML file describes, and store every snapshot; or train those of a stored trajectory again.

    Parameters
    ----------
    spec
        The description, a TOML file with the fields of a Spec; or a stored trajectory, whose runs have the same bits
        again, with all that was changed while they trained.
    out
        Where the trajectory goes; by default next to the description, with the suffix .zarr.
    threads
        The number of threads; by default one per core. The results do not depend on it.
    engine
        For sampled training: the fused CPU kernel, JAX, or (auto) whichever supports the description.
    checkpoint
        Seconds between checkpoints, which are kept next to the trajectory.

    """
    import tegum
    from tegum import terminal
    from tegum.data.atomic import explaining

    if spec.is_dir() and out is None:
        raise ValueError(
            f"train {spec}: --out must say where the trajectory goes, beside the one that is trained again"
        )
    target = out if out is not None else _beside(spec, ".zarr")
    description, runs = _described(spec, changes)
    with explaining(f"train --out {target}"):
        if target.exists() and not (overwrite or resume):
            raise ValueError(f"train --out {target}: something is already there; --overwrite replaces it")
    with terminal.working(spec.name):
        trajectory = tegum.train(
            description, runs=runs, threads=threads, engine=engine,
            out=target, overwrite=overwrite, resume=resume, checkpoint_seconds=checkpoint,
        )  # fmt: skip
    _show(trajectory, target)


def _described(path: Path, changes: Sequence[str]) -> tuple[Any, list[int] | None]:
    """The Spec of a TOML file, or of a stored trajectory with the runs that are in it."""
    import tegum

    if not path.is_dir():
        return tegum.Spec.from_toml(path, changes), None
    from tegum.training.dataset import spec_of

    stored = tegum.load(path)
    spec = spec_of(stored).override(changes)
    runs = stored["seed"].values.tolist()
    return spec, None if runs == list(range(spec.seeds)) else runs


@app.command
def sweep(
    file: Path,
    *,
    out: str | None = None,
    changes: Changes = (),
    workers: Annotated[int | None, Whole] = None,
    scheduler: str | None = None,
    part: Annotated[str | None, Parameter(name="--slice")] = None,
    pack: Annotated[int | None, Whole] = None,
    allow_mixed: Annotated[bool, Parameter(negative="")] = False,
    verify: Annotated[bool, Parameter(negative="")] = False,
    cost: Annotated[bool, Parameter(negative="")] = False,
    overwrite: Annotated[bool, Parameter(negative="", help="Replace another sweep in the same place.")] = False,
) -> int:
    """Train a sweep that a TOML file describes, in packs, here or on a cluster; called again, it makes what is missing.

    Parameters
    ----------
    file
        The description: a TOML file with a table `spec`, the `parameters` that vary, and what to `keep`.
    out
        The folder of the sweep, or the address of an object store such as s3://bucket/folder; by default next to the
        description, with the suffix .sweep.
    workers
        The number of processes; by default one per core, or per GPU with engine = "jax".
    scheduler
        The address of a Dask scheduler, tcp://HOST:PORT, whose workers make the packs.
    part
        Make only one of several parts of the packs, as in 0/4 to 3/4, for job arrays that know no scheduler.
    pack
        The number of runs of a pack; by default as many as take about a minute.
    allow_mixed
        Let workers with different vector units take part, whose bits differ.
    verify
        Compare the checksums of all that is there, and not only lengths; what is damaged is made again.
    cost
        Only say what the sweep costs in time and on the disk.

    """
    from tegum import screens, terminal
    from tegum.sweeps.places import place_at
    from tegum.sweeps.sweep import Cost, swept
    from tegum.sweeps.toml import read_sweep

    described = read_sweep(file, changes)
    target = out if out is not None else str(_beside(file, ".sweep"))
    call = f"sweep --out {target}"
    place = place_at(target, call)
    with terminal.working(file.name):
        done = swept(
            place, described.design, described.keeping, executor=scheduler, workers=workers, engine=described.engine,
            pack=pack if pack is not None else described.pack, part=None if part is None else _slice(part),
            mixed=allow_mixed or described.mixed, overwrite=overwrite, verify=verify, progress=True, call=call,
            told=lambda told, link: terminal.say(f"{told}{f'; {link}' if link else ''}"), only_cost=cost,
        )  # fmt: skip
    if isinstance(done, Cost):
        terminal.raw(f"{done}\n")
        return 0
    return screens.sweep(place, done)


def _slice(text: str) -> tuple[int, int]:
    number, slash, parts = text.partition("/")
    if not slash or not number.isdecimal() or not parts.isdecimal() or int(number) >= int(parts):
        raise ValueError(f"sweep --slice {text}: must be i/k, with i from 0 to below k, as in 0/4")
    return int(number), int(parts)


@app.command
def show(path: str) -> None:
    """Describe a trajectory (its Spec, how runs ended, their polytopes), a sweep, or all that an experiment found.

    Parameters
    ----------
    path
        A trajectory written by `tegum train` or `tegum run`, measures written by `train(keep=…)`, the folder or the
        address of a sweep, running or not, or the folder of a result of `tegum run`.

    """
    from tegum.data.results import SUMMARY

    place = Path(path)
    if "://" in path or os.path.isfile(place / "sweep.json"):  # noqa: PTH113 (as below)
        from tegum import screens
        from tegum.sweeps.places import place_at

        screens.sweep_status(place_at(path, f"show {path}"), f"show {path}")
        return
    # Where nothing can be seen, loading says so.
    if os.path.isfile(place / SUMMARY):  # noqa: PTH113 (Path.is_file raises there)
        from tegum import screens
        from tegum.experiments import Summary

        screens.everything(Summary.read(place))
        return
    import tegum

    _show(tegum.load(place), place)


@app.command
def doctor() -> int:
    """Check this installation: versions, cores, devices, the cache of compiled code, and a short training.

    It ends with a verdict; the exit code is 1 if something is broken.
    """
    from tegum import screens, terminal
    from tegum.training.installation import examined

    with terminal.working("doctor"):
        found = list(examined())
    return screens.health(found)


@app.command
def completion(shell: Literal["bash", "zsh", "fish"]) -> None:
    """Print a script with which a shell completes verbs and options after the Tab key.

    Parameters
    ----------
    shell
        As in: tegum completion bash > ~/.local/share/bash-completion/completions/tegum

    """
    from tegum import terminal

    terminal.raw(app.generate_completion(shell=shell))


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
    """Write a film of one run, with its embeddings in a fixed pose next to the loss, as .mp4 or .gif.

    Parameters
    ----------
    path
        A trajectory written by `tegum train` or `tegum run`.
    out
        The film, with the suffix .mp4 or .gif; by default next to the trajectory, as .mp4.
    seed
        The seed of the run; by default the first.
    spec
        The number of its Spec, if there are several.
    dimensions
        Dimensions of the picture; by default 2 if m ≤ 2, and 3 otherwise. If there are more hidden dimensions, they are
        projected onto principal directions, and the frame says so.
    clock
        Time axis: equal time per snapshot, per step, or per log step.
    start
        Leave out snapshots before this step.
    stop
        Leave out snapshots after this step.
    every
        Use every N-th snapshot.
    fps
        Frames per second; at most 50 for a GIF.
    seconds
        Length of the film; by default it has one frame per snapshot.
    width
        Width of a frame in pixels; the height is half of it.
    turn
        Degrees by which the camera turns in three dimensions; by default 0, so that only learning moves.

    """
    import tegum
    from tegum import terminal
    from tegum.figures.films.motion import render as write

    target = out if out is not None else _beside(path, ".mp4")
    with terminal.working(target.name):
        film = write(
            tegum.load(path), target, seed=seed, spec=spec, dimensions=dimensions, clock=clock, start=start, stop=stop,
            every=every, fps=fps, seconds=seconds, width=width, turn=turn, overwrite=overwrite,
        )  # fmt: skip
    terminal.wrote([film])


@app.command
def lab(
    path: Path | None = None,
    *,
    port: Annotated[int | None, Whole] = None,
    browser: bool = True,
    static: Annotated[bool, Parameter(negative="")] = False,
    out: Annotated[Path | None, Parameter(name=("--out", "-o"))] = None,
    overwrite: Overwrite = False,
) -> None:
    """Open the lab, in which one watches models learn: it trains on this machine, and opens what is stored here.

    Parameters
    ----------
    path
        A trajectory, a folder with trajectories and results, or a description as for `tegum train`, with which the page
        opens; by default the current folder.
    port
        The port of the page's address, which this machine alone can open; by default any that is free.
    browser
        Whether to open a browser.
    static
        Instead, write the page as one HTML file that trains by itself and needs no network; with a description it opens
        with that, and by default with an octahedron.
    out
        The file of that page; by default next to the description, with the suffix .html, or lab.html.

    """
    if static:
        if port is not None:
            raise ValueError(f"lab --static --port {port}: a page that is a file has no port")
        _write_page(path, out, overwrite=overwrite)
        return
    if out is not None or overwrite:
        raise ValueError(f"lab {f'--out {out}' if out is not None else '--overwrite'}: only --static writes a file")
    from tegum import terminal
    from tegum.server.running import serve

    serve(path, port=port or 0, browser=browser, say=lambda address: terminal.raw(f"the lab is at {address}\n"))


def _write_page(spec: Path | None, out: Path | None, *, overwrite: bool) -> None:
    """Write the page that needs no server."""
    import tegum
    from tegum import terminal
    from tegum.lab.described import page_address
    from tegum.lab.page_file import page, write_page

    target = out if out is not None else Path("lab.html") if spec is None else _beside(spec, ".html")
    address = ""
    if spec is not None:
        description = tegum.Spec.from_toml(spec)
        try:
            address = page_address(description)
        except ValueError as error:
            raise ValueError(f"lab {spec}: {error}") from None
    terminal.wrote([write_page(target, page(address), overwrite=overwrite, call=f"lab --out {target}")])


@app.command
def report(
    path: Path,
    *,
    out: Annotated[Path | None, Parameter(name=("--out", "-o"))] = None,
    seeds: Annotated[tuple[int, ...], Runs, Parameter(negative="")] = (),
    every: Annotated[int | None, Whole] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write recorded runs, or the result of an experiment, as one HTML file that plays them without a network.

    Parameters
    ----------
    path
        A stored trajectory, such as run.zarr, or a folder that `tegum run` has written.
    out
        The file; by default next to the trajectory, with the suffix .html, or NAME.html in the folder.
    seeds
        The runs to take, as in 0 3 8 or 0:16; by default the first 64, or fewer of large models.
    every
        How many recorded steps to go on from frame to frame; by default as few as leave at most 600 frames.

    """
    from tegum import terminal
    from tegum.lab.page_file import write_page

    call = f"report {path}"
    if (path / "summary.json").is_file():
        if seeds or every is not None:
            raise ValueError(f"{call}: --seeds and --every are for a stored trajectory, one of those in the folder")
        from tegum.experiments import result_html
        from tegum.experiments.summary import Summary

        name = Summary.read(path).name
        if Path(name).name != name or name.startswith("."):
            raise ValueError(f"{call}: the name in its summary, {name!r}, is no name of a file")
        html, said = result_html(path), ""
        target = out if out is not None else path / f"{name}.html"
    else:
        from tegum.data.store import load
        from tegum.lab.films import films, packed
        from tegum.lab.page_file import page

        found = films(load(path), seeds=seeds or None, every=every, call=call)
        html = page(films=packed(found), title=path.stem)
        target, said = out if out is not None else _beside(path, ".html"), found[0].taken
        said += f", of each of {len(found)} Specs" if len(found) > 1 else ""
    written = write_page(target, html, overwrite=overwrite, call=f"{call} --out {target}")
    terminal.wrote([written])
    terminal.note(f"{said + '; ' if said else ''}{written.stat().st_size / 1e6:.1f} MB")


@app.command
def analyse(
    weights: Path,
    *,
    key: str | None = None,
    slice: str | None = None,  # noqa: A002 (the option)
    transpose: bool | None = None,
    activations: Path | None = None,
    activations_key: str | None = None,
    features: Annotated[tuple[int, ...], Whole, Parameter(negative="")] = (),
    companions: Annotated[int, Whole] = 8,
    threshold: float = 0.5,
    neighbours: bool = True,
    normalise: Annotated[bool, Parameter(negative="")] = False,
    centre: Annotated[bool, Parameter(negative="")] = False,
    out: Path | None = None,
    overwrite: Overwrite = False,
) -> None:
    """Measure the geometry of feature directions, such as those of a dictionary, and co-activation of its features.

    Parameters
    ----------
    weights
        A folder of SAELens or dictionary_learning; a file (.npy, .npz, .safetensors, .pt of tensors, or the index of
        several of these two); or a zarr array or group.
    key
        The name of the matrix in the file; by default the decoder, or the only one.
    slice
        Which matrix of an array with more than two dimensions, such as the decoder of a crosscoder: :,0,: for layer 0
        if layers are in the middle.
    transpose
        The directions are the columns of the matrix, or with --no-transpose its rows; by default what the file itself
        says, or else rows.
    activations
        A matrix with one sample per row and one feature per column; also a sparse .npz written by scipy.
    activations_key
        The name of that matrix in its file.
    features
        Features whose local bases are measured; by default those most correlated with others.
    companions
        The number of most correlated features to report for each feature, and to include in its local basis.
    threshold
        A feature is represented if its norm is at least this fraction of the largest.
    neighbours
        Whether to search for each feature's neighbours, which takes minutes for 100,000 features.
    normalise
        Scale every direction to unit norm first.
    centre
        Subtract the mean direction first; with --normalise, that of unit directions, which are then scaled again.
    out
        A folder for summary.json, measures.zarr and the figure (PNG, SVG).

    """
    from tegum.analysis.dictionaries import analyse as analysis
    from tegum.data import dictionaries, results
    from tegum.data.matrices import open_matrix

    call = "analyse"
    target = None if out is None else results.check_results_place(out, overwrite=overwrite, call=call)
    if target is not None:
        from tegum.figures.style import matplotlib

        matplotlib()  # If matplotlib cannot be imported, fail before measuring and not after.
    given = dictionaries.read_dictionary(
        weights, key, slice, transpose, call=f"{call} {weights}", options={"key": "--key", "slice": "--slice"}
    )
    x = None
    if activations is not None:
        where = f"{call} --activations {activations}"
        x = open_matrix(activations, activations_key, call=where, sparse=True, options={"key": "--activations-key"})
    from tegum import terminal

    with (
        terminal.working(weights.name),
        nullcontext()
        if target is None
        else results.reserve_space(target, given, companions=companions if activations is not None else 0, call=call),
    ):
        found = analysis.analyse(
            given,
            x,
            threshold=threshold,
            neighbours=neighbours,
            features=list(features) or None,
            companions=companions,
            normalise=normalise,
            centre=centre,
        )
    if target is None or out is None:
        terminal.analysis(str(weights), found, dictionaries.described(given))
        return
    import json

    from tegum.figures.directions import embeddings
    from tegum.figures.style import rendered

    source: dict[str, Any] = {"weights": str(weights), "key": key, "transpose": transpose}
    source |= {"directions": dictionaries.described(given)} | {
        name: given.attrs[name] for name in ("format", "architecture", "slice", "transposed")
    }
    source |= {"activations": None if activations is None else str(activations), "activations_key": activations_key}
    summary = {"source": source, "tegum_version": _version()} | analysis.summary(found)
    figure = embeddings(found, weights.name)
    text = json.dumps(summary, indent=2, ensure_ascii=False, allow_nan=False)
    files = {f"{results.FIGURE}.{kind}": rendered(figure, kind) for kind in ("png", "svg")}
    files[results.SUMMARY] = f"{text}\n".encode()
    results.write_results(target, found, files, overwrite=overwrite, call=call)
    # Only now, because printing may fail.
    terminal.analysis(str(weights), found, dictionaries.described(given))
    terminal.wrote([out / name for name in (results.TABLE, *files)])


class _InTheirCodeError(Exception):
    """An error in an experiment that is not tegum's own, with its name and its own lines of the traceback."""


def main() -> None:
    """Run the command line; a wrong value ends in one sentence, not in a traceback.

    The exit code is 0 if everything was done and shown, 1 if the result exists but could not be printed or was stored
    elsewhere than asked, 2 if the call was refused or failed, and 128 + n after signal n.
    """
    from tegum import terminal

    signals.listen()
    terminal.prepare()
    warnings.showwarning = lambda message, *_, **__: terminal.say(str(message))
    code = 0
    try:
        app()
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException as error:
        code = _failed(error)
    raise SystemExit(terminal.close(code))


def _failed(error: BaseException) -> int:
    """Say in one sentence why a call did not finish; returns the exit code."""
    from tegum import terminal

    notes = list(getattr(error, "__notes__", ()))
    number = signals.asked_by()
    if number is not None or isinstance(error, KeyboardInterrupt):
        # Whatever was raised: during an import, an interruption may surface as any exception.
        terminal.say("; ".join(["interrupted", *notes]))
        return 128 + (signal.SIGINT if number is None else number)
    match error:
        case _InTheirCodeError(__cause__=BaseException() as cause):
            name, lines = error.args
            terminal.lines(lines)
            what = ": ".join(part for part in (name, type(cause).__name__, " ".join(str(cause).split())) if part)
            terminal.say("; ".join([what, *getattr(cause, "__notes__", ())]))
            return 2
        case KeptElsewhereError():
            terminal.say(str(error))
            return 1
        case BrokenPipeError() if not notes:
            terminal.lost(error)
            return 0
        case MemoryError():
            sentence = f"not enough memory: {str(error) or 'smaller numbers may fit'}"
        case OSError(strerror=str()):
            sentence = f"{' '.join(sys.argv[1:2])}: {error}"
        case ValueError() | OSError():
            sentence = str(error)
        case _:
            raise error
    terminal.say("; ".join([sentence, *notes]))
    return 2


def _beside(path: Path, ending: str) -> Path:
    """The path next to a file or a store, with the same name and another suffix."""
    if not path.name:
        raise ValueError(f"{path}: must be a file or a store, not a folder")
    return path.with_suffix(ending)


def _version() -> str:
    import importlib.metadata

    return importlib.metadata.version("tegum")


def _show(trajectory: xr.Dataset, path: Path) -> None:
    from tegum import terminal
    from tegum.analysis.report import describe, endings, last_snapshots, polytopes_found
    from tegum.data.schema import MEASURES
    from tegum.training.compare import known_loss

    terminal.table(str(path), ("", ""), describe(trajectory))
    if trajectory.attrs.get("schema") == MEASURES:
        return
    last = last_snapshots(trajectory)
    known = known_loss(last)
    terminal.records("How the runs ended", endings(last, known.loss, known.error, known.exact, known.name))
    if known.note:
        terminal.note(f"Losses: {known.note}.")
    terminal.records("Polytopes at the last step", polytopes_found(trajectory))
