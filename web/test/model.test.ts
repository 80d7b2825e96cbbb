import assert from "node:assert/strict";
import { test } from "node:test";
import { type Activation, EmpiricalLoss, forward } from "../src/science/model.ts";
import { rateFactor, type Sampled, update } from "../src/science/optimise.ts";
import { Batch } from "../src/science/sample.ts";
import { close, columns, flat, golden } from "./golden.ts";

interface Gradient {
    activation: Activation;
    weights: number[][];
    bias: number[];
    importance: number[];
    x: number[][];
    outputs: number[][];
    loss: number;
    d_weights: number[][];
    d_bias: number[];
}

test("losses and gradients on given samples are those of tegum", () => {
    for (const [at, entry] of golden<Gradient>("gradients").entries()) {
        const [weights, bias] = [flat(entry.weights), flat(entry.bias)];
        const what = `case ${at}`;
        const loss = new EmpiricalLoss(entry.importance, columns(entry.weights), entry.activation);
        const batch = Batch.of(flat(entry.x), bias.length);
        const [dWeights, dBias] = [weights.slice(), bias.slice()];
        close([loss.gradient(weights, bias, batch, dWeights, dBias)], entry.loss, 1e-13, `${what}, loss`);
        close([loss.loss(weights, bias, batch)], entry.loss, 1e-13, `${what}, loss alone`);
        close(dWeights, entry.d_weights, 1e-13, `${what}, gradient of W`);
        close(dBias, entry.d_bias, 1e-13, `${what}, gradient of b`);
        for (const [row, outputs] of entry.outputs.entries()) {
            close(forward(weights, bias, entry.x[row], entry.activation), outputs, 1e-13, `${what}, output ${row}`);
        }
    }
});

test("a gradient is the slope of the loss", () => {
    const [n, m] = [4, 2];
    const weights = Float64Array.from({ length: n * m }, (_, p) => ((p * 37) % 17) / 10 - 0.8);
    const bias = Float64Array.from([0.1, -0.2, 0.05, 0.3]);
    const batch = Batch.of([0.5, 0, 0, 0.9, 0, 0, 0, 0, 0.3, 0.2, 0.7, 0, 0, 0, 0.4, 0], n);
    const loss = new EmpiricalLoss([1, 0.5, 2, 0], m, "relu");
    const [dWeights, dBias] = [weights.slice(), bias.slice()];
    loss.gradient(weights, bias, batch, dWeights, dBias);
    const step = 1e-6;
    for (const [values, slopes] of [
        [weights, dWeights],
        [bias, dBias],
    ] as const) {
        for (let p = 0; p < values.length; p++) {
            const here = values[p];
            values[p] = here + step;
            const above = loss.loss(weights, bias, batch);
            values[p] = here - step;
            const below = loss.loss(weights, bias, batch);
            values[p] = here;
            assert.ok(Math.abs((above - below) / (2 * step) - slopes[p]) < 1e-8);
        }
    }
});

test("a model of zeros predicts nothing, and what has diverged stays so", () => {
    const loss = new EmpiricalLoss([1, 1], 1, "relu");
    assert.equal(loss.loss(new Float64Array(2), new Float64Array(2), Batch.of([1, 0, 0, 2], 2)), 2.5);
    const nan = loss.loss(Float64Array.of(NaN, 1), new Float64Array(2), Batch.of([1, 0], 2));
    assert.ok(Number.isNaN(nan));
});

interface Run {
    training: Sampled;
    x: number[][];
    importance: number[];
    steps: number[];
    weights: number[][][];
    bias: number[][];
}

test("AdamW and SGD take the steps of tegum", () => {
    for (const [at, run] of golden<Run>("optimisers").entries()) {
        const size = flat(run.weights[0]).length;
        const parameters = Float64Array.from([...flat(run.weights[0]), ...run.bias[0]]);
        const gradient = parameters.slice();
        const moments = { first: new Float64Array(parameters.length), second: new Float64Array(parameters.length) };
        const loss = new EmpiricalLoss(run.importance, columns(run.weights[0]), "relu");
        const batch = Batch.of(flat(run.x), run.importance.length);
        const parts = (all: Float64Array) => [all.subarray(0, size), all.subarray(size)] as const;
        for (let step = 0; step <= run.training.steps; step++) {
            const kept = run.steps.indexOf(step);
            if (kept >= 0) {
                const expected = [...flat(run.weights[kept]), ...run.bias[kept]];
                close(parameters, expected, 1e-11, `optimiser ${at}, step ${step}`);
            }
            loss.gradient(...parts(parameters), batch, ...parts(gradient));
            const rate = run.training.rate * rateFactor(run.training, step);
            update(run.training, rate, step, parameters, gradient, moments);
        }
    }
});

test("rates follow their schedules", () => {
    for (const { training, factors } of golden<{ training: Sampled; factors: number[] }>("schedules")) {
        const found = factors.map((_, step) => rateFactor(training, step));
        close(found, factors, 1e-15, `${training.schedule}, ${training.steps} steps, ${training.warmup} of warm-up`);
    }
});
