import assert from "node:assert/strict";
import { test } from "node:test";
import { type Axis, label, position, ticks, valueAt } from "../src/lab/axis.ts";
import { axes, FIRST_SIGHT, nearer, turned } from "../src/lab/camera.ts";
import { hullEdges } from "../src/lab/hull.ts";
import { lookOf } from "../src/lab/look.ts";
import { MARKS, SvgPen } from "../src/lab/pen.ts";
import { paint, places } from "../src/lab/scene.ts";
import { digons, polygon } from "./room.ts";

const corners = [-1, 1].flatMap((x) => [-1, 1].flatMap((y) => [-1, 1].map((z) => [x, y, z])));
const prism = [-1, 1].flatMap((z) => polygon(3).map(([x, y]) => [x, y, z]));

test("hulls have the edges of the solids, in any size and turn", () => {
    const tetrahedron = [[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]];
    const solids: [number[][], number][] = [[tetrahedron, 6], [digons(3), 12], [corners, 12], [prism, 9]];
    const turn = axes({ yaw: 1.1, pitch: -0.7, zoom: 1 });
    for (const [points, edges] of solids) {
        for (const size of [1e-3, 1, 1e3]) {
            const seen = points.map((point) => turn.map((axis) => size * axis.reduce((sum, value, k) => sum + value * point[k], 0)));
            assert.equal(hullEdges(seen).length, edges);
        }
    }
});

test("edges of a cube are those of length 2", () => {
    for (const [a, b] of hullEdges(corners)) assert.equal(Math.hypot(...corners[a].map((value, k) => value - corners[b][k])), 2);
});

test("what is flat has no edges, nor have too few or too many points; a point inside has none", () => {
    assert.deepEqual(hullEdges(polygon(6).map(([x, y]) => [x, y, 0])), []);
    assert.deepEqual(hullEdges([[0, 0, 0], [1, 0, 0], [0, 1, 0]]), []);
    assert.deepEqual(hullEdges(Array.from({ length: 25 }, (_, i) => [Math.cos(i), Math.sin(i), i / 25])), []);
    assert.deepEqual(hullEdges(new Array<number[]>(5).fill([0, 0, 0])), []);
    const inside = hullEdges([...digons(3), [0.1, 0.1, 0.1]]);
    assert.equal(inside.length, 12);
    assert.ok(inside.every((edge) => !edge.includes(6)));
});

const STEPS: Axis = { low: 0, high: 10_000, logarithmic: false, from: 50, to: 550 };

test("ticks are round numbers", () => {
    assert.deepEqual(ticks(STEPS, 5), [0, 2000, 4000, 6000, 8000, 10_000]);
    assert.deepEqual(ticks({ ...STEPS, logarithmic: true }, 6), [1, 10, 100, 1000, 10_000]);
    assert.deepEqual(ticks({ ...STEPS, low: 0.03, high: 0.06, logarithmic: true }, 4).map(label), ["0.03", "0.05"]);
    assert.deepEqual(ticks({ ...STEPS, low: 3, high: 3 }, 4), [3]);
    // Hardly different values still have more than one tick.
    assert.ok(ticks({ ...STEPS, low: 0.41, high: 0.44, logarithmic: true }, 4).length > 1);
});

test("labels are short", () => {
    assert.deepEqual([0, 0.05, 0.1 + 0.2, 12, 1500, 2e6, 5e-5].map(label), ["0", "0.05", "0.3", "12", "1,500", "2M", "5e−5"]);
});

test("positions and values belong to each other", () => {
    assert.equal(position(STEPS, 2500), 175);
    assert.equal(valueAt(STEPS, 175), 2500);
    const logarithmic = { ...STEPS, logarithmic: true };
    // Step 0 has the place of one half.
    assert.equal(position(logarithmic, 0), 50);
    assert.equal(position(logarithmic, 10_000), 550);
    const step = position(logarithmic, 100) - position(logarithmic, 10);
    assert.ok(Math.abs(position(logarithmic, 1000) - position(logarithmic, 100) - step) < 1e-9);
    for (const value of [1, 7, 300, 10_000]) assert.ok(Math.abs(valueAt(logarithmic, position(logarithmic, value)) / value - 1) < 1e-12);
});

test("a camera turns without distortion, and keeps few digits", () => {
    const [right, up, near] = axes({ yaw: 0.9, pitch: 0.4, zoom: 2 });
    const dot = (a: number[], b: number[]) => a.reduce((sum, value, k) => sum + value * b[k], 0);
    for (const [a, b] of [[right, up], [up, near], [near, right]]) assert.ok(Math.abs(dot(a, b)) < 1e-15);
    assert.ok(Math.abs(dot(right, right) - 1) < 1e-15);
    const other = nearer(turned(FIRST_SIGHT, 31, 1e6), 1e6);
    assert.deepEqual(other, { yaw: 0.3933, pitch: 1.5, zoom: 4 });
});

/** That text is well-formed XML of one element, by its tags, attributes and entities. */
function wellFormed(text: string): void {
    const open: string[] = [];
    const rest = text.trim().replace(/<(\/?)([a-z]+)((?: [a-z-]+="[^"<&]*")*)(\/?)>/gi, (_, closing: string, name: string, __, empty: string) => {
        if (closing) assert.equal(open.pop(), name);
        else if (!empty) open.push(name);
        return "";
    });
    assert.deepEqual(open, []);
    assert.doesNotMatch(rest.replace(/&(amp|lt|gt|quot);/g, ""), /[<>&]/);
}

test("a scene as SVG is well-formed, with all marks, and text that is code elsewhere", () => {
    const pen = new SvgPen();
    const look = lookOf(false);
    const weights = digons(3).flat();
    const scene = { weights, m: 3, groups: [0, 1, 2, 3, 4, 5], projection: null, selected: 2 };
    paint(pen, scene, { width: 400, height: 300, camera: FIRST_SIGHT, look, reach: 1 });
    for (const mark of MARKS) pen.mark(mark, 1, 2, 3, "#123456", 0.5);
    pen.text("a < b & c", 1, 2, "#000");
    const file = pen.file(400, 300, "#fff");
    wellFormed(file);
    assert.match(file, /a &lt; b &amp; c/);
    assert.match(file, /^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg" width="400" height="300"/);
    // The hull's edges are lines of their own: 12, and 6 arrows.
    assert.equal(file.match(/<polyline/g)?.length, 18);
    assert.doesNotMatch(file, /NaN|undefined/);
    assert.throws(() => wellFormed("<svg><g></svg>"));
    assert.throws(() => wellFormed("<svg>a & b</svg>"));
});

test("in the plane the first coordinate goes right and the second up", () => {
    const scene = { weights: [1, 0, 0, 1], m: 2, groups: [0, 1], projection: null, selected: null };
    const [right, up] = places(scene, { width: 200, height: 200, camera: FIRST_SIGHT, look: lookOf(true), reach: 1 });
    assert.deepEqual([right.x, right.y], [184, 100]);
    assert.deepEqual([up.x, up.y], [100, 16]);
});
