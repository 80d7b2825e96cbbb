"""A sparse autoencoder scored against the features: a collapsed pair has one direction, found once or twice."""

import matplotlib.pyplot as plt
from sae_lens import StandardTrainingSAE, StandardTrainingSAEConfig, synthetic

import tegum as tg
from tegum.torch import saelens

for p in (0.1, 0.3):
    best = tg.best(tg.train(tg.Spec(features=[tg.Correlated(2, p)] * 6, hidden=6, training=tg.Exact(), seeds=8)))
    sae = StandardTrainingSAE(StandardTrainingSAEConfig(d_in=6, d_sae=12, l1_coefficient=0.1))
    synthetic.train_toy_sae(sae, saelens.feature_dictionary(best), saelens.FeatureActivations(best), 2_000_000, lr=3e-3)
    match = tg.match_directions(sae.W_dec, best.weights[-1])
    plt.plot(match.cosine.sortby(-match.cosine), "o", label=f"density {p} (by chance {match.matched_cosine_null:.2f})")
plt.legend().axes.set(xlabel="feature, best first", ylabel="cosine with its matched direction")
plt.savefig("sparse_autoencoder.png")
