// What Python writes for the page: addresses that the page reads, and refusals in the page's own words.
import assert from "node:assert/strict";
import { test } from "node:test";
import { read, type State, type Trained } from "../src/lab/address.ts";
import { FIRST_SIGHT } from "../src/lab/camera.ts";
import { IN_PAGE, trainable } from "../src/lab/home.ts";
import { PRESETS } from "../src/lab/presets.ts";
import { shownIn } from "../src/lab/store.ts";
import { readSpec, writeSpec } from "../src/science/spec.ts";
import { golden } from "./golden.ts";

const WRITTEN = golden<{ spec: Record<string, unknown>; address?: string; refused?: string }>("addresses");
const USUAL: State = {
    opened: [],
    shown: [shownIn(PRESETS[0])],
    step: 5,
    camera: FIRST_SIGHT,
    selected: null,
    views: [],
    hidden: [],
    logarithmic: { time: false, loss: true },
    preset: PRESETS[0].name,
};

test("an address from Python holds its Spec, and trains the first run", () => {
    const found = WRITTEN.filter((each) => each.address !== undefined);
    assert.ok(found.length >= 20);
    for (const { spec, address } of found) {
        const { shown, step, preset } = read(address ?? "", USUAL, { ...IN_PAGE, films: [] });
        const { described, run, changes } = shown[0] as Trained;
        assert.deepEqual([shown.length, run, changes, step, preset], [1, 0, [], null, null]);
        assert.deepEqual(JSON.parse(writeSpec(trainable(described))), spec);
    }
});

test("what Python refuses the page refuses, in the same words", () => {
    const found = WRITTEN.filter((each) => each.refused !== undefined);
    assert.ok(found.length >= 12);
    for (const { spec, refused } of found) assert.throws(() => readSpec(spec), { name: "Refusal", message: refused });
});
