"""Plots as functions: a Dataset in, matplotlib Axes out.

    import tegum as tg

    ax = tg.plot.embeddings(run.isel(seed=slice(6)))
    ax.figure.savefig("embeddings.pdf")

Each function draws on `ax=`, or on a new figure, and puts no caption anywhere. A figure of your own for `ax=` needs
`layout="constrained"`, as in `plt.subplots(1, 2, layout="constrained")`: legends and colour bars stand beside a panel
and would overlap the next one. Colours of text and background are those of your own settings, so that plots are as
readable on black as on white. On top of your settings it uses the style sheet "tegum.plot" (small type, colours that
colour-blind readers can distinguish), which `style=None` switches off, any other style replaces, and
`plt.style.use("tegum.plot")` puts to use for plots of your own.
"""

from __future__ import annotations

from tegum.figures.plots.dimensionality import dimensionality
from tegum.figures.plots.embeddings import embeddings
from tegum.figures.plots.gram import gram
from tegum.figures.plots.loss import loss
from tegum.figures.plots.per_feature import dimensions_per_feature
from tegum.figures.plots.phase import phase
from tegum.figures.plots.polytopes import polytopes

__all__ = ["dimensionality", "dimensions_per_feature", "embeddings", "gram", "loss", "phase", "polytopes"]
