// What tests of the page share: runs made by hand, and a page without a browser, whose workers take turns in one thread.
import { Crew, type Hand } from "../src/lab/crew.ts";
import type { Answer, Request } from "../src/lab/protocol.ts";
import { describe } from "../src/lab/described.ts";
import { Recording } from "../src/lab/recording.ts";
import { Workshop } from "../src/lab/worker.ts";
import type { DatedChange } from "../src/science/train.ts";
import { readSpec, type Spec } from "../src/science/spec.ts";

/** Five features in the plane, for 200 short steps. */
export const SMALL = readSpec({
    features: [{ kind: "independent", count: 5, density: 0.2 }],
    hidden: 2,
    training: { kind: "sampled", steps: 200, batch: 32, evaluation: 64, rate: 0.01 },
    snapshots: 40,
    seeds: 6,
});

/** A run as somebody else has trained it: W as rows, b zero. */
export function recorded(frames: readonly { step: number; rows: number[][]; loss: number }[], last: number, changes: readonly DatedChange[] = []): Recording {
    const [{ rows }] = frames;
    const spec = readSpec({
        features: [{ kind: "independent", count: rows.length, density: 0.1 }],
        hidden: rows[0].length,
        training: { kind: "sampled", steps: last },
    });
    const recording = new Recording(describe(spec), 0, changes);
    for (const { step, rows: each, loss } of frames) {
        recording.push({ step, weights: Float64Array.from(each.flat()), bias: new Float64Array(each.length), loss });
    }
    return recording;
}

/** The corners of a regular polygon. */
export function polygon(corners: number, turned = 0): number[][] {
    return Array.from({ length: corners }, (_, i) => {
        const angle = (2 * Math.PI * i) / corners + turned;
        return [Math.cos(angle), Math.sin(angle)];
    });
}

/** Each row and its opposite. */
export function digons(dimensions: number): number[][] {
    const axes = Array.from({ length: dimensions }, (_, i) => Array.from({ length: dimensions }, (_, k) => (i === k ? 1 : 0)));
    return axes.flatMap((row) => [row, row.map((value) => -value)]);
}

/** Workers that do their work when they are told to, in the page's own thread. */
export class Room {
    readonly asked: Request[] = [];
    readonly answered: Answer[] = [];
    hired = 0;
    dismissed = 0;
    #tasks: (() => void)[] = [];

    /** A crew of such workers. */
    crew(helpers = 1): Crew {
        return new Crew(() => this.#hand(), helpers);
    }

    /** Work until nothing is left to do, or something has come about. */
    work(until: () => boolean = () => false): void {
        for (let task = this.#tasks.shift(); task !== undefined; task = until() ? undefined : this.#tasks.shift()) task();
    }

    #hand(): Hand {
        this.hired++;
        let there = true;
        const later = (task: () => void) => this.#tasks.push(() => there && task());
        const hand: Hand = {
            onmessage: null,
            postMessage: (request) => {
                this.asked.push(request);
                // As between threads: what has been sent cannot be changed any more.
                const copy = structuredClone(request);
                later(() => workshop.hear(copy));
            },
            terminate: () => {
                there = false;
                this.dismissed++;
            },
        };
        const port = {
            postMessage: (answer: Answer) => {
                this.answered.push(answer);
                const copy = structuredClone(answer);
                later(() => hand.onmessage?.({ data: copy }));
            },
        };
        const workshop = new Workshop(port, later);
        return hand;
    }
}

/** A Spec with some keys otherwise. */
export function altered(spec: Spec, changes: object): Spec {
    return readSpec({ ...spec, ...changes });
}
