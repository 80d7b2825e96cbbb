"""The loss over training for two optimisers, from Xavier's weights and from small ones."""

import matplotlib.pyplot as plt
import numpy as np

import tegum as tg

start = np.random.default_rng(0).normal(scale=0.01, size=(8, 20, 5))
adamw = tg.Spec(features=[tg.Independent(20, density=0.1)], hidden=5, training=tg.Sampled(steps=3_000), seeds=8)
sgd = adamw.override({"training.optimiser": "sgd", "training.rate": 0.3})
specs = {"AdamW": adamw, "AdamW, small": adamw.replace(start=start), "SGD": sgd, "SGD, small": sgd.replace(start=start)}
_, places = plt.subplots(1, 4, figsize=(10, 2.5), sharey=True, layout="constrained")
for place, (name, spec) in zip(places, specs.items(), strict=True):
    tg.plot.loss(tg.train(spec), ax=place).set_title(name)
plt.savefig("optimisers_and_starts.png")
