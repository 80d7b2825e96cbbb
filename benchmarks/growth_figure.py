"""The figure of `growth.py`, from its file alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tegum.figures import style
from tegum.figures.drawn import new_figure

COLOURS = {
    "tegum, kernel": style.ACCENTS[0],
    "tegum, JAX engine": style.ACCENTS[4],
    "PyTorch eager": style.ACCENTS[1],
    "JAX": style.ACCENTS[2],
}
MARKERS = {"tegum, kernel": "o", "tegum, JAX engine": "s", "PyTorch eager": "^", "JAX": "D"}
KERNEL = "tegum, kernel"
HEIGHT = 5.0


def slope(line: dict[str, Any]) -> float:
    """The exponent of the growth over the upper half of a line's points, by least squares in logarithms."""
    count = max(2, (len(line["at"]) + 1) // 2)
    x, y = np.log(line["at"][-count:]), np.log(line["us"][-count:])
    return float(np.polyfit(x, y, 1)[0]) if len(x) > 1 else float("nan")


def crossings(one: dict[str, Any], other: dict[str, Any]) -> list[tuple[float, float]]:
    """Where one line takes over another: (value, µs), between the points that both have."""
    common = [value for value in one["at"] if value in other["at"]]
    x = np.log(common)
    y, z = (np.log([line["us"][line["at"].index(value)] for value in common]) for line in (one, other))
    found = []
    for k in range(len(common) - 1):
        before, after = y[k] - z[k], y[k + 1] - z[k + 1]
        if before * after < 0:
            share = before / (before - after)
            at = x[k] + share * (x[k + 1] - x[k]), y[k] + share * (y[k + 1] - y[k])
            found.append((float(np.exp(at[0])), float(np.exp(at[1]))))
    return found


def draw_sweep(axes: Any, sweep: dict[str, Any], ylabel: str) -> None:
    """One panel: dashed with open markers on one core, solid with filled ones on two."""
    lines = sweep["lines"]
    for line in lines:
        if not line["at"]:
            continue
        colour, many = COLOURS[line["name"]], line["cores"] > 1
        label = f"{line['name']}, {line['cores']} core{'s' * many}: {slope(line):.2f}"
        axes.plot(
            line["at"],
            line["us"],
            marker=MARKERS[line["name"]],
            linestyle="-" if many else (0, (3, 2)),
            markerfacecolor=colour if many else style.paper(),
            color=colour,
            markersize=4.5,
            linewidth=1.4,
            label=label,
        )
    for ours in (line for line in lines if line["name"] == KERNEL and line["at"]):
        for other in lines:
            if other is not ours and other["cores"] == ours["cores"] and other["at"]:
                for at in crossings(ours, other):
                    axes.plot(*at, "o", markersize=11, markerfacecolor="none", color=style.ink(), markeredgewidth=0.9)
    axes.set(xscale="log", yscale="log", xlabel=sweep["label"], ylabel=ylabel)
    for letter, path in zip("ab", sweep["paths"], strict=False):
        axes.axvline(path["at"], color=style.muted(), linewidth=0.8, linestyle=":")
        axes.text(
            path["at"], 1.01, letter, transform=axes.get_xaxis_transform(), ha="center", fontsize=8, color=style.muted()
        )  # fmt: skip
    axes.legend(title="side, cores: slope of the upper half", title_fontsize=7, fontsize=6.8, loc="upper left",
                bbox_to_anchor=(-0.02, -0.16), ncols=1)  # fmt: skip


def draw(content: dict[str, Any], file: Path) -> list[Path]:
    """Write the figure beside the file, as SVG and PNG."""
    with style.drawing():
        figure = new_figure(figsize=(style.WIDTH, HEIGHT))
        for place, (sweep, ylabel) in enumerate(
            (("features", "time per step, one run per core (µs)"), ("runs", "time per step of all runs (µs)"))
        ):
            axes = figure.add_axes((0.085 + 0.5 * place, 0.5, 0.405, 0.46))
            draw_sweep(axes, content["sweeps"][sweep], ylabel)
        paths = content["sweeps"]["features"]["paths"]
        others = "; ".join(f"{letter}, {path['text']}" for letter, path in zip("ab", paths, strict=False))
        caption = style.Caption(
            "Left: m = n/4, density 0.05. Right: 6 features in three correlated pairs, m = 2. Circles: where another "
            "side takes over the kernel, or the reverse, on as many cores. Dotted: where the kernel takes another "
            f"path ({others})."
        )
        caption.write(figure, caption.height + 0.03)
    written = []
    for kind in ("svg", "png"):
        path = file.with_name(f"{file.stem}.{kind}")
        path.write_bytes(style.rendered(figure, kind))
        written.append(path)
    return written
