"""A film of three correlated pairs finding their places; in a notebook, `Image("film.gif")` shows it."""

import tegum as tg

spec = tg.Spec(features=[tg.Correlated(2, density=0.05)] * 3, hidden=2, training=tg.Sampled(steps=4_000), seeds=4)
run = tg.train(spec)

tg.render(run, "film.gif", seed=0, seconds=4, width=480, overwrite=True)
ax = tg.plot.loss(run)
ax.figure.savefig("film.png")
