// How a value of a Spec is read: a table of rules for its keys, and one sentence, that quotes the key, the value and the
// rule, for what breaks one. The sentences begin as those of the Python package do.

/** Bad input, told in one sentence. */
export class Refusal extends Error {
    constructor(sentence: string) {
        super(sentence);
        this.name = "Refusal";
    }
}

/** A place in a Spec, as the keys that lead to it: ["features", "0", "density"]. */
export type Path = readonly (string | number)[];

/** Refuse the value at a place. */
export function refuse(path: Path, value: unknown, rule: string): never {
    const key = path.join(".");
    throw new Refusal(`Spec(${key}=${quoted(value)}): ${key} ${rule}`);
}

/** A value as text of bounded length. */
export function quoted(value: unknown): string {
    const text = value === undefined ? "undefined" : (JSON.stringify(value) ?? String(value));
    return text.length <= 120 ? text : `${text.slice(0, 120)}…`;
}

/** The keys and values of a table, all of them among those that are known. */
export function table(path: Path, value: unknown, known: readonly string[]): Record<string, unknown> {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
        if (path.length === 0) throw new Refusal(`Spec(${quoted(value)}): must be a table of the keys of a Spec`);
        refuse(path, value, `must be a table of the keys ${known.join(", ")}`);
    }
    for (const [key, inner] of Object.entries(value)) {
        if (known.includes(key)) continue;
        const whole = [...path, key].join(".");
        throw new Refusal(`Spec(${whole}=${quoted(inner)}): there is no key '${whole}'; known are ${known.join(", ")}`);
    }
    return value as Record<string, unknown>;
}

/** A value that must be given. */
export function given(path: Path, value: unknown): unknown {
    if (value !== undefined) return value;
    throw new Refusal(`Spec(): ${path.join(".")} must be given`);
}

/** A value, or its default if it is not given; null is a value, and most rules refuse it. */
export function orElse(value: unknown, normal: unknown): unknown {
    return value === undefined ? normal : value;
}

/** A finite number that keeps a rule. */
export function number(path: Path, value: unknown, keeps: (x: number) => boolean, rule: string): number {
    if (typeof value === "number" && Number.isFinite(value) && keeps(value)) return value;
    return refuse(path, value, rule);
}

/** A whole number in a range. */
export function whole(path: Path, value: unknown, least: number, most: number = Number.MAX_SAFE_INTEGER): number {
    if (typeof value !== "number" || !Number.isInteger(value) || value < least) {
        return refuse(path, value, `must be an int of at least ${least}`);
    }
    if (value > most) return refuse(path, value, `must be at most ${most.toLocaleString("en-US")} in the page`);
    return value;
}

/** One of some names. */
export function choice<Name extends string>(path: Path, value: unknown, names: readonly Name[]): Name {
    const found = names.find((name) => name === value);
    return found ?? refuse(path, value, `must be ${names.map((name) => `'${name}'`).join(" or ")}`);
}

/** A list of numbers that keep a rule. */
export function numbers(path: Path, value: unknown, keeps: (x: number) => boolean, rule: string): number[] {
    if (!Array.isArray(value)) return refuse(path, value, rule);
    return value.map((each) =>
        typeof each === "number" && Number.isFinite(each) && keeps(each) ? each : refuse(path, value, rule),
    );
}
