// The model x̂ = act(W Wᵀ x + b), its loss and its gradient, in double precision: numbers of JavaScript are doubles, so
// that single precision would round every one of them and be slower, and gradients agree with Python's to 1e-12.
// W is row-major, a row for each feature; the loss is the mean over samples of Σ_i importance_i (x̂_i − x_i)².
import type { Batch } from "./sample.ts";

export type Activation = "relu" | "linear";
export const ACTIVATIONS: readonly Activation[] = ["relu", "linear"];

/** The model's reconstruction of one sample. */
export function forward(
    weights: ArrayLike<number>,
    bias: ArrayLike<number>,
    x: ArrayLike<number>,
    activation: Activation,
): Float64Array {
    const n = bias.length;
    const m = weights.length / n;
    const hidden = new Float64Array(m);
    for (let i = 0; i < n; i++) for (let k = 0; k < m; k++) hidden[k] += x[i] * weights[i * m + k];
    return Float64Array.from({ length: n }, (_, i) => {
        let z = bias[i];
        for (let k = 0; k < m; k++) z += weights[i * m + k] * hidden[k];
        return activation === "relu" && z <= 0 ? 0 : z;
    });
}

/**
 * The loss of a model on batches, and its gradient, with the working memory that they need.
 *
 * Inner loops go over features, two hidden dimensions at a time, whose numbers then stay in registers: loops over a
 * few hidden dimensions are three times as slow. For that, W is turned once for each batch so that hidden dimensions are
 * rows.
 */
export class EmpiricalLoss {
    readonly n: number;
    readonly m: number;
    readonly #importance: Float64Array;
    readonly #floor: number;
    /** Wᵀ and its gradient, (m, n). */
    readonly #turned: Float64Array;
    readonly #dTurned: Float64Array;
    /** The sample, spread out; zero between samples. */
    readonly #x: Float64Array;
    /** h = Wᵀ x, and z = W h + b. */
    readonly #hidden: Float64Array;
    readonly #z: Float64Array;
    /** The outputs above the floor, and half the slope of the loss in each of them. */
    readonly #open: Int32Array;
    readonly #slopes: Float64Array;

    constructor(importance: ArrayLike<number>, m: number, activation: Activation) {
        const n = importance.length;
        this.n = n;
        this.m = m;
        this.#importance = Float64Array.from(importance);
        this.#floor = activation === "relu" ? 0 : -Infinity;
        this.#turned = new Float64Array(n * m);
        this.#dTurned = new Float64Array(n * m);
        this.#x = new Float64Array(n);
        this.#hidden = new Float64Array(m);
        this.#z = new Float64Array(n);
        this.#open = new Int32Array(n);
        this.#slopes = new Float64Array(n);
    }

    /** The loss on a batch. */
    loss(weights: Float64Array, bias: Float64Array, batch: Batch): number {
        return this.#pass(weights, bias, batch, null);
    }

    /** The loss on a batch; its gradient takes the place of what is in the last two arrays. */
    gradient(
        weights: Float64Array,
        bias: Float64Array,
        batch: Batch,
        dWeights: Float64Array,
        dBias: Float64Array,
    ): number {
        const { n, m } = this;
        const turned = this.#dTurned.fill(0);
        dBias.fill(0);
        const loss = this.#pass(weights, bias, batch, dBias);
        // Half the slopes of single samples have been added up.
        const share = 2 / batch.samples;
        for (let i = 0; i < n; i++) {
            dBias[i] *= share;
            for (let k = 0; k < m; k++) dWeights[i * m + k] = share * turned[k * n + i];
        }
        return loss;
    }

    #pass(weights: Float64Array, bias: Float64Array, batch: Batch, dBias: Float64Array | null): number {
        const { n, m } = this;
        const { starts } = batch;
        const importance = this.#importance;
        for (let i = 0; i < n; i++) for (let k = 0; k < m; k++) this.#turned[k * n + i] = weights[i * m + k];
        let empty = 0;
        let loss = 0;
        for (let s = 0; s < batch.samples; s++) {
            if (starts[s] === starts[s + 1]) {
                empty++;
                continue;
            }
            this.#forward(bias, batch, starts[s], starts[s + 1]);
            loss += dBias ? this.#lossAndSlopes(dBias, batch, starts[s], starts[s + 1]) : this.#lossOfSample();
        }
        // Samples in which nothing is active are all alike: the output is that of the bias.
        for (let i = 0; empty > 0 && i < n; i++) {
            const b = bias[i];
            if (b <= this.#floor) continue;
            loss += empty * importance[i] * b * b;
            if (dBias) dBias[i] += empty * importance[i] * b;
        }
        return loss / batch.samples;
    }

