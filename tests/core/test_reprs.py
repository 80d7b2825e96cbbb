"""What values look like: on one or two lines that say what differs from the defaults, and as a table in a notebook."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import tegum as tg
from tegum.core.reprs import html_table
from tegum.experiments.summary import Criterion, Summary

NAMES = {name: getattr(tg, name) for name in tg.__all__}
PAIRS = tg.FeatureDistribution([tg.Correlated(2, 0.05)] * 3)
DESCRIPTIONS = {
    "Sampled()": tg.Sampled(),
    "Sampled(steps=5, optimiser='sgd', momentum=0.5)": tg.Sampled(steps=5, optimiser="sgd", momentum=0.5),
    "Flow(duration=2.0)": tg.Flow(duration=2),
    "Snapshots(steps=(1, 2))": tg.Snapshots.of([1, 2]),
    "Correlated(size=2, density=0.05)": tg.Correlated(2, 0.05),
    "PartiallyCorrelated(size=2, density=0.1, strength=0.5, importance=2.0)": tg.PartiallyCorrelated(2, 0.1, 0.5, 2.0),
    "FeatureDistribution([Correlated(size=2, density=0.05)] * 3)": PAIRS,
    "FeatureDistribution([Independent(count=1, density=0.1), Independent(count=1, density=0.2)] + "
    "[Correlated(size=2, density=0.05)] * 2 + [Independent(count=1, density=0.1)])": tg.FeatureDistribution(
        [tg.Independent(1, 0.1), tg.Independent(1, 0.2), *[tg.Correlated(2, 0.05)] * 2, tg.Independent(1, 0.1)]
    ),
    "Spec(features=FeatureDistribution([Correlated(size=2, density=0.05)] * 3), hidden=2, seeds=4)": tg.Spec(
        features=PAIRS, hidden=2, seeds=4
    ),
    "Spec(features=FeatureDistribution([Correlated(size=2, density=0.05)] * 3), hidden=2, training=Exact(steps=5))": (
        tg.Spec(features=PAIRS, hidden=2, training=tg.Exact(steps=5))
    ),
}


@pytest.mark.parametrize("text", DESCRIPTIONS)
def test_a_description_shows_what_differs_from_defaults_as_python_that_rebuilds_it(text):
    one = DESCRIPTIONS[text]
    assert repr(one) == str(one) == text
    assert eval(text, dict(NAMES)) == one


class Cells(HTMLParser):
    """The texts of a table's cells; anything but a table of text is refused."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        assert tag in ("table", "caption", "tbody", "tr", "th", "td")
        assert {name for name, _ in attrs} <= {"style", "scope"}
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def test_tables_are_small_and_show_what_users_wrote_as_it_is():
    two, none = np.ones(2), np.zeros((0, 2, 1))
    point = tg.CriticalPoint(
        weights=np.ones((2, 1)), bias=two, features=tg.FeatureDistribution([tg.Independent(2, 0.2)]), activation="relu",
        tol=1e-9, loss=0.125, loss_error=1e-10, gradient_norm=0.0, gradient_error=1e-12, moved=0.0, converged=True,
        eigenvalues=np.array([-0.3, 2.0]), eigenvalue_error=1e-9 * two, zero_modes=0, kinks=(),
        mode_weights=np.ones((2, 2, 1)),
        mode_bias=np.ones((2, 2)), edge_curvature=none[:, 0, 0], edge_weights=none, edge_bias=none[..., 0],
    )  # fmt: skip
    octahedron = tg.name_polytope(np.concatenate([np.eye(3), -np.eye(3)]))
    spec = DESCRIPTIONS[list(DESCRIPTIONS)[-2]]
    grid = tg.grid(spec, density=np.linspace(0.1, 0.9, 9), rate=[1e-3, 1e-2])
    script = "<script>alert('x')</script> & \"more\""
    criteria = Criterion("fast", script, passed=True), Criterion("slow", "is slow", passed=False)
    summary = Summary(
        script, script, "does not hold", criteria, (), "", "quick",
        {}, {}, {}, 1.0, (Path(script.replace("/", "")),),
    )  # fmt: skip
    shown = {
        repr(point): "<CriticalPoint: saddle of index 1, loss 0.125, n = 2, m = 1>",
        repr(octahedron): "<Polytope: octahedron = 3 × digon, 6 features in 3 dimensions>",
        repr(grid): "<Grid of 9 × 2 Specs: density 0.1 … 0.9 (9 values), rate 0.001, 0.01>",
        repr(summary): f"<Summary of {script} (quick): does not hold, 1 of 2 criteria met>",
    }
    for found, wanted in shown.items():
        assert found == wanted
    cells = {type(each).__name__: Cells(each._repr_html_()).texts for each in (point, octahedron, grid, summary, spec)}
    assert cells["Summary"][:3] == [f"{script} (quick)", "claim", script]
    assert {"✓", "✗", "is slow"} <= set(cells["Summary"])
    assert cells["Polytope"][1:3] == ["digon", "features 0, 3; dimensionality 0.5 (ideal 1/2)"]
    assert cells["Spec"] == ["Spec", "features", repr(PAIRS), "hidden", "2", "seeds", "4"]
    assert cells["Grid"][:3] == ["Grid of 9 × 2 Specs", "features.density", "0.1 … 0.9 (9 values)"]
    assert Cells(PAIRS._repr_html_()).texts == [
        "FeatureDistribution: 6 features",
        "3 × Correlated",
        "size=2, density=0.05",
    ]
    assert len(Cells(html_table("long", [("x", "y" * 1000)])).texts[-1]) == 201
