"""Energy levels at a size of your own: 30 features in 4 dimensions, with the events in which features jump."""

import tegum as tg

training = tg.Sampled(steps=20_000)
spec = tg.Spec(features=[tg.Independent(30, density=0.4)], hidden=4, training=training, snapshots=200, seeds=1)
run = tg.train(spec).isel(seed=0)

ax = tg.plot.dimensionality(run, events=True)
ax.figure.savefig("other_sizes.png")
