import assert from "node:assert/strict";
import { test } from "node:test";
import { happenings } from "../src/lab/happenings.ts";
import { Stream } from "../src/science/random.ts";
import { digons, polygon, recorded } from "./room.ts";

const SQUARE = [...digons(2), [0, 0]];
const PENTAGON = polygon(5);

/** A run of 100 frames, 10 steps apart, in one state all along. */
function losing(loss: (at: number) => number) {
    return recorded(Array.from({ length: 101 }, (_, at) => ({ step: 10 * at, rows: PENTAGON, loss: loss(at) })), 1000);
}

test("a new shape is told when it lasts, with the step at which it is first seen", () => {
    const states = [...new Array<number[][]>(50).fill(SQUARE), ...new Array<number[][]>(50).fill(PENTAGON)];
    // Three frames of a pentagon do not last.
    for (const at of [20, 21, 22]) states[at] = PENTAGON;
    const run = recorded(states.map((rows, at) => ({ step: 10 * at, rows, loss: 1 })), 1000);
    assert.deepEqual(happenings(run), [{ step: 500, kind: "name", words: "now five features in a pentagon" }]);
});

test("a shape that is lost for a while and comes back is told once, and again after another one", () => {
    const fan = [0, 0.3, 0.8, 1.1, 1.3].map((angle) => [Math.cos(angle), Math.sin(angle)]);
    const states = [SQUARE, PENTAGON, fan, PENTAGON, SQUARE, PENTAGON].flatMap((rows) => new Array<number[][]>(10).fill(rows));
    const run = recorded(states.map((rows, at) => ({ step: at, rows, loss: 1 })), 60);
    const names = ["10 now five features in a pentagon", "40 now four features in a square (two digons), one absent", "50 now five features in a pentagon"];
    assert.deepEqual(happenings(run).map(({ step, words }) => `${step} ${words}`), names);
});

test("what is no regular shape is no event, nor is a start of zeros", () => {
    const fan = [0, 0.3, 0.8, 1.1, 1.3].map((angle) => [Math.cos(angle), Math.sin(angle)]);
    const nothing = fan.map(() => [0, 0]);
    const states = [PENTAGON, fan, nothing].flatMap((rows) => new Array<number[][]>(20).fill(rows));
    const run = recorded(states.map((rows, at) => ({ step: at, rows, loss: 1 })), 60);
    assert.deepEqual(happenings(run), []);
});

test("a drop is told once, where it begins, with the part of the loss that goes", () => {
    // From 1 to a half around step 500: logistic, with 96 % of the fall between steps 460 and 540.
    const found = happenings(losing((at) => Math.exp(-Math.LN2 / (1 + Math.exp(-(10 * at - 500) / 10)))));
    assert.equal(found.length, 1);
    const [{ step, kind, words }] = found;
    assert.equal(kind, "drop");
    assert.ok(step >= 440 && step <= 490, `${step}`);
    assert.match(words, /^the loss drops by (4[6-9]|50) %$/);
});

test("a steady fall has no drop, nor has the first descent", () => {
    assert.deepEqual(happenings(losing((at) => Math.exp(-at / 30))), []);
    assert.deepEqual(happenings(losing((at) => 0.1 + Math.exp(-at / 3))), []);
    assert.deepEqual(happenings(losing(() => 0.5)), []);
});

test("there are no drops in noise, on a plateau or on a slope", () => {
    const noise = new Float64Array(101);
    const stream = new Stream();
    let told = 0;
    for (let run = 0; run < 200; run++) {
        stream.key(7, run, "training", 0).fillNormals(noise);
        told += happenings(losing((at) => 0.5 * Math.exp(0.01 * noise[at]))).length;
        told += happenings(losing((at) => Math.exp(-at / 100 + 0.03 * noise[at]))).length;
    }
    assert.equal(told, 0);
});

test("a drop in noise is found", () => {
    const noise = new Float64Array(101);
    new Stream().key(7, 0, "training", 0).fillNormals(noise);
    const found = happenings(losing((at) => (at < 50 ? 1 : 0.6) * Math.exp(0.01 * noise[at])));
    assert.equal(found.length, 1);
    assert.match(found[0].words, /^the loss drops by (3[89]|4[0-2]) %$/);
});

test("a diverged run is no event, and changes are in words, in the order of steps", () => {
    assert.deepEqual(happenings(losing((at) => (at < 60 ? 1 : NaN))), []);
    const changes = [
        { step: 10, rate: 0.01 },
        { step: 200, sets: [{ set: 0, density: 0.3, importance: 2 }] },
    ];
    const run = recorded([{ step: 0, rows: PENTAGON, loss: 1 }], 1000, changes);
    assert.deepEqual(happenings(run), [
        { step: 10, kind: "change", words: "changed: rate 0.01" },
        { step: 200, kind: "change", words: "changed: density 0.3 in set 0, importance 2 in set 0" },
    ]);
});
