// What the page can train, for Python, which refuses what it cannot before it writes a page. `node build.js page` puts it
// beside the module, so that no limit is told twice.
import { KINDS, MOST_ENTRIES } from "../science/features.ts";
import { LAWS } from "../science/magnitudes.ts";
import { ACTIVATIONS } from "../science/model.ts";
import { OPTIONS } from "../science/optimise.ts";
import { MOST_LISTED } from "../science/snapshots.ts";
import { LIMITS } from "../science/spec.ts";

export const RULES = {
    kinds: KINDS,
    laws: LAWS,
    activations: ACTIVATIONS,
    optimisers: Object.keys(OPTIONS),
    features: LIMITS.features,
    /** The most numbers in the table of a set. */
    table: MOST_ENTRIES,
    /** The most samples of a batch or an evaluation, times features. */
    samples: LIMITS.batchNumbers,
    /** The most of each number, by its key in a Spec. */
    most: {
        hidden: LIMITS.hidden,
        seeds: LIMITS.seeds,
        base_seed: Number.MAX_SAFE_INTEGER,
        "training.steps": LIMITS.steps,
        "training.batch": LIMITS.batch,
        "training.evaluation": LIMITS.evaluation,
        "snapshots.count": MOST_LISTED,
    },
};
