import assert from "node:assert/strict";
import { test } from "node:test";
import { brief } from "../src/lab/brief.ts";
import { FIRST_VIEWS, HIDEABLE, read as readBy, type State, type Trained, VIEWS, written } from "../src/lab/address.ts";
import { FIRST_SIGHT, nearer, turned } from "../src/lab/camera.ts";
import { describe } from "../src/lab/described.ts";
import { IN_PAGE } from "../src/lab/home.ts";
import { PRESETS } from "../src/lab/presets.ts";
import { Stream } from "../src/science/random.ts";
import { readSpec } from "../src/science/spec.ts";
import { golden } from "./golden.ts";

const read = (text: string, usual: State) => readBy(text, usual, { ...IN_PAGE, films: [] });
const FIRST_RUN: Trained = { described: describe(readSpec(PRESETS[0].spec)), run: 0, changes: [] };
const FIRST: State = {
    opened: [],
    shown: [FIRST_RUN],
    step: null,
    camera: FIRST_SIGHT,
    selected: null,
    views: FIRST_VIEWS,
    hidden: [],
    logarithmic: { time: false, loss: true },
    preset: "octahedron",
};
const OWN = readSpec({
    features: [
        { kind: "partially-correlated", size: 2, density: 0.123456789, strength: 0.7, copies: 2 },
        { kind: "independent", count: 2, density: [0.1, 0.2], importance: [1, 0.5], magnitude: { kind: "half-normal" } },
    ],
    hidden: 3,
    start: { weights: Array.from({ length: 6 }, (_, i) => [Math.sqrt(i), -1 / 3, 1e-17]), bias: [0, 1, 2, 3, 4, 5] },
    training: { kind: "sampled", steps: 5000, optimiser: "sgd", rate: 0.1 + 0.2, momentum: 0.5 },
    snapshots: { spacing: "logarithmic", count: 77 },
    seeds: 9,
    base_seed: 12,
});
const DESCRIBED = describe(OWN);
const CHANGES = [
    { step: 10, rate: 1 / 3 },
    { step: 400, sets: [{ set: 0, density: 0.25, strength: 0.1 }] },
];

/** A state by chance, of every part of which something is taken. */
function drawn(run: number): State {
    const stream = new Stream().key(1, run, "training", 0);
    const below = (most: number) => Math.floor(stream.uniform() * most);
    const each = [DESCRIBED, describe(readSpec(PRESETS[3].spec))];
    const shown = Array.from({ length: 1 + below(2) }, () => ({ described: each[below(2)], run: below(9), changes: CHANGES.slice(below(3)).slice(0, 1) }));
    for (const one of shown) if (one.described !== DESCRIBED) one.changes = one.changes.map(({ step }) => ({ step, rate: 0.5 }));
    const somewhere = turned(nearer(FIRST_SIGHT, 0.5 + stream.uniform()), 300 * stream.uniform(), -100 * stream.uniform());
    return {
        opened: [],
        shown,
        step: below(4) === 0 ? null : below(5000),
        camera: below(3) === 0 ? FIRST_SIGHT : somewhere,
        selected: below(2) === 0 ? null : below(4),
        views: VIEWS.filter(() => below(2) === 0),
        hidden: HIDEABLE.filter(() => below(3) === 0),
        logarithmic: { time: below(2) === 0, loss: below(2) === 0 },
        preset: below(2) === 0 ? null : "anticorrelated",
    };
}

test("an address holds the whole state, to the last bit", () => {
    const addresses = new Set<string>();
    for (let run = 0; run < 300; run++) {
        const state = drawn(run);
        const known = state.preset === null ? null : describe(readSpec(PRESETS[3].spec));
        const address = written(state, known?.spec);
        addresses.add(address);
        // What an address does not say is as the preset has it, or else the first one.
        const usual = known === null ? FIRST : { ...FIRST, preset: state.preset, shown: [{ described: known, run: 0, changes: [] }] };
        const again = read(`#${address}`, usual);
        assert.deepEqual(again, state, address);
        assert.equal(written(again, known?.spec), address);
    }
    assert.ok(addresses.size > 290);
});

test("an address says only what is not as it was in the beginning", () => {
    assert.equal(written(FIRST, FIRST_RUN.described.spec), "preset=octahedron");
    const later = { ...FIRST, step: 120, selected: 3 };
    assert.equal(written(later, FIRST_RUN.described.spec), "preset=octahedron&step=120&feature=3");
    const two = { ...FIRST, shown: [...FIRST.shown, { ...FIRST_RUN, run: 1 }] };
    assert.equal(written(two, FIRST_RUN.described.spec), "preset=octahedron&run2=1");
    assert.deepEqual(read("", FIRST), FIRST);
});

