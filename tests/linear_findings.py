"""What measures of linear solutions find in training, made by hand."""

import dataclasses

import numpy as np

from tegum.analysis.dynamics.plateaus import Plateau
from tegum.analysis.linear.escape_order import EscapeOrder
from tegum.analysis.linear.onset import SuperpositionOnset
from tegum.analysis.linear.plateau_ranks import FirstPlateaus


def ordered(measured, **changes):
    modes = measured.shape[1]
    time = np.linspace(0, 10, 101)
    made = EscapeOrder(
        time=time,
        steps=np.arange(101),
        loss=np.ones((len(measured), 101)),
        linear=np.ones((len(measured), 101)),
        measured=measured,
        predicted=np.tile(np.array([1.0, 2.0, 4.0, 8.0])[:modes], (len(measured), 1)),
        eigenvalues=np.array([4.0, 1.0, 0.9, 0.1, 0.1])[: modes + 1],
        losses=np.ones(modes + 1),
        sizes=tuple(range(modes, 0, -1)),
    )
    return dataclasses.replace(made, **changes)


RESTING = Plateau(start=20, end=30, slowest=2, loss=0.2, escaped=True, fastest=3)


def resting(slowest, purest, opposed, first=None):
    """Runs with two losses and a cosine, on a plateau whose purest snapshot is 1 and whose slowest is 2."""
    count = len(slowest)
    loss = np.full((count, 4), 0.2)
    linear = np.column_stack([np.ones(count), purest, slowest, np.ones(count)])
    loss[:, 1:3] = linear[:, 1:3].clip(max=0.41)
    return FirstPlateaus(
        seeds=tuple(range(count)),
        rank=2,
        losses=np.array([1.0, 0.4, 0.2]),
        loss=loss,
        linear=linear,
        inside=np.ones((count, 4)),
        opposed=np.repeat(np.array(opposed)[:, None], 4, 1),
        first=tuple([RESTING] * count if first is None else first),
        purest=tuple(1 if first is None or each else -1 for each in (first or [RESTING] * count)),
    )


def onset(count, fallen, total=None):
    count = np.asarray(count)
    return SuperpositionOnset(
        hidden=2,
        steps=np.arange(0, 10 * count.shape[1], 10),
        count=count,
        total=count.astype(float) if total is None else total,
        disturbed=np.zeros(count.shape),
        fallen=np.asarray(fallen, float),
        features=5,
    )
