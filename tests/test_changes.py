"""The table "to change X, touch Y" of CONTRIBUTING.md, row by row: each change is made, in a copy, and seen to work.

A row of the table is one edit of one file here. All are made at once, and one fresh process uses what they add.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import tegum

PACKAGE = Path(tegum.__file__).parent
CONTRIBUTING = Path(__file__).parents[1] / "CONTRIBUTING.md"


@dataclass(frozen=True)
class Change:
    """An edit of one file: `new` takes the place of `old`, or stands behind what the file has."""

    what: str
    """As in the table's first column."""
    file: str
    old: str = ""
    new: str = ""


CHANGES = (
    Change(
        "a kind of set",
        "core/features/sets.py",
        new='''

class Staircase(GatedSet, kind="staircase"):
    """The first 0, 1, … or all features are active, each number as often."""

    size: int
    density: float = 1.0

    @property
    def features(self) -> int:
        return self.size

    def table(self) -> MixtureTable:
        return MixtureTable(np.full(self.size + 1, 1 / (self.size + 1)), np.tri(self.size + 1, self.size, -1))
''',
    ),
    Change(
        "a law of magnitude",
        "core/features/magnitudes.py",
        new='''

class RampMagnitude(Magnitude, kind="ramp"):
    """The density 2a on [0, 1]."""

    @property
    def support(self):
        return 0.0, 1.0

    def moments(self, active=1.0):
        return active * 2 / 3, active / 2

    def drawn(self, u):
        return u**0.5
''',
    ),
    Change(
        "an activation",
        "core/model.py",
        old='        ActivationFunction("linear", floor=-np.inf, exact="moments"),\n',
        new='        ActivationFunction("linear", floor=-np.inf, exact="moments"),\n'
        '        ActivationFunction("shifted", floor=-0.25),\n',
    ),
    Change(
        "an optimiser",
        "training/spec/optimisers.py",
        old='        Optimiser("sgd", "momentum", ("momentum",), memory=1, twin="gd"),\n',
        new='        Optimiser("sgd", "momentum", ("momentum",), memory=1, twin="gd"),\n'
        '        Optimiser("adam", "adam", ("betas", "eps"), memory=2, twin="adam"),\n',
    ),
    Change(
        "a default, such as that of `eps`",
        "training/spec/methods.py",
        old="eps: Positive = 1e-8",
        new="eps: Positive = 1e-7",
    ),
    Change(
        "a detector or measure",
        "analysis/dynamics/plateaus.py",
        new='''

def first_step(run):
    """The first recorded step."""
    return run["step"].isel(step=0)
''',
    ),
    Change(
        "a measure that an experiment reports",
        "experiments/many_jumps/measures.py",
        new="\n\nMeasure('extra', 'one more', 1.0, 'run')\n",
    ),
    Change("a colour", "figures/style.py", old='INK = "#222222"', new='INK = "#333333"'),
    Change(
        "a column of `tegum show`",
        "analysis/report.py",
        old='"share": f"{count / runs:.0%}"}',
        new='"share": f"{count / runs:.0%}", "of": str(runs)}',
    ),
    Change(
        "what a summary holds",
        "experiments/summary.py",
        old="    wall_time_s: float\n",
        new="    wall_time_s: float\n    author: str = field(default='nobody', kw_only=True)\n",
    ),
)

USES = """
import sys
import numpy as np
import tegum as tg
from tegum import terminal
from tegum.analysis import report
from tegum.experiments.summary import Summary
from tegum.figures import style

# A kind of set is described, has moments and is sampled: E[x_i²] = P(i active)/3 = ((3 − i)/4)/3.
features = tg.FeatureDistribution([{"kind": "staircase", "size": 3}])
np.testing.assert_allclose(np.diag(features.second_moment()), np.array([3, 2, 1]) / 12, rtol=1e-12)
assert ((features.sample(0, 1000) > 0).argmin(1) == (features.sample(0, 1000) > 0).sum(1) % 3).all()

# A law of magnitude is described, has moments and is sampled: E[a] = 2/3, and of certain features so is the mean.
ramps = tg.FeatureDistribution([{"kind": "independent", "count": 2, "density": 1.0, "magnitude": {"kind": "ramp"}}])
np.testing.assert_allclose(ramps.second_moment(), [[1 / 2, 4 / 9], [4 / 9, 1 / 2]], rtol=1e-12)
np.testing.assert_allclose(ramps.sample(0, 10_000).mean(0), 2 / 3, atol=0.02)

# An activation goes forward, and exact training refuses it by name.
out = tg.forward(np.zeros((3, 2)), np.full(3, -1.0), np.ones((1, 3)), activation="shifted")
np.testing.assert_array_equal(out, [[-0.25] * 3])
try:
    tg.population_loss(np.zeros((3, 2)), np.zeros(3), features, activation="shifted")
except ValueError as error:
    assert "'shifted'" in str(error), error
else:
    raise AssertionError("not refused")

# An optimiser has the options of its rule, and a twin without noise.
adam = tg.Sampled(optimiser="adam", betas=(0.8, 0.9))
assert (adam.rule, adam.decay, adam.noiseless().optimiser) == ("adam", 0.0, "adam")
assert tg.Sampled().eps == tg.Exact(optimiser="adam").eps == 1e-7

assert style.INK == "#333333"
run = tg.load(sys.argv[1])
rows = report.polytopes_found(run)
assert all(row["of"] == "2" for row in rows)
terminal.records("Polytopes", rows)
from tegum.analysis.dynamics.plateaus import first_step
assert int(first_step(run)) == 0
summary = Summary("e", "A claim.", "holds", (), (), "", "quick", {}, {}, {}, 1.0, ())
assert summary.to_json()["author"] == "nobody"
"""


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with all changes."""
    root = tmp_path_factory.mktemp("changed")
    shutil.copytree(PACKAGE, root / "tegum", ignore=shutil.ignore_patterns("__pycache__"))
    for change in CHANGES:
        path = root / "tegum" / change.file
        text = path.read_text(encoding="utf-8")
        if change.old:
            assert text.count(change.old) == 1, f"{change.what}: {change.old!r} stands {text.count(change.old)} times"
        path.write_text(text.replace(change.old, change.new) if change.old else text + change.new, encoding="utf-8")
    return root


def test_each_change_is_one_edit_and_works(changed: Path) -> None:
    # Made here, where its kernel is compiled already.
    spec = tegum.Spec(features=[tegum.Independent(3, 0.1)], hidden=2, training=tegum.Sampled(steps=0), seeds=2)
    tegum.save(tegum.train(spec), changed / "run.zarr")
    done = subprocess.run(
        [sys.executable, "-c", USES, str(changed / "run.zarr")],
        env={**os.environ, "PYTHONPATH": str(changed)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"polytope.*runs.*share.*of", done.stdout)


def test_the_table_of_changes_is_complete() -> None:
    """A row for each change that is made here, which names the file; and each file that a row names is there."""
    rows = [line for line in CONTRIBUTING.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    for change in CHANGES:
        (row,) = (row for row in rows if row.startswith(f"| {change.what} |"))
        folder = change.file.rpartition("/")[0]
        assert f"`{change.file}`" in row or f"`{folder}/`" in row or "experiments/NAME/measures.py" in row, row
