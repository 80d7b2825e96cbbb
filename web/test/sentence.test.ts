import assert from "node:assert/strict";
import { test } from "node:test";
import { inWords, plateauSince, sentence, shape } from "../src/lab/sentence.ts";
import { digons, polygon, recorded } from "./room.ts";

/** The sentence of a state, 1,000 steps into a run of 10,000 that began with twice the loss. */
function said(rows: number[][], loss = 0.0618): string {
    const begun = { step: 0, rows, loss: 2 * loss };
    return sentence(recorded([begun, { step: 1000, rows, loss }], 10_000), 1);
}

const zeros = (n: number, m: number) => Array.from({ length: n }, () => new Array<number>(m).fill(0));
/** Rows in the first dimensions of a larger space. */
const inside = (rows: number[][], before: number, after: number) =>
    rows.map((row) => [...new Array<number>(before).fill(0), ...row, ...new Array<number>(after).fill(0)]);

test("five features in a pentagon, one absent", () => {
    assert.equal(said([...polygon(5), [0, 0]]), "Step 1,000 of 10,000: five features in a pentagon, one absent; loss 0.0618.");
});

test("an octahedron, which begins with a vowel", () => {
    assert.equal(said(digons(3)), "Step 1,000 of 10,000: six features in an octahedron; loss 0.0618.");
});

test("two digons, which may cross anyhow", () => {
    assert.equal(said(digons(2)), "Step 1,000 of 10,000: four features in a square (two digons); loss 0.0618.");
    assert.equal(said(digons(4), 0.5), "Step 1,000 of 10,000: eight features in a 4-orthoplex (four digons); loss 0.500.");
});

test("collapsed pairs", () => {
    assert.equal(said([[1, 0], [1, 0]]), "Step 1,000 of 10,000: two features sharing one direction; loss 0.0618.");
    const pairs = polygon(3).flatMap((row) => [row, row]);
    assert.equal(said(pairs), "Step 1,000 of 10,000: six features in a triangle of collapsed pairs; loss 0.0618.");
    // A pair has the weight of √2 features, and so the pentagon one corner that is longer.
    const one = [...polygon(5).slice(1), ...[polygon(5)[0], polygon(5)[0]].map((row) => row.map((value) => value / Math.SQRT2))];
    assert.equal(said(one), "Step 1,000 of 10,000: six features in a pentagon with one collapsed pair; loss 0.0618.");
});

test("nothing, at a start of zeros", () => {
    assert.equal(said(zeros(3, 2), 1), "Step 1,000 of 10,000: nothing is represented; loss 1.00.");
});

test("a diverged run, which has no loss", () => {
    assert.equal(said([[NaN, 0], [1, 0]], NaN), "Step 1,000 of 10,000: the run has diverged.");
});

test("features with dimensions of their own", () => {
    assert.equal(said([[1, 0], [0, 0]]), "Step 1,000 of 10,000: one feature with a dimension of its own, one absent; loss 0.0618.");
    const both = [[1, 0], [0, 1], ...zeros(3, 2)];
    assert.equal(said(both), "Step 1,000 of 10,000: two features, each with a dimension of its own, three absent; loss 0.0618.");
});

test("a square antiprism", () => {
    const [wide, high] = [Math.sqrt(2 / 3), Math.sqrt(1 / 3)];
    const square = (turned: number, height: number) => polygon(4, turned).map(([x, y]) => [wide * x, wide * y, height]);
    assert.equal(said([...square(0, high), ...square(Math.PI / 4, -high)]), "Step 1,000 of 10,000: eight features in a square antiprism; loss 0.0618.");
});

test("tegum products, of equal and of different factors", () => {
    const triangle = [...inside(polygon(3), 0, 1), [0, 0, 1], [0, 0, -1]];
    assert.equal(said(triangle), "Step 1,000 of 10,000: five features in a triangle and a digon, orthogonal to each other; loss 0.0618.");
    const triangles = [...inside(polygon(3), 0, 2), ...inside(polygon(3), 2, 0)];
    assert.equal(said(triangles), "Step 1,000 of 10,000: six features in two triangles, orthogonal to each other; loss 0.0618.");
    const single = [...inside(digons(1), 0, 2), [0, 1, 0], [0, 0, 1]];
    assert.equal(said(single), "Step 1,000 of 10,000: four features in two single features and a digon, orthogonal to each other; loss 0.0618.");
});

test("a plateau, with its first step", () => {
    const losses = [1, 0.9, 0.7, 0.5, 0.401, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4];
    const run = recorded(losses.map((loss, at) => ({ step: 1000 * at, rows: polygon(5), loss })), 10_000);
    assert.equal(sentence(run, 10), "Step 10,000 of 10,000: five features in a pentagon; loss 0.400; a plateau since step 4,000.");
    assert.equal(sentence(run, 3), "Step 3,000 of 10,000: five features in a pentagon; loss 0.500.");
    // Small beside what was gained, but falling by powers of ten.
    const falling = recorded(losses.map((_, at) => ({ step: 1000 * at, rows: polygon(5), loss: 10 ** -at })), 10_000);
    assert.equal(plateauSince(falling, 10), null);
    // A twentieth of the run is the least that is called one.
    const short = recorded(losses.map((loss, at) => ({ step: 10 * at, rows: polygon(5), loss })), 10_000);
    assert.equal(plateauSince(short, 10), null);
});

test("no regular shape", () => {
    const fan = (...angles: number[]) => recorded([{ step: 0, rows: angles.map((angle) => [Math.cos(angle), Math.sin(angle)]), loss: 1 }], 10);
    assert.equal(shape(fan(0, 0.5, 1, 1.5), 0), "four features in two dimensions, in no regular shape");
    const pairs = "four features in two dimensions, in no regular shape, with two collapsed pairs";
    assert.equal(shape(fan(0, 0, 1, 1), 0), pairs);
});

test("before the first frame, and beyond twelve", () => {
    assert.equal(sentence(recorded([{ step: 0, rows: [[1]], loss: 1 }], 10), -1), "Nothing has been trained yet.");
    assert.deepEqual([0, 1, 12, 13, 40].map(inWords), ["no", "one", "twelve", "13", "40"]);
});
