// Which steps of a run are recorded, counted and rounded as in the Python package.
import { exp10, log10, rounded } from "./elementary.ts";
import { choice, orElse, type Path, refuse, table, whole } from "./reading.ts";

export type Snapshots = { spacing: "linear" | "logarithmic"; count: number } | { steps: number[] };

/** The most recorded steps of a run. */
export const MOST_LISTED = 100_000;

/** Read snapshots: a count, a list of steps, or a table. */
export function readSnapshots(path: Path, value: unknown): Snapshots {
    if (typeof value === "number")
        return { spacing: "linear", count: whole([...path, "count"], value, 1, MOST_LISTED) };
    if (Array.isArray(value)) return { steps: listed([...path, "steps"], value) };
    const from = table(path, orElse(value, {}), ["spacing", "count", "steps"]);
    if (from.steps !== undefined && from.steps !== null) {
        for (const key of ["spacing", "count"]) {
            if (from[key] !== undefined) refuse([...path, key], from[key], "must not be given together with steps");
        }
        return { steps: listed([...path, "steps"], from.steps) };
    }
    return {
        spacing: choice([...path, "spacing"], orElse(from.spacing, "linear"), ["linear", "logarithmic"]),
        count: whole([...path, "count"], orElse(from.count, 100), 1, MOST_LISTED),
    };
}

function listed(path: Path, value: unknown): number[] {
    const rule = "must be a list of ints of at least 0";
    if (!Array.isArray(value)) return refuse(path, value, rule);
    if (value.length > MOST_LISTED) {
        refuse(path, `${value.length} steps`, `must list at most ${MOST_LISTED.toLocaleString("en-US")} steps`);
    }
    const steps = value.map((step) =>
        Number.isSafeInteger(step) && step >= 0 ? Number(step) : refuse(path, value, rule),
    );
    return rising(steps);
}

/** The recorded steps of a run, rising, from 0 to the last. */
export function stepsOf(snapshots: Snapshots, last: number): number[] {
    if ("steps" in snapshots) return rising([0, last, ...snapshots.steps]);
    const { spacing, count } = snapshots;
    const intervals = Math.min(count, last);
    const inner =
        spacing === "linear"
            ? Array.from({ length: Math.max(intervals - 1, 0) }, (_, i) => rounded((i + 1) * (last / intervals)))
            : fallingGeometrically(last, intervals);
    return rising([0, last, ...inner]);
}

/** `count` numbers from `last` to 1 at equal ratios, without the first, rounded. */
function fallingGeometrically(last: number, count: number): number[] {
    const decades = log10(Math.max(last, 1));
    return Array.from({ length: Math.max(count - 1, 0) }, (_, i) =>
        i === count - 2 ? 1 : rounded(exp10(decades - (i + 1) * (decades / (count - 1)))),
    );
}

function rising(steps: number[]): number[] {
    return [...new Set(steps)].sort((a, b) => a - b);
}
