// The whole state of the page as the part of its address behind #, and back: who opens a copied address sees the same.
// Only what differs from the beginning is written, so that addresses stay short.
import { type FeatureSet, sizeOf } from "../science/features.ts";
import { Refusal } from "../science/reading.ts";
import { readSpec, type Spec } from "../science/spec.ts";
import { type DatedChange, Trainer } from "../science/train.ts";
import { type Camera, FIRST_SIGHT } from "./camera.ts";

/** What is shown beside the scene. */
export const VIEWS = ["loss", "dimensionality", "gram", "ensemble", "settings", "claim"] as const;
export type View = (typeof VIEWS)[number];

/** One run, up to a step. */
export interface Shown {
    spec: Spec;
    run: number;
    changes: readonly DatedChange[];
}

export interface State {
    /** One run, or two side by side, which share time and camera. */
    shown: readonly Shown[];
    /** The step that every view shows; null follows the training. */
    step: number | null;
    camera: Camera;
    /** The number of a feature, or null. */
    selected: number | null;
    views: readonly View[];
    /** Controls that a teacher hides. */
    hidden: readonly string[];
    /** Whether the time axis and the loss are logarithmic. */
    logarithmic: { time: boolean; loss: boolean };
    preset: string | null;
}

export const FIRST_VIEWS: readonly View[] = ["loss", "dimensionality", "gram", "settings", "claim"];

/** A Spec without what is at its default, as a person would write it. */
export function brief(spec: Spec): { features: { kind: string }[] } {
    const defaults = readSpec({ features: spec.features, hidden: spec.hidden }) as unknown as Record<string, unknown>;
    const { training: usual, ...others } = defaults;
    const given = spec as unknown as Record<string, unknown>;
    const short: { features: { kind: string }[]; [key: string]: unknown } = { features: briefSets(spec.features) };
    for (const key of Object.keys(given)) {
        if (["features", "training"].includes(key)) continue;
        if (key === "hidden" || !same(given[key], others[key])) short[key] = given[key];
    }
    const training: Record<string, unknown> = {};
    for (const [key, value] of Object.entries(given["training"] as object)) {
        if (!same(value, (usual as Record<string, unknown>)[key])) training[key] = value;
    }
    if (Object.keys(training).length > 0) short["training"] = { kind: "sampled", ...training };
    return short;
}

/** Equal sets in a row as one with `copies`, each without what is at its default. */
function briefSets(sets: readonly FeatureSet[]): { kind: string }[] {
    const found: { set: FeatureSet; copies: number }[] = [];
    for (const set of sets) {
        const last = found[found.length - 1];
        if (last !== undefined && same(last.set, set)) last.copies++;
        else found.push({ set, copies: 1 });
    }
    return found.map(({ set, copies }) => {
        const { importance, ...rest } = set;
        return { ...rest, ...(importance === 1 ? {} : { importance }), ...(copies === 1 ? {} : { copies }) };
    });
}

function same(a: unknown, b: unknown): boolean {
    return JSON.stringify(a) === JSON.stringify(b);
}

/**
 * The state as the part of an address behind #. The Spec of a preset is named by the preset, and that of a second run is
 * written where it is not the first one's.
 */
export function written(state: State, presetSpec: Spec | null = null): string {
    const parts = new URLSearchParams();
    if (state.preset !== null) parts.set("preset", state.preset);
    state.shown.forEach((each, at) => {
        const end = at === 0 ? "" : String(at + 1);
        const known = at === 0 ? presetSpec : state.shown[0].spec;
        if (known === null || !same(each.spec, known)) parts.set(`spec${end}`, JSON.stringify(brief(each.spec)));
        if (each.run !== 0 || at > 0) parts.set(`run${end}`, String(each.run));
        if (each.changes.length > 0) parts.set(`changes${end}`, JSON.stringify(each.changes));
    });
    if (state.step !== null) parts.set("step", String(state.step));
    if (!same(state.camera, FIRST_SIGHT)) {
        const { yaw, pitch, zoom } = state.camera;
        parts.set("camera", [yaw, pitch, zoom].join(","));
    }
    if (state.selected !== null) parts.set("feature", String(state.selected));
    if (!same(state.views, FIRST_VIEWS)) parts.set("views", state.views.join(","));
    if (state.hidden.length > 0) parts.set("hide", state.hidden.join(","));
    const { time, loss } = state.logarithmic;
    if (time || !loss) parts.set("log", [time ? "time" : "", loss ? "loss" : ""].filter(Boolean).join(",") || "none");
    return parts.toString();
}

