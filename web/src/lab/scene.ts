// The picture of one state: embeddings as arrows in the plane, or as points in space with the edges of their hull. Beyond
// three dimensions they are seen along the principal axes of the last state, with a line between features that interfere.
import { represented } from "../science/geometry.ts";
import { axes, type Camera } from "./camera.ts";
import { hullEdges, hullOutline } from "./hull.ts";
import { colourOf, type Look, markOf } from "./look.ts";
import type { Pen } from "./pen.ts";

export interface Scene {
    /** W in the pose to be shown, row by row. */
    weights: ArrayLike<number>;
    m: number;
    /** For each feature the group that gives it colour and form. */
    groups: ArrayLike<number>;
    /** Unit rows of the plane or space to look at, for more than three dimensions. */
    projection: readonly (readonly number[])[] | null;
    selected: number | null;
    /** Whether it is one of many small pictures, without numbers. */
    small?: boolean;
}

export interface Frame {
    width: number;
    height: number;
    camera: Camera;
    look: Look;
    /** The length that reaches the border, the same for all states of a run. */
    reach: number;
}

/** Where an embedding is drawn, and how near it is, from −1 to 1. */
export interface Place {
    x: number;
    y: number;
    depth: number;
}

/** The points of a state before the camera: three coordinates each, of which the last is 0 in the plane. */
export function points({ weights, m, projection }: Scene): number[][] {
    const n = weights.length / m;
    return Array.from({ length: n }, (_, i) => {
        const row = Array.from({ length: m }, (_, k) => weights[i * m + k]);
        if (projection === null) return [row[0], row[1] ?? 0, row[2] ?? 0];
        return [0, 1, 2].map((axis) => projection[axis]?.reduce((sum, value, k) => sum + value * row[k], 0) ?? 0);
    });
}

/** Whether a scene is in space, and so can be turned. */
export function isSpatial({ m, projection }: Pick<Scene, "m" | "projection">): boolean {
    return projection === null ? m >= 3 : projection.length >= 3;
}

export function scaleOf({ width, height, camera, reach }: Frame): number {
    return (0.42 * Math.min(width, height) * camera.zoom) / (reach || 1);
}

export function places(scene: Scene, frame: Frame): Place[] {
    const scale = scaleOf(frame);
    const [right, up, near] = isSpatial(scene) ? axes(frame.camera) : [[1, 0, 0], [0, 1, 0], [0, 0, 1]];
    return points(scene).map((point) => {
        const along = (axis: readonly number[]) => axis.reduce((sum, value, k) => sum + value * point[k], 0);
        return {
            x: frame.width / 2 + scale * along(right),
            y: frame.height / 2 - scale * along(up),
            depth: along(near) / (frame.reach || 1),
        };
    });
}

export function paint(pen: Pen, scene: Scene, frame: Frame): void {
    const { look } = frame;
    const [cx, cy, scale] = [frame.width / 2, frame.height / 2, scaleOf(frame)];
    const there = places(scene, frame);
    const spatial = isSpatial(scene);
    // The unit circle is the length at which a feature is passed on in full.
    if (scene.m > 1) pen.ring(cx, cy, scale, { colour: look.grid });
    else pen.line([[cx - scale, cy], [cx + scale, cy]], { colour: look.grid });
    if (spatial && scene.projection === null) edges(pen, scene, there, look);
    if (scene.m === 2 && !scene.small) outline(pen, scene, there, look);
    if (scene.m > 3) links(pen, scene, there, look);
    const order = there.map((_, i) => i).sort((a, b) => there[a].depth - there[b].depth);
    for (const i of order) {
        const { x, y, depth } = there[i];
        const set = scene.groups[i];
        const colour = colourOf(look, set);
        const opacity = spatial ? 0.55 + 0.225 * (1 + Math.max(-1, Math.min(1, depth))) : 1;
        const chosen = scene.selected === i;
        const offset = scene.m === 1 ? 14 * (i % 2 === 0 ? 1 : -1) * (1 + (i >> 1)) : 0;
        pen.line([[cx, cy + offset], [x, y + offset]], { colour, width: chosen ? 3.5 : scene.small ? 1.3 : 2, opacity });
        pen.mark(markOf(set), x, y + offset, (chosen ? 7.5 : scene.small ? 2.5 : 5.5) * (spatial ? 1 + 0.25 * depth : 1), colour, opacity);
        if (chosen) pen.ring(x, y + offset, 11, { colour: look.ink, width: 1.5 });
    }
    if (there.length <= 24 && !scene.small) labels(pen, there, scene, cx, cy, look);
}

/** The numbers of the features, outside the marks. */
function labels(pen: Pen, there: readonly Place[], scene: Scene, cx: number, cy: number, look: Look): void {
    const said = new Set<number>();
    there.forEach(({ x, y }, i) => {
        const [dx, dy] = [x - cx, y - cy];
        const length = Math.hypot(dx, dy);
        if (said.has(i) || (length < 14 && scene.m > 1)) return;
        // Features in one place share a label.
        const here = scene.m === 1 ? [i] : there.flatMap((other, j) => (j >= i && Math.hypot(other.x - x, other.y - y) < 9 ? [j] : []));
        for (const j of here) said.add(j);
        const offset = scene.m === 1 ? 14 * (i % 2 === 0 ? 1 : -1) * (1 + (i >> 1)) : 0;
        const out = scene.m === 1 ? [16 * Math.sign(dx || 1), 0] : [((12 + 4 * here.length) * dx) / length, (16 * dy) / length];
        pen.text(here.join(", "), x + out[0], y + out[1] + offset, look.ink, { size: 12, anchor: "middle" });
    });
}

function edges(pen: Pen, scene: Scene, there: readonly Place[], look: Look): void {
    const shown = represented(scene.weights, scene.m);
    const corners = shown.flatMap((is, i) => (is ? [i] : []));
    const all = points(scene);
    for (const [a, b] of hullEdges(corners.map((i) => all[i]))) {
        const [from, to] = [there[corners[a]], there[corners[b]]];
        const behind = from.depth + to.depth < -0.6;
        pen.line([[from.x, from.y], [to.x, to.y]], { colour: look.faint, width: 1.2, dashed: behind, opacity: behind ? 0.6 : 0.9 });
    }
}

/** The polygon around the embeddings in the plane. */
function outline(pen: Pen, scene: Scene, there: readonly Place[], look: Look): void {
    const shown = represented(scene.weights, scene.m);
    const corners = hullOutline(there.filter((_, i) => shown[i]).map(({ x, y }) => [x, y]));
    if (corners.length > 2) pen.line([...corners, corners[0]], { colour: look.faint, width: 1, dashed: true, opacity: 0.7 });
}

/** A line for each pair of features that interfere, the wider the more. */
function links(pen: Pen, { weights, m }: Scene, there: readonly Place[], look: Look): void {
    const n = weights.length / m;
    if (n > 120) return;
    for (let i = 0; i < n; i++) {
        for (let j = i + 1; j < n; j++) {
            let product = 0;
            for (let k = 0; k < m; k++) product += weights[i * m + k] * weights[j * m + k];
            if (Math.abs(product) < 0.15) continue;
            const stroke = { colour: look.faint, width: 3 * Math.min(Math.abs(product), 1), dashed: product < 0, opacity: 0.35 };
            pen.line([[there[i].x, there[i].y], [there[j].x, there[j].y]], stroke);
        }
    }
}
