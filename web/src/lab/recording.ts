// What is known of one run: its description, and the states at its recorded steps. A run that is trained in the page
// grows while it is watched; a film from Python is whole from the beginning. What is measured of a state is computed
// when a view asks for it, once.
import { type Camera } from "./camera.ts";
import { canonicalPose, dimensionality, gram } from "../science/geometry.ts";
import { namePolytope, type Polytope } from "../science/polytopes.ts";
import type { DatedChange } from "../science/train.ts";
import type { Described, SetWords } from "./described.ts";

export type { Camera };

/** A state at a recorded step. */
export interface Frame {
    step: number;
    /** W, row by row. */
    weights: Float64Array;
    bias: Float64Array;
    /** On the evaluation sample, or exact in a film that says so. */
    loss: number;
}

/** What is measured of a frame. */
export interface Measured {
    dimensionality: Float64Array;
    gram: Float64Array;
    polytope: Polytope;
}

/** Something that happens at a step, or from a step on until another one. */
export interface Happening {
    step: number;
    until?: number;
    kind: "name" | "drop" | "change" | "jump" | "plateau" | "fall";
    /** In words, such as "becomes an octahedron". */
    words: string;
}


export class Recording {
    readonly described: Described;
    /** The number of the run. */
    readonly run: number;
    readonly changes: readonly DatedChange[];
    readonly n: number;
    readonly m: number;
    /** For each feature the group that gives it colour and form: its set, or itself where there is only one set. */
    readonly groups: Int32Array;
    readonly frames: Frame[] = [];
    /** Whether it has ended before its last step, because a parameter is no longer a finite number. */
    diverged = false;
    /** Whether it has ended, though its last step has not been reached. */
    over = false;
    /** The last step that the run will have. */
    readonly last: number;
    /** The number of the film that it comes from; null if it is trained here. */
    readonly film: number | null;
    /** What Python's detectors have found in it; null where they were not asked. */
    told: readonly Happening[] | null = null;
    readonly #poses: Float64Array[] = [];
    readonly #measured: Measured[] = [];

    constructor(described: Described, run: number, changes: readonly DatedChange[] = [], film: number | null = null) {
        this.described = described;
        this.run = run;
        this.changes = changes;
        this.n = described.n;
        this.m = described.m;
        const several = described.sets.length > 1;
        this.groups = several ? described.groups : Int32Array.from({ length: this.n }, (_, i) => i);
        this.last = described.last;
        this.film = film;
    }

    /** Whether no more frames will come: the last step has been reached, or the run has diverged. */
    get whole(): boolean {
        return this.diverged || this.over || (this.frames.length > 0 && this.frames[this.frames.length - 1].step >= this.last);
    }

    /** The rate and the sets in force at a step, after the changes up to it. */
    inForce(step: number): { rate: number | null; sets: SetWords[] } {
        let { rate } = this.described;
        const sets = [...this.described.sets];
        for (const change of this.changes) {
            if (change.step > step) break;
            rate = change.rate ?? rate;
            for (const { set, ...values } of change.sets ?? []) sets[set] = { ...sets[set], ...values };
        }
        return { rate, sets };
    }

    push(frame: Frame): void {
        this.frames.push(frame);
    }

    /** The number of the last frame at or before a step; −1 while there is none. */
    indexAt(step: number): number {
        let [low, high] = [0, this.frames.length];
        while (low < high) {
            const middle = (low + high) >> 1;
            if (this.frames[middle].step <= step) low = middle + 1;
            else high = middle;
        }
        return low - 1;
    }

    /** W of a frame in the pose closest to that of the frame before, so that a film of it does not spin. */
    posed(index: number): Float64Array {
        for (let at = this.#poses.length; at <= index; at++) {
            const { weights } = this.frames[at];
            this.#poses.push(
                at === 0 ? canonicalPose(weights, this.m) : canonicalPose(weights, this.m, this.#poses[at - 1]),
            );
        }
        return this.#poses[index];
    }

    measured(index: number): Measured {
        this.#measured[index] ??= measure(this.frames[index].weights, this.m);
        return this.#measured[index];
    }
}

function measure(weights: Float64Array, m: number): Measured {
    return {
        dimensionality: dimensionality(weights, m),
        gram: gram(weights, m),
        polytope: namePolytope(weights, m, { deformed: true }),
    };
}
