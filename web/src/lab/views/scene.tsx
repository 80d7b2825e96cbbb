// The scene of one run: turned by mouse, touch or keys, and open to a hand that moves an embedding.
import { signal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import { norms } from "../../science/linear.ts";
import { principalAxes } from "../../science/geometry.ts";
import { axes, nearer, turned } from "../camera.ts";
import { CanvasPen, SvgPen } from "../pen.ts";
import type { Recording } from "../recording.ts";
import { type Frame, isSpatial, paint, type Place, places, type Scene, scaleOf } from "../scene.ts";
import { sentence } from "../sentence.ts";
import type { Store } from "../store.ts";
import { look } from "../theme.ts";
import { Canvas } from "./canvas.tsx";

/** The frames over which a scene of more than three dimensions keeps its point of view. */
const KEPT = 32;

/** What a scene shows of a run at a frame, with a moved embedding if there is a hand on it. */
export function sceneOf(store: Store, at: number): { scene: Scene; reach: number } | null {
    const recording = store.recordings.value[at];
    const index = store.indices.value[at] ?? -1;
    if (recording === undefined || index < 0) return null;
    const moved = store.hand.value;
    const posed = recording.posed(index);
    const weights = moved !== null && moved.at === at ? moved.weights : posed;
    const { scene, reach } = sceneAt(store, recording, index);
    return { scene: { ...scene, weights, selected: store.selected.value }, reach };
}

/** What a scene shows of a run at a frame, without a hand on it. */
export function sceneAt(store: Store, recording: Recording, index: number): { scene: Scene; reach: number } {
    const { m, groups } = recording;
    const projection = m > 3 ? pointOfView(recording) : null;
    const scene: Scene = { weights: recording.posed(index), m, groups, projection, selected: null };
    // Two runs side by side have one scale.
    return { scene, reach: Math.max(...store.recordings.value.map(reachOf)) };
}

const views = new WeakMap<Recording, { frames: number; axes: number[][] }>();
const reaches = new WeakMap<Recording, { frames: number; reach: number }>();

/** The principal axes of the last frame so far, looked for again when many have come. */
function pointOfView(recording: Recording): number[][] {
    const known = views.get(recording);
    const frames = recording.frames.length;
    if (known !== undefined && (frames < known.frames + KEPT || (recording.whole && known.frames === frames))) return known.axes;
    const { axes: found } = principalAxes(recording.posed(frames - 1), recording.m, 3);
    const rows = Array.from({ length: 3 }, (_, axis) => Array.from(found.slice(axis * recording.m, (axis + 1) * recording.m)));
    views.set(recording, { frames, axes: rows });
    return rows;
}

/** The longest embedding of all frames so far, and at least 1. */
function reachOf(recording: Recording): number {
    const known = reaches.get(recording) ?? { frames: 0, reach: 1 };
    for (; known.frames < recording.frames.length; known.frames++) {
        for (const norm of norms(recording.frames[known.frames].weights, recording.m)) {
            if (Number.isFinite(norm)) known.reach = Math.max(known.reach, norm);
        }
    }
    reaches.set(recording, known);
    return known.reach;
}

export function svgOf(store: Store, at: number, width: number, height: number): string {
    const seen = sceneOf(store, at);
    const pen = new SvgPen();
    if (seen !== null) paint(pen, seen.scene, { width, height, camera: store.camera.value, look: look.value, reach: seen.reach });
    return pen.file(width, height, look.value.paper);
}

interface Grip {
    /** The feature that the hand holds; null turns the scene. */
    feature: number | null;
    x: number;
    y: number;
}

export function SceneView({ store, at }: { store: Store; at: number }) {
    const grip = useMemo(() => signal<Grip | null>(null), []);
    const words = () => {
        const recording = store.recordings.value[at];
        const said = recording === undefined ? "" : sentence(recording, store.indices.value[at] ?? -1);
        return store.hand.value?.at === at ? `Before the move: ${said.replace(/^S/, "s")}` : said;
    };
    const frameOf = (canvas: HTMLCanvasElement, reach: number): Frame => {
        const { width, height } = canvas.getBoundingClientRect();
        return { width, height, camera: store.camera.value, look: look.value, reach };
    };
    const nearest = (canvas: HTMLCanvasElement, x: number, y: number): { feature: number; place: Place } | null => {
        const seen = sceneOf(store, at);
        if (seen === null) return null;
        const all = places(seen.scene, frameOf(canvas, seen.reach)).map((place, feature) => ({ feature, place }));
        const near = all.filter(({ place }) => Math.hypot(place.x - x, place.y - y) < 18);
        near.sort((a, b) => b.place.depth - a.place.depth);
        return near[0] ?? null;
    };
    const inside = (event: PointerEvent) => {
        const canvas = event.currentTarget as HTMLCanvasElement;
        const box = canvas.getBoundingClientRect();
        return { canvas, x: event.clientX - box.left, y: event.clientY - box.top };
    };
    const down = (event: PointerEvent) => {
        const { canvas, x, y } = inside(event);
        canvas.setPointerCapture(event.pointerId);
        const found = nearest(canvas, x, y);
        grip.value = { feature: found?.feature ?? null, x, y };
        if (found !== null) store.selected.value = found.feature;
    };
    const move = (event: PointerEvent) => {
        const held = grip.value;
        if (held === null) return;
        const { canvas, x, y } = inside(event);
        const seen = sceneOf(store, at);
        if (seen === null) return;
        if (held.feature === null) turn(store, x - held.x, y - held.y);
        else drag(store, at, seen.scene, frameOf(canvas, seen.reach), held.feature, x - held.x, y - held.y);
        grip.value = { ...held, x, y };
    };
    return (
        <div class="scene">
            <Canvas
                tabIndex={0}
                role="application"
                aria-roledescription="scene"
                aria-label={`Embeddings of run ${store.recordings.value[at]?.run ?? 0}. Shift and arrows turn the scene; f selects features.`}
                onPointerDown={down}
                onPointerMove={move}
                onPointerUp={() => (grip.value = null)}
                onPointerCancel={() => (grip.value = null)}
                onWheel={(event) => {
                    if (!event.ctrlKey && !event.altKey) return;
                    event.preventDefault();
                    zoom(store, Math.exp(-event.deltaY / 400));
                }}
                read={() => ({ seen: sceneOf(store, at), camera: store.camera.value, look: look.value })}
                draw={({ to, width, height }, { seen, camera, look: colours }) => {
                    to.clearRect(0, 0, width, height);
                    if (seen !== null) paint(new CanvasPen(to), seen.scene, { width, height, camera, look: colours, reach: seen.reach });
                }}
            />
            <p class="caption" aria-live={store.playing.value ? "off" : "polite"}>
                {words()}
            </p>
        </div>
    );
}

export function turn(store: Store, dx: number, dy: number): void {
    store.camera.value = turned(store.camera.value, dx, dy);
}

export function zoom(store: Store, factor: number): void {
    store.camera.value = nearer(store.camera.value, factor);
}

/** Move an embedding in the plane of the screen, and ask what the loss says. */
function drag(store: Store, at: number, scene: Scene, frame: Frame, feature: number, dx: number, dy: number): void {
    const { m, projection } = scene;
    const spatial = isSpatial(scene);
    const [right, up] = spatial ? axes(frame.camera) : [[1, 0, 0], [0, 1, 0]];
    const scale = scaleOf(frame);
    const shift = [0, 1, 2].map((axis) => (right[axis] * dx - up[axis] * dy) / scale);
    const weights = Float64Array.from(scene.weights);
    for (let k = 0; k < m; k++) {
        const along = projection === null ? (shift[k] ?? 0) : projection.reduce((sum, row, axis) => sum + shift[axis] * row[k], 0);
        weights[feature * m + k] += along;
    }
    store.moveTo(at, feature, weights);
}

/** Move the selected embedding of the first scene by keys. */
export function moveSelected(store: Store, host: HTMLElement, dx: number, dy: number): void {
    const feature = store.selected.value;
    const seen = sceneOf(store, 0);
    const canvas = (host.shadowRoot ?? host).querySelector<HTMLCanvasElement>(".scene canvas");
    if (feature === null || seen === null || canvas === null) return;
    const { width, height } = canvas.getBoundingClientRect();
    drag(store, 0, seen.scene, { width, height, camera: store.camera.value, look: look.value, reach: seen.reach }, feature, dx, dy);
}
