"""Two sets of three in three dimensions, made by hand."""

import numpy as np

ANGLES = 2 * np.pi * np.arange(3) / 3


def triangles(height, twist):
    """Two triangles of unit vectors that stand opposite, at a height, one twisted against the other."""
    flat = np.sqrt(1 - height**2)

    def one(angles, up):
        return np.stack([flat * np.cos(angles), flat * np.sin(angles), np.full(3, up)], 1)

    return np.concatenate([one(ANGLES, height), one(ANGLES + twist, -height)])
