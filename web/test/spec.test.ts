import assert from "node:assert/strict";
import { test } from "node:test";
import { readSnapshots, stepsOf } from "../src/science/snapshots.ts";
import { LIMITS, readSpec, writeSpec } from "../src/science/spec.ts";
import { golden } from "./golden.ts";

interface Specs {
    read?: { given: Record<string, unknown>; json: Record<string, unknown> }[];
    snapshots?: { snapshots: unknown; last: number; steps: number[] }[];
    refused?: { spec: Record<string, unknown>; key: string }[];
}
const { read, snapshots, refused } = Object.assign({}, ...golden<Specs>("specs")) as Required<Specs>;
const VALID = { features: [{ kind: "independent", count: 3, density: 0.1 }], hidden: 2 };

test("Specs are read and written as tegum reads and writes them", () => {
    for (const { given, json } of read) {
        const spec = readSpec(given);
        assert.deepEqual(JSON.parse(writeSpec(spec)), json);
        assert.deepEqual(readSpec(writeSpec(spec)), spec);
        assert.deepEqual(readSpec(json), spec);
        assert.deepEqual(Object.keys(spec), Object.keys(json));
    }
});

test("recorded steps are those of tegum", () => {
    for (const each of snapshots) {
        const found = stepsOf(readSnapshots(["snapshots"], each.snapshots), each.last);
        assert.deepEqual(found, each.steps, JSON.stringify(each));
    }
});

test("what tegum refuses is refused, with the same key", () => {
    assert.ok(refused.length >= 30);
    for (const { spec, key } of refused) {
        assert.throws(
            () => readSpec(spec),
            (error: Error) => error.name === "Refusal" && error.message.startsWith(`Spec(${key}=`),
            `${JSON.stringify(spec)}: ${key}`,
        );
    }
});

const refuses = (change: Record<string, unknown>, message: RegExp) =>
    assert.throws(() => readSpec({ ...VALID, ...change }), message, JSON.stringify(change));

test("what the page cannot do is refused in one clear sentence", () => {
    refuses(
        { training: { kind: "exact" } },
        /training\.kind must be 'sampled' in the page; tegum in Python trains 'exact'/,
    );
    refuses({ training: { kind: "flow" } }, /trains 'flow'/);
    refuses({ training: { kind: "slow" } }, /training\.kind must be 'sampled' in the page$/);
    refuses({ features: [{ kind: "empirical" }] }, /activations of one's own are trained on in Python/);
    refuses({ features: [{ kind: "hierarchy" }] }, /it needs the table of this one, which Python writes/);
    refuses({ features: [{ kind: "independent", count: LIMITS.features + 1, density: 0.1 }] }, /at most 400 features/);
    refuses({ features: [{ kind: "correlated", size: 2, density: 0.1, copies: 201 }] }, /at most 400 features/);
    refuses({ hidden: 41 }, /hidden must be at most 40 in the page/);
    refuses({ training: { batch: 20_000 } }, /training\.batch must be at most 16,384 in the page/);
    refuses(
        { features: [{ kind: "independent", count: 400, density: 0.1 }], training: { batch: 8192 } },
        /training\.batch must be at most 5242 in the page with 400 features/,
    );
    refuses(
        { features: [{ kind: "independent", count: 400, density: 0.1 }], training: { evaluation: 65_536 } },
        /training\.evaluation must be at most 5242 in the page with 400 features/,
    );
    refuses({ snapshots: 200_000 }, /snapshots\.count must be at most 100,000 in the page/);
    refuses({ training: { steps: 20_000_000 } }, /training\.steps must be at most 10,000,000 in the page/);
});

test("what is no Spec is refused, too", () => {
    assert.throws(() => readSpec("{"), /Spec\("\{"\): must be valid JSON/);
    assert.throws(() => readSpec("[]"), /Spec\(\[\]\): must be a table of the keys of a Spec/);
    assert.throws(() => readSpec(null), /must be a table/);
    assert.throws(() => readSpec({ hidden: 2 }), /Spec\(\): features must be given/);
    refuses({ hiden: 2 }, /there is no key 'hiden'; known are features, hidden/);
    refuses({ training: { epochs: 2 } }, /there is no key 'training\.epochs'/);
    refuses({ training: 5 }, /training must be a table/);
    refuses({ features: { kind: "independent" } }, /features must be a list of feature sets/);
    refuses({ features: [5] }, /features\.0\.kind must be given/);
    refuses({ features: [null] }, /features\.0\.kind must be given/);
    refuses({ features: [{ kind: "independent", density: 0.1 }] }, /features\.0\.count must be given/);
    refuses({ initial_scale: "small" }, /initial_scale="small"/);
    refuses(
        {
            start: {
                weights: [
                    [1, 2],
                    [3, 4],
                    [5, null],
                ],
            },
        },
        /start\.weights must be an array/,
    );
});

test("whatever takes the place of a value, it is read or refused in a sentence", () => {
    const odd: unknown[] = [
        null,
        true,
        -1,
        0,
        2.5,
        1e400,
        NaN,
        "",
        "constructor",
        [],
        [[]],
        {},
        { kind: "toString" },
        [null],
    ];
    const whole = read[2].json;
    let refusals = 0;
    const attempt = (given: unknown) => {
        try {
            readSpec(given);
        } catch (error) {
            refusals++;
            assert.equal((error as Error).name, "Refusal", `${JSON.stringify(given)}: ${(error as Error).stack}`);
        }
    };
    const replaceEverywhere = (value: unknown, rebuilt: (part: unknown) => unknown) => {
        for (const each of odd) attempt(rebuilt(each));
        if (typeof value !== "object" || value === null) return;
        for (const [key, inner] of Object.entries(value)) {
            const around = (part: unknown) =>
                rebuilt(
                    Array.isArray(value)
                        ? value.map((old, at) => (at === Number(key) ? part : old))
                        : { ...value, [key]: part },
                );
            replaceEverywhere(inner, around);
        }
    };
    replaceEverywhere(whole, (part) => part);
    assert.ok(refusals > 500);
});

test("a table says what is wrong with it", () => {
    const table = {
        kind: "table",
        weights: [0.5, 0.5],
        gates: [
            [0, 1],
            [1, 0],
        ],
    };
    assert.deepEqual(readSpec({ ...VALID, features: [table] }).features[0], { ...table, importance: 1 });
    refuses({ features: [{ ...table, weights: [0.5, 0.6] }] }, /features\.0\.weights must sum to 1/);
    refuses({ features: [{ ...table, weights: [1] }] }, /features\.0\.gates must be a list of 1 lists/);
    refuses({ features: [{ ...table, gates: [[0, 1], [1]] }] }, /features\.0\.gates must be a list of 2 lists/);
    refuses(
        {
            features: [
                {
                    ...table,
                    gates: [
                        [0, 2],
                        [1, 0],
                    ],
                },
            ],
        },
        /features\.0\.gates/,
    );
    refuses({ features: [{ ...table, density: 0.1 }] }, /there is no key 'features\.0\.density'/);
});
