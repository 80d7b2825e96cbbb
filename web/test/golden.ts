// What tests share: the golden files, and comparisons that quote what differs.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

/** A golden file, one entry after another; tests run in the folder web/. */
export function golden<Entry>(name: string): Entry[] {
    return JSON.parse(readFileSync(`golden/${name}.json`, "utf8")) as Entry[];
}

/** A matrix or a list of numbers, flat; JSON has null where a number is not finite. */
export function flat(values: unknown): Float64Array {
    const list = Array.isArray(values) ? (values as unknown[]).flat(Infinity) : [values];
    return Float64Array.from(list as (number | null)[], (value) => (value === null ? NaN : value));
}

/** The number of columns of a matrix. */
export function columns(matrix: unknown[][]): number {
    return matrix[0].length;
}

/** That numbers agree to an absolute and a relative tolerance; not-a-number agrees with itself. */
export function close(actual: ArrayLike<number>, expected: unknown, tolerance: number, what: string): void {
    const wanted = flat(expected);
    assert.equal(actual.length, wanted.length, `${what}: as many numbers`);
    const scale = Math.max(1e-300, ...wanted.map(Math.abs).filter(Number.isFinite));
    for (const [at, value] of wanted.entries()) {
        const same = Number.isNaN(value) ? Number.isNaN(actual[at]) : Math.abs(actual[at] - value) <= tolerance * scale;
        assert.ok(same, `${what}: number ${at} is ${actual[at]} and not ${value}`);
    }
}
