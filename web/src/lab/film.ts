// Films: runs that Python has recorded, in the bytes that `tegum.lab.films` writes. W and b have 16 bits, as differences
// from frame to frame; a run is put together when somebody looks at it.
import type { DatedChange } from "../science/train.ts";
import { Refusal } from "../science/reading.ts";
import { type Described, fromPython, type FromPython } from "./described.ts";
import type { Home } from "./home.ts";
import { type Frame, type Happening, Recording } from "./recording.ts";

const FORMAT = "tegum film 1\n";

/** A recorded run, as its film describes it. */
export interface FilmedRun {
    run: number;
    /** How many frames there are, fewer than others have where it diverged. */
    frames: number;
    /** The units of W and b. */
    scales: readonly [number, number];
    /** How it ended: "completed", "converged", "diverged" or "interrupted". */
    result: string;
    happenings: readonly Happening[];
}

interface Head {
    title: string;
    described: FromPython;
    steps: number[];
    runs: FilmedRun[];
    /** The size of its deflated numbers. */
    bytes: number;
}

export class Film {
    readonly title: string;
    readonly described: Described;
    readonly runs: readonly FilmedRun[];
    readonly #number: number;
    readonly #steps: readonly number[];
    readonly #changes: readonly DatedChange[];
    readonly #bytes: Uint8Array;
    /** Where the bytes of each run begin. */
    readonly #begins: number[] = [];
    readonly #known = new Map<number, Recording>();

    constructor(number: number, head: Head, described: Described, bytes: Uint8Array) {
        this.title = head.title;
        this.described = described;
        this.runs = head.runs;
        this.#number = number;
        this.#steps = head.steps;
        this.#changes = head.described.changes;
        this.#bytes = bytes;
        let begin = 0;
        for (const { frames } of head.runs) {
            this.#begins.push(begin);
            begin += frames * (2 * this.#parameters + 4);
        }
        if (begin !== bytes.length) throw new Refusal(`film ${number}: ${bytes.length} bytes must be ${begin}`);
    }

    get #parameters(): number {
        return this.described.n * (this.described.m + 1);
    }

    /** Whether most of its steps are early ones, as where their logarithms are evenly spaced. */
    get logarithmic(): boolean {
        return this.#steps.length > 3 && this.#steps[this.#steps.length >> 1] < this.#steps[this.#steps.length - 1] / 5;
    }

    /** A run by its number, whole from the beginning. */
    recording(run: number): Recording {
        const known = this.#known.get(run);
        if (known !== undefined) return known;
        const at = this.runs.findIndex((each) => each.run === run);
        const { result, happenings } = this.runs[at];
        const recording = new Recording(this.described, run, this.#changes, this.#number);
        recording.told = happenings;
        for (const frame of this.#frames(at)) recording.push(frame);
        recording.diverged = result === "diverged";
        recording.over = true;
        this.#known.set(run, recording);
        return recording;
    }

    /** The last frame of a run, without the others. */
    end(run: number): Frame {
        const known = this.#known.get(run);
        if (known !== undefined) return known.frames[known.frames.length - 1];
        return this.#frames(this.runs.findIndex((each) => each.run === run), true)[0];
    }

    /** The frames of a run, or its last one only. */
    #frames(at: number, end = false): Frame[] {
        const { frames, scales } = this.runs[at];
        const { n, m } = this.described;
        const parameters = this.#parameters;
        const numbers = plane(this.#bytes, this.#begins[at], parameters * frames);
        const losses = floats(this.#bytes, this.#begins[at] + 2 * parameters * frames, frames);
        const first = end ? frames - 1 : 0;
        const found = Array.from({ length: frames - first }, (_, index) => ({
            step: this.#steps[first + index],
            weights: new Float64Array(n * m),
            bias: new Float64Array(n),
            loss: losses[first + index],
        }));
        for (let p = 0; p < parameters; p++) {
            const [part, place, scale] = p < n * m ? (["weights", p, scales[0]] as const) : (["bias", p - n * m, scales[1]] as const);
            let sum = 0;
            for (let index = 0; index < frames; index++) {
                // Differences may have wrapped around.
                sum = ((sum + numbers[p * frames + index]) << 16) >> 16;
                if (index >= first) found[index - first][part][place] = sum * scale;
            }
        }
        return found;
    }
}

/** 16-bit numbers of which all low bytes stand before all high ones. */
function plane(bytes: Uint8Array, begin: number, count: number): Int16Array {
    return Int16Array.from({ length: count }, (_, at) => bytes[begin + at] | (bytes[begin + count + at] << 8));
}

/** Floats of which all first bytes stand before all second ones. */
function floats(bytes: Uint8Array, begin: number, count: number): Float32Array {
    const whole = new Uint8Array(4 * count);
    for (let at = 0; at < count; at++) {
        for (let byte = 0; byte < 4; byte++) whole[4 * at + byte] = bytes[begin + byte * count + at];
    }
    const view = new DataView(whole.buffer);
    return Float32Array.from({ length: count }, (_, at) => view.getFloat32(4 * at, true));
}

/** The films in the bytes that Python has written, numbered from `first` on. */
export async function readFilms(bytes: Uint8Array, describe: Home["fromPython"] = fromPython, first = 0): Promise<Film[]> {
    const text = new TextDecoder();
    if (text.decode(bytes.subarray(0, FORMAT.length)) !== FORMAT) throw new Refusal(`a film must begin with ${JSON.stringify(FORMAT)}`);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    let at = FORMAT.length + 4;
    const length = view.getUint32(FORMAT.length, true);
    const heads = JSON.parse(text.decode(bytes.subarray(at, at + length))) as Head[];
    at += length;
    const films: Film[] = [];
    for (const head of heads) {
        films.push(new Film(first + films.length, head, describe(head.described), await inflated(bytes.subarray(at, at + head.bytes))));
        at += head.bytes;
    }
    return films;
}

async function inflated(bytes: Uint8Array): Promise<Uint8Array> {
    const stream = new Blob([bytes as Uint8Array<ArrayBuffer>]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
}
