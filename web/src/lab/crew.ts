// The page's side of its workers: one for the runs that are watched, and some for the ensemble, so that neither waits for
// the other.
import type { Spec } from "../science/spec.ts";
import type { DatedChange } from "../science/train.ts";
import type { Answer, Request } from "./protocol.ts";
import type { Frame } from "./recording.ts";

export interface Listener {
    frames(frames: Frame[], done: boolean, diverged: boolean): void;
    refused(sentence: string): void;
}

/** A state to ask about, and what it is measured by. */
export interface Question {
    spec: Spec;
    changes: readonly DatedChange[];
    step: number;
    weights: Float64Array;
    bias: Float64Array;
}

/** What is needed of a Worker. */
export interface Hand {
    postMessage(request: Request): void;
    onmessage: ((event: { data: Answer }) => void) | null;
    terminate(): void;
}

export class Crew {
    readonly #make: () => Hand;
    readonly #listeners = new Map<number, (answer: Answer) => void>();
    readonly #homes = new Map<number, readonly Hand[]>();
    readonly #helpers: number;
    #watched: Hand | null = null;
    readonly #beside: Hand[] = [];
    #last = 0;

    /** Hire by `make`, with so many workers for an ensemble. */
    constructor(make: () => Hand, helpers = 1) {
        this.#make = make;
        this.#helpers = helpers;
    }

    train(spec: Spec, run: number, changes: readonly DatedChange[], listener: Listener): number {
        this.#watched ??= this.#hired();
        const hand = this.#watched;
        const id = this.#begin([hand], (answer) => {
            if (answer.type === "refused") listener.refused(answer.sentence);
            if (answer.type !== "frames") return;
            listener.frames(answer.frames, answer.done, answer.diverged);
            hand.postMessage({ type: "taken", id });
        });
        hand.postMessage({ type: "train", id, spec, run, changes });
        return id;
    }

    ensemble(spec: Spec, changes: readonly DatedChange[], runs: number, end: (run: number, frame: Frame) => void): number {
        while (this.#beside.length < this.#helpers) this.#beside.push(this.#hired());
        const id = this.#begin(this.#beside, (answer) => {
            if (answer.type === "end") end(answer.run, answer.frame);
        });
        this.#beside.forEach((hand, first) => {
            hand.postMessage({ type: "ensemble", id, spec, changes, first, every: this.#helpers, runs });
        });
        return id;
    }

    /** Loss and gradient of any state, by what is in force at a step. */
    ask(of: Question): Promise<Answer & { type: "answer" }> {
        this.#watched ??= this.#hired();
        const hand = this.#watched;
        return new Promise((resolve, reject) => {
            const id = this.#begin([hand], (answer) => {
                this.#listeners.delete(id);
                this.#homes.delete(id);
                if (answer.type === "answer") resolve(answer);
                if (answer.type === "refused") reject(new Error(answer.sentence));
            });
            hand.postMessage({ type: "ask", id, ...of });
        });
    }

    stop(id: number): void {
        for (const hand of this.#homes.get(id) ?? []) hand.postMessage({ type: "stop", id });
        this.#homes.delete(id);
        this.#listeners.delete(id);
    }

    close(): void {
        for (const hand of [this.#watched, ...this.#beside]) hand?.terminate();
        this.#watched = null;
        this.#beside.length = 0;
        this.#listeners.clear();
        this.#homes.clear();
    }

    #begin(hands: readonly Hand[], hear: (answer: Answer) => void): number {
        const id = ++this.#last;
        this.#listeners.set(id, hear);
        this.#homes.set(id, hands);
        return id;
    }

    #hired(): Hand {
        const hand = this.#make();
        hand.onmessage = ({ data }) => this.#listeners.get(data.id)?.(data);
        return hand;
    }
}
