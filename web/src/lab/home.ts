// Where runs are trained, and so how Specs are read, checked and altered: in the page itself, by what it knows of them.
import { readSpec, type Spec } from "../science/spec.ts";
import { type Change, type DatedChange, Trainer } from "../science/train.ts";
import type { Trained } from "./address.ts";
import { describe, type Described, fromPython, type FromPython } from "./described.ts";
import type { Happening, Recording } from "./recording.ts";

export interface Home {
    /** What a Spec is, as JSON text has it. */
    describe(text: string): Described;
    /** The changes of a run, if it can be trained with them. */
    checked(of: Described, run: number, changes: unknown): readonly DatedChange[];
    /** A run with a change from its first step on. */
    anew(of: Described, run: number, change: Change): Trained;
    /** The same from a state, W as rows. */
    startingAt(of: Described, weights: number[][], bias: number[]): Described;
    /** What Python has described. */
    fromPython(given: FromPython): Described;
    /** How a run is to one that Python trains from the same Spec. */
    reproduced: string;
    /** What Python's detectors find in a whole run, where they can be asked. */
    told: ((recording: Recording) => Promise<readonly Happening[]>) | null;
}

export const IN_PAGE: Home = {
    describe: (text) => describe(readSpec(text)),
    checked: (of, run, changes) => new Trainer(trainable(of), run, changes as DatedChange[]).changes,
    anew(of, run, change) {
        const spec = trainable(of);
        const changed = new Trainer(spec, run, [{ ...change, step: 0 }]);
        const training = { ...spec.training, rate: changed.rate };
        return { described: describe(readSpec({ ...spec, training, features: changed.features.sets })), run, changes: [] };
    },
    startingAt: (of, weights, bias) => describe({ ...trainable(of), start: { weights, bias }, initial_scale: null }),
    fromPython,
    reproduced: "The same Spec as in the page. Samples are drawn by another generator, so that runs agree in distribution, not in bits.",
    told: null,
};

/** What is handed to those who train; refused where they cannot. */
export function trainable(of: Described): Spec {
    if (of.trainable === null) throw new Error(of.why ?? "this run cannot be trained here");
    return of.trainable;
}
