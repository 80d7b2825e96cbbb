// The time axis: the loss of the runs shown, with what happens marked on it. Drag to go anywhere; [ and ] go from event to
// event. The dimensionalities of the features lie over the same axis.
import { computed, signal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import { type Axis, label, position, ticks, valueAt } from "../axis.ts";
import { colourOf, type Look } from "../look.ts";
import type { Happening, Recording } from "../recording.ts";
import { count, significant } from "../sentence.ts";
import type { Store } from "../store.ts";
import { look } from "../theme.ts";
import { type Area, Canvas } from "./canvas.tsx";

/** Around what is drawn, in pixels: the left has labels. */
const MARGIN = { left: 58, right: 14, top: 10, bottom: 30 };
/** Dimensionalities at which features settle, and the shapes they have there (Elhage et al. 2022). */
const LEVELS: readonly (readonly [number, string])[] = [[3 / 8, "3/8"], [2 / 5, "2/5"], [1 / 2, "1/2"], [2 / 3, "2/3"], [3 / 4, "3/4"], [1, "1"]];

interface Shown {
    recordings: readonly Recording[];
    step: number;
    logarithmic: { time: boolean; loss: boolean };
    events: readonly Happening[];
    selected: number | null;
    look: Look;
    version: number;
}

function readShown(store: Store): Shown {
    return {
        recordings: store.recordings.value,
        step: store.step.value,
        logarithmic: store.logarithmic.value,
        events: store.events.value,
        selected: store.selected.value,
        look: look.value,
        version: store.version.value,
    };
}

function timeAxis(shown: Pick<Shown, "recordings" | "logarithmic">, width: number): Axis {
    const high = Math.max(1, ...shown.recordings.map((recording) => recording.last));
    return { low: 0, high, logarithmic: shown.logarithmic.time, from: MARGIN.left, to: width - MARGIN.right };
}

function frame({ to, width, height }: Area, shown: Shown, time: Axis, name: string): void {
    const { look: colours } = shown;
    to.clearRect(0, 0, width, height);
    to.font = "11px system-ui, sans-serif";
    to.fillStyle = colours.faint;
    to.strokeStyle = colours.grid;
    to.lineWidth = 1;
    to.textAlign = "center";
    to.textBaseline = "top";
    for (const step of ticks(time, Math.max(2, Math.floor(width / 110)))) {
        const x = position(time, step);
        if (x > width - MARGIN.right - 10) to.textAlign = "right";
        to.fillText(label(step), Math.min(x, width - 2), height - MARGIN.bottom + 6);
        to.textAlign = "center";
        strokeLine(to, x, height - MARGIN.bottom, x, height - MARGIN.bottom + 4);
    }
    to.fillText("step", (time.from + time.to) / 2, height - 13);
    to.save();
    to.translate(11, (height - MARGIN.bottom + MARGIN.top) / 2);
    to.rotate(-Math.PI / 2);
    to.textBaseline = "middle";
    to.fillText(name, 0, 0);
    to.restore();
    strokeLine(to, time.from, height - MARGIN.bottom, time.to, height - MARGIN.bottom);
}

function strokeLine(to: CanvasRenderingContext2D, x0: number, y0: number, x1: number, y1: number): void {
    to.beginPath();
    to.moveTo(x0, y0);
    to.lineTo(x1, y1);
    to.stroke();
}

/** The upright line at the shown step. */
function cursor({ to, height }: Area, shown: Shown, time: Axis): void {
    to.strokeStyle = shown.look.ink;
    to.lineWidth = 1.5;
    const x = position(time, shown.step);
    strokeLine(to, x, MARGIN.top, x, height - MARGIN.bottom);
}

function drawLoss(area: Area, shown: Shown): void {
    const { to, width, height } = area;
    const time = timeAxis(shown, width);
    const frames = shown.recordings.flatMap((recording) => recording.frames);
    const losses = frames.map(({ loss }) => loss).filter((loss) => Number.isFinite(loss) && (loss > 0 || !shown.logarithmic.loss));
    frame(area, shown, time, "loss");
    if (losses.length === 0) return;
    let [low, high] = [losses[0], losses[0]];
    for (const loss of losses) [low, high] = [Math.min(low, loss), Math.max(high, loss)];
    const logarithmic = shown.logarithmic.loss;
    const pad = logarithmic ? (high / low) ** 0.06 : 1;
    const axis: Axis = { low: logarithmic ? low / pad : 0, high: logarithmic ? high * pad : high * 1.05, logarithmic, from: height - MARGIN.bottom, to: MARGIN.top };
    valueTicks(area, shown, axis, ticks(axis, 4).map((value) => [value, label(value)] as const));
    marks(area, shown, time);
    shown.recordings.forEach((recording, at) => {
        to.strokeStyle = at === 0 ? shown.look.ink : colourOf(shown.look, 1);
        to.lineWidth = at === 0 ? 1.8 : 1.6;
        to.setLineDash(at === 0 ? [] : [5, 3]);
        curve(to, recording.frames.map(({ step, loss }) => [position(time, step), position(axis, loss)]));
    });
    to.setLineDash([]);
    cursor(area, shown, time);
}

/** What happens: stretches of time as a strip at the top, and moments as marks below it. */
function marks({ to, height }: Area, shown: Shown, time: Axis): void {
    to.lineWidth = 1;
    for (const { step, until, kind } of shown.events) {
        const x = position(time, step);
        if (kind === "plateau" || kind === "fall") {
            to.fillStyle = kind === "plateau" ? shown.look.grid : shown.look.faint;
            to.fillRect(x, MARGIN.top - 7, Math.max(position(time, until ?? step) - x - 1, 1), 4);
            continue;
        }
        to.fillStyle = signOf(shown.look, kind);
        to.beginPath();
        to.moveTo(x, MARGIN.top + 8);
        to.lineTo(x - 4, MARGIN.top);
        to.lineTo(x + 4, MARGIN.top);
        to.fill();
        to.strokeStyle = shown.look.grid;
        strokeLine(to, x, MARGIN.top + 8, x, height - MARGIN.bottom);
    }
}

/** The colour of the mark of an event. */
function signOf(colours: Look, kind: Happening["kind"]): string {
    if (kind === "drop") return colourOf(colours, 1);
    if (kind === "name") return colourOf(colours, 2);
    if (kind === "jump") return colourOf(colours, 0);
    return colours.ink;
}

function valueTicks({ to, width }: Area, shown: Shown, axis: Axis, values: readonly (readonly [number, string])[]): void {
    to.textAlign = "right";
    to.textBaseline = "middle";
    to.fillStyle = shown.look.faint;
    to.strokeStyle = shown.look.grid;
    const said: number[] = [];
    for (const [value, text] of values) {
        const y = position(axis, value);
        strokeLine(to, MARGIN.left, y, width - MARGIN.right, y);
        // Levels may lie closer together than their labels.
        if (said.some((other) => Math.abs(other - y) < 11)) continue;
        to.fillText(text, MARGIN.left - 6, y);
        said.push(y);
    }
}

function curve(to: CanvasRenderingContext2D, points: readonly (readonly [number, number] | number[])[]): void {
    to.beginPath();
    let down = false;
    for (const [x, y] of points) {
        if (!Number.isFinite(y)) {
            down = false;
            continue;
        }
        if (down) to.lineTo(x, y);
        else to.moveTo(x, y);
        down = true;
    }
    to.stroke();
}

/** The levels, those first at which features are now, so that they have their labels. */
function levelsOf(recording: Recording | undefined): (readonly [number, string])[] {
    const all = [[0, "0"] as const, ...LEVELS];
    if (recording === undefined || recording.frames.length === 0) return all;
    const { dimensionality } = recording.measured(recording.frames.length - 1);
    const held = ([level]: readonly [number, string]) => dimensionality.some((value) => Math.abs(value - level) < 0.012);
    return [...all.filter(held), ...all.filter((each) => !held(each))];
}

function drawDimensionality(area: Area, shown: Shown): void {
    const { to, width, height } = area;
    const time = timeAxis(shown, width);
    const [recording] = shown.recordings;
    frame(area, shown, time, "dimensionality");
    const axis: Axis = { low: 0, high: 1.05, logarithmic: false, from: height - MARGIN.bottom, to: MARGIN.top };
    valueTicks(area, shown, axis, levelsOf(recording));
    if (recording === undefined) return;
    // As many points as there are pixels.
    const every = Math.max(1, Math.floor(recording.frames.length / (width / 1.5)));
    const frames = recording.frames.map((_, index) => index).filter((index) => index % every === 0 || index === recording.frames.length - 1);
    const draw = (i: number) => curve(to, frames.map((index) => [position(time, recording.frames[index].step), position(axis, recording.measured(index).dimensionality[i])]));
    for (let i = 0; i < recording.n; i++) {
        if (i === shown.selected) continue;
        to.strokeStyle = colourOf(shown.look, recording.groups[i]);
        to.globalAlpha = recording.n > 12 || shown.selected !== null ? 0.55 : 0.95;
        to.lineWidth = 1.3;
        draw(i);
    }
    to.globalAlpha = 1;
    if (shown.selected !== null && shown.selected < recording.n) {
        to.strokeStyle = colourOf(shown.look, recording.groups[shown.selected]);
        to.lineWidth = 3;
        draw(shown.selected);
    }
    cursor(area, shown, time);
}

export function TimeView({ store, what }: { store: Store; what: "loss" | "dimensionality" }) {
    const words = useMemo(
        () =>
            computed(() => {
                const index = store.indices.value[0] ?? -1;
                const frame = store.first.value?.frames[index];
                return frame === undefined ? "no step yet" : `step ${count(frame.step)}, loss ${significant(frame.loss)}`;
            }),
        [],
    );
    const go = (event: PointerEvent) => {
        const canvas = event.currentTarget as HTMLCanvasElement;
        const box = canvas.getBoundingClientRect();
        const time = timeAxis({ recordings: store.recordings.value, logarithmic: store.logarithmic.value }, box.width);
        store.scrub(valueAt(time, event.clientX - box.left));
    };
    const two = store.recordings.value.length > 1;
    return (
        <>
        <p class="caption over">
            {what === "loss"
                ? `Loss: how far what comes back is from what was put in${two ? "; dashed: the second run" : ""}`
                : `Dimensionality: the share of a dimension that each feature has to itself${two ? ", in the first run" : ""}`}
        </p>
        <Canvas
            class={`time ${what}`}
            tabIndex={0}
            role="slider"
            aria-label={what === "loss" ? "Step, along the loss" : "Step, along the dimensionality of the features"}
            aria-valuemin={0}
            aria-valuemax={store.first.value?.last ?? 0}
            aria-valuenow={store.step.value}
            aria-valuetext={words.value}
            onPointerDown={(event) => {
                (event.currentTarget as HTMLCanvasElement).setPointerCapture(event.pointerId);
                go(event);
            }}
            onPointerMove={(event) => {
                if (event.buttons > 0) go(event);
            }}
            read={() => readShown(store)}
            draw={what === "loss" ? drawLoss : drawDimensionality}
        />
        </>
    );
}

/** What the marks on the time axis stand for. */
const SIGNS = [
    ["name", "another shape"],
    ["drop", "the loss drops"],
    ["jump", "features jump"],
    ["change", "changed"],
    ["plateau", "plateau"],
    ["fall", "fall"],
] as const;

/** The most events in a list; more say little. */
const LISTED = 300;

/** What happened, as a list: a click goes there. Of a film, also what happened in its other runs. */
export function EventList({ store }: { store: Store }) {
    const everywhere = useMemo(() => signal(false), []);
    const film = store.film.value;
    const shown = store.first.value;
    const all = film !== null && everywhere.value;
    const events = all
        ? film.runs.flatMap(({ run, happenings }) => happenings.map((event) => ({ run, event })))
        : store.events.value.map((event) => ({ run: shown?.run ?? 0, event }));
    return (
        <>
            {film !== null && film.runs.length > 1 && (
                <label class="caption">
                    <input type="checkbox" checked={everywhere.value} onChange={(event) => (everywhere.value = event.currentTarget.checked)} />
                    {" "}of all {film.runs.length} runs
                </label>
            )}
            {events.length > 0 && (
                <p class="caption legend">
                    {SIGNS.filter(([kind]) => events.some(({ event }) => event.kind === kind)).map(([kind, words]) => (
                        <span key={kind}>
                            <span class={`sign ${kind}`} aria-hidden="true" />
                            {words}
                        </span>
                    ))}
                </p>
            )}
            {events.length === 0 && <p class="caption">No events{shown?.whole ? "" : " yet"}.</p>}
            <ol class="events">
                {events.slice(0, LISTED).map(({ run, event }) => (
                    <li key={`${run} ${event.step} ${event.words}`}>
                        <button
                            type="button"
                            onClick={() => (run === shown?.run ? store.scrub(event.step) : store.turnTo(run, event.step))}
                            aria-current={run === shown?.run && event.step === store.step.value}
                        >
                            <span class={`sign ${event.kind}`} aria-hidden="true" />
                            {all && `run ${run}, `}
                            {count(event.step)}: {event.words}
                        </button>
                    </li>
                ))}
            </ol>
            {events.length > LISTED && <p class="caption">and {events.length - LISTED} more</p>}
        </>
    );
}
