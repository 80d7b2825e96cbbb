"""What a change of the code must not change: the bits of every engine, and the quick form of each experiment.

    python benchmarks/golden.py make FOLDER [--engines]      for the tegum that this Python imports
    python benchmarks/golden.py compare FOLDER OTHER         lists every difference; exit code 1 if there is one
    python benchmarks/golden.py keep FOLDER                  writes what tests compare with, within tolerances

Two commits are compared on one machine, as bits differ between vector units:

    git worktree add ../before COMMIT
    PYTHONPATH=../before/src python benchmarks/golden.py make /tmp/before
    PYTHONPATH=src python benchmarks/golden.py make /tmp/now
    python benchmarks/golden.py compare /tmp/before /tmp/now

Schema 1 of summary.json had no keys for measures; between two schemas measures are compared in order.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ENGINES = "engines.json"

KEPT = Path(__file__).parents[1] / "tests" / "experiments" / "golden.json"
"""What tests compare quick forms with."""

SCREENS = KEPT.with_name("summaries.json")
"""What the screen of a result shows: the summary of each quick form, with the measures that decide a criterion."""

CHANGES = ("versions", "wall_time_s", "files", "schema")
"""Keys of a summary that may differ."""

TEXTS = ("claim", "question", "answer", "caption", "name", "text", "title", "meaning", "unit", "key")
"""Keys of a summary whose values are English, or names of measures, which a revision of the texts may change."""


def engines() -> Iterator[tuple[str, str]]:
    """The name of a training and a digest of its trajectory, for every engine, optimiser and kind of set."""
    import numpy as np

    import tegum as tg

    pairs, rng = [tg.Correlated(2, 0.1)] * 3, np.random.default_rng(0)
    mixed = [
        tg.Independent(3, [0.05, 0.3, 1.0], [1.0, 0.5, 2.0]),
        tg.Anticorrelated(3, 0.3),
        tg.PartiallyCorrelated(2, 0.2, 0.5),
        tg.Correlated(4, 0.1),
    ]
    sets: dict[str, list[Any]] = {
        "pairs": pairs,
        "mixed": mixed,
        "independent": [tg.Independent(33, 0.1)],
        "equivariant": [tg.Equivariant(3, 0.2, 0.8)],
        "empirical": [tg.Empirical(rng.random((64, 5)) * (rng.random((64, 5)) < 0.3))],
    }
    sampled = tg.Sampled(steps=300, batch=128, evaluation=512)
    sgd = sampled.replace(optimiser="sgd", rate=0.1, momentum=0.9, weight_decay=0.01, schedule="cosine", warmup=9)
    trainings: dict[str, tuple[str, Any]] = {
        "kernel": ("kernel", sampled),
        "kernel, SGD": ("kernel", sgd),
        "jax": ("jax", sampled),
        "jax, SGD": ("jax", sgd),
        "L-BFGS": ("auto", tg.Exact(steps=200)),
        "Adam": ("auto", tg.Exact(steps=200, optimiser="adam")),
        "gradient descent": ("auto", tg.Exact(steps=200, optimiser="gd", rate=0.05)),
        "implicit flow": ("auto", tg.Flow(steps=10, duration=50.0)),
        "explicit flow": ("auto", tg.Flow(steps=10, duration=20.0, solver="explicit")),
    }
    for which, features in sets.items():
        for name, (engine, training) in trainings.items():
            if which == "equivariant" and training.kind == "flow":
                continue  # A quadrature over thousands of angles takes minutes; the experiment `equivariant` has it.
            for activation in ("relu", "linear"):
                hidden = 5 if which == "independent" else 2
                spec = tg.Spec(
                    features=features, hidden=hidden, activation=activation, seeds=5, training=training, snapshots=5
                )
                name_of_it = f"{name}, {which}, {activation}"
                try:
                    run = tg.train(spec, engine=engine)
                except ValueError as refused:
                    # The message may be improved; that it is refused must not change.
                    yield name_of_it, f"refused ({type(refused).__name__})"
                    continue
                yield name_of_it, _digest(run["weights"], run["bias"])
                yield f"{name_of_it}: loss", _digest(run["loss"])


def _digest(*arrays: Any) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(array.values.tobytes())
    return digest.hexdigest()[:16]


def make(folder: Path, *, only_engines: bool) -> None:
    """Write the digests, and each experiment's quick form, to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for name, digest in engines():
        found[name] = digest
        print(f"{name}: {digest}", flush=True)
    (folder / ENGINES).write_text(json.dumps(found, indent=1, ensure_ascii=False))
    if only_engines:
        return
    from tegum.experiments import names

    for name in names():
        print(name, flush=True)
        command = [sys.executable, "-m", "tegum", "run", name, "--quick", "--out", str(folder / name), "--overwrite"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def compare(folder: Path, other: Path, *, texts: bool) -> list[str]:
    """All differences, one per line."""
    differences = []
    ours, theirs = (json.loads((each / ENGINES).read_text()) for each in (folder, other))
    differences += _differences("", ours, theirs)
    names = {each.parent.name for place in (folder, other) for each in place.glob("*/summary.json")}
    for name in sorted(names):
        summaries = [_summary(place / name / "summary.json", texts=texts) for place in (folder, other)]
        differences += [f"{name}: {each}" for each in _differences("", *summaries)]
    return differences


def keep(folder: Path) -> None:
    """Write the measures that have an interval to the file with which tests compare every quick form.

    On another vector unit runs have other bits, so that their measures differ within what their intervals allow; roots
    and other deterministic results have narrow ones. Intervals from fewer than eight runs are too rough for this.
    """
    kept, screens = {}, {}
    for path in sorted(folder.glob("*/summary.json")):
        summary = json.loads(path.read_text(encoding="utf-8"))
        measures = summary["measures"]
        deciding = {each["measure"] for each in summary["criteria"]}
        screens[path.parent.name] = summary | {
            "measures": [each for each in measures if each["key"] in deciding],
            **{key: {} for key in ("spec", "seed", "versions")},
        }
        kept[path.parent.name] = {
            each["key"]: [each[name] for name in ("value", "low", "high")]
            for each in measures
            if each["low"] is not None and each["high"] is not None and (each["n"] or 8) >= 8
        }
    for place, content in ((KEPT, kept), (SCREENS, screens)):
        place.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _summary(path: Path, *, texts: bool) -> Any:
    if not path.exists():
        return None
    kept = {key: value for key, value in json.loads(path.read_text()).items() if key not in CHANGES}
    return kept if texts else _without(kept)


def _without(value: Any) -> Any:
    match value:
        case dict():
            return {key: _without(each) for key, each in value.items() if key not in TEXTS}
        case list():
            return [_without(each) for each in value]
        case _:
            return value


def _differences(where: str, one: Any, other: Any) -> Iterator[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in dict.fromkeys([*one, *other]):
            yield from _differences(f"{where}.{key}", one.get(key), other.get(key))
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for number, pair in enumerate(zip(one, other, strict=True)):
            yield from _differences(f"{where}[{number}]", *pair)
    elif one != other:
        yield f"{where.lstrip('.')}: {one!r} and {other!r}"[:300]


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("make", "compare", "keep"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("other", type=Path, nargs="?")
    parser.add_argument("--engines", action="store_true", help="no experiments")
    parser.add_argument("--texts", action="store_true", help="compare the English, too")
    given = parser.parse_args()
    if given.what == "make":
        make(given.folder, only_engines=given.engines)
        return 0
    if given.what == "keep":
        keep(given.folder)
        return 0
    if given.other is None:
        parser.error("compare needs two folders")
    differences = compare(given.folder, given.other, texts=given.texts)
    print("\n".join(differences) or "no difference")
    return bool(differences)


if __name__ == "__main__":
    sys.exit(main())
