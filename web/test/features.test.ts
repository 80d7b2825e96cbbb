import assert from "node:assert/strict";
import { test } from "node:test";
import { FeatureDistribution, readFeatures, tableOf } from "../src/science/features.ts";
import { Stream } from "../src/science/random.ts";
import { Batch, Sampler } from "../src/science/sample.ts";
import { close, golden } from "./golden.ts";

interface Kind {
    name: string;
    sets: unknown[];
    tables: ({ weights: number[]; gates: number[][] } | null)[];
    importance: number[];
    active: number[];
    first: number[];
    second: number[][];
}
const KINDS = golden<Kind>("features");

function distributionOf(kind: Kind): FeatureDistribution {
    return new FeatureDistribution(readFeatures(["features"], kind.sets, 400));
}

test("tables and moments of every kind of set are those of tegum", () => {
    assert.ok(KINDS.length >= 20);
    for (const kind of KINDS) {
        const features = distributionOf(kind);
        for (const [at, set] of features.sets.entries()) {
            if (set.kind === "equivariant") continue;
            const table = tableOf(set);
            close(table.weights, kind.tables[at]?.weights, 1e-15, `${kind.name}, weights`);
            close(table.gates.flat(), kind.tables[at]?.gates, 1e-15, `${kind.name}, gates`);
        }
        const { active, first, second } = features.moments();
        // The table of a copula is a quadrature, right to 1e-12; tegum has its moments in closed form.
        const digits = kind.name === "copula" ? 1e-12 : 1e-13;
        close(features.importance, kind.importance, 0, `${kind.name}, importance`);
        close(active, kind.active, digits, `${kind.name}, how often each is active`);
        close(features.density, kind.active, digits, `${kind.name}, density`);
        close(first, kind.first, digits, `${kind.name}, first moments`);
        close(second, kind.second, digits, `${kind.name}, second moments`);
    }
});

/** Means of all x_i and x_i x_j over many samples, and of their squares. */
function sampled(features: FeatureDistribution, samples: number): { means: Float64Array; squares: Float64Array } {
    const { n } = features;
    const sampler = new Sampler(features);
    const batch = sampler.batch(10_000);
    const stream = new Stream();
    const means = new Float64Array(n + n * n);
    const squares = new Float64Array(n + n * n);
    const add = (at: number, value: number) => {
        means[at] += value / samples;
        squares[at] += (value * value) / samples;
    };
    for (let drawn = 0; drawn < samples; drawn += batch.samples) {
        sampler.draw(batch, stream.key(0, 0, "training", drawn));
        for (let s = 0; s < batch.samples; s++) {
            for (let p = batch.starts[s]; p < batch.starts[s + 1]; p++) {
                const [i, x] = [batch.features[p], batch.values[p]];
                add(i, x);
                for (let q = batch.starts[s]; q < batch.starts[s + 1]; q++) {
                    add(n + i * n + batch.features[q], x * batch.values[q]);
                }
            }
        }
    }
    return { means, squares };
}

test("a million samples of every kind have its moments within five standard errors", () => {
    const samples = 1_000_000;
    for (const kind of KINDS) {
        const { means, squares } = sampled(distributionOf(kind), samples);
        const expected = [...kind.first, ...kind.second.flat()];
        for (const [at, value] of expected.entries()) {
            const error = Math.sqrt(Math.max(squares[at] - means[at] * means[at], 0) / samples);
            const off = Math.abs(means[at] - value);
            assert.ok(
                off <= 5 * error + 1e-12,
                `${kind.name}: moment ${at} is ${means[at]} and not ${value} ± ${error}`,
            );
        }
    }
});

test("a sample keeps only active features, in their order, and comes back from its dense form", () => {
    const several = KINDS.find((kind) => kind.name === "several") as Kind;
    const features = distributionOf(several);
    const sampler = new Sampler(features);
    const batch = sampler.batch(200);
    sampler.draw(batch, new Stream().key(1, 2, "training", 3));
    const x = batch.dense(features.n);
    const again = Batch.of(x, features.n);
    assert.deepEqual([...again.starts], [...batch.starts]);
    const end = batch.starts[200];
    assert.deepEqual([...again.features.subarray(0, end)], [...batch.features.subarray(0, end)]);
    assert.deepEqual([...again.values.subarray(0, end)], [...batch.values.subarray(0, end)]);
});

test("features of one gate are active together, and of others never", () => {
    const kind = {
        name: "",
        sets: [
            { kind: "correlated", size: 2, density: 0.3 },
            { kind: "anticorrelated", size: 2, density: 1 },
        ],
    };
    const features = distributionOf(kind as unknown as Kind);
    const sampler = new Sampler(features);
    const batch = sampler.batch(2000);
    sampler.draw(batch, new Stream().key(0, 0, "training", 0));
    const x = batch.dense(4);
    for (let s = 0; s < 2000; s++) {
        const [a, b, c, d] = x.subarray(4 * s, 4 * s + 4);
        assert.equal(a > 0, b > 0);
        assert.equal(Number(c > 0) + Number(d > 0), 1);
    }
});
