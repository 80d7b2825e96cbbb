// Training a run: a pure function of the Spec, the number of the run and the changes made to it, at every step. A state
// can be copied, put back and trained on with the same bits as a run that was never touched, because the samples of a
// step depend on the number of the step alone.
import { FeatureDistribution, type FeatureSet, readSet, sizeOf } from "./features.ts";
import { EmpiricalLoss } from "./model.ts";
import { rateFactor, update } from "./optimise.ts";
import { type Purpose, Stream } from "./random.ts";
import { number, quoted, Refusal, refuse, table, whole } from "./reading.ts";
import { type Batch, Sampler } from "./sample.ts";
import type { Spec, Start } from "./spec.ts";

/** All that training goes on from. */
export interface State {
    /** How many steps have been taken. */
    step: number;
    /** W, row by row. */
    weights: Float64Array;
    bias: Float64Array;
    /** The optimiser's mean gradient, or momentum, of W and then of b. */
    first: Float64Array;
    /** AdamW's mean squared gradient, of W and then of b. */
    second: Float64Array;
}

/** What a change may be made to: the rate, and of some sets the density, the strength and the importance. */
export interface Change {
    rate?: number;
    sets?: SetChange[];
}
export interface SetChange {
    /** The number of the set, counted from 0. */
    set: number;
    density?: number | number[];
    strength?: number;
    importance?: number | number[];
}
/** A change, and the step from which on it counts. */
export type DatedChange = Change & { step: number };

/** What is in force between two changes. */
interface Phase {
    step: number;
    rate: number;
    sets: readonly FeatureSet[];
    features: FeatureDistribution;
    sampler: Sampler;
    loss: EmpiricalLoss;
}

export class Trainer {
    readonly spec: Spec;
    /** The number of the run, which its random numbers depend on. */
    readonly run: number;
    readonly n: number;
    readonly m: number;
    readonly #stream = new Stream();
    readonly #parameters: Float64Array;
    readonly #gradient: Float64Array;
    readonly #weights: Float64Array;
    readonly #bias: Float64Array;
    readonly #dWeights: Float64Array;
    readonly #dBias: Float64Array;
    readonly #first: Float64Array;
    readonly #second: Float64Array;
    readonly #changes: DatedChange[] = [];
    readonly #phases: Phase[] = [];
    #step = 0;
    #batch: Batch;
    #evaluation: { phase: Phase; batch: Batch } | null = null;

    /** Prepare a run at its start, with changes that are made on the way, in the order of their steps. */
    constructor(spec: Spec, run: number, changes: readonly DatedChange[] = []) {
        this.spec = spec;
        this.run = run;
        this.#phases.push(phase(spec, 0, spec.training.rate, spec.features));
        this.n = this.#phases[0].features.n;
        this.m = spec.hidden;
        const weights = this.n * this.m;
        this.#parameters = new Float64Array(weights + this.n);
        this.#gradient = new Float64Array(weights + this.n);
        this.#first = new Float64Array(weights + this.n);
        this.#second = new Float64Array(weights + this.n);
        this.#weights = this.#parameters.subarray(0, weights);
        this.#bias = this.#parameters.subarray(weights);
        this.#dWeights = this.#gradient.subarray(0, weights);
        this.#dBias = this.#gradient.subarray(weights);
        this.#batch = this.#phases[0].sampler.batch(spec.training.batch);
        for (const each of changes) this.#add(each);
        this.#begin();
    }

    /** How many steps have been taken. */
    get step(): number {
        return this.#step;
    }

    /** W as it is now, row by row; a view, which changes with the run. */
    get weights(): Float64Array {
        return this.#weights;
    }

    /** b as it is now; a view, which changes with the run. */
    get bias(): Float64Array {
        return this.#bias;
    }

    /** The features in force. */
    get features(): FeatureDistribution {
        return this.#phase.features;
    }

    /** The learning rate in force, before schedule and warm-up. */
    get rate(): number {
        return this.#phase.rate;
    }

