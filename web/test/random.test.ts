import assert from "node:assert/strict";
import { test } from "node:test";
import { philox, Stream } from "../src/science/random.ts";

test("Philox has the known answers of its authors (Random123, kat_vectors)", () => {
    const hex = (words: number[]) => words.map((word) => word.toString(16).padStart(8, "0")).join(" ");
    const all = 0xffffffff;
    assert.equal(hex(philox([0, 0, 0, 0], [0, 0])), "6627e8d5 e169c58d bc57ac4c 9b00dbd8");
    assert.equal(hex(philox([all, all, all, all], [all, all])), "408f276d 41c83b0e a20bc7c6 6d5451fd");
    const pi = [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344];
    assert.equal(hex(philox(pi, [0xa4093822, 0x299f31d0])), "d16cfe09 94fdcceb 5001e420 24126ea1");
});

test("xoshiro128++ has the numbers of its authors' program", () => {
    const stream = new Stream().from([1, 2, 3, 4]);
    const words = Array.from({ length: 10 }, () => stream.uniform() * 4_294_967_296);
    const expected = [
        641, 1573767, 3222811527, 3517856514, 836907274, 4247214768, 3867114732, 1355841295, 495546011, 621204420,
    ];
    assert.deepEqual(words, expected);
    for (let i = 10; i < 102_400; i++) stream.uniform();
    // The 102,401st number, least significant byte first, as the tests of PHP have it.
    assert.equal(stream.uniform() * 4_294_967_296, 0x2c873cfa);
});

test("a stream depends on its key alone", () => {
    const numbers = (stream: Stream) => Array.from({ length: 5 }, () => stream.uniform());
    const fresh = numbers(new Stream().key(7, 3, "training", 5000));
    const used = new Stream().key(1, 2, "start", 3);
    for (let i = 0; i < 1000; i++) used.uniform();
    assert.deepEqual(numbers(used.key(7, 3, "training", 5000)), fresh);
});

test("every part of a key counts, beyond 32 bits too", () => {
    const big = 2 ** 32;
    const keys: [number, number, "start" | "training" | "evaluation", number][] = [
        [0, 0, "start", 0],
        [1, 0, "start", 0],
        [big, 0, "start", 0],
        [0, 1, "start", 0],
        [0, big, "start", 0],
        [0, 0, "training", 0],
        [0, 0, "evaluation", 0],
        [0, 0, "start", 1],
        [0, 0, "start", big],
        [0, 0, "start", 2 ** 53 - 1],
    ];
    const stream = new Stream();
    assert.equal(new Set(keys.map((key) => stream.key(...key).uniform())).size, keys.length);
});

test("uniforms and normals have their moments", () => {
    const stream = new Stream().key(5, 0, "training", 0);
    const count = 1_000_000;
    const uniforms = Float64Array.from({ length: count }, () => stream.uniform());
    const normals = new Float64Array(count);
    stream.fillNormals(normals);
    const mean = (values: Float64Array, of: (x: number) => number) =>
        values.reduce((sum, x) => sum + of(x), 0) / values.length;
    // Five standard errors: of u, u², z, z², z⁴.
    assert.ok(Math.abs(mean(uniforms, (u) => u) - 1 / 2) < 5 * Math.sqrt(1 / 12 / count));
    assert.ok(Math.abs(mean(uniforms, (u) => u * u) - 1 / 3) < 5 * Math.sqrt(4 / 45 / count));
    assert.ok(Math.abs(mean(normals, (z) => z)) < 5 * Math.sqrt(1 / count));
    assert.ok(Math.abs(mean(normals, (z) => z * z) - 1) < 5 * Math.sqrt(2 / count));
    assert.ok(Math.abs(mean(normals, (z) => z ** 4) - 3) < 5 * Math.sqrt(96 / count));
    assert.ok(uniforms.every((u) => u >= 0 && u < 1));
});

test("streams of neighbouring keys are not correlated", () => {
    const [one, other] = [new Stream(), new Stream()];
    const count = 200_000;
    let sum = 0;
    for (let batch = 0; batch < count / 100; batch++) {
        one.key(0, 0, "training", batch);
        other.key(0, 0, "training", batch + 1);
        for (let i = 0; i < 100; i++) sum += (one.uniform() - 0.5) * (other.uniform() - 0.5);
    }
    assert.ok(Math.abs(sum / count) < 5 * (1 / 12) * Math.sqrt(1 / count));
});
