// Laws of magnitude: how large a feature is where it is active. As in the Python package, magnitudes are independent of
// one another and of which features are active.
import { number, orElse, type Path, refuse, table } from "./reading.ts";
import type { Stream } from "./random.ts";

export type Magnitude =
    | { kind: "uniform"; low: number; high: number }
    | { kind: "constant"; value: number }
    | { kind: "half-normal"; scale: number };

const SQRT_2_BY_PI = 0.79788456080286535588;
const KEYS = { uniform: ["low", "high"], constant: ["value"], "half-normal": ["scale"] } as const;

/** The names of the laws. */
export const LAWS = Object.keys(KEYS);

const inRange = (x: number) => x >= 1e-9 && x <= 1e9;
const SIZE = "must lie between 1e-9 and 1e9";

/** The law that a set has unless it is given another one. */
export const UNIT_RANGE: Magnitude = { kind: "uniform", low: 0, high: 1 };

/** Read a law; its kind is "uniform" unless it says otherwise. */
export function readMagnitude(path: Path, value: unknown): Magnitude {
    if (value === undefined) return UNIT_RANGE;
    const kind = orElse((value as { kind?: unknown } | null)?.kind, "uniform");
    if (kind !== "uniform" && kind !== "constant" && kind !== "half-normal") {
        refuse([...path, "kind"], kind, "must be 'uniform', 'constant' or 'half-normal' in the page");
    }
    const given = table(path, value, ["kind", ...KEYS[kind]]);
    const size = (key: string, normal: number, orZero = false) =>
        number([...path, key], orElse(given[key], normal), (x) => inRange(x) || (orZero && x === 0), SIZE);
    if (kind === "constant") return { kind, value: size("value", 1) };
    if (kind === "half-normal") return { kind, scale: size("scale", 1) };
    const law = { kind: "uniform" as const, low: size("low", 0, true), high: size("high", 1) };
    if (!(law.low * (1 + 2 / 2_097_152) < law.high)) {
        refuse([...path, "low"], law.low, `must lie below high=${law.high}; a constant is one value`);
    }
    return law;
}

/** Whether a law is that of a set that names none. */
export function isUnitRange(law: Magnitude): boolean {
    return law.kind === "uniform" && law.low === 0 && law.high === 1;
}

/** The mean of a magnitude, and of its square. */
export function moments(law: Magnitude): [number, number] {
    switch (law.kind) {
        case "uniform":
            return [(law.low + law.high) / 2, (law.low * law.low + law.low * law.high + law.high * law.high) / 3];
        case "constant":
            return [law.value, law.value * law.value];
        case "half-normal":
            return [law.scale * SQRT_2_BY_PI, law.scale * law.scale];
    }
}

/** A magnitude, from a uniform that is left of the gate, and more of the stream where that does not suffice. */
export function drawn(law: Magnitude, u: number, stream: Stream): number {
    switch (law.kind) {
        case "uniform":
            return law.low + (law.high - law.low) * u;
        case "constant":
            return law.value;
        case "half-normal":
            // One of the two is left unused: a stream has no memory but its state.
            return law.scale * Math.abs(stream.normals()[0]);
    }
}
