"""Two pairs in two dimensions: correlated features are orthogonal, anticorrelated ones antipodal."""

import matplotlib.pyplot as plt

import tegum as tg

_, places = plt.subplots(1, 2, figsize=(6, 3), layout="constrained")
for place, kind in zip(places, (tg.Correlated, tg.Anticorrelated), strict=True):
    spec = tg.Spec(features=[kind(2, density=0.1)] * 2, hidden=2, training=tg.Exact(), seeds=16)
    tg.plot.embeddings(tg.best(tg.train(spec)), ax=place, titles=[kind.__name__], legend=False)
plt.savefig("pairs.png")
