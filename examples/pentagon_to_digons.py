"""Five features in two dimensions, one rarer than the others: where the pentagon gives way to two digons."""

import tegum as tg

features = [tg.Independent(4, density=0.05), tg.Independent(1, density=0.05)]
spec = tg.Spec(features=features, hidden=2, training=tg.Exact(), seeds=16)
best = tg.best(tg.train(tg.grid(spec, rarer={"features.1.density": [0.05, 0.02, 0.015, 0.01]})))

ax = tg.plot.embeddings(best)
ax.figure.savefig("pentagon_to_digons.png")
