// What is seen, in words: for everyone, and for those who hear the page.
import { represented } from "../science/geometry.ts";
import { DIVERGED, type Factor, NOTHING } from "../science/polytopes.ts";
import type { Recording } from "./recording.ts";

const NUMBERS = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"];
/** By how much losses may differ on a plateau, as a fraction of what the run has gained so far. */
const LEVEL = 0.01;
/** The fraction of the run's steps that a plateau lasts at least. */
const LASTING = 0.05;

/** The sentence of a frame. */
export function sentence(recording: Recording, index: number): string {
    if (index < 0) return "Nothing has been trained yet.";
    const { step, loss } = recording.frames[index];
    const parts = [`${shape(recording, index)}`, `loss ${significant(loss)}`];
    const since = plateauSince(recording, index);
    if (since !== null) parts.push(`a plateau since step ${count(since)}`);
    return `Step ${count(step)} of ${count(recording.last)}: ${parts.join("; ")}.`;
}

/** What the embeddings form: "five features in a pentagon, one absent". */
export function shape(recording: Recording, index: number): string {
    const { polytope } = recording.measured(index);
    if (polytope.name === DIVERGED) return "the run has diverged";
    if (polytope.name === NOTHING) return "nothing is represented";
    const absent = polytope.unrepresented.length;
    const shown = recording.n - absent;
    const rest = absent === 0 ? "" : `, ${inWords(absent)} absent`;
    return `${inWords(shown)} ${shown === 1 ? "feature" : "features"} ${formed(polytope.name, polytope.factors)}${rest}`;
}

function formed(name: string, factors: readonly Factor[]): string {
    if (factors.length === 1) {
        const inDimensions = / features in (\d+) dimensions?(.*)$/.exec(` ${name}`);
        if (inDimensions !== null) {
            const dimensions = Number(inDimensions[1]);
            return `in ${inWords(dimensions)} ${dimensions === 1 ? "dimension" : "dimensions"}${inDimensions[2]}, in no regular shape`;
        }
        if (name === "point") return "with a dimension of its own";
        return `in ${article(name)}`;
    }
    if (factors.every((factor) => factor.name === "point")) return "with a dimension of their own each";
    return name.includes("⊕") || name.includes("×") ? `in parts orthogonal to each other: ${name}` : `in ${article(name)}`;
}

function article(name: string): string {
    return `${/^(8-|11-|18-|[aeiou])/.test(name) ? "an" : "a"} ${name}`;
}

/** The first step from which on the loss has hardly changed, up to this frame; null if that is a short time. */
export function plateauSince(recording: Recording, index: number): number | null {
    const { frames } = recording;
    const here = frames[index];
    const gained = Math.abs(frames[0].loss - here.loss);
    // On a first plateau nothing has been gained; losses differ by noise then.
    const level = Math.max(LEVEL * gained, 0.003 * Math.abs(here.loss));
    let at = index;
    while (at > 0 && Math.abs(frames[at - 1].loss - here.loss) <= level) at--;
    return here.step - frames[at].step >= LASTING * recording.last ? frames[at].step : null;
}

/** Which features are represented. */
export function shownFeatures(recording: Recording, index: number): boolean[] {
    return represented(recording.frames[index].weights, recording.m);
}

export function inWords(value: number): string {
    return NUMBERS[value] ?? String(value);
}

export function count(value: number): string {
    return value.toLocaleString("en-US");
}

/** Three significant digits, without an exponent where that is short. */
export function significant(value: number): string {
    if (!Number.isFinite(value)) return "not a number";
    return value !== 0 && (Math.abs(value) < 1e-4 || Math.abs(value) >= 1e6) ? value.toExponential(2) : value.toPrecision(3);
}
