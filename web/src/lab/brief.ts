// A Spec without what is at its default, as a person would write it.
import type { FeatureSet } from "../science/features.ts";
import { readSpec, type Spec } from "../science/spec.ts";

/** A Spec without what is at its default, as a person would write it. */
export function brief(spec: Spec): { features: { kind: string }[] } {
    const defaults = readSpec({ features: spec.features, hidden: spec.hidden }) as unknown as Record<string, unknown>;
    const { training: usual, ...others } = defaults;
    const given = spec as unknown as Record<string, unknown>;
    const short: { features: { kind: string }[]; [key: string]: unknown } = { features: briefSets(spec.features) };
    for (const key of Object.keys(given)) {
        if (["features", "training"].includes(key)) continue;
        if (key === "hidden" || !same(given[key], others[key])) short[key] = given[key];
    }
    const training: Record<string, unknown> = {};
    for (const [key, value] of Object.entries(given["training"] as object)) {
        if (!same(value, (usual as Record<string, unknown>)[key])) training[key] = value;
    }
    if (Object.keys(training).length > 0) short["training"] = { kind: "sampled", ...training };
    return short;
}

/** Equal sets in a row as one with `copies`, each without what is at its default. */
function briefSets(sets: readonly FeatureSet[]): { kind: string }[] {
    const found: { set: FeatureSet; copies: number }[] = [];
    for (const set of sets) {
        const last = found[found.length - 1];
        if (last !== undefined && same(last.set, set)) last.copies++;
        else found.push({ set, copies: 1 });
    }
    return found.map(({ set, copies }) => {
        const { importance, ...rest } = set;
        return { ...rest, ...(importance === 1 ? {} : { importance }), ...(copies === 1 ? {} : { copies }) };
    });
}

/** Whether JSON says the same of two values. */
export function same(a: unknown, b: unknown): boolean {
    return JSON.stringify(a) === JSON.stringify(b);
}