test("a Spec is written as briefly as a person would, and read as it was", () => {
    const pentagon = readSpec({ features: [{ kind: "independent", count: 5, density: 0.1 }], hidden: 2 });
    assert.deepEqual(brief(pentagon), { features: [{ kind: "independent", count: 5, density: 0.1 }], hidden: 2 });
    const pairs = readSpec({ features: [{ kind: "correlated", size: 2, density: 0.1, copies: 3 }], hidden: 2, training: { steps: 7 } });
    assert.deepEqual(brief(pairs), {
        features: [{ kind: "correlated", size: 2, density: 0.1, copies: 3 }],
        hidden: 2,
        training: { kind: "sampled", steps: 7 },
    });
    const given = golden<{ read?: { json: unknown }[] }>("specs").flatMap((each) => each.read ?? []);
    assert.ok(given.length >= 5);
    for (const spec of [OWN, ...given.map(({ json }) => readSpec(json))]) {
        assert.deepEqual(readSpec(JSON.stringify(brief(spec))), spec);
    }
});

test("bad addresses are refused in one sentence", () => {
    const own = (rest: object) => `spec=${encodeURIComponent(JSON.stringify({ ...brief(OWN), ...rest }))}`;
    const wrong: [string, RegExp][] = [
        ["step=-1", /^step=-1: must be an int of at least 0$/],
        ["step=1.5", /^step=1\.5: must be an int/],
        ["step=", /^step=: must be an int/],
        ["step=1e3", /^step=1e3: must be an int/],
        ["step=15001", /^step=15001: must be at most 15000$/],
        ["run=64", /^run=64: must be at most 63$/],
        ["feature=6", /^feature=6: must be at most 5$/],
        ["feature=many", /^feature=many: must be an int/],
        ["run2=x", /^run2=x: must be an int/],
        ["camera=1,2", /^camera=1,2: must be three numbers/],
        ["camera=1,2,0", /must be three numbers: two angles, and a zoom above 0$/],
        ["camera=1,2,NaN", /must be three numbers/],
        ["spec=", /^Spec\(""\): must be valid JSON/],
        ["spec=7", /^Spec\(7\): must be a table/],
        ["spec={}", /^Spec\(\): features must be given$/],
        [own({ hidden: 41 }), /^Spec\(hidden=41\): hidden must be at most 40 in the page$/],
        [own({ training: { kind: "flow" } }), /must be 'sampled' in the page; tegum in Python trains 'flow'$/],
        ["spec2=[]", /^Spec\(\[\]\): must be a table/],
        ["changes=7", /^changes=7: must be a list of changes$/],
        ["changes=[", /^changes=\[: must be valid JSON$/],
        ["changes=[null]", /^Spec\(changes=null\): changes must be a table/],
        ["changes=[{}]", /changes\.step must be an int/],
        ['changes=[{"step":1,"rate":"fast"}]', /rate must be a finite number above 0$/],
        ["views=loss,cube", /^views="cube": must be among loss, dimensionality, gram, ensemble, settings, claim$/],
        ["hide=colour", /^hide="colour": must be among toolbar, settings, density, strength, importance, rate$/],
        ['changes=[{"step":1,"sets":5}]', /change\.sets must be a list of tables/],
        ['changes=[{"step":1,"sets":[null]}]', /change\.sets must be a list of tables/],
        ['changes=[{"step":1,"sets":[{"set":2,"density":1}]}]', /change\.sets\.set must be at most 1/],
        ['changes=[{"step":9},{"step":1}]', /changes\.step must be an int of at least 9$/],
        ['changes=[{"step":1,"colour":"red"}]', /there is no key 'changes\.colour'/],
    ];
    for (const [address, sentence] of wrong) {
        assert.throws(
            () => read(`#${address}`, FIRST),
            (error: Error) => error.name === "Refusal" && sentence.test(error.message) && !error.message.includes("\n") && error.message.length < 400,
            address,
        );
    }
});

test("no address breaks the page: one letter changed is read or refused", () => {
    const stream = new Stream().key(2, 0, "training", 0);
    const letters = "0123456789abc{}[]\",:&=#%-.";
    let [taken, refused] = [0, 0];
    for (let run = 0; run < 500; run++) {
        const text = decodeURIComponent(written(drawn(run)).replaceAll("+", " "));
        const at = Math.floor(stream.uniform() * text.length);
        const letter = letters[Math.floor(stream.uniform() * letters.length)];
        try {
            read(text.slice(0, at) + letter + text.slice(at + 1), FIRST);
            taken++;
        } catch (error) {
            assert.equal((error as Error).name, "Refusal", `${text}: ${String((error as Error).stack)}`);
            refused++;
        }
    }
    assert.ok(taken > 50 && refused > 50, `${taken} taken, ${refused} refused`);
});
