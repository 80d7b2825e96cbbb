import assert from "node:assert/strict";
import { test } from "node:test";
import { csv, python } from "../src/lab/exports.ts";
import { describe } from "../src/lab/described.ts";
import { Recording } from "../src/lab/recording.ts";
import { readSpec } from "../src/science/spec.ts";
import { Trainer } from "../src/science/train.ts";
import { golden } from "./golden.ts";
import { polygon, recorded, SMALL } from "./room.ts";

/** A run as the page has it. */
function trained(spec = SMALL, every = 5): Recording {
    const recording = new Recording(describe(spec), 1);
    const trainer = new Trainer(spec, 1);
    do {
        const [weights, bias] = [trainer.weights.slice(), trainer.bias.slice()];
        recording.push({ step: trainer.step, weights, bias, loss: trainer.loss() });
    } while (trainer.advance(every) > 0);
    return recording;
}

function distance(a: Float64Array, b: Float64Array): number {
    return Math.hypot(...a.map((value, at) => value - b[at]));
}

test("poses do not spin: a state moves no more than its weights, and a mere rotation not at all", () => {
    const run = trained();
    for (let at = 1; at < run.frames.length; at++) {
        const moved = distance(run.posed(at), run.posed(at - 1));
        assert.ok(moved <= distance(run.frames[at].weights, run.frames[at - 1].weights) + 1e-12, `frame ${at}`);
    }
    const spinning = recorded(Array.from({ length: 30 }, (_, at) => ({ step: at, rows: polygon(5, at), loss: 1 })), 29);
    assert.ok(distance(spinning.frames[1].weights, spinning.frames[0].weights) > 1);
    for (let at = 1; at < 30; at++) assert.ok(distance(spinning.posed(at), spinning.posed(at - 1)) < 1e-12);
});

test("a pose is a rotation: it keeps the Gram matrix, and so every measure", () => {
    const run = trained();
    const posed = recorded([{ step: 0, rows: [[1]], loss: 1 }], 1);
    assert.equal(posed.measured(0).dimensionality[0], 1);
    for (const at of [0, 17, 40]) {
        const rows = Array.from({ length: 5 }, (_, i) => Array.from(run.posed(at).slice(2 * i, 2 * i + 2)));
        const other = recorded([{ step: 0, rows, loss: 1 }], 1);
        assert.ok(distance(other.measured(0).gram, run.measured(at).gram) < 1e-12);
    }
});

test("the frame of a step is the last one at or before it", () => {
    const run = recorded([0, 5, 20].map((step) => ({ step, rows: polygon(5), loss: 1 })), 20);
    assert.deepEqual([0, 4, 5, 19, 20, 99].map((step) => run.indexAt(step)), [0, 0, 1, 1, 2, 2]);
    assert.equal(new Recording(describe(SMALL), 0).indexAt(3), -1);
});

test("a run is whole at its last step, or when it has diverged", () => {
    const run = recorded([{ step: 10, rows: polygon(5), loss: 1 }], 20);
    assert.equal(run.whole, false);
    run.diverged = true;
    assert.equal(run.whole, true);
    assert.equal(trained().whole, true);
});

test("sets have groups of their own, and features where there is one set", () => {
    assert.deepEqual([...new Recording(describe(SMALL), 0).groups], [0, 1, 2, 3, 4]);
    const pairs = readSpec({ features: [{ kind: "correlated", size: 2, density: 0.1, copies: 2 }], hidden: 2 });
    assert.deepEqual([...new Recording(describe(pairs), 0).groups], [0, 0, 1, 1]);
});

test("CSV has every number of every frame, to the last bit", () => {
    const run = trained();
    const [head, ...rows] = csv(run).trimEnd().split("\n").map((line) => line.split(","));
    assert.deepEqual(head.slice(0, 4), ["step", "loss", "bias[0]", "bias[1]"]);
    assert.deepEqual(head.slice(-3), ["W[3][1]", "W[4][0]", "W[4][1]"]);
    assert.equal(head.length, 2 + 5 + 5 + 10);
    assert.equal(rows.length, 41);
    for (const [at, frame] of run.frames.entries()) {
        const { dimensionality } = run.measured(at);
        assert.deepEqual(rows[at].map(Number), [frame.step, frame.loss, ...frame.bias, ...dimensionality, ...frame.weights]);
    }
    // Dimensionalities add up to the two dimensions that there are, at most.
    const sum = rows[40].slice(7, 12).map(Number).reduce((a, b) => a + b);
    assert.ok(sum > 1 && sum <= 2 + 1e-9);
});

/** The Spec in a program. */
function specIn(program: string): unknown {
    const [, text] = /tg\.Spec\.from_json\(r'''([^]*)'''\)/.exec(program) ?? [];
    return JSON.parse(text);
}

test("the Python program has the Spec and the run, and says that its draws are others", () => {
    const program = python(new Recording(describe(SMALL), 3));
    assert.deepEqual(readSpec(specIn(program)), SMALL);
    assert.match(program, /^import tegum as tg\n/);
    assert.match(program, /Samples are drawn by another generator, so that runs agree in distribution, not in bits\./);
    assert.match(program, /run\.sel\(seed=3\)/);
    // What was changed on the way is part of the Spec in Python.
    const changed = specIn(python(new Recording(describe(SMALL), 3, [{ step: 10, rate: 0.5 }]))) as { changes: unknown };
    assert.deepEqual(changed.changes, [{ step: 10, rate: 0.5 }]);
});

test("kinds that only Python knows are in the program as Python knows them", () => {
    interface Kind {
        name: string;
        sets: { kind: string; source?: object }[];
    }
    const kind = golden<Kind>("features").find(({ name }) => name === "hierarchy");
    const spec = readSpec({ features: kind?.sets.map((set) => ({ ...set, importance: 0.5 })), hidden: 2 });
    const program = specIn(python(new Recording(describe(spec), 0))) as { features: unknown[] };
    const parents = { kind: "hierarchy", density: [0.5, 0.4, 0.6, 0.3], importance: 0.5, parents: [-1, 0, 0, 1], exclusive: false };
    assert.deepEqual(program.features, [parents]);
});

test("settings in force are those of the Spec after the changes up to a step", () => {
    const spec = readSpec({ features: [{ kind: "correlated", size: 2, density: 0.1, copies: 2 }], hidden: 1, training: { steps: 100 } });
    const recording = new Recording(describe(spec), 0, [
        { step: 10, rate: 0.01 },
        { step: 20, sets: [{ set: 1, density: 0.5 }] },
    ]);
    const seen = [0, 10, 20].map((step) => recording.inForce(step)).map(({ rate, sets }) => [rate, ...sets.map((set) => "density" in set && set.density)]);
    assert.deepEqual(seen, [
        [0.001, 0.1, 0.1],
        [0.01, 0.1, 0.1],
        [0.01, 0.1, 0.5],
    ]);
    assert.equal((spec.features[1] as { density: number }).density, 0.1);
});
