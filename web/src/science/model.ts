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

/** The loss of a model on batches, and its gradient, with the working memory that they need. */
export class EmpiricalLoss {
    readonly n: number;
    readonly m: number;
    readonly #importance: Float64Array;
    readonly #floor: number;
    /** The sample, spread out. */
    readonly #x: Float64Array;
    /** h = Wᵀ x, and the gradient with respect to it. */
    readonly #hidden: Float64Array;
    readonly #dHidden: Float64Array;

    constructor(importance: ArrayLike<number>, m: number, activation: Activation) {
        this.n = importance.length;
        this.m = m;
        this.#importance = Float64Array.from(importance);
        this.#floor = activation === "relu" ? 0 : -Infinity;
        this.#x = new Float64Array(this.n);
        this.#hidden = new Float64Array(m);
        this.#dHidden = new Float64Array(m);
    }

    /** The loss on a batch. */
    loss(weights: Float64Array, bias: Float64Array, batch: Batch): number {
        return this.#pass(weights, bias, batch, null, null);
    }

    /** The loss on a batch; its gradient takes the place of what is in the last two arrays. */
    gradient(
        weights: Float64Array,
        bias: Float64Array,
        batch: Batch,
        dWeights: Float64Array,
        dBias: Float64Array,
    ): number {
        dWeights.fill(0);
        dBias.fill(0);
        const loss = this.#pass(weights, bias, batch, dWeights, dBias);
        // One multiplication at the end in place of one for each sample.
        const share = 2 / batch.samples;
        for (let p = 0; p < dWeights.length; p++) dWeights[p] *= share;
        for (let i = 0; i < dBias.length; i++) dBias[i] *= share;
        return loss;
    }

    #pass(
        weights: Float64Array,
        bias: Float64Array,
        batch: Batch,
        dWeights: Float64Array | null,
        dBias: Float64Array | null,
    ): number {
        const { starts } = batch;
        let empty = 0;
        let loss = 0;
        for (let s = 0; s < batch.samples; s++) {
            if (starts[s] === starts[s + 1]) empty++;
            else if (dWeights && dBias) loss += this.#sampleGradient(weights, bias, batch, s, dWeights, dBias);
            else loss += this.#sampleLoss(weights, bias, batch, s);
        }
        // Samples in which nothing is active are all alike: the output is that of the bias.
        for (let i = 0; empty > 0 && i < this.n; i++) {
            const b = bias[i];
            if (b <= this.#floor) continue;
            loss += empty * this.#importance[i] * b * b;
            if (dBias) dBias[i] += empty * this.#importance[i] * b;
        }
        return loss / batch.samples;
    }

    #encode(weights: Float64Array, batch: Batch, s: number): void {
        const { m } = this;
        const hidden = this.#hidden;
        hidden.fill(0);
        for (let at = batch.starts[s]; at < batch.starts[s + 1]; at++) {
            const i = batch.features[at];
            const value = batch.values[at];
            this.#x[i] = value;
            for (let k = 0, p = i * m; k < m; k++, p++) hidden[k] += value * weights[p];
        }
    }

    #sampleLoss(weights: Float64Array, bias: Float64Array, batch: Batch, s: number): number {
        const { n, m } = this;
        const hidden = this.#hidden;
        const x = this.#x;
        this.#encode(weights, batch, s);
        let loss = 0;
        for (let i = 0, p = 0; i < n; i++) {
            let z = bias[i];
            for (let k = 0; k < m; k++, p++) z += weights[p] * hidden[k];
            const error = (z <= this.#floor ? this.#floor : z) - x[i];
            loss += this.#importance[i] * error * error;
            x[i] = 0;
        }
        return loss;
    }

    /** The loss of one sample; half of its gradient is added. */
    #sampleGradient(
        weights: Float64Array,
        bias: Float64Array,
        batch: Batch,
        s: number,
        dWeights: Float64Array,
        dBias: Float64Array,
    ): number {
        const { n, m } = this;
        const hidden = this.#hidden;
        const dHidden = this.#dHidden;
        const importance = this.#importance;
        const floor = this.#floor;
        const x = this.#x;
        this.#encode(weights, batch, s);
        dHidden.fill(0);
        let loss = 0;
        for (let i = 0; i < n; i++) {
            const row = i * m;
            let z = bias[i];
            for (let k = 0; k < m; k++) z += weights[row + k] * hidden[k];
            const target = x[i];
            x[i] = 0;
            if (z <= floor) {
                loss += importance[i] * (floor - target) * (floor - target);
                continue;
            }
            const error = z - target;
            const slope = importance[i] * error;
            loss += slope * error;
            dBias[i] += slope;
            for (let k = 0; k < m; k++) {
                dWeights[row + k] += slope * hidden[k];
                dHidden[k] += slope * weights[row + k];
            }
        }
        for (let at = batch.starts[s]; at < batch.starts[s + 1]; at++) {
            const row = batch.features[at] * m;
            const value = batch.values[at];
            for (let k = 0; k < m; k++) dWeights[row + k] += value * dHidden[k];
        }
        return loss;
    }
}
