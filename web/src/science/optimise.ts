// The optimisers of sampled training, in PyTorch's and tegum's order of operations, and their learning rates.
import { cos, power } from "./elementary.ts";

export interface Sampled {
    kind: "sampled";
    steps: number;
    optimiser: "adamw" | "sgd";
    rate: number;
    schedule: "constant" | "cosine" | "linear";
    warmup: number;
    betas: [number, number];
    eps: number;
    /** null is the optimiser's default, as `decayOf` gives it. */
    weight_decay: number | null;
    momentum: number;
    batch: number;
    evaluation: number;
}

/** What an optimiser's fields are if they are not given, and those that only one of them has. */
export const DEFAULTS: Sampled = {
    kind: "sampled",
    steps: 10_000,
    optimiser: "adamw",
    rate: 1e-3,
    schedule: "constant",
    warmup: 0,
    betas: [0.9, 0.999],
    eps: 1e-8,
    weight_decay: null,
    momentum: 0,
    batch: 1024,
    evaluation: 4096,
};
export const OPTIONS = { adamw: ["betas", "eps"], sgd: ["momentum"] } as const;

/** The weight decay in force: as given, or 0.01 for AdamW and 0 for SGD (PyTorch's defaults). */
export function decayOf(training: Sampled): number {
    return training.weight_decay ?? (training.optimiser === "adamw" ? 0.01 : 0);
}

/**
 * What multiplies the rate in a step, counted from 0: (step + 1)/w in w steps of warm-up; after them, with t the share
 * of the remaining steps that is done, 1 (constant), 1 − t (linear) or (1 + cos πt)/2 (cosine).
 */
export function rateFactor(training: Sampled, step: number): number {
    const { steps, warmup, schedule } = training;
    const done = step - warmup;
    if (done < 0) return (done + warmup + 1) / warmup;
    const share = done / Math.max(steps - warmup, 1);
    switch (schedule) {
        case "constant":
            return 1;
        case "linear":
            return 1 - share;
        case "cosine":
            return (1 + cos(Math.PI * share)) / 2;
    }
}

/** An optimiser's memory: the mean gradient, or momentum, and for AdamW the mean squared gradient. */
export interface Moments {
    first: Float64Array;
    second: Float64Array;
}

/** Take one step, counted from 0, at a rate that includes the schedule's factor. Parameters and moments change. */
export function update(
    training: Sampled,
    rate: number,
    step: number,
    parameters: Float64Array,
    gradient: Float64Array,
    moments: Moments,
): void {
    if (training.optimiser === "adamw") adamw(training, rate, step, parameters, gradient, moments);
    else sgd(training, rate, parameters, gradient, moments.first);
}

/** Decoupled weight decay and bias-corrected moments (Loshchilov & Hutter 2019). */
function adamw(
    training: Sampled,
    rate: number,
    step: number,
    parameters: Float64Array,
    gradient: Float64Array,
    moments: Moments,
): void {
    const { first, second } = moments;
    const [beta1, beta2] = training.betas;
    const { eps } = training;
    const kept = 1 - rate * decayOf(training);
    const new1 = 1 - beta1;
    const new2 = 1 - beta2;
    const length = -rate / (1 - power(beta1, step + 1));
    const root = 1 / Math.sqrt(1 - power(beta2, step + 1));
    for (let p = 0; p < parameters.length; p++) {
        const slope = gradient[p];
        const mean = first[p] * beta1 + slope * new1;
        const square = second[p] * beta2 + slope * slope * new2;
        first[p] = mean;
        second[p] = square;
        parameters[p] = parameters[p] * kept + length * (mean / (Math.sqrt(square) * root + eps));
    }
}

/** Momentum without dampening, and decay that is added to the gradient. */
function sgd(
    training: Sampled,
    rate: number,
    parameters: Float64Array,
    gradient: Float64Array,
    velocity: Float64Array,
): void {
    const { momentum } = training;
    const decay = decayOf(training);
    for (let p = 0; p < parameters.length; p++) {
        velocity[p] = momentum * velocity[p] + (decay * parameters[p] + gradient[p]);
        parameters[p] -= rate * velocity[p];
    }
}
