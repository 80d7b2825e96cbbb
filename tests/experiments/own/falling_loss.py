"""An experiment as a user writes it: in a file of its own, with a second stage and a neighbour."""

from typing import ClassVar

from ratios import to_zero_weights

import tegum as tg
from tegum.experiments import ANY, Criterion, Experiment, Findings, Measure, average
from tegum.training.dataset import spec_of

FEATURES, DENSITY = 4, 0.5


class FallingLoss(Experiment):
    """Four features in three dimensions."""

    claim = "In training the loss falls below a third of that of zero weights, and further without noise."
    varies: ClassVar = {"training.rate": ANY, "seeds": ANY}

    def trainings(self, size):
        seeds = {"quick": 3, "default": 16, "full": 64}[size]
        training = tg.Sampled(steps=200, batch=256, evaluation=512, rate=0.03)
        features = [tg.Independent(FEATURES, density=DENSITY)]
        return {"run": tg.Spec(features=features, hidden=3, training=training, snapshots=10, seeds=seeds)}

    def further(self, runs):
        end = runs["run"].isel(step=-1)
        exact = tg.Exact(gradient_tolerance=1e-4)
        return {"ends": spec_of(runs["run"]).continued_from(end["weights"].values, end["bias"].values, training=exact)}

    def analyse(self, runs):
        ends = tg.population_loss_along(runs["run"].isel(step=[-1])).values[:, 0]
        ratio = average(
            "final_loss", "final loss / loss of zero weights",
            to_zero_weights(ends, FEATURES, DENSITY), "", "mean over runs",
        )  # fmt: skip
        last = runs["ends"].loss.isel(step=-1)
        least = Measure("least_loss", "least loss without noise", last.min(), "", n=last.seed.size)
        lower = last.values < ends
        criteria = (
            Criterion("below_a_third", "The mean final loss is below a third.", ratio.high < 1 / 3),
            Criterion("lower_without_noise", "Without noise the loss of every run falls further.", lower.all()),
        )
        return Findings((ratio, least), criteria, "Losses of four features in three dimensions.")
