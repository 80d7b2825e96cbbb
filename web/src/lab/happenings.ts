// What happens in a run, as its frames tell: what the embeddings form gets another name and keeps it, and the loss falls
// faster than around. The detectors of the Python package say more; these need no exact loss and no null, and are asked
// only where those have not been.
import { DIVERGED, NOTHING } from "../science/polytopes.ts";
import type { Happening, Recording } from "./recording.ts";
import { shape } from "./sentence.ts";

/** Frames for which a new name must last. */
const LASTING = 4;
/** How much of the loss, relative to its gain over the run, must go in a drop. */
const DEEP = 0.03;
/** How much faster than on average the loss falls in a drop. */
const FAST = 3;
/** How many standard deviations of the noise must go in a drop. */
const CLEAR = 5;

export function happenings(recording: Recording): Happening[] {
    const found = [...names(recording), ...(recording.told ?? drops(recording))];
    found.push(...recording.changes.map(({ step, ...change }) => ({ step, kind: "change" as const, words: `changed: ${changeInWords(change)}` })));
    return found.sort((a, b) => a.step - b.step);
}

function names(recording: Recording): Happening[] {
    const all = recording.frames.map((_, index) => recording.measured(index).polytope.name);
    const found: Happening[] = [];
    let [current, told] = ["", ""];
    for (let at = 0; at + LASTING <= all.length; at++) {
        if (all[at] === current || !all.slice(at, at + LASTING).every((name) => name === all[at])) continue;
        current = all[at];
        const regular = !/\d features in|deformed/.test(current) && current !== NOTHING && current !== DIVERGED;
        // What is lost for a while and comes back is nothing new.
        if (!regular || current === told) continue;
        told = current;
        if (at > 0) found.push({ step: recording.frames[at].step, kind: "name", words: `now ${shape(recording, at)}` });
    }
    return found;
}

/** Stretches in which the loss falls faster than on average, and by enough. */
function drops(recording: Recording): Happening[] {
    const { frames } = recording;
    if (frames.length < 10) return [];
    const logs = frames.map(({ loss }) => Math.log(Math.max(loss, 1e-300)));
    const smooth = logs.map((_, at) => {
        const near = logs.slice(Math.max(at - 2, 0), at + 3);
        return near.reduce((sum, log) => sum + log, 0) / near.length;
    });
    const noise = deviation(logs);
    const gain = smooth[0] - smooth[smooth.length - 1];
    const average = gain / (frames[frames.length - 1].step - frames[0].step || 1);
    const found: Happening[] = [];
    let begun = -1;
    for (let at = 1; at <= smooth.length; at++) {
        const speed = at === smooth.length ? 0 : (smooth[at - 1] - smooth[at]) / (frames[at].step - frames[at - 1].step);
        if (speed > FAST * average && average > 0) {
            if (begun < 0) begun = at - 1;
        } else if (begun >= 0) {
            const fallen = smooth[begun] - smooth[at - 1];
            // What falls from the first step on is the beginning and no event.
            if (fallen > Math.max(DEEP * gain, CLEAR * noise) && begun > 2) {
                const part = Math.round(100 * (1 - Math.exp(-fallen)));
                found.push({ step: frames[begun].step, kind: "drop", words: `the loss drops by ${part} %` });
            }
            begun = -1;
        }
    }
    return found;
}

/** The standard deviation of noise, from how much neighbours differ in most places (the median does not see drops). */
function deviation(values: readonly number[]): number {
    const bends = values.slice(2).map((value, at) => Math.abs(value - 2 * values[at + 1] + values[at]));
    const middle = bends.sort((a, b) => a - b)[bends.length >> 1];
    // A second difference of noise has √6 times its deviation, and the median of |normal| is 0.674.
    return middle / (0.674 * Math.sqrt(6));
}

/** What a change changes, in words: "rate 0.01, density 0.3 in set 0". */
export function changeInWords(change: object): string {
    const { rate, sets } = change as { rate?: number; sets?: { set: number; [key: string]: unknown }[] };
    const words = rate === undefined ? [] : [`rate ${rate}`];
    // Equal changes of several sets are told once.
    const told = new Map<string, number[]>();
    for (const { set, ...values } of sets ?? []) {
        for (const [key, value] of Object.entries(values)) {
            const what = `${key} ${String(value)}`;
            told.set(what, [...(told.get(what) ?? []), set]);
        }
    }
    for (const [what, of] of told) words.push(`${what} in ${of.length === 1 ? "set" : "sets"} ${of.join(", ")}`);
    return words.join(", ");
}
