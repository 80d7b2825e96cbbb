"""The fate of a second feature in one dimension, by its importance and by the density of both."""

import numpy as np

import tegum as tg

features = [tg.Independent(1, density=1.0), tg.Independent(1, density=1.0)]
spec = tg.Spec(features=features, hidden=1, training=tg.Exact(), seeds=4)
density = {f"features.{i}.density": np.geomspace(0.01, 1, 13) for i in range(2)}
importance = {"features.1.importance": np.geomspace(0.1, 10, 13)}
best = tg.best(tg.train(tg.grid(spec, density=density, importance=importance)))

second = tg.dimensionality(best.weights).isel(feature=1)
ax = tg.plot.phase(second, label="dimensionality of the second feature")
ax.figure.savefig("phase_diagram.png")
