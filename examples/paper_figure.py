"""A figure for a paper: one column wide, two panels, PDF."""

import matplotlib.pyplot as plt

import tegum as tg

run = tg.train(tg.Spec(features=[tg.Correlated(3, density=0.05)] * 2, hidden=3, training=tg.Sampled(steps=10_000)))
run = run.isel(seed=0)
_, (left, right) = plt.subplots(1, 2, figsize=(3.4, 1.8), layout="constrained")
tg.plot.loss(run, ax=left)
tg.plot.gram(run, ax=right, by_set=True)
plt.savefig("paper_figure.pdf")