    /** Spread a sample out, and compute h and z of it. */
    #forward(bias: Float64Array, batch: Batch, start: number, stop: number): void {
        const { n, m } = this;
        const { features, values } = batch;
        const turned = this.#turned;
        const hidden = this.#hidden;
        const z = this.#z;
        for (let at = start; at < stop; at++) this.#x[features[at]] = values[at];
        for (let i = 0; i < n; i++) z[i] = bias[i];
        let k = 0;
        for (; k + 1 < m; k += 2) {
            const one = k * n;
            const other = one + n;
            let h0 = 0;
            let h1 = 0;
            for (let at = start; at < stop; at++) {
                const i = features[at];
                h0 += values[at] * turned[one + i];
                h1 += values[at] * turned[other + i];
            }
            hidden[k] = h0;
            hidden[k + 1] = h1;
            for (let i = 0; i < n; i++) z[i] += turned[one + i] * h0 + turned[other + i] * h1;
        }
        if (k < m) {
            const one = k * n;
            let h0 = 0;
            for (let at = start; at < stop; at++) h0 += values[at] * turned[one + features[at]];
            hidden[k] = h0;
            for (let i = 0; i < n; i++) z[i] += turned[one + i] * h0;
        }
    }

    #lossOfSample(): number {
        const x = this.#x;
        const z = this.#z;
        let loss = 0;
        for (let i = 0; i < this.n; i++) {
            const error = (z[i] <= this.#floor ? this.#floor : z[i]) - x[i];
            loss += this.#importance[i] * error * error;
            x[i] = 0;
        }
        return loss;
    }

    /** The loss of a sample after its forward pass; half of its gradient is added. */
    #lossAndSlopes(dBias: Float64Array, batch: Batch, start: number, stop: number): number {
        const importance = this.#importance;
        const floor = this.#floor;
        const x = this.#x;
        const z = this.#z;
        const open = this.#open;
        const slopes = this.#slopes;
        let count = 0;
        let loss = 0;
        for (let i = 0; i < this.n; i++) {
            const output = z[i];
            const target = x[i];
            x[i] = 0;
            if (output <= floor) {
                loss += importance[i] * (floor - target) * (floor - target);
                continue;
            }
            const error = output - target;
            const slope = importance[i] * error;
            loss += slope * error;
            dBias[i] += slope;
            open[count] = i;
            slopes[count++] = slope;
        }
        this.#backward(batch, start, stop, count);
        return loss;
    }

    #backward(batch: Batch, start: number, stop: number, count: number): void {
        const { n, m } = this;
        const { features, values } = batch;
        const turned = this.#turned;
        const dTurned = this.#dTurned;
        const hidden = this.#hidden;
        const open = this.#open;
        const slopes = this.#slopes;
        let k = 0;
        for (; k + 1 < m; k += 2) {
            const one = k * n;
            const other = one + n;
            const h0 = hidden[k];
            const h1 = hidden[k + 1];
            let d0 = 0;
            let d1 = 0;
            for (let at = 0; at < count; at++) {
                const i = open[at];
                const slope = slopes[at];
                dTurned[one + i] += slope * h0;
                dTurned[other + i] += slope * h1;
                d0 += slope * turned[one + i];
                d1 += slope * turned[other + i];
            }
            for (let at = start; at < stop; at++) {
                const i = features[at];
                dTurned[one + i] += values[at] * d0;
                dTurned[other + i] += values[at] * d1;
            }
        }
        if (k < m) {
            const one = k * n;
            const h0 = hidden[k];
            let d0 = 0;
            for (let at = 0; at < count; at++) {
                dTurned[one + open[at]] += slopes[at] * h0;
                d0 += slopes[at] * turned[one + open[at]];
            }
            for (let at = start; at < stop; at++) dTurned[one + features[at]] += values[at] * d0;
        }
    }
}
