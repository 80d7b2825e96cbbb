// The local lab's side of its server: requests go there one by one, and answers come back in one stream. Arrays are the
// bytes of their float64 in base64, so that not a bit is lost.
import type { FromPython } from "./described.ts";
import type { Hand } from "./crew.ts";
import type { Answer } from "./protocol.ts";

/** What lies in the folder: a stored trajectory, a sweep, or the result of an experiment. */
export interface Entry {
    path: string;
    kind: "run" | "sweep" | "result";
    title: string;
    /** Why it cannot be opened. */
    why?: string;
    n?: number;
    m?: number;
    runs?: number;
    verdict?: string;
    /** Of a sweep, the runs that are there. */
    runs_there?: number;
    complete?: boolean;
}

/** How far a sweep is, and what is known of its Specs. */
export interface Sweep {
    runs: number;
    runs_there: number;
    packs: number;
    packs_there: number;
    complete: boolean;
    processes: number;
    elsewhere: number;
    specs: number;
    set_aside: readonly { errors: readonly string[] }[];
    measures: readonly string[];
    rows: readonly { labels: Readonly<Record<string, unknown>>; spec: unknown; runs: number; values: Readonly<Record<string, string>> }[];
}

export interface Folder {
    name: string;
    entries: readonly Entry[];
    /** The store that the page opens. */
    opens: string | null;
    left_out: string | null;
}

/** A state a little away from a saddle, along a direction in which the loss falls. */
export interface Way {
    eigenvalue: number;
    features: readonly number[];
    multiplicity: number;
    weights: Float64Array;
    bias: Float64Array;
    /** The same on the other side; null where the loss falls on one side only. */
    other: { weights: Float64Array; bias: Float64Array } | null;
}

/** What only Python can say of a state. */
export interface Look {
    type: "look";
    id: number;
    loss: number | null;
    error: number | null;
    gradient: number | null;
    point: { found: boolean; distance: number; loss: number; index: number | null; undecided: number; negative: number[]; name: string } | null;
    ways: readonly Way[];
    why: string | null;
}

type Told = Answer | Look | { type: "events"; id: number; happenings: unknown[] } | { type: "kept"; id: number; path: string } | { type: "hello" };

/** Numbers of requests that are not a crew's begin here. */
const OWN = 1_000_000;

export class Server implements Hand {
    onmessage: ((event: { data: Answer }) => void) | null = null;
    /** What to do when the server has gone. */
    ended: (sentence: string) => void = () => undefined;
    readonly #token: string;
    readonly #page = crypto.randomUUID();
    readonly #waiting = new Map<number, { resolve: (told: Told) => void; reject: (error: Error) => void }>();
    readonly #left = new AbortController();
    #last = OWN;
    #said: Promise<unknown> = Promise.resolve();

    constructor(token: string) {
        this.#token = token;
    }

    /** Open the stream; whoever leaves the page closes it, and ends what was begun for it. */
    async begin(): Promise<void> {
        const answer = await this.#fetch(`/api/hear?page=${this.#page}`, { signal: this.#left.signal });
        const lines = linesOf(answer.body as ReadableStream<Uint8Array>);
        await lines.next();
        void this.#hear(lines);
    }

    folder(): Promise<Folder> {
        return this.#json("/api/folder");
    }

    describe(spec: unknown, changes: unknown = []): Promise<FromPython> {
        return this.#json("/api/describe", { spec, changes });
    }

    async film(path: string): Promise<Uint8Array> {
        const answer = await this.#fetch(`/api/film?path=${encodeURIComponent(path)}`);
        return new Uint8Array(await answer.arrayBuffer());
    }

    sweep(path: string): Promise<Sweep> {
        return this.#json(`/api/sweep?path=${encodeURIComponent(path)}`);
    }

    /** The address of the page of a result. */
    result(path: string): string {
        return `/result?path=${encodeURIComponent(path)}&token=${encodeURIComponent(this.#token)}`;
    }

    postMessage(request: object): void {
        // One after another, as two on their way could overtake each other.
        this.#said = this.#said
            .then(() => this.#json("/api/say", { page: this.#page, request: encoded(request) }))
            .catch((error: Error) => {
                const { id } = request as { id: number };
                this.#tell({ type: "refused", id, sentence: error.message });
            });
    }

    /** Ask what has one answer. */
    ask(request: object): Promise<Told> {
        const id = ++this.#last;
        return new Promise((resolve, reject) => {
            this.#waiting.set(id, { resolve, reject });
            this.postMessage({ ...request, id });
        });
    }

    terminate(): void {
        this.#left.abort();
    }

    async #hear(lines: AsyncGenerator<string>): Promise<void> {
        try {
            for await (const line of lines) {
                if (line.startsWith("data: ")) this.#tell(decoded(JSON.parse(line.slice(6))) as Told);
            }
        } catch (error) {
            if (this.#left.signal.aborted) return;
            void error;
        }
        this.ended("The lab's server has ended: `tegum lab` starts it again, at a new address");
    }

    #tell(told: Told): void {
        if (told.type === "hello") return;
        const waiting = this.#waiting.get(told.id);
        this.#waiting.delete(told.id);
        if (waiting === undefined) this.onmessage?.({ data: told as Answer });
        else if (told.type === "refused") waiting.reject(new Error(told.sentence));
        else waiting.resolve(told);
    }

    async #json<Found>(path: string, body?: unknown): Promise<Found> {
        const post = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
        const answer = await this.#fetch(path, body === undefined ? {} : post);
        // Also an empty answer is read, since what is not read is broken off.
        const text = await answer.text();
        return (text === "" ? null : JSON.parse(text)) as Found;
    }

    async #fetch(path: string, options: RequestInit = {}): Promise<Response> {
        const answer = await fetch(path, { ...options, headers: { ...options.headers, "X-Tegum-Token": this.#token } });
        if (answer.ok) return answer;
        const { sentence } = (await answer.json().catch(() => ({}))) as { sentence?: string };
        throw new Error(sentence ?? `the server answers ${answer.status}`);
    }
}

/** The lines of a stream of text. */
async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
    const reader = stream.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>).getReader();
    let text = "";
    for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        const lines = (text + value).split("\n");
        text = lines.pop() ?? "";
        yield* lines.filter((line) => line !== "");
    }
}

/** A request with its arrays as text. */
function encoded(value: unknown): unknown {
    if (value instanceof Float64Array) {
        const bytes = new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
        return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
    }
    if (Array.isArray(value)) return value.map(encoded);
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, encoded(each)]));
}

/** An answer with its arrays as numbers; JSON has null for a loss that is none. */
function decoded(value: unknown, key = ""): unknown {
    if (value === null && key === "loss") return NaN;
    if (typeof value === "string" && (key === "weights" || key === "bias")) {
        return new Float64Array(Uint8Array.from(atob(value), (letter) => letter.charCodeAt(0)).buffer);
    }
    if (Array.isArray(value)) return value.map((each) => decoded(each));
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, decoded(each, name)]));
}
