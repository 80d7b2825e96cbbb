"""What the command line prints of experiments: the screen of a result, all its numbers, and the list; and a check-up.

The screen of a result fits 80 columns by 24 lines, with a line left for the prompt: what was asked, the claim, the
verdict, what was found in plain words, and for each criterion a tick or a cross with the one number that decides it.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tegum import terminal
from tegum.core.limits import duration

if TYPE_CHECKING:
    from tegum.experiments import Listed
    from tegum.experiments.reporting import Measure
    from tegum.experiments.summary import Criterion, Size, Summary
    from tegum.sweeps.coordinator import Done
    from tegum.sweeps.places import SweepPlace
    from tegum.training.installation import Part

HEIGHT, WIDEST = 24, 100
"""The lines of the screen, one of them for the prompt; and the columns beyond which lines are hard to read."""

TITLE_LINES, CLAIM_LINES = 3, 4
"""The most lines for a criterion, where there is room, and for the claim or the answer."""

STORES_NAMED = 3
"""Up to this many trajectories are named; of more, their number is given."""

LISTED_SIZES: tuple[Size, ...] = ("quick", "default")
"""The forms of which `tegum list` shows how long they take."""

_LABEL = 9
"""The columns in which labels such as "Verdict" stand."""

_STYLES = {"holds": "bold green", "holds in part": "bold yellow", "does not hold": "bold red", "not tested": "bold"}

_PLAIN = str.maketrans(
    {
        "✓": "+", "✗": "-", "…": "...", "→": "->", "√": "sqrt ", "²": "^2", "−": "-", "–": "-", "×": "x", "≤": "<=",
        "≥": ">=", "·": "*", "π": "pi", "’": "'", "ρ": "rho", "⊕": "+", "ä": "ae", "ö": "oe", "ü": "ue",
    }
)  # fmt: skip
"""What is written instead where the encoding of standard output lacks a letter."""


def screen(result: Summary) -> None:
    """Print the result of an experiment on one screen."""
    console = terminal.console()
    width = min(console.width, WIDEST)
    tried = [_screen(console, result, width, lines) for lines in range(TITLE_LINES, 0, -1)]
    for each in next((lines for lines in tried if len(lines) < HEIGHT), tried[-1]):
        terminal.show(each)


def everything(result: Summary) -> None:
    """Print all that a summary holds: criteria in full, every measure in groups, and the caption."""
    console = terminal.console()
    measured = {measure.key: measure for measure in result.measures}
    for each in (*_head(console, result, min(console.width, WIDEST), most=None), Text("")):
        terminal.show(each)
    terminal.table(
        "Criteria",
        ("", "criterion", "value [95 % interval], null"),
        [(_mark(each), _in_full(each, measured), _deciding(each, measured)) for each in result.criteria],
    )
    for title, group in _groups(result.measures):
        rows = [
            (terminal.explained(each.name, each.meaning), each.text_with_unit(), "" if each.n is None else str(each.n))
            for each in group
            if each.value is not None
        ]
        if rows:
            terminal.table(title, ("measure", "value [95 % interval], null", "n"), rows)
    if missing := [measure.name for measure in result.measures if measure.value is None]:
        why = "nothing to measure them on" if len(missing) < len(result.measures) else "no ensemble was large enough"
        terminal.note(f"Not measured ({why}): {'; '.join(missing)}.")
    if result.caption:
        terminal.note(f"Figure: {result.caption}")
    for name, words in result.further_captions.items():
        terminal.note(f"Figure {name}: {words}")
    for each in _tail(console, result, min(console.width, WIDEST), hint=False):
        terminal.show(each)


def experiments(listed: Iterable[Listed]) -> None:
    """Print a line for each experiment: its name, what is asked, and about how long its forms take on two cores."""
    rows = list(listed)
    shown: list[Size] = [size for size in LISTED_SIZES if any(size in each.seconds for each in rows)]
    drawn = Table(box=None, padding=(0, 2, 0, 0), show_header=bool(shown), header_style="", show_edge=False)
    drawn.add_column("experiment", no_wrap=True)
    drawn.add_column("question")
    for size in shown:
        drawn.add_column(f"--{size}" if size != "default" else size, justify="right", no_wrap=True)
    for each in rows:
        asked = each.question or each.claim
        of = asked if each.origin == "tegum" else f"{asked} ({each.origin})"
        times = [duration(each.seconds[size]) if size in each.seconds else "" for size in shown]
        drawn.add_row(*(Text(_letters(cell)) for cell in (each.name, of, *times)))
    terminal.show(drawn)
    if shown:
        terminal.show(Text(""))
        terminal.note("Times on two cores; the first run also compiles, for up to a minute.")
        terminal.note("The claims: tegum list --claims. To run one: tegum run NAME --quick")


def _screen(console: Console, result: Summary, width: int, title_lines: int) -> list[Text]:
    """The lines of the screen, where a criterion may take so many of them."""
    head, tail = _head(console, result, width, most=CLAIM_LINES), _tail(console, result, width, hint=True)
    room = HEIGHT - 1 - len(head) - len(tail)
    body, blank = _body(console, result, width, title_lines, room), Text("")
    # Blank lines around the criteria are left out where there is no room for them.
    above = [blank] if len(body) + 2 <= room else []
    below = [blank] if len(body) + 1 <= room else []
    return [*head, *above, *body, *below, *tail]


def _body(console: Console, result: Summary, width: int, title_lines: int, room: int) -> list[Text]:
    """The criteria, each with the number that decides it; if one line for each is too much, the last are counted."""
    measured = {measure.key: measure for measure in result.measures}
    numbers = [_number(each, measured) for each in result.criteria]
    names = ("measured", "95 % interval", "against")
    widths = [max((cell_len(cells[column]) for cells in numbers), default=0) for column in range(3)]
    widths = [max(found, len(name)) if found else 0 for found, name in zip(widths, names, strict=True)]
    left = width - 3 - sum(each + 2 for each in widths if each)
    body = [Text(" " * (3 + left) + _columns(names, widths), style="dim")] if any(widths) else []
    shown = len(numbers)
    if title_lines == 1 and len(body) + shown > room:
        shown = max(room - len(body) - 1, 0)
    for each, cells in zip(result.criteria[:shown], numbers, strict=False):
        first, *rest = _wrapped(console, each.title or each.text, left, title_lines) or [""]
        filled = first + " " * (left - cell_len(first))
        body.append(Text.assemble(" ", _mark(each), " ", filled, _columns(cells, widths)))
        body += [Text(f"   {line}") for line in rest]
    if others := result.criteria[shown:]:
        failed = sum(not each.passed for each in others)
        body.append(Text(f"   {len(others)} more criteria, {failed} of them not passed"))
    return body


def _head(console: Console, result: Summary, width: int, *, most: int | None) -> list[Text]:
    """What was asked, the claim, the verdict and the answer."""
    form = {"quick": "quick form", "default": "default form", "full": "full form"}[result.size]
    first = f"{result.name}, {form}{': ' if result.question else ''}{result.question}"
    passed, count = sum(each.passed for each in result.criteria), len(result.criteria)
    judged = f"{passed} of {count} criteria pass" if count else "there are no criteria"
    if result.verdict == "not tested":
        judged = "the runs give nothing to compare with the criteria"
    verdict = Text.assemble(
        "Verdict".ljust(_LABEL), (_letters(result.verdict.upper()), _STYLES[result.verdict]), f"  ({judged})"
    )
    return [
        *(Text(each, style="bold") for each in _wrapped(console, first, width, 1)),
        *_labelled(console, "Claim", result.claim, width, most),
        verdict,
        *_labelled(console, "Found", result.answer, width, most),
        *_labelled(console, "Trained", _trained(result), width, 1),
    ]


def _trained(result: Summary) -> str:
    """How many runs of models of which sizes there were, and for how long; nothing if the summary does not say."""
    from tegum.training.spec.methods import Sampled
    from tegum.training.spec.spec import Spec

    given = [one for each in result.spec.values() for one in (each if isinstance(each, list | tuple) else [each])]
    try:
        specs = [Spec.from_json(one) for one in given]
    except ValueError:  # a summary of another version, perhaps, which may still be read
        return ""
    if not specs:
        return ""
    sizes = (
        _range([spec.features.n for spec in specs], "feature"),
        _range([spec.hidden for spec in specs], "dimension"),
    )
    steps = [spec.training.steps for spec in specs if isinstance(spec.training, Sampled)]
    long = f", {_range(steps, 'step')}" if len(steps) == len(specs) else ""
    return f"{_range([sum(spec.seeds for spec in specs)], 'run')}: {sizes[0]} in {sizes[1]}{long}"


def _range(numbers: Sequence[int], unit: str) -> str:
    """Numbers with their unit, as their least and their largest: "3 to 6 features"."""
    least, most = min(numbers), max(numbers)
    counted = f"{most:,}" if least == most else f"{least:,} to {most:,}"
    return f"{counted} {unit}{'s' * (most != 1)}"


def _tail(console: Console, result: Summary, width: int, *, hint: bool) -> list[Text]:
    """Where the files are, and how long it took."""
    if not result.files:
        return []
    folder = result.files[-1].parent
    place = str(folder.relative_to(Path.cwd())) if folder.is_relative_to(Path.cwd()) else str(folder)
    place = "." if place in ("", ".") else place
    took = f"Took {duration(result.wall_time_s)}."
    if hint:
        count = len(result.measures)
        took += f" {f'All {count} measures' if count > 1 else 'In full'}: tegum show {shlex.quote(place)}"
    files = f"Files    {_letters(terminal.line(place))}/: "
    names = _names(result)
    if cell_len(files) <= width:
        listed = _labelled(console, "Files", f"{place}/: {names}", width, 2)
    else:  # A path is never broken: it can be copied.
        listed = [Text(files.rstrip(), no_wrap=True, overflow="ignore"), *_labelled(console, "", names, width, 2)]
    return [*listed, Text(_letters(terminal.line(took)), no_wrap=True, overflow="ignore")]


def _names(result: Summary) -> str:
    """The names of the files of a result, with pictures first."""
    names = [file.name for file in result.files]
    stores = [name for name in names if name.endswith(".zarr")]
    pictures = [name for name in names if name.endswith((".png", ".svg", ".pdf"))]
    others = [name for name in names if name not in stores and name not in pictures]
    if len(stores) > STORES_NAMED:
        stores = [f"{len(stores)} trajectories (*.zarr)"]
    # The same picture in another format: "pair.png, .svg"; further ones are counted.
    stems = [Path(name).stem for name in pictures]
    first = [name for name, stem in zip(pictures, stems, strict=True) if stem == stems[0]]
    further = [name for name, stem in zip(pictures, stems, strict=True) if stem != stems[0]]
    more = len({Path(name).stem for name in further})
    counted = [f"{more} more figure{'s' * (more != 1)}"] * bool(more)
    return ", ".join([*first[:1], *(Path(name).suffix for name in first[1:]), *counted, *stores, *others])


def _number(criterion: Criterion, measured: Mapping[str, Measure]) -> tuple[str, str, str]:
    """The value and the interval of the measure that decides, and the null or the number that it must exceed."""
    measure = None if criterion.measure is None else measured.get(criterion.measure)
    value, interval, null = ("", "", "") if measure is None else measure.parts()
    return _letters(value), _letters(interval), _letters(criterion.needs or null)


def _columns(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Cells side by side, each with two blanks before it; columns of width 0 are left out."""
    aligned = zip(cells, widths, strict=True)
    return "".join(f"  {' ' * (width - cell_len(cell))}{cell}" for cell, width in aligned if width)


