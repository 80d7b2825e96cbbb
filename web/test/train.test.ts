import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fingerprint } from "../src/science/fingerprint.ts";
import { readSpec } from "../src/science/spec.ts";
import { type Change, type State, Trainer } from "../src/science/train.ts";

const PENTAGON = readSpec({
    features: [{ kind: "independent", count: 5, density: 0.1, importance: [1, 0.9, 0.8, 0.7, 0.6] }],
    hidden: 2,
    training: { steps: 200, batch: 128, rate: 0.01, schedule: "cosine", warmup: 20 },
    seeds: 4,
});

/** What a state consists of, as text. */
function bits(state: State): string {
    const arrays = [state.weights, state.bias, state.first, state.second].map(fingerprint);
    return [state.step, ...arrays].join(" ");
}

function trained(steps: number, run = 0, spec = PENTAGON): Trainer {
    const trainer = new Trainer(spec, run);
    trainer.advance(steps);
    return trainer;
}

test("a seed gives the same bits in every browser", () => {
    // The digests are those of Node on one machine: this test asks for the same on another, and in other programs.
    interface Digest {
        name: string;
        spec: unknown;
        run: number;
        digest: string;
    }
    for (const { name, spec, run, digest } of JSON.parse(readFileSync("test/digests.json", "utf8")) as Digest[]) {
        const trainer = trained(150, run, readSpec(spec));
        assert.equal(trainer.diverged, false);
        const found = fingerprint([...trainer.weights, ...trainer.bias, trainer.loss()]);
        assert.equal(found, digest, `${name}: the digest is ${found}`);
    }
});

test("a fingerprint sees every bit", () => {
    assert.equal(fingerprint([]), "811c9dc5050c5d1f");
    // FNV-1a of one byte "a" would be e40c292c; of eight zero bytes it is 9be17165.
    assert.equal(fingerprint([0]).slice(0, 8), "9be17165");
    const names = [[0], [-0], [1], [1 + 2 ** -52], [1, 0], [0, 1]].map(fingerprint);
    assert.equal(new Set(names).size, names.length);
});

test("however one gets to a step, its bits are the same", () => {
    const whole = bits(trained(150).state);
    const pieces = new Trainer(PENTAGON, 0);
    for (const steps of [1, 0, 49, 100]) pieces.advance(steps);
    assert.equal(bits(pieces.state), whole, "in pieces");

    const copied = trained(70).state;
    const other = new Trainer(PENTAGON, 0);
    other.advance(13);
    other.restore(copied);
    other.advance(80);
    assert.equal(bits(other.state), whole, "from a copied state");

    const scrubbed = trained(150);
    scrubbed.restore(copied);
    scrubbed.loss();
    scrubbed.advance(80);
    assert.equal(bits(scrubbed.state), whole, "put back and trained again");

    const branch = trained(70).branch();
    branch.advance(80);
    assert.equal(bits(branch.state), whole, "a branch without a change");
});

test("a copy does not change with the run, nor the run with a copy", () => {
    const trainer = trained(10);
    const state = trainer.state;
    const before = bits(state);
    trainer.advance(5);
    assert.equal(bits(state), before);
    const now = bits(trainer.state);
    state.weights.fill(7);
    assert.equal(bits(trainer.state), now);
});

test("runs differ in their starts and samples; those of another base seed as well", () => {
    const names = [0, 1].map((run) => fingerprint(new Trainer(PENTAGON, run).weights));
    names.push(fingerprint(new Trainer({ ...PENTAGON, base_seed: 1 }, 0).weights));
    assert.equal(new Set(names).size, 3);
});

test("training goes to the last step and no further, downhill", () => {
    const trainer = new Trainer(PENTAGON, 0);
    const before = trainer.loss();
    assert.equal(trainer.advance(1000), 200);
    assert.equal(trainer.advance(1), 0);
    assert.equal(trainer.step, 200);
    assert.ok(trainer.loss() < 0.8 * before);
});

test("starts: Xavier, a scale, given arrays, one for each seed", () => {
    const spread = (trainer: Trainer) =>
        Math.sqrt(trainer.weights.reduce((sum, w) => sum + w * w, 0) / trainer.weights.length);
    const wide = { features: [{ kind: "independent", count: 400, density: 0.1 }], hidden: 40 };
    // 16,000 weights: five standard errors of the deviation are 2.8 %.
    assert.ok(Math.abs(spread(new Trainer(readSpec(wide), 0)) / Math.sqrt(2 / 440) - 1) < 0.028);
    assert.ok(Math.abs(spread(new Trainer(readSpec({ ...wide, initial_scale: 0.05 }), 0)) / 0.05 - 1) < 0.028);
    const features = [{ kind: "independent", count: 2, density: 0.1 }];
    const one = readSpec({ features, hidden: 1, start: { weights: [[1], [-1]] } });
    assert.deepEqual([...new Trainer(one, 0).weights], [1, -1]);
    assert.deepEqual([...new Trainer(one, 0).bias], [0, 0]);
    const each = readSpec({
        features,
        hidden: 1,
        seeds: 2,
        start: {
            weights: [
                [[1], [2]],
                [[3], [4]],
            ],
            bias: [0.5, 0.25],
        },
    });
    assert.deepEqual([...new Trainer(each, 1).weights], [3, 4]);
    assert.deepEqual([...new Trainer(each, 1).bias], [0.5, 0.25]);
});

