"""The geometry of a dictionary of your own, beside what chance gives: any matrix with a direction in each row."""

import matplotlib.pyplot as plt
import numpy as np

import tegum as tg

rng = np.random.default_rng(0)
directions = np.repeat(rng.normal(size=(500, 64)), 2, axis=0) + 0.5 * rng.normal(size=(1_000, 64))
found = tg.analyse(directions)
plt.hist(found.nearest_cosine, bins=30)
plt.axvline(float(found.nearest_quantile_null.sel(quantile=0.5)), color="black", label="median by chance")
plt.gca().set(xlabel="cosine with the nearest direction", ylabel="directions")
plt.legend()
plt.savefig("own_dictionary.png")
