"""The figure at the top of README.md: superposition, and a feature that jumps as the loss drops.

    python docs/readme_figure.py        writes docs/images/superposition.png, in about half a minute on two cores

Left: five features of falling importance in two dimensions, the best of 64 exact optima at each density (after the
introduction of Elhage et al. 2022). Right: one run of the experiment `energy-levels`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import tegum as tg
from tegum import experiments
from tegum.figures import style
from tegum.figures.drawn import new_figure

DENSITIES = (1.0, 0.2, 0.05)
IMPORTANCE = 0.9 ** np.arange(5)
SEED = 6
OUT = Path(__file__).parent / "images" / "superposition.png"


def optimum(density: float) -> np.ndarray:
    """The embeddings of the best exact optimum, shape (5, 2), turned so that the first feature points up."""
    features = [tg.Independent(5, density, IMPORTANCE)]
    runs = tg.train(tg.Spec(features=features, hidden=2, training=tg.Exact(), seeds=64, snapshots=1))
    rows = tg.best(runs).weights.isel(step=-1).values
    angle = np.pi / 2 - np.arctan2(rows[0, 1], rows[0, 0])
    return rows @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


def draw_embeddings(axes, rows: np.ndarray, title: str) -> None:
    """Each feature as an arrow from the origin."""
    for row, colour in zip(rows, style.ACCENTS, strict=False):
        if np.linalg.norm(row) > 0.1:
            axes.annotate("", row, (0, 0), arrowprops={"arrowstyle": "-|>", "color": colour, "lw": 1.8, "shrinkB": 0})
        else:
            axes.plot(*row, ".", color=colour, markersize=4)
    circle = np.linspace(0, 2 * np.pi, 200)
    axes.plot(np.cos(circle), np.sin(circle), color=style.band(), lw=1, zorder=0)
    axes.set(xlim=(-1.25, 1.25), ylim=(-1.25, 1.25), aspect="equal", title=title)
    axes.axis("off")


def main() -> None:
    """Train, draw, write."""
    spec = experiments.get("energy-levels").trainings("quick")["run"]
    assert isinstance(spec, tg.Spec)
    run = tg.train(spec.replace(seeds=SEED + 1)).isel(seed=SEED)
    steps, sizes = run.step.values, tg.dimensionality(run.weights).values
    with style.drawing():
        figure = new_figure(figsize=(style.WIDTH, 2.75))
        for number, density in enumerate(DENSITIES):
            axes = figure.add_axes((0.005 + 0.163 * number, 0.13, 0.16, 0.72))
            draw_embeddings(axes, optimum(density), f"{density:.0%} dense")
        figure.text(0.248, 0.93, "five features in two dimensions", ha="center", fontsize=9, weight="bold")
        figure.text(0.248, 0.06, "sparser features share dimensions →", ha="center", fontsize=8, color=style.muted())
        upper, lower = figure.add_axes((0.595, 0.47, 0.29, 0.4)), figure.add_axes((0.595, 0.17, 0.29, 0.26))
        moving = np.argsort(-np.abs(np.diff(sizes[steps > 2000], axis=0)).max(0))[:2]
        for feature in range(sizes.shape[1]):
            chosen = feature in moving
            colour = style.ACCENTS[int(np.flatnonzero(moving == feature)[0])] if chosen else "#c4cad1"
            upper.plot(steps, sizes[:, feature], color=colour, lw=1.8 if chosen else 0.6, zorder=3 if chosen else 1)
        for level, name in ((0.5, "antipodal\npair"), (0.0, "absent")):
            upper.text(25_600, level, name, fontsize=7, va="center", color=style.muted())
        upper.set(
            xscale="linear", xlim=(0, 25_000), ylim=(-0.03, 0.85), ylabel="feature\ndimensionality", xticklabels=[]
        )
        lower.plot(steps, run.loss.values, color=style.ink(), lw=1.2)
        late = run.loss.values[steps > 2000]
        lower.set(
            xlim=(0, 25_000), ylim=(late.min() - 0.008, late.max() + 0.012), ylabel="loss", xlabel="training step"
        )
        lower.set_xticks([0, 10_000, 20_000], ["0", "10,000", "20,000"])
        upper.set_xticks([0, 10_000, 20_000])
        figure.text(0.74, 0.93, "features jump, and the loss drops", ha="center", fontsize=9, weight="bold")
    OUT.write_bytes(style.rendered(figure, "png"))


if __name__ == "__main__":
    main()
