// Films: recorded runs in the bytes that Python writes.
import assert from "node:assert/strict";
import { test } from "node:test";
import { python } from "../src/lab/exports.ts";
import { readFilms } from "../src/lab/film.ts";
import { STEPS, UNIT, RUNS, LOSSES, DESCRIBED, film, bytesOf, opened } from "./filmed.ts";

test("a film has every frame of its runs, and none after a divergence", async () => {
    const [read] = await readFilms(bytesOf([film()]));
    RUNS.forEach(({ run, frames }, at) => {
        const recording = read.recording(run);
        assert.equal(recording.frames.length, frames.length);
        frames.forEach((frame, index) => {
            assert.equal(recording.frames[index].step, STEPS[index]);
            assert.deepEqual([...recording.frames[index].weights], frame.slice(0, 10).map((value) => value * UNIT));
            assert.deepEqual([...recording.frames[index].bias], frame.slice(10).map((value) => 2 * value * UNIT));
            assert.equal(recording.frames[index].loss, LOSSES[at][index]);
        });
        assert.deepEqual([recording.whole, recording.diverged], [true, at === 1]);
    });
    assert.deepEqual([...read.end(3).weights], RUNS[0].frames[2].slice(0, 10).map((value) => value * UNIT));
});

test("a damaged film is refused in a sentence", async () => {
    const bytes = bytesOf([film()]);
    await assert.rejects(readFilms(bytes.slice(1)), { name: "Refusal", message: /^a film must begin with "tegum film 1\\n"$/ });
    await assert.rejects(readFilms(bytesOf([film({ ...DESCRIBED, n: 6 })])), { name: "Refusal", message: "film 0: 136 bytes must be 160" });
});

test("a page with films begins with the first run of the first one, and trains nothing", async () => {
    const { store, room } = await opened();
    assert.deepEqual([store.refusal.value, store.preset.value, store.first.value?.run, store.first.value?.frames.length], [null, null, 3, 3]);
    assert.deepEqual(room.asked, []);
    // Every run has its end in the ensemble.
    assert.deepEqual([...store.ensemble.value.keys()], [3, 5]);
    assert.deepEqual(store.events.value.filter(({ kind }) => kind === "jump").map(({ step, words }) => [step, words]), [[50, "features 1 and 2 change places"]]);
});

test("the address says which film and which run; a run that the film lacks is refused", async () => {
    const { store } = await opened("", [film(), film(DESCRIBED, "density = 0.3")]);
    store.playFilm(1);
    store.turnTo(5, 0);
    store.compare(3);
    const { address } = store;
    assert.equal(address, "film=1&run=5&film2=1&run2=3&step=0&log=loss");
    const again = await opened(address, [film(), film(DESCRIBED, "density = 0.3")]);
    assert.deepEqual(again.store.state, store.state);
    const other = await opened("film=0&run=4");
    assert.equal(other.store.refusal.value, "run=4: the film has no such run; it has 3, 5");
    assert.equal(other.store.first.value?.run, 3);
    assert.match((await opened("film=2")).store.refusal.value ?? "", /^film=2: must be at most 0$/);
});

test("comparing and choosing go through the runs of the film", async () => {
    const { store } = await opened();
    store.compareNext();
    assert.deepEqual(store.recordings.value.map(({ run }) => run), [3, 5]);
    store.compareNext();
    assert.deepEqual(store.recordings.value.map(({ run }) => run), [3, 5]);
    store.keep(1);
    assert.deepEqual(store.recordings.value.map(({ run }) => run), [5]);
});

test("a change trains on from the shown state, beside the recording", async () => {
    const { store, room } = await opened();
    store.scrub(50);
    store.branch({ rate: 0.02 });
    room.work();
    const [recorded, trained] = store.recordings.value;
    assert.equal(recorded.film, 0);
    assert.deepEqual(trained.frames[0].weights, recorded.frames[1].weights);
    assert.deepEqual(trained.changes, [{ step: 0, rate: 0.02 }]);
    assert.ok(trained.whole);
    // The address brings both back.
    const again = await opened(store.address);
    again.room.work();
    assert.deepEqual(again.store.recordings.value[1].frames.at(-1), trained.frames.at(-1));
});

test("what was changed while it was recorded is known, and goes on where it is trained on", async () => {
    const changes = [{ step: 40, rate: 0.5 }, { step: 100, rate: 0.25 }];
    const { store } = await opened("", [film({ ...DESCRIBED, changes })]);
    store.scrub(50);
    assert.equal(store.first.value?.inForce(50).rate, 0.5);
    assert.deepEqual(store.events.value.filter(({ kind }) => kind === "change").map(({ step }) => step), [40, 100]);
    store.branch({ sets: [{ set: 0, density: 0.5 }] });
    assert.deepEqual(store.recordings.value[1].changes, [{ step: 0, rate: 0.5 }, { step: 0, sets: [{ set: 0, density: 0.5 }] }]);
});

test("what the page cannot train it shows, and says why it goes no further", async () => {
    const why = "Spec(training.kind=\"flow\"): training.kind must be 'sampled' in the page";
    const described = { ...DESCRIBED, spec: { ...DESCRIBED.spec, training: { kind: "flow" } }, page: null, why, rate: null };
    const { store, room } = await opened("", [film(described)]);
    store.scrub(50);
    store.branch({ sets: [{ set: 0, density: 0.5 }] });
    assert.equal(store.refusal.value, why);
    store.moveTo(0, 0, store.first.value!.frames[1].weights.slice());
    assert.deepEqual(room.asked, []);
    const program = python(store.first.value!);
    assert.match(program, /"kind": "flow"/);
    assert.match(program, /has the same bits where engine, version and vector unit are the same/);
});
