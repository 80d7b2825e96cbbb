// The whole state of the page as the part of its address behind #, and back: who opens a copied address sees the same.
// Only what differs from the beginning is written, so that addresses stay short.
import { quoted, Refusal } from "../science/reading.ts";
import type { DatedChange } from "../science/train.ts";
import { same } from "./brief.ts";
import { type Camera, FIRST_SIGHT } from "./camera.ts";
import type { Described } from "./described.ts";

/** What is shown beside the scene. */
export const VIEWS = ["loss", "dimensionality", "gram", "ensemble", "settings", "claim"] as const;
export type View = (typeof VIEWS)[number];
/** What a teacher may hide. */
export const HIDEABLE = ["toolbar", "settings", "density", "strength", "importance", "rate"] as const;

/** One run: trained here, or recorded in one of the page's films. */
export type Shown = Trained | Filmed;
export interface Trained {
    described: Described;
    run: number;
    changes: readonly DatedChange[];
}
export interface Filmed {
    /** The number of the film. */
    film: number;
    run: number;
}

export interface State {
    /** Stores of the local lab whose films are there, in their order. */
    opened: readonly string[];
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

/** What an address is read and checked by. */
export interface Reader {
    /** What a Spec is, as JSON text has it. */
    describe(text: string): Described;
    /** The changes of a run, if it can be trained with them. */
    checked(of: Described, run: number, changes: unknown): readonly DatedChange[];
    films: readonly { described: Described; runs: readonly { run: number }[] }[];
}

/**
 * The state as the part of an address behind #. The Spec of a preset is named by the preset, and that of a second run is
 * written where it is not the first one's.
 */
export function written(state: State, presetSpec: object | null = null): string {
    const parts = new URLSearchParams();
    for (const path of state.opened) parts.append("open", path);
    if (state.preset !== null) parts.set("preset", state.preset);
    let known = presetSpec;
    state.shown.forEach((each, at) => {
        const end = at === 0 ? "" : String(at + 1);
        if ("film" in each) {
            parts.set(`film${end}`, String(each.film));
            parts.set(`run${end}`, String(each.run));
            return;
        }
        const { spec } = each.described;
        if (known === null || !same(spec, known)) parts.set(`spec${end}`, JSON.stringify(spec));
        known = spec;
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
    // What is usual depends on the film.
    if (time || !loss || state.shown.some((each) => "film" in each)) parts.set("log", [time ? "time" : "", loss ? "loss" : ""].filter(Boolean).join(",") || "none");
    return parts.toString();
}

/** The state that an address holds; what it does not say is as `usual` has it. Refused in one sentence. */
export function read(text: string, usual: State, by: Reader): State {
    const parts = new URLSearchParams(text.replace(/^#/, ""));
    const shown: Shown[] = [];
    for (const end of ["", "2"]) {
        if (end === "2" && !["spec2", "run2", "changes2", "film2"].some((key) => parts.has(key))) continue;
        shown.push(runIn(parts, end, shown[0] ?? usual.shown[0], by));
    }
    const described = shown.map((each) => ("film" in each ? by.films[each.film].described : each.described));
    const own = parts.has("spec") || parts.has("film");
    const logarithmic = parts.get("log")?.split(",");
    return {
        opened: usual.opened,
        shown,
        step: whole(parts, "step", Math.max(...described.map((each) => each.last))),
        camera: camera(parts.get("camera")) ?? usual.camera,
        selected: whole(parts, "feature", described[0].n - 1),
        views: chosen(parts, "views", VIEWS) ?? usual.views,
        hidden: chosen(parts, "hide", HIDEABLE) ?? usual.hidden,
        logarithmic: logarithmic
            ? { time: logarithmic.includes("time"), loss: logarithmic.includes("loss") }
            : usual.logarithmic,
        preset: parts.get("preset") ?? (own ? null : usual.preset),
    };
}

/** One of the runs of an address, by keys with this end; what it does not say is as in `usual`. */
function runIn(parts: URLSearchParams, end: string, usual: Shown, by: Reader): Shown {
    const spec = parts.get(`spec${end}`);
    const film = parts.has(`film${end}`) ? whole(parts, `film${end}`, by.films.length - 1) : "film" in usual ? usual.film : null;
    if (spec === null && film !== null) {
        const runs = by.films[film].runs.map(({ run }) => run);
        const run = whole(parts, `run${end}`, Infinity) ?? ("film" in usual && usual.film === film ? usual.run : runs[0]);
        if (!runs.includes(run)) throw new Refusal(`run${end}=${run}: the film has no such run; it has ${listed(runs)}`);
        return { film, run };
    }
    const described = spec === null ? (usual as Trained).described : by.describe(spec);
    const run = whole(parts, `run${end}`, described.seeds - 1) ?? (end === "" ? usual.run : 0);
    return { described, run, changes: changesOf(parts, `changes${end}`, described, run, by) };
}

function listed(numbers: readonly number[]): string {
    return numbers.length > 8 ? `${numbers.length} runs from ${numbers[0]} to ${numbers[numbers.length - 1]}` : numbers.join(", ");
}

/** The preset that an address names, or null. */
export function presetIn(text: string): string | null {
    return new URLSearchParams(text.replace(/^#/, "")).get("preset");
}

/** The changes of a run, which it can be trained with. */
function changesOf(parts: URLSearchParams, key: string, of: Described, run: number, by: Reader): readonly DatedChange[] {
    const text = parts.get(key);
    if (text === null) return [];
    let changes: unknown;
    try {
        changes = JSON.parse(text);
    } catch {
        throw new Refusal(`${key}=${text.slice(0, 40)}: must be valid JSON`);
    }
    if (!Array.isArray(changes)) throw new Refusal(`${key}=${text.slice(0, 40)}: must be a list of changes`);
    return by.checked(of, run, changes);
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

/** Which of these names a list has, in their order. */
function chosen<Name extends string>(parts: URLSearchParams, key: string, names: readonly Name[]): Name[] | null {
    const text = parts.get(key);
    if (text === null) return null;
    const given = text.split(",").filter(Boolean);
    const other = given.find((each) => !names.includes(each as Name));
    if (other !== undefined) throw new Refusal(`${key}=${quoted(other.slice(0, 40))}: must be among ${names.join(", ")}`);
    return names.filter((name) => given.includes(name));
}
