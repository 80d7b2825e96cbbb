import assert from "node:assert/strict";
import { test } from "node:test";
import { cos, exp, exp10, exponent, log, log10, power, rounded, scaled, sin } from "../src/science/elementary.ts";

/** The largest relative difference over many arguments, irregularly spaced. */
function worst(own: (x: number) => number, other: (x: number) => number, low: number, high: number): number {
    let largest = 0;
    for (let i = 0; i < 100_000; i++) {
        const x = low + (high - low) * ((i * 0.6180339887498949) % 1);
        const expected = other(x);
        largest = Math.max(largest, Math.abs(own(x) - expected) / Math.abs(expected || 1));
    }
    return largest;
}

test("exp, log, cos and sin agree with those of Math to 1e-14", () => {
    assert.ok(worst(exp, Math.exp, -40, 40) < 1e-14);
    assert.ok(worst(exp, Math.exp, -700, 709) < 1e-14);
    assert.ok(worst(exp, Math.exp, -1e-3, 1e-3) < 1e-14);
    assert.ok(worst(log, Math.log, 1e-300, 1e-6) < 1e-14);
    assert.ok(worst(log, Math.log, 0.5, 2) < 1e-14);
    assert.ok(worst(log, Math.log, 1, 1e12) < 1e-14);
    assert.ok(worst(log10, Math.log10, 1e-3, 1e9) < 1e-14);
    assert.ok(worst(cos, Math.cos, -4, 4) < 1e-14);
    assert.ok(worst(sin, Math.sin, -4, 4) < 1e-14);
    assert.ok(worst(cos, Math.cos, -1e5, 1e5) < 1e-14);
    assert.ok(worst(sin, Math.sin, -1e5, 1e5) < 1e-14);
    assert.ok(worst(exp10, (x) => 10 ** x, -5, 5) < 1e-14);
});

test("values that are known to the bit", () => {
    assert.equal(exp(0), 1);
    assert.equal(log(1), 0);
    assert.equal(cos(0), 1);
    assert.equal(sin(0), 0);
    assert.equal(log(2), Math.LN2);
    assert.equal(cos(Math.PI), -1);
});

test("the ends of their ranges", () => {
    assert.equal(exp(1000), Infinity);
    assert.equal(exp(-1000), 0);
    assert.equal(exp(Infinity), Infinity);
    assert.ok(Math.abs(exp(-740) / 4.2e-322 - 1) < 0.05, "a subnormal number has few digits");
    assert.equal(log(0), -Infinity);
    assert.equal(log(Infinity), Infinity);
    assert.ok(Math.abs(log(5e-324) - -744.4400719213812) < 1e-12);
    for (const value of [exp(NaN), log(NaN), log(-1), cos(Infinity), sin(NaN)]) assert.ok(Number.isNaN(value));
});

test("powers of two come and go without rounding", () => {
    for (const x of [1, 0.75, -3, 1e300, 1e-300, 5e-324, 6.02e23]) {
        const k = exponent(x);
        assert.ok(Math.abs(scaled(x, -k)) >= 0.5 && Math.abs(scaled(x, -k)) < 1, `${x}`);
        assert.equal(scaled(scaled(x, -k), k), x);
    }
    assert.equal(exponent(0), 0);
    assert.equal(exponent(8), 4);
});

test("whole powers and rounding", () => {
    assert.equal(power(3, 0), 1);
    assert.equal(power(3, 13), 1_594_323);
    assert.ok(Math.abs(power(0.999, 10_000) / 4.517334597704867e-5 - 1) < 1e-12);
    assert.deepEqual(
        [0.5, 1.5, 2.5, 2.4, 2.6, -0.5].map(rounded),
        [0, 2, 2, 2, 3, 0].map((x) => x + 0),
    );
});