/** The state that an address holds; what it does not say is as `usual` has it. Refused in one sentence. */
export function read(text: string, usual: State): State {
    const parts = new URLSearchParams(text.replace(/^#/, ""));
    const shown: Shown[] = [];
    for (const end of ["", "2"]) {
        if (end === "2" && !["spec2", "run2", "changes2"].some((key) => parts.has(key))) continue;
        const text = parts.get(`spec${end}`);
        const known = end === "" ? usual.shown[0].spec : shown[0].spec;
        const spec = text === null ? known : readSpec(text);
        const run = whole(parts, `run${end}`, spec.seeds - 1) ?? (end === "" ? usual.shown[0].run : 0);
        shown.push({ spec, run, changes: changesOf(parts, `changes${end}`, spec, run) });
    }
    const [{ spec }] = shown;
    const n = spec.features.reduce((sum, set) => sum + sizeOf(set), 0);
    const own = parts.has("spec");
    const logarithmic = parts.get("log")?.split(",");
    return {
        shown,
        step: whole(parts, "step", spec.training.steps),
        camera: camera(parts.get("camera")) ?? usual.camera,
        selected: whole(parts, "feature", n - 1),
        views: chosen(parts.get("views")) ?? usual.views,
        hidden: parts.get("hide")?.split(",").filter(Boolean) ?? usual.hidden,
        logarithmic: logarithmic
            ? { time: logarithmic.includes("time"), loss: logarithmic.includes("loss") }
            : usual.logarithmic,
        preset: parts.get("preset") ?? (own ? null : usual.preset),
    };
}

/** The preset that an address names, or null. */
export function presetIn(text: string): string | null {
    return new URLSearchParams(text.replace(/^#/, "")).get("preset");
}

/** The changes of a run, which it can be trained with. */
function changesOf(parts: URLSearchParams, key: string, spec: Spec, run: number): readonly DatedChange[] {
    const text = parts.get(key);
    if (text === null) return [];
    let changes: unknown;
    try {
        changes = JSON.parse(text);
    } catch {
        throw new Refusal(`${key}=${text.slice(0, 40)}: must be valid JSON`);
    }
    if (!Array.isArray(changes)) throw new Refusal(`${key}=${text.slice(0, 40)}: must be a list of changes`);
    return new Trainer(spec, run, changes as DatedChange[]).changes;
}

function whole(parts: URLSearchParams, key: string, most: number): number | null {
    const text = parts.get(key);
    if (text === null) return null;
    if (!/^\d+$/.test(text)) throw new Refusal(`${key}=${text.slice(0, 40)}: must be an int of at least 0`);
    if (Number(text) > most) throw new Refusal(`${key}=${text.slice(0, 40)}: must be at most ${most}`);
    return Number(text);
}

function camera(text: string | null): Camera | null {
    if (text === null) return null;
    const [yaw, pitch, zoom] = text.split(",").map(Number);
    if (![yaw, pitch, zoom].every(Number.isFinite) || !(zoom > 0)) {
        throw new Refusal(`camera=${text.slice(0, 40)}: must be three numbers: two angles, and a zoom above 0`);
    }
    return { yaw, pitch, zoom };
}

function chosen(text: string | null): View[] | null {
    if (text === null) return null;
    const names = text.split(",").filter(Boolean);
    return VIEWS.filter((view) => names.includes(view));
}
