"""An experiment of your own: `tegum run own_experiment.py` trains, measures, draws and judges it."""

import tegum as tg
from tegum.experiments import Criterion, Experiment, Findings, share


class Octahedra(Experiment):
    claim = "Most runs of six features in three dimensions end as an octahedron."

    def trainings(self, size):
        return {"run": tg.Spec(features=[tg.Independent(6, density=0.05)], hidden=3, training=tg.Exact(), seeds=32)}

    def analyse(self, runs):
        names = tg.polytope_names(runs["run"].weights.isel(step=-1)).values.tolist()
        found = share("octahedra", "octahedra", sum("octahedron" in name for name in names), 32, "runs that end so")
        most = Criterion("most", "More than half do.", found.low > 0.5, measure="octahedra")
        return Findings((found,), (most,), "Losses of 32 runs.")
