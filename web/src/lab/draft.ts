// A change that is being prepared in the settings, before a run is branched or trained anew with it.
import { signal } from "@preact/signals";
import type { Change } from "../science/train.ts";

/** What of a set may be changed. */
export type Changeable = "density" | "strength" | "importance";

export class Draft {
    readonly change = signal<Change>({});

    get empty(): boolean {
        return Object.keys(this.change.value).length === 0;
    }

    /** The value that sets are to have, or undefined where it stays. */
    of(set: number, key: Changeable): number | undefined {
        const value = this.change.value.sets?.find((each) => each.set === set)?.[key];
        return typeof value === "number" ? value : undefined;
    }

    /** Equal sets change together. */
    put(numbers: readonly number[], key: Changeable, value: number): void {
        const sets = [...(this.change.value.sets ?? [])];
        for (const set of numbers) {
            const at = sets.findIndex((each) => each.set === set);
            if (at < 0) sets.push({ set, [key]: value });
            else sets[at] = { ...sets[at], [key]: value };
        }
        this.change.value = { ...this.change.value, sets };
    }

    putRate(rate: number): void {
        this.change.value = { ...this.change.value, rate };
    }

    /** The change, which is no draft any more. */
    take(): Change {
        const change = this.change.value;
        this.change.value = {};
        return change;
    }
}
