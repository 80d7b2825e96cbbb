// What the page knows of a run before it is trained or played: its sizes, its sets and its Spec. The page describes what
// it trains itself; of anything else Python does, as the page need not understand every kind of Spec to show its runs.
import { FeatureDistribution, sizeOf } from "../science/features.ts";
import { readSpec, type Spec } from "../science/spec.ts";
import type { DatedChange } from "../science/train.ts";
import { brief } from "./brief.ts";

/** A set as the settings show it: what may be changed of it are numbers, or lists of them. */
export interface SetWords {
    kind: string;
    size: number;
    density?: number | number[];
    strength?: number;
    importance?: number | number[];
}

export interface Described {
    /** In tegum's JSON form, without defaults. */
    spec: object;
    /** What is handed to those who train it; null where they cannot. */
    trainable: Spec | null;
    /** Why it cannot be trained, in a sentence. */
    why: string | null;
    n: number;
    m: number;
    /** For each feature the number of its set. */
    groups: Int32Array;
    sets: readonly SetWords[];
    /** The learning rate, for training that has one. */
    rate: number | null;
    /** How it is trained, in words: "relu; adamw, batch 1,024". */
    method: string;
    /** The last step. */
    last: number;
    /** How many runs there are. */
    seeds: number;
    /** Where losses come from. */
    losses: "sample" | "exact";
}

/** What the page trains itself. */
export function describe(spec: Spec): Described {
    const features = new FeatureDistribution(spec.features);
    const { optimiser, batch, rate, steps } = spec.training;
    return {
        spec: brief(spec),
        trainable: spec,
        why: null,
        n: features.n,
        m: spec.hidden,
        groups: features.setOfFeature,
        sets: spec.features.map((set) => ({ ...set, size: sizeOf(set) }) as SetWords),
        rate,
        method: `${spec.activation}; ${optimiser}, batch ${batch.toLocaleString("en-US")}`,
        last: steps,
        seeds: spec.seeds,
        losses: "sample",
    };
}

/** As Python describes it; changes on the way belong to its runs. */
export type FromPython = Omit<Described, "trainable" | "groups"> & { page: object | null; groups: number[]; changes: DatedChange[] };

/** A description by Python, of a run that the page can only train if it understands its Spec. */
export function fromPython(given: FromPython): Described {
    const { page, groups, changes: _, ...rest } = given;
    return { ...rest, groups: Int32Array.from(groups), trainable: page === null ? null : readSpec(page) };
}
