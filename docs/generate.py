"""The pages that follow from the program itself: its public names, and the results of its experiments.

    python docs/generate.py          writes them into docs/generated, as building the documentation does first

A public name is documented because it is public: there is no second list to keep.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

import tegum
from tegum.experiments import listed
from tegum.lab import page_file
from tegum.lab.described import rules

MOCKED = ["sae_lens"]
"""Packages that need not be there for the documentation to be built."""

NAMES = {name for names in tegum.PUBLIC.values() for name in names.split()}
"""All names of `tegum` itself."""

PAGES: Mapping[str, tuple[str, str, tuple[str, ...]]] = {
    "features": (
        "Features",
        "What a model is trained on: kinds of set, and laws of magnitude.",
        ("tegum.core.features",),
    ),
    "training": (
        "Training",
        "From a description to trajectories.",
        ("tegum.training.spec", "tegum.training.engine", "tegum.training.state"),
    ),
    "sweeps": (
        "Sweeps",
        "Ensembles of any size, in packs that any machine can make.",
        ("tegum.sweeps",),
    ),
    "loss": (
        "Loss",
        "The model itself, its exact loss, and what recorded losses can tell.",
        ("tegum.core.model", "tegum.core.loss", "tegum.training.exact_losses", "tegum.training.compare"),
    ),
    "landscape": (
        "Landscape",
        "Critical points of the exact loss, and how they change with a parameter.",
        ("tegum.analysis.landscape",),
    ),
    "geometry": ("Geometry", "Embeddings as points: dimensionality, polytopes, modes.", ("tegum.analysis.geometry",)),
    "dynamics": ("Dynamics", "Jumps, drops, plateaus and motions over training.", ("tegum.analysis.dynamics",)),
    "linear": (
        "Linear models",
        "The best linear model, and how close a model comes to it.",
        ("tegum.analysis.linear",),
    ),
    "sets": ("Correlated sets", "Collapse, interference and local bases.", ("tegum.analysis.sets",)),
    "dictionaries": (
        "Dictionaries",
        "Directions that you bring, such as those of a sparse autoencoder.",
        ("tegum.analysis.dictionaries", "tegum.data.dictionaries"),
    ),
    "storage": (
        "Storage and films",
        "Trajectories on disk, as films, and in notebooks.",
        ("tegum.data.store", "tegum.figures.films", "tegum.lab.view"),
    ),
}
"""The pages of the reference: file, title, what it is about, and the packages whose public names it has."""

_NAMES_IN_PAGE = {
    "kind": "kinds",
    "magnitude.kind": "laws",
    "activation": "activations",
    "training.optimiser": "optimisers",
}
"""Keys of a Spec, and the names that the page knows for each."""

PROJECT: Mapping[str, str] = {
    "ARCHITECTURE.md": "architecture",
    "CONTRIBUTING.md": "contributing",
    "CHANGELOG.md": "changelog",
    "benchmarks/README.md": "benchmarks",
    "benchmarks/end_states.md": "end-states",
}
"""Pages that stand elsewhere in the repository, and their names here."""

MODULES: Mapping[str, tuple[str, str]] = {
    "tegum.plot": ("Plots", "Plots on matplotlib Axes."),
    "tegum.experiments": ("Experiments", "What an experiment of your own is made of."),
    "tegum.torch": ("PyTorch", "Toy models as modules, and samples as datasets; needs the extra `torch`."),
    "tegum.torch.saelens": ("SAELens", "From and to SAELens; needs the extra `torch`."),
    "tegum.torch.spd": ("Parameter decomposition", "Targets in the format of goodfire's SPD; needs the extra `torch`."),
    "tegum.torch.dictionary_learning": ("dictionary_learning", "Folders of that package; needs the extra `torch`."),
}
"""Public modules with pages of their own: module, title, what it is about."""


def everything(docs: Path) -> None:
    """Write all generated pages below a folder."""
    place = docs / "generated"
    written = {f"api/{name}.md": text for name, text in [*own_pages().items(), *_module_pages()]}
    written |= {f"results/{path.parent.name}.md": _result(path) for path in sorted(docs.glob("results/*/summary.json"))}
    written["results/index.md"] = _overview(docs)
    written |= {f"project/{page}.md": _project(docs.parent / file) for file, page in PROJECT.items()}
    written["api/index.md"] = _contents()
    written["command-line.md"] = _command_line()
    written["page-limits.md"] = _page_limits()
    for name, text in written.items():
        file = place / name
        file.parent.mkdir(parents=True, exist_ok=True)
        # Unchanged pages keep their time, so that a second build reads only what is new.
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")
    for old in place.rglob("*.md"):
        if str(old.relative_to(place)) not in written:
            old.unlink()


def own_pages() -> dict[str, str]:
    """The pages of the reference that have the names of `tegum` itself."""
    pages, taken = {}, set()
    for page, (title, about, packages) in PAGES.items():
        # In the order of the packages, and in each of them in that of its modules.
        homes = [home for package in packages for home in tegum.PUBLIC if f"{home}.".startswith(f"{package}.")]
        names = [name for home in homes for name in tegum.PUBLIC[home].split()]
        taken.update(names)
        pages[page] = _page(title, about, [("tegum", name, getattr(tegum, name)) for name in names])
    if missing := NAMES - taken:
        raise LookupError(f"docs/generate.py: PAGES has no page for {', '.join(sorted(missing))}")
    return pages


def _module_pages() -> Iterator[tuple[str, str]]:
    """The pages of public modules, by their names."""
    from sphinx.ext.autodoc.mock import mock

    for module, (title, about) in MODULES.items():
        with mock(MOCKED):
            home = importlib.import_module(module)
        own = [name for name, each in vars(home).items() if getattr(each, "__module__", "") == module]
        names = getattr(home, "__all__", [name for name in own if not name.startswith("_")])
        yield module.replace(".", "-"), _page(title, about, [(module, each, getattr(home, each)) for each in names])


def _page(title: str, about: str, names: list[tuple[str, str, Any]]) -> str:
    parts = [f"# {title}", about]
    for module, name, given in names:
        lines = [f".. auto{_kind(given)}:: {module}.{name}"]
        if inspect.isclass(given):
            lines.append("   :members:")
            # Fields are listed already.
            if fields := [*getattr(given, "model_fields", ())]:
                lines.append(f"   :exclude-members: {', '.join([*fields, 'positional', 'unnamed', 'default_kind'])}")
        parts.append("```{eval-rst}\n" + "\n".join(lines) + "\n```")
    return "\n\n".join(parts) + "\n"


def _kind(given: Any) -> str:
    return "class" if inspect.isclass(given) else "function" if callable(given) else "data"


def _result(path: Path) -> str:
    """A stored result: verdict, answer, figures with captions, criteria, and every measure."""
    found = json.loads(path.read_text(encoding="utf-8"))
    name, measures = found["name"], {each["key"]: each for each in found["measures"]}
    when = f"`tegum run {name}`, {_time(found['wall_time_s'])} on two cores, tegum {found['versions']['tegum']}"
    parts = [f"**The claim {found['verdict']}.** {found['answer']}"]
    for figure, caption in {name: found["caption"], **found["further_captions"]}.items():
        parts.append(f"```{{figure}} /results/{name}/{figure}.png\n:alt: {_in_place(caption)}\n\n{caption}\n```")
    parts.append("## Criteria\n\nFixed beforehand, with what decides each.")
    rows = [
        (
            "yes" if each["passed"] else "no",
            each["text"],
            _number(measures.get(each.get("measure") or "")),
            each.get("needs") or "",
        )
        for each in found["criteria"]
    ]
    parts.append(_table(("passed", "criterion", "measured", "against"), rows))
    rows = [
        (each["name"], _number(each), each["n"] or "", each["meaning"])
        for each in found["measures"]
        if each["value"] is not None
    ]
    table = _table(("measure", "value [95 % interval]", "n", "what it is"), rows)
    parts.append(f"## All measures\n\nBy {when}.\n\n:::{{dropdown}} {len(rows)} measures\n{table}\n:::")
    return "\n\n".join(parts) + "\n"


def _project(path: Path) -> str:
    """A page from elsewhere in the repository, with its links as they are from here."""

    def link(found: re.Match[str]) -> str:
        words, place = found.groups()
        target, _, anchor = place.partition("#")
        if target in PROJECT:
            place = f"{PROJECT[target]}.md{'#' * bool(anchor)}{anchor}"
        elif target.startswith("docs/"):
            place = f"../../{place.removeprefix('docs/')}"
        elif target == "README.md":
            place = "../../index.md"
        elif target and "://" not in target:
            return words  # a file that the documentation does not have
        return f"[{words}]({place})"

    return re.sub(r"\[([^\]]+)\]\(([^)\s]+)\)", link, path.read_text(encoding="utf-8"))


def _command_line() -> str:
    """The help of every command."""
    from tegum.cli import app

    about = "What each command takes. `tegum completion bash` gives a script for completion with Tab."
    # cyclopts looks up what was started, which is Sphinx here.
    with patch.object(sys, "argv", ["tegum"]):
        written = app.generate_docs(output_format="markdown", heading_level=2, max_heading_level=3, usage_name="tegum")
    # In a terminal there is nothing to link to.
    described = r"\1The description in TOML, as in [From a file](../start.md#from-a-file). "
    written, found = re.subn(r"(\* `SPEC, --spec`: )[^*]*", described, written)
    if not found:
        raise LookupError("docs/generate.py: no command has the argument SPEC any more")
    # The list of contents has a heading of its own, above its level.
    commands = re.sub(r"^#+ Table of Contents$", "", written, flags=re.MULTILINE)
    return f"# Command line\n\n{about}\n\n{commands}"


def _page_limits() -> str:
    """What the page in which models learn can train, from the page's own rules."""
    known = rules()
    names = [(f"`{key}`", ", ".join(f"`{name}`" for name in known[which])) for key, which in _NAMES_IN_PAGE.items()]
    names.insert(0, ("features in all", f"at most {known['features']}"))
    names += [(f"`{key}`", f"at most {most:,}") for key, most in known["most"].items() if key != "base_seed"]
    names.append(("samples of a batch, or of an evaluation, times features", f"at most {known['samples']:,}"))
    names.append(("numbers in the table of a set of another kind", f"at most {known['table']:,}"))
    return _table(("in the page", ""), names) + "\n"


