"""The figure of the experiment `octahedron`, and its caption."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tegum.experiments.octahedron.findings import OctahedronFindings

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def figure(found: OctahedronFindings, caption: str) -> Figure:
    """The polyhedron at the end of each regime of one run, over its loss, over the tree of routes.

    Args:
        found: what is drawn.
        caption: set below the panels.

    """
    from tegum.figures.octahedron import Picture, octahedron

    pictures, bands = [], []
    drawn = found.drawn
    if drawn is not None:
        for stage in found.stages[drawn]:
            bands.append(
                (stage.regime.start, stage.regime.end, stage.regime.kind, stage.dominant, stage.dominant_share)
            )
            pictures.append(Picture(stage.regime.end, found.weights[drawn, stage.regime.last]))
        pictures.insert(0, Picture(int(found.steps[0]), found.weights[drawn, 0]))
    curve = (found.steps, found.loss[drawn]) if drawn is not None else None
    return octahedron(pictures, curve, bands, found.tree(), caption)


def caption(found: OctahedronFindings) -> str:
    """What the figure shows, in sentences."""
    small = int(found.small.sum())
    text = ""
    if (at := found.drawn) is not None:
        text = (
            f"Top: six features in two correlated sets (colours) at the ends of regimes of run {int(found.seed[at])} "
            f"at density {found.density(at):g}, start {found.scale(at):g}, every snapshot turned on the next; lines "
            "join the members of a set, dashed ones antipodal pairs. Middle: its exact loss; shaded are plateaus, and "
            "each regime has the name of the transformation with the largest share of its motion, and that share. "
        )
    return (
        f"{text}Bottom: how {small} runs from small starts stood when their sets began to open, whether two open "
        "triangles stood opposite before the first antipodal pair (straight) or after it, and how they ended."
    )