def _in_full(criterion: Criterion, measured: Mapping[str, Measure]) -> Text:
    measure = None if criterion.measure is None else measured.get(criterion.measure)
    return terminal.explained(_letters(criterion.text), "" if measure is None else f"decided by: {measure.name}")


def _deciding(criterion: Criterion, measured: Mapping[str, Measure]) -> str:
    measure = None if criterion.measure is None else measured.get(criterion.measure)
    return "" if measure is None else measure.text_with_unit()


def _groups(measures: Sequence[Measure]) -> list[tuple[str, list[Measure]]]:
    """Measures by the first part of their keys, in order; those that stand alone come first, in one group."""
    groups: dict[str, list[Measure]] = {}
    for each in measures:
        prefix, dot, _ = each.key.partition(".")
        groups.setdefault(prefix if dot else "", []).append(each)
    alone = [each for each in measures if len(groups[each.key.partition(".")[0] if "." in each.key else ""]) == 1]
    general = [each for each in measures if "." not in each.key or each in alone]
    rest = [(name.replace("_", " "), group) for name, group in groups.items() if name and len(group) > 1]
    return [("Measures", general), *rest] if general else rest


def _labelled(console: Console, label: str, text: str, width: int, most: int | None) -> list[Text]:
    """A text beside its label; nothing if there is none."""
    if not text:
        return []
    lines = _wrapped(console, text, width - _LABEL, most)
    return [Text(f"{label if not number else '':{_LABEL}}{each}") for number, each in enumerate(lines)]