def write_lab(place: Path) -> None:
    """Write the page in which models learn into the folder of static files of the built site."""
    page_file.write_page(place / "lab.html", page_file.page(docs="../"), overwrite=True, call="docs")


def _overview(docs: Path) -> str:
    """A row for each experiment: what is asked, the verdict, and how long it takes."""
    rows = []
    for each in listed():
        found = json.loads((docs / "results" / each.name / "summary.json").read_text(encoding="utf-8"))
        quick, default = (_time(each.seconds[size]) for size in ("quick", "default"))
        rows.append((f"[{each.name}]({each.name}.md)", each.question, found["verdict"], quick, default))
    return _table(("experiment", "question", "the claim", "`--quick`", "default"), rows) + "\n"


def _contents() -> str:
    """The first page of the reference: every public name, with the page that has it."""
    pages = [*PAGES, *(module.replace(".", "-") for module in MODULES)]
    rows = [
        (f"[{title}]({name}.md)", about)
        for name, (title, about, *_) in zip(pages, [*PAGES.values(), *MODULES.values()], strict=True)
    ]
    return (
        "\n\n".join(
            (
                "# Reference",
                "Every public name, with shapes and units, what it refuses, the source of its formula, and an example "
                "that is run by the tests. Errors are one sentence each, with the call, the value and the rule.",
                _table(("page", "what it is about"), rows),
                "```{toctree}\n:hidden:\n\n" + "\n".join(pages) + "\n```",
            )
        )
        + "\n"
    )


def _number(measure: Mapping[str, Any] | None) -> str:
    if measure is None or measure["value"] is None:
        return ""
    unit = f" {measure['unit']}" if measure["unit"] else ""
    text = f"{measure['value']:.4g}{unit}"
    if measure["low"] is not None:
        text += f" [{measure['low']:.3g}, {measure['high']:.3g}]"
    return text + (f", null {measure['null']:.3g}" if measure["null"] is not None else "")


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(
        "| " + " | ".join(_one_line(str(cell)).replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def _in_place(caption: str) -> str:
    """What stands in the place of a figure that cannot be seen: whole sentences of its caption, about 200 letters."""
    first, *others = re.split(r"(?<=\.) (?=[A-Z])", _one_line(caption))
    for each in others:
        if len(first) + len(each) > 200:
            break
        first += f" {each}"
    return textwrap.shorten(first, 300, placeholder=" …")


def _one_line(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    everything(Path(__file__).parent)