    /** Every change of this run, past and to come. */
    get changes(): readonly DatedChange[] {
        return this.#changes;
    }

    /** Whether a parameter is no longer a finite number. */
    get diverged(): boolean {
        return !this.#parameters.every((value) => Number.isFinite(value));
    }

    /** A copy of all that training goes on from. */
    get state(): State {
        return {
            step: this.#step,
            weights: this.#weights.slice(),
            bias: this.#bias.slice(),
            first: this.#first.slice(),
            second: this.#second.slice(),
        };
    }

    /** Put a state back, from this run or from another one of the same sizes. */
    restore(state: State): void {
        const sizes = [this.#weights, this.#bias, this.#first, this.#second].map((array) => array.length);
        const given = [state.weights, state.bias, state.first, state.second].map((array) => array.length);
        if (sizes.join() !== given.join()) {
            throw new Refusal(`restore(state with ${given.join(", ")} numbers): must have ${sizes.join(", ")}`);
        }
        this.#step = whole(["state", "step"], state.step, 0, this.spec.training.steps);
        this.#weights.set(state.weights);
        this.#bias.set(state.bias);
        this.#first.set(state.first);
        this.#second.set(state.second);
    }

    /** Train for some steps, at most to the last one of the Spec, and return how many were taken. */
    advance(steps: number): number {
        const stop = Math.min(this.#step + steps, this.spec.training.steps);
        const begun = this.#step;
        while (this.#step < stop) this.#advance();
        return this.#step - begun;
    }

    /** The loss on the evaluation sample: the same for all steps, and for all runs of a base seed. */
    loss(): number {
        return this.#phase.loss.loss(this.#weights, this.#bias, this.#evaluated());
    }

    /** The loss on the evaluation sample, and its gradient. */
    gradient(): { loss: number; weights: Float64Array; bias: Float64Array } {
        const [weights, bias] = [this.#weights.slice(), this.#bias.slice()];
        const loss = this.#phase.loss.gradient(this.#weights, this.#bias, this.#evaluated(), weights, bias);
        return { loss, weights, bias };
    }

    /** The evaluation sample of the features in force. */
    #evaluated(): Batch {
        const phase = this.#phase;
        if (this.#evaluation?.phase !== phase) {
            const { batch, evaluation } = this.spec.training;
            const samples = phase.sampler.batch(Math.ceil(evaluation / batch) * batch);
            phase.sampler.draw(samples, this.#keyed(0, "evaluation", 0));
            this.#evaluation = { phase, batch: samples };
        }
        return this.#evaluation.batch;
    }

    /** Change what a run is trained on, from its present step on; changes at later steps are dropped. */
    change(change: Change): void {
        const later = this.#changes.findIndex((each) => each.step > this.#step);
        const kept = later < 0 ? this.#changes.length : later;
        // Read before anything is dropped, so that a refused change leaves the run as it was.
        const next = this.#after(this.#phases[kept], change, this.#step);
        this.#changes.splice(kept, Infinity, { ...structuredCopy(change), step: this.#step });
        this.#phases.splice(kept + 1, Infinity, next);
    }

    /** Another run with this one's past, for another future. */
    branch(change: Change = {}): Trainer {
        const past = this.#changes.filter((each) => each.step <= this.#step);
        const other = new Trainer(this.spec, this.run, past);
        other.restore(this.state);
        if (Object.keys(change).length > 0) other.change(change);
        return other;
    }

    #begin(): void {
        const { spec } = this;
        if (spec.start !== null) {
            this.#weights.set(flat(startOf(spec.start.weights, this.run, 2)));
            if (spec.start.bias !== null) this.#bias.set(flat(startOf(spec.start.bias, this.run, 1)));
            return;
        }
        const deviation = spec.initial_scale ?? Math.sqrt(2 / (this.n + this.m));
        this.#keyed(this.run, "start", 0).fillNormals(this.#weights);
        for (let p = 0; p < this.#weights.length; p++) this.#weights[p] *= deviation;
    }

    #advance(): void {
        const { training } = this.spec;
        const { sampler, loss, rate } = this.#phase;
        const step = this.#step;
        sampler.draw(this.#batch, this.#keyed(this.run, "training", step));
        loss.gradient(this.#weights, this.#bias, this.#batch, this.#dWeights, this.#dBias);
        const moments = { first: this.#first, second: this.#second };
        update(training, rate * rateFactor(training, step), step, this.#parameters, this.#gradient, moments);
        this.#step = step + 1;
    }

    #keyed(run: number, purpose: Purpose, at: number): Stream {
        return this.#stream.key(this.spec.base_seed, run, purpose, at);
    }

    /** What is in force for the next step. */
    get #phase(): Phase {
        let at = this.#phases.length - 1;
        while (this.#phases[at].step > this.#step) at--;
        return this.#phases[at];
    }

    #add(change: DatedChange): void {
        const last = this.#phases[this.#phases.length - 1];
        const { step, ...rest } = table(["changes"], change, ["step", "rate", "sets"]) as unknown as DatedChange;
        whole(["changes", "step"], step, last.step, this.spec.training.steps);
        this.#phases.push(this.#after(last, rest, step));
        this.#changes.push(structuredCopy(change));
    }

    #after(before: Phase, change: Change, step: number): Phase {
        table(["change"], change, ["rate", "sets"]);
        const rule = "must be a finite number above 0";
        const rate = change.rate === undefined ? before.rate : number(["rate"], change.rate, (x) => x > 0, rule);
        const sets = [...before.sets];
        const tables = change.sets ?? [];
        if (!Array.isArray(tables) || tables.some((each) => typeof each !== "object" || each === null)) {
            refuse(["change", "sets"], tables, "must be a list of tables, each with the number of a set");
        }
        for (const each of tables) {
            const at = whole(["change", "sets", "set"], each.set, 0, sets.length - 1);
            sets[at] = changedSet(sets[at], each);
        }
        return phase(this.spec, step, rate, sets);
    }
}

function phase(spec: Spec, step: number, rate: number, sets: readonly FeatureSet[]): Phase {
    const features = new FeatureDistribution(sets);
    const loss = new EmpiricalLoss(features.importance, spec.hidden, spec.activation);
    return { step, rate, sets, features, sampler: new Sampler(features), loss };
}

/** A set with another density, strength or importance, checked as when it was read. */
function changedSet(set: FeatureSet, change: SetChange): FeatureSet {
    const path = ["features", change.set];
    const { set: _, ...values } = change;
    for (const key of Object.keys(values)) {
        if (!["density", "strength", "importance"].includes(key)) {
            refuse([...path, key], values[key as keyof typeof values], "must stay, as a run keeps its sets and sizes");
        }
        if (!(key in set)) {
            throw new Refusal(
                `Spec(${[...path, key].join(".")}=${quoted(values[key as keyof typeof values])}): ` +
                    `a set of the kind '${set.kind}' has no ${key} to change`,
            );
        }
    }
    const changed = readSet(path, { ...set, ...values });
    return sizeOf(changed) === sizeOf(set) ? changed : refuse(path, change, "must keep its number of features");
}

/** The start of a run: the same for all of them, or one of its own. */
function startOf(array: Start["weights"] | NonNullable<Start["bias"]>, run: number, axes: number): unknown {
    let depth = 0;
    for (let inner: unknown = array; Array.isArray(inner); inner = inner[0]) depth++;
    return depth > axes ? (array as unknown[])[run] : array;
}

function flat(array: unknown): number[] {
    return (array as unknown[]).flat(Infinity) as number[];
}

/** A copy of what JSON can hold. */
function structuredCopy<Value>(value: Value): Value {
    return JSON.parse(JSON.stringify(value)) as Value;
}