test("a change counts from its step on, in a branch and in the record of a run", () => {
    const change: Change = { rate: 0.02, sets: [{ set: 0, density: 0.5, importance: 1 }] };
    const trainer = trained(60);
    const branch = trainer.branch(change);
    assert.equal(branch.rate, 0.02);
    assert.deepEqual([...branch.features.density], [0.5, 0.5, 0.5, 0.5, 0.5]);
    assert.equal(trainer.rate, 0.01);
    assert.notEqual(branch.loss(), trainer.loss());
    branch.advance(60);
    trainer.advance(60);
    assert.notEqual(bits(branch.state), bits(trainer.state));

    const recorded = new Trainer(PENTAGON, 0, branch.changes);
    recorded.advance(120);
    assert.equal(bits(recorded.state), bits(branch.state), "from the start, with the record of changes");

    recorded.restore(trained(30).state);
    assert.equal(recorded.rate, 0.01, "before the change, it does not count");
    recorded.advance(90);
    assert.equal(bits(recorded.state), bits(branch.state), "back and forth across the change");

    recorded.restore(trained(30).state);
    recorded.change({ rate: 0.005 });
    assert.deepEqual(recorded.changes, [{ step: 30, rate: 0.005 }], "another future takes the place of the one before");
});

test("two changes at one step add up", () => {
    const trainer = new Trainer(PENTAGON, 0);
    trainer.change({ rate: 0.5 });
    trainer.change({ sets: [{ set: 0, density: 0.3 }] });
    assert.equal(trainer.rate, 0.5);
    assert.equal(trainer.features.density[0], 0.3);
    assert.equal(trainer.changes.length, 2);
});

test("the evaluation sample is that of the base seed, in whole batches", () => {
    const spec = readSpec({ ...PENTAGON, training: { ...PENTAGON.training, evaluation: 129 }, seeds: 4 });
    const [one, other] = [new Trainer(spec, 0), new Trainer(spec, 3)];
    other.restore(one.state);
    assert.equal(one.loss(), other.loss());
    const rounded = { ...spec, training: { ...spec.training, evaluation: 256 } };
    assert.equal(new Trainer(rounded, 0).loss(), one.loss());
});

test("the gradient answers where an embedding is moved by hand", () => {
    const trainer = trained(50);
    const { loss, weights, bias } = trainer.gradient();
    assert.equal(loss, trainer.loss());
    const moved = trainer.state;
    const step = 1e-6;
    moved.weights[3] += step;
    moved.bias[2] += step;
    const other = new Trainer(PENTAGON, 0);
    other.restore(moved);
    assert.ok(Math.abs((other.loss() - loss) / step - weights[3] - bias[2]) < 1e-4);
});

test("a run that diverges says so and does not throw", () => {
    const features = [{ kind: "independent", count: 3, density: 0.5 }];
    const spec = readSpec({ features, hidden: 2, training: { optimiser: "sgd", rate: 1e6, steps: 400, batch: 8 } });
    const trainer = trained(400, 0, spec);
    assert.equal(trainer.diverged, true);
    assert.ok(!Number.isFinite(trainer.loss()));
});
test("wrong changes and states are refused, and leave the run as it was", () => {
    const trainer = trained(20);
    const before = bits(trainer.state);
    const wrong: [Change, RegExp][] = [
        [{ rate: -1 }, /Spec\(rate=-1\): rate must be a finite number above 0/],
        [{ sets: [{ set: 1, density: 0.1 }] }, /change\.sets\.set must be at most 0/],
        [{ sets: [{ set: 0, density: 2 }] }, /features\.0\.density must lie in \(0, 1\]/],
        [{ sets: [{ set: 0, strength: 0.5 }] }, /a set of the kind 'independent' has no strength to change/],
        [{ sets: [{ set: 0, count: 6 } as never] }, /features\.0\.count must stay/],
        [{ momentum: 0.5 } as never, /there is no key 'change\.momentum'/],
    ];
    for (const [change, message] of wrong) assert.throws(() => trainer.change(change), message);
    assert.throws(() => trainer.restore({ ...trainer.state, bias: new Float64Array(4) }), /restore\(state with 10, 4/);
    assert.throws(() => trainer.restore({ ...trainer.state, step: 201 }), /state\.step must be at most 200/);
    assert.equal(bits(trainer.state), before);
    assert.equal(trainer.changes.length, 0);
});
