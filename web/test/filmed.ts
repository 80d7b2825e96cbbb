// Films for tests, in the bytes that Python writes, here written by hand as the format says.
import { deflateSync } from "node:zlib";
import { describe } from "../src/lab/described.ts";
import { readFilms } from "../src/lab/film.ts";
import { Store } from "../src/lab/store.ts";
import { Room, SMALL } from "./room.ts";

export const STEPS = [0, 50, 200];
export const UNIT = 1 / 1024;
/** W (5 × 2) and b, in units, for each frame of each run; differences of the first run wrap around. */
export const RUNS = [
    { run: 3, result: "completed", frames: [0, 1, 2].map((at) => Array.from({ length: 15 }, (_, p) => (at % 2 === 0 ? 1 : -1) * (20_000 + p))) },
    { run: 5, result: "diverged", frames: [Array.from({ length: 15 }, (_, p) => p - 7)] },
];
export const LOSSES = [[0.5, 0.25, 0.125], [2]];
const EVENTS = [{ step: 50, until: 200, kind: "jump", words: "features 1 and 2 change places" }];
const { trainable: _, groups, ...rest } = describe(SMALL);
export const DESCRIBED = { ...rest, page: rest.spec, groups: [...groups], changes: [] as object[] };

/** Bytes of little-endian numbers, all first bytes before all second ones. */
function planes(bytes: Uint8Array, size: number): number[] {
    return Array.from({ length: size }, (_, byte) => [...bytes.filter((_, at) => at % size === byte)]).flat();
}

export function film(described: object = DESCRIBED, title = ""): { head: object; data: Uint8Array } {
    const numbers = RUNS.flatMap(({ frames }, at) => {
        const differences = Array.from({ length: 15 }, (_, p) => frames.map((frame, index) => frame[p] - (frames[index - 1]?.[p] ?? 0))).flat();
        const whole = new Uint8Array(Int16Array.from(differences).buffer);
        return [...planes(whole, 2), ...planes(new Uint8Array(Float32Array.from(LOSSES[at]).buffer), 4)];
    });
    const data = deflateSync(Uint8Array.from(numbers));
    const runs = RUNS.map(({ run, result, frames }) => ({ run, result, frames: frames.length, scales: [UNIT, 2 * UNIT], happenings: run === 3 ? EVENTS : [] }));
    return { head: { title, described, steps: STEPS, runs, bytes: data.length }, data };
}

export function bytesOf(films: { head: object; data: Uint8Array }[]): Uint8Array {
    const head = new TextEncoder().encode(JSON.stringify(films.map((each) => each.head)));
    const length = new Uint8Array(Uint32Array.of(head.length).buffer);
    return Uint8Array.from([...new TextEncoder().encode("tegum film 1\n"), ...length, ...head, ...films.flatMap(({ data }) => [...data])]);
}

export async function opened(address = "", films = [film()]): Promise<{ store: Store; room: Room }> {
    const room = new Room();
    const store = new Store(room.crew());
    store.films.value = await readFilms(bytesOf(films));
    store.open(address);
    return { store, room };
}
