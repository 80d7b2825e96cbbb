// Draws batches of samples. A batch keeps only features that are active, sample by sample: most features are not, and
// the passes through the model then skip them. Values are Float64Array as everything that trains is (see model.ts).
import {
    type Equivariant,
    type FeatureDistribution,
    type FeatureSet,
    sizeOf,
    tableOf,
    TuningCurve,
} from "./features.ts";
import { cos, sin } from "./elementary.ts";
import { drawn, isUnitRange, type Magnitude, UNIT_RANGE } from "./magnitudes.ts";
import type { Stream } from "./random.ts";

/** Samples as rows of which only active features are kept: those of sample s lie from starts[s] to starts[s + 1]. */
export class Batch {
    readonly samples: number;
    readonly starts: Int32Array;
    readonly features: Int32Array;
    readonly values: Float64Array;

    constructor(samples: number, mostActive: number) {
        this.samples = samples;
        this.starts = new Int32Array(samples + 1);
        this.features = new Int32Array(samples * mostActive);
        this.values = new Float64Array(samples * mostActive);
    }

    /** A batch of given samples, row by row. */
    static of(x: ArrayLike<number>, n: number): Batch {
        const samples = x.length / n;
        const batch = new Batch(samples, n);
        let end = 0;
        for (let s = 0; s < samples; s++) {
            for (let i = 0; i < n; i++) {
                if (x[s * n + i] === 0) continue;
                batch.features[end] = i;
                batch.values[end++] = x[s * n + i];
            }
            batch.starts[s + 1] = end;
        }
        return batch;
    }

    /** The samples with zeros where features are not active, row by row. */
    dense(n: number): Float64Array {
        const x = new Float64Array(this.samples * n);
        for (let s = 0; s < this.samples; s++) {
            for (let at = this.starts[s]; at < this.starts[s + 1]; at++) {
                x[s * n + this.features[at]] = this.values[at];
            }
        }
        return x;
    }
}

/** A set made ready for drawing. */
interface Drawn {
    /** Draw one sample of the set into a batch from a place on, and return the place after it. */
    draw(batch: Batch, end: number, stream: Stream): number;
}

/** Draws samples of a distribution. */
export class Sampler {
    /** The most features that can be active at once. */
    readonly mostActive: number;
    readonly #sets: Drawn[] = [];

    constructor(features: FeatureDistribution) {
        let first = 0;
        let most = 0;
        for (const set of features.sets) {
            this.#sets.push(set.kind === "equivariant" ? new Rays(set, first) : new Gates(set, first));
            first += sizeOf(set);
            most += sizeOf(set);
        }
        this.mostActive = most;
    }

    /** An empty batch of the right size. */
    batch(samples: number): Batch {
        return new Batch(samples, this.mostActive);
    }

    /** Fill a batch; the same state of the stream gives the same samples. */
    draw(batch: Batch, stream: Stream): void {
        let end = 0;
        for (let s = 0; s < batch.samples; s++) {
            for (const set of this.#sets) end = set.draw(batch, end, stream);
            batch.starts[s + 1] = end;
        }
    }
}

/** A mixture of independent gates: a component first, and then for each feature that it may activate one uniform u, which
 * is gate and magnitude in one: given u < q, u/q is again uniform. */
class Gates implements Drawn {
    readonly #bounds: Float64Array;
    readonly #starts: Int32Array;
    readonly #features: Int32Array;
    readonly #gates: Float64Array;
    readonly #law: Magnitude;
    readonly #plain: boolean;

    constructor(set: Exclude<FeatureSet, Equivariant>, first: number) {
        this.#law = set.magnitude ?? UNIT_RANGE;
        this.#plain = isUnitRange(this.#law);
        const { weights, gates } = tableOf(set);
        let sum = 0;
        // All but the last bound: rounding must not leave a gap above it.
        this.#bounds = Float64Array.from(weights.slice(0, -1), (weight) => (sum += weight));
        const features: number[] = [];
        const densities: number[] = [];
        const starts = [0];
        for (const row of gates) {
            for (const [feature, q] of row.entries()) {
                if (q === 0) continue;
                features.push(first + feature);
                densities.push(q);
            }
            starts.push(features.length);
        }
        this.#starts = Int32Array.from(starts);
        this.#features = Int32Array.from(features);
        this.#gates = Float64Array.from(densities);
    }

    draw(batch: Batch, end: number, stream: Stream): number {
        const { features, values } = batch;
        const own = this.#features;
        const gates = this.#gates;
        const component = this.#bounds.length > 0 ? reached(this.#bounds, stream.uniform()) : 0;
        const stop = this.#starts[component + 1];
        for (let at = this.#starts[component]; at < stop; at++) {
            const u = stream.uniform();
            const q = gates[at];
            if (u >= q) continue;
            features[end] = own[at];
            values[end++] = this.#plain ? u / q : drawn(this.#law, u / q, stream);
        }
        return end;
    }
}

/** How many of these rising bounds a number has reached. */
function reached(bounds: Float64Array, v: number): number {
    let low = 0;
    let high = bounds.length;
    while (low < high) {
        const middle = (low + high) >>> 1;
        if (v >= bounds[middle]) low = middle + 1;
        else high = middle;
    }
    return low;
}

/** Orientations of one feature: a uniform that is gate and amplitude, and one for the angle. */
class Rays implements Drawn {
    readonly #first: number;
    readonly #size: number;
    readonly #density: number;
    readonly #curve: TuningCurve;

    constructor(set: Equivariant, first: number) {
        this.#first = first;
        this.#size = set.size;
        this.#density = set.density as number;
        this.#curve = new TuningCurve(set.size, set.width);
    }

    draw(batch: Batch, end: number, stream: Stream): number {
        const u = stream.uniform();
        if (u >= this.#density) return end;
        const amplitude = u / this.#density;
        const angle = 2 * Math.PI * stream.uniform();
        const cosine = cos(angle);
        const sine = sin(angle);
        for (let i = 0; i < this.#size; i++) {
            batch.features[end] = this.#first + i;
            batch.values[end++] = amplitude * this.#curve.response(cosine, sine, i);
        }
        return end;
    }
}
