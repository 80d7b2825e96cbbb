// What is seen, in words: for everyone, and for those who hear the page.
import { norms } from "../science/linear.ts";
import { DIVERGED, type Factor, NOTHING } from "../science/polytopes.ts";
import type { Recording } from "./recording.ts";

const NUMBERS = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"];
/** By how much losses may differ on a plateau, as a fraction of what the run has gained so far, and of the loss. */
const LEVEL = 0.01;
const FLAT = 0.1;
/** The length up to which the shape of all embeddings is the noise that they begin with. */
const TINY = 0.1;
/** The fraction of the run's steps that a plateau lasts at least. */
const LASTING = 0.05;

/** The sentence of a frame. */
export function sentence(recording: Recording, index: number): string {
    if (index < 0) return "Nothing has been trained yet.";
    const { step, loss } = recording.frames[index];
    const parts = [shape(recording, index)];
    if (Number.isFinite(loss)) parts.push(`loss ${significant(loss)}`);
    const since = plateauSince(recording, index);
    if (since !== null) parts.push(`a plateau since step ${count(since)}`);
    return `Step ${count(step)} of ${count(recording.last)}: ${parts.join("; ")}.`;
}

/** What the embeddings form: "five features in a pentagon, one absent". */
export function shape(recording: Recording, index: number): string {
    const { polytope } = recording.measured(index);
    if (polytope.name === DIVERGED) return "the run has diverged";
    if (polytope.name === NOTHING) return "nothing is represented";
    if (norms(recording.frames[index].weights, recording.m).every((norm) => norm < TINY)) return "all embeddings are still near zero";
    const absent = polytope.unrepresented.length;
    const shown = recording.n - absent;
    const rest = absent === 0 ? "" : `, ${inWords(absent)} absent`;
    return `${inWords(shown)} ${shown === 1 ? "feature" : "features"}${formed(polytope.name, polytope.factors)}${rest}`;
}

/** What follows "five features". */
function formed(name: string, factors: readonly Factor[]): string {
    if (factors.every((factor) => factor.name === "point")) return `${factors.length > 1 ? ", each" : ""} with a dimension of its own`;
    if (factors.length > 1 && /[⊕×]/.test(name)) return ` in ${parts(factors)}, orthogonal to each other`;
    if (name.startsWith("collapsed")) return " sharing one direction";
    const irregular = IRREGULAR.exec(name);
    if (irregular === null) return ` in ${article(spelt(name))}`;
    const [, , dimensions, rest] = irregular;
    return ` in ${inWords(Number(dimensions))} dimension${dimensions === "1" ? "" : "s"}, in no regular shape${rest && ","}${spelt(rest)}`;
}

const IRREGULAR = /^(\d+) features in (\d+) dimensions?(.*)$/;

/** The factors, equal ones counted, the most frequent first: "two digons and a triangle". */
function parts(factors: readonly Factor[]): string {
    const counts = new Map<string, number>();
    for (const { name } of factors) counts.set(name, (counts.get(name) ?? 0) + 1);
    const words = [...counts].sort(([, a], [, b]) => b - a).map(([name, times]) => part(name, times));
    const last = words.pop() ?? "";
    return words.length > 0 ? `${words.join(", ")} and ${last}` : last;
}

function part(name: string, times: number): string {
    const irregular = IRREGULAR.exec(name);
    if (irregular !== null) {
        const [, size, dimensions, rest] = irregular;
        const group = `${inWords(Number(size))} features in ${inWords(Number(dimensions))} dimension${dimensions === "1" ? "" : "s"}${spelt(rest)}`;
        return times === 1 ? `a group of ${group}` : `${inWords(times)} groups of ${group}`;
    }
    const noun = name === "point" ? "single feature" : spelt(name);
    return times === 1 ? article(noun) : `${inWords(times)} ${plural(noun)}`;
}

/** Of "triangle of collapsed pairs", the triangle is what there are more of. */
function plural(noun: string): string {
    const [, head, rest] = /^(.*?)((?: of | with ).*)?$/.exec(noun) ?? ["", noun, ""];
    const many = head.endsWith("hedron") ? head.replace(/on$/, "a") : head.endsWith("plex") ? head.replace(/ex$/, "ices") : `${head}s`;
    return many + (rest ?? "");
}

/** Small numbers in words: "square (two digons)", "with one collapsed pair". */
function spelt(name: string): string {
    return name.replace(/\b\d+(?= (?:collapsed|digons))/g, (digits) => inWords(Number(digits)));
}

function article(name: string): string {
    return `${/^(8\d*-|11-|18-|[aeiou])/.test(name) ? "an" : "a"} ${name}`;
}

/** The first step from which on the loss has hardly changed, up to this frame; null if that is a short time. */
export function plateauSince(recording: Recording, index: number): number | null {
    const { frames } = recording;
    const here = frames[index];
    const gained = Math.abs(frames[0].loss - here.loss);
    // On a first plateau nothing has been gained; losses differ by noise then.
    const level = Math.max(Math.min(LEVEL * gained, FLAT * here.loss), 0.003 * here.loss);
    let at = index;
    while (at > 0 && Math.abs(frames[at - 1].loss - here.loss) <= level) at--;
    return here.step - frames[at].step >= LASTING * recording.last ? frames[at].step : null;
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
