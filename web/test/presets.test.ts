import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { test } from "node:test";
import { PRESETS } from "../src/lab/presets.ts";
import { LIMITS, readSpec } from "../src/science/spec.ts";
import { Trainer } from "../src/science/train.ts";

test("every preset can be trained, within the limits of the page", () => {
    for (const { name, spec: given, run = 0 } of PRESETS) {
        const spec = readSpec(given);
        assert.ok(spec.seeds <= LIMITS.seeds && run < spec.seeds, name);
        const trainer = new Trainer({ ...spec, training: { ...spec.training, evaluation: 256 } }, run);
        const before = trainer.weights.slice();
        assert.equal(trainer.advance(5), 5);
        assert.equal(trainer.diverged, false);
        assert.notDeepEqual(trainer.weights, before);
        assert.ok(trainer.loss() > 0 && Number.isFinite(trainer.loss()), name);
    }
});

test("every preset has a name of its own, two sentences on what to look for, a criterion and a page", () => {
    assert.equal(new Set(PRESETS.map(({ name }) => name)).size, PRESETS.length);
    assert.equal(new Set(PRESETS.map(({ title }) => title)).size, PRESETS.length);
    assert.equal(PRESETS[0].name, "octahedron");
    for (const { name, look, criterion, page } of PRESETS) {
        assert.match(name, /^[a-z-]+$/);
        assert.equal(look.match(/[.?!](?= |$)/g)?.length, 2, name);
        assert.match(criterion, /^[A-Z].*\.$/, name);
        const source = page.replace(/\.html$/, "");
        assert.ok([".md", ".ipynb"].some((end) => existsSync(`../docs/${source}${end}`)), page);
    }
});
