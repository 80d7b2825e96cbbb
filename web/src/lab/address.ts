// The whole state of the page as the part of its address behind #, and back: who opens a copied address sees the same.
// Only what differs from the beginning is written, so that addresses stay short.
import type { FeatureSet } from "../science/features.ts";
import { Refusal } from "../science/reading.ts";
import { readSpec, type Spec } from "../science/spec.ts";
import type { DatedChange } from "../science/train.ts";
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
export function brief(spec: Spec): object {
    const defaults = readSpec({ features: spec.features, hidden: spec.hidden }) as unknown as Record<string, unknown>;
    const { training: usual, ...others } = defaults;
    const given = spec as unknown as Record<string, unknown>;
    const short: Record<string, unknown> = {};
    for (const key of Object.keys(given)) {
        if (key === "training") continue;
        if (key === "features") short[key] = briefSets(spec.features);
        else if (key === "hidden" || !same(given[key], others[key])) short[key] = given[key];
    }
    const training: Record<string, unknown> = {};
    for (const [key, value] of Object.entries(given["training"] as object)) {
        if (!same(value, (usual as Record<string, unknown>)[key])) training[key] = value;
    }
    if (Object.keys(training).length > 0) short["training"] = { kind: "sampled", ...training };
    return short;
}

/** Equal sets in a row as one with `copies`, each without what is at its default. */
function briefSets(sets: readonly FeatureSet[]): object[] {
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
    const { yaw, pitch, zoom } = state.camera;
    const camera = [yaw, pitch, zoom].map((value) => value.toFixed(3)).join(",");
    if (camera !== [FIRST_SIGHT.yaw, FIRST_SIGHT.pitch, FIRST_SIGHT.zoom].map((value) => value.toFixed(3)).join(",")) {
        parts.set("camera", camera);
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
        const run = whole(parts, `run${end}`) ?? (end === "" ? usual.shown[0].run : 0);
        const changes = json(parts.get(`changes${end}`) ?? "[]", `changes${end}`);
        if (!Array.isArray(changes)) throw new Refusal(`changes${end}: must be a list of changes`);
        shown.push({ spec, run, changes: changes as DatedChange[] });
    }
    const own = parts.has("spec");
    const logarithmic = parts.get("log")?.split(",");
    return {
        shown,
        step: whole(parts, "step"),
        camera: camera(parts.get("camera")) ?? usual.camera,
        selected: whole(parts, "feature") ?? null,
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

function json(text: string, key: string): unknown {
    try {
        return JSON.parse(text);
    } catch {
        throw new Refusal(`${key}: must be JSON`);
    }
}

function whole(parts: URLSearchParams, key: string): number | null {
    const text = parts.get(key);
    if (text === null) return null;
    const value = Number(text);
    if (!Number.isSafeInteger(value) || value < 0) throw new Refusal(`${key}=${text.slice(0, 40)}: must be an int of at least 0`);
    return value;
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
