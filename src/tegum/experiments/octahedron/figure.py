"""The figure of the experiment `octahedron`, and its caption."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tegum.experiments.octahedron.findings import OctahedronFindings

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def figure(found: OctahedronFindings) -> tuple[Figure, Figure]:
    """Draw the polyhedron at the end of each regime of one run, the loss of that run, and the tree of routes.

    Args:
        found: the findings to draw.

    """
    from tegum.figures.experiments.octahedron import Picture, octahedron

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
    return octahedron(pictures, curve, bands, found.tree())


def caption(found: OctahedronFindings) -> tuple[str, str]:
    """What the figures show, in sentences."""
    small = int(found.small.sum())
    text = ""
    if (at := found.drawn) is not None:
        text = (
            "Six features in two correlated sets (colours) at the end of each regime of run "
            f"{int(found.seed[at])} (density {found.density(at):g}, initial scale {found.scale(at):g}), each as large "
            "as fits, with a bar for its scale, and rotated onto the next. Lines join the members of a set, dashed "
            "lines antipodal pairs. Below: the exact loss of this run, with plateaus shaded. Each regime is labelled "
            "with the transformation that has the largest share of its motion, and with that share."
        )
    return text, (
        f"{small} runs from small starts: how many took each route, by the configuration of their sets just before "
        "they open and by whether two open triangles are opposite before the first antipodal pair forms (straight) or "
        "after it (pairs first). Colours: their final states."
    )
