"""Dimensions per feature as features become sparser: the curve sticks at 1/2, where features form digons."""

import numpy as np

import tegum as tg

spec = tg.Spec(features=[tg.Independent(40, density=1.0)], hidden=5, training=tg.Sampled(steps=5_000), seeds=4)
run = tg.train(tg.grid(spec, density=1 / np.geomspace(1, 30, 12)))

ax = tg.plot.dimensions_per_feature(run)
ax.figure.savefig("geometry.png")
