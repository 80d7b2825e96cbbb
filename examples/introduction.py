"""Five features of falling importance in two dimensions: the sparser they are, the more of them are represented."""

import tegum as tg

features = [tg.Independent(5, density=1.0, importance=[0.9**i for i in range(5)])]
spec = tg.Spec(features=features, hidden=2, training=tg.Exact(), seeds=16)
best = tg.best(tg.train(tg.grid(spec, density=[1.0, 0.2, 0.05])))

ax = tg.plot.embeddings(best)
ax.figure.savefig("introduction.png")