def _wrapped(console: Console, text: str, width: int, most: int | None) -> list[str]:
    """A text in lines of at most a width; beyond the most lines it is cut, with dots."""
    dots = _letters("…")
    lines = [each.plain.rstrip() for each in Text(_letters(terminal.line(text))).wrap(console, max(width, 10))]
    if most is None or len(lines) <= most:
        return lines
    last = lines[most - 1]
    while last and cell_len(last) > width - len(dots):
        last = last[:-1]
    return [*lines[: most - 1], f"{last.rstrip()}{dots}"]


def _mark(criterion: Criterion) -> Text:
    return Text(_letters("✓"), style="green") if criterion.passed else _cross()


def _letters(text: str) -> str:
    """The text in letters that standard output has; others are replaced, or written as codes."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(_PLAIN).encode(encoding, "backslashreplace").decode(encoding)
    return text


def sweep(place: SweepPlace, done: Done) -> int:
    """Print what became of a sweep; returns the exit code, 1 if packs were set aside."""
    sweep_status(place, "sweep")
    if done.set_aside:
        count = len(done.set_aside)
        what = "pack has failed and was" if count == 1 else "packs have failed and were"
        terminal.note(f"{count} {what} set aside; the same call tries again.")
    return int(bool(done.set_aside))


def sweep_status(place: SweepPlace, call: str) -> None:
    """Print how far a sweep is, how its runs ended, and how to open it."""
    from tegum.sweeps.status import rows, status
    from tegum.sweeps.store import STORE

    made, told = status(place, call)
    terminal.table(place.address, ("", ""), rows(made, told))
    group = f", group={made.groups[0].layout.path!r}" if made.groups[0].layout.path else ""
    if "://" in place.address:
        terminal.raw(f"tegum.open_sweep({place.address!r})\n")
        return
    terminal.raw(f"xarray.open_zarr({place.address + '/' + STORE!r}{group})\n")


def health(found: Iterable[Part]) -> int:
    """Print how each part of an installation is, and a verdict; returns the exit code, 1 if something is broken."""
    console, parts = terminal.console(), list(found)
    marks = {"good": Text(_letters("✓"), style="green"), "slow": Text("!", style="bold yellow"), "broken": _cross()}
    left = max(cell_len(each.name) for each in parts) + 2
    for each in parts:
        for number, text in enumerate(_wrapped(console, each.text, min(console.width, WIDEST) - left - 2, None)):
            beginning = (marks[each.state], " ", each.name.ljust(left)) if not number else (" " * (left + 2),)
            terminal.show(Text.assemble(*beginning, text))
    broken = [each.name for each in parts if each.state == "broken"]
    slow = [each.name for each in parts if each.state == "slow"]
    verdict = f"Verdict: this does not work: {', '.join(broken)}." if broken else "Verdict: tegum works here."
    if slow and not broken:
        verdict = f"Verdict: tegum works here, but more slowly than it could: {', '.join(slow)}."
    terminal.show(Text(""))
    terminal.show(Text(verdict, style="bold red" if broken else "bold"))
    return int(bool(broken))


def _cross() -> Text:
    return Text(_letters("✗"), style="bold red")
