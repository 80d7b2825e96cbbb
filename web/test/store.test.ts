// What the page knows and does, without a browser.
import assert from "node:assert/strict";
import { test } from "node:test";
import { written } from "../src/lab/address.ts";
import { FIRST_SIGHT } from "../src/lab/camera.ts";
import { describe } from "../src/lab/described.ts";
import type { Frame } from "../src/lab/recording.ts";
import { Store } from "../src/lab/store.ts";
import { still } from "../src/lab/theme.ts";
import { fingerprint } from "../src/science/fingerprint.ts";
import { Trainer } from "../src/science/train.ts";
import { altered, Room, SMALL } from "./room.ts";

const DESCRIBED = describe(SMALL);

/** A page that shows a run, whole unless it is told to wait. */
function opened({ spec = SMALL, run = 0, wait = false } = {}): { room: Room; store: Store } {
    const room = new Room();
    const store = new Store(room.crew());
    store.show([{ described: describe(spec), run, changes: [] }], null);
    if (!wait) room.work();
    return { room, store };
}

function bits(frame: Frame | undefined): string {
    assert.ok(frame !== undefined);
    return fingerprint([frame.step, ...frame.weights, ...frame.bias, frame.loss]);
}

/** Answers of workers come as promises do. */
async function answered(room: Room): Promise<void> {
    room.work();
    await new Promise((resolve) => setImmediate(resolve));
}

test("without an address it is the octahedron, already moving", () => {
    const room = new Room();
    const store = new Store(room.crew());
    store.open("");
    assert.equal(store.preset.value?.name, "octahedron");
    assert.equal(store.playing.value, true);
    assert.equal(store.refusal.value, null);
    assert.deepEqual(room.asked.map(({ type }) => type), ["train"]);
});

test("a bad address is told in a sentence, above the octahedron", () => {
    for (const [address, sentence] of [
        ["#step=soon", "step=soon: must be an int of at least 0"],
        ["#preset=cube", /^preset="cube": must be one of octahedron, pentagon, /],
    ] as const) {
        const store = new Store(new Room().crew());
        store.open(address);
        if (typeof sentence === "string") assert.equal(store.refusal.value, sentence);
        else assert.match(store.refusal.value ?? "", sentence);
        assert.equal(store.preset.value?.name, "octahedron");
    }
});

test("an address opened elsewhere shows the same: spec, run, step, camera, selection, views, bits", () => {
    const { room, store } = opened({ run: 2 });
    store.scrub(105);
    store.branch({ rate: 0.02 });
    room.work();
    store.scrub(150);
    store.camera.value = { yaw: 0.1234, pitch: -0.5, zoom: 2 };
    store.selected.value = 3;
    store.toggle("gram");
    store.hidden.value = ["rate"];
    store.toggleLogarithmic("time");
    const other = new Store(room.crew());
    other.open(`#${store.address}`);
    room.work();
    assert.deepEqual(other.state, store.state);
    assert.equal(other.playing.value, false);
    for (const at of [0, 1]) {
        const [one, same] = [store, other].map(({ recordings }) => recordings.value[at]);
        assert.deepEqual(same.frames.map(bits), one.frames.map(bits));
    }
});

test("scrubbing stops playing, and goes to any step that there is", () => {
    const { store } = opened();
    assert.equal(store.playing.value, true);
    store.scrub(73.4);
    assert.equal(store.playing.value, false);
    assert.equal(store.step.value, 73);
    assert.deepEqual(store.indices.value, [14]);
    store.scrub(-5);
    assert.equal(store.step.value, 0);
    store.scrub(Infinity);
    assert.equal(store.step.value, 200);
    store.move(-3);
    assert.equal(store.step.value, 185);
    store.move(99);
    assert.equal(store.step.value, 200);
});

test("playing goes by recorded steps, thirty in a second, and stops at the end", () => {
    const { store } = opened();
    store.tick(0.5);
    assert.equal(store.step.value, 75);
    store.speed.value = 0.5;
    store.tick(0.2);
    assert.equal(store.step.value, 90);
    for (let picture = 0; picture < 100; picture++) store.tick(0.1);
    assert.deepEqual([store.step.value, store.playing.value], [200, false]);
    store.play();
    assert.deepEqual([store.step.value, store.playing.value], [0, true]);
});

test("playing waits for what has not been trained", () => {
    const { store } = opened({ wait: true });
    store.tick(1);
    assert.deepEqual([store.step.value, store.playing.value], [0, true]);
});

test("a branch keeps its past to the last bit, and has another future", () => {
    const { room, store } = opened();
    store.scrub(100);
    store.branch({ sets: [{ set: 0, density: 0.6 }] });
    assert.deepEqual([store.step.value, store.playing.value], [100, true]);
    room.work();
    const [first, second] = store.recordings.value;
    assert.deepEqual(second.changes, [{ sets: [{ set: 0, density: 0.6 }], step: 100 }]);
    for (let at = 0; at < 20; at++) assert.equal(bits(second.frames[at]), bits(first.frames[at]), `frame ${at}`);
    assert.deepEqual(second.frames[20].weights, first.frames[20].weights);
    for (let at = 21; at <= 40; at++) assert.notDeepEqual(second.frames[at].weights, first.frames[at].weights);
    // A change of what was kept, in the branch: two changes, both in force.
    store.keep(1);
    store.scrub(150);
    store.branch({ rate: 0.001 });
    assert.deepEqual(store.recordings.value[1].changes.map(({ step }) => step), [100, 150]);
    // Earlier than the change, it is not part of the past.
    store.scrub(50);
    store.branch({ rate: 0.001 });
    assert.deepEqual(store.recordings.value[1].changes, [{ rate: 0.001, step: 50 }]);
});

test("comparing shows the next run, beside one that goes on as it was; keeping shows one alone", () => {
    const { room, store } = opened({ run: 5 });
    store.scrub(60);
    const before = store.first.value;
    store.compareNext();
    room.work();
    assert.deepEqual(store.recordings.value.map(({ run }) => run), [5, 0]);
    assert.equal(store.first.value, before);
    assert.deepEqual([store.step.value, store.indices.value], [60, [12, 12]]);
    store.keep(1);
    assert.deepEqual(store.recordings.value.map(({ run }) => run), [0]);
    assert.equal(store.step.value, 60);
});

test("where there is one run only, there is none to compare with", () => {
    const { store } = opened({ spec: altered(SMALL, { seeds: 1 }) });
    store.compareNext();
    assert.equal(store.refusal.value, "There is no other run to compare with: the Spec has seeds=1");
    assert.equal(store.recordings.value.length, 1);
});

test("training anew puts the change into the Spec", () => {
    const { room, store } = opened();
    store.restart({ rate: 0.02, sets: [{ set: 0, density: 0.5, importance: 0.5 }] });
    const spec = altered(SMALL, {
        features: [{ kind: "independent", count: 5, density: 0.5, importance: 0.5 }],
        training: { ...SMALL.training, rate: 0.02 },
    });
    assert.deepEqual(store.first.value?.described.trainable, spec);
    assert.deepEqual([store.preset.value, store.step.value, store.playing.value], [null, 0, true]);
    room.work();
    const trainer = new Trainer(spec, 0);
    trainer.advance(200);
    assert.deepEqual(store.first.value?.frames[40].weights, trainer.weights);
});

test("jumping goes from event to event, and nowhere beyond them", () => {
    const { room, store } = opened();
    const shown = { described: DESCRIBED, run: 0, changes: [50, 120].map((step) => ({ step, rate: 0.01 })) };
    store.show([shown], 0);
    room.work();
    const steps = store.events.value.map(({ step }) => step);
    assert.ok(steps.includes(50) && steps.includes(120));
    const seen = steps.map(() => (store.jump(1), store.step.value));
    assert.deepEqual(seen, steps);
    store.jump(1);
    assert.equal(store.step.value, steps.at(-1));
    store.jump(-1);
    assert.equal(store.step.value, steps.at(-2));
});

test("a hand moves an embedding, and loss and gradient answer", async () => {
    const { room, store } = opened();
    store.scrub(200);
    const frame = store.first.value!.frames[40];
    const weights = frame.weights.slice();
    weights[2] += 0.5;
    store.moveTo(0, 1, weights);
    assert.deepEqual(store.hand.value, { at: 0, feature: 1, weights, loss: null, slope: null });
    await answered(room);
    const trainer = new Trainer(SMALL, 0);
    trainer.restore({ ...trainer.state, weights, bias: frame.bias });
    const { loss, weights: gradient } = trainer.gradient();
    assert.equal(store.hand.value?.loss, loss);
    assert.equal(store.hand.value?.slope, Math.hypot(gradient[2], gradient[3]));
    store.release();
    assert.equal(store.hand.value, null);
});

test("a hand that goes on to another embedding is answered for that one", async () => {
    const { room, store } = opened();
    store.scrub(200);
    const moved = [1, 2].map((feature) => {
        const weights = store.first.value!.frames[40].weights.slice();
        weights[2 * feature] += 0.3;
        store.moveTo(0, feature, weights);
        return weights;
    });
    assert.deepEqual([store.hand.value?.feature, store.hand.value?.loss], [2, null]);
    await answered(room);
    await answered(room);
    const trainer = new Trainer(SMALL, 0);
    trainer.restore({ ...trainer.state, weights: moved[1], bias: store.first.value!.frames[40].bias });
    assert.equal(store.hand.value?.loss, trainer.gradient().loss);
});

test("after a change, a hand is answered by what is in force", async () => {
    const { room, store } = opened();
    const changes = [{ step: 100, sets: [{ set: 0, importance: 3 }] }];
    store.show([{ described: DESCRIBED, run: 0, changes }], 150);
    room.work();
    const frame = store.first.value!.frames[30];
    store.moveTo(0, 0, frame.weights.slice());
    await answered(room);
    assert.equal(store.hand.value?.loss, frame.loss, "what was not moved has the loss that it had");
});

test("Escape puts a moved embedding back, and then selects none", () => {
    const { store } = opened();
    store.selectNext(-1);
    assert.equal(store.selected.value, 4);
    store.selectNext(1);
    assert.equal(store.selected.value, 0);
    store.moveTo(0, 0, store.first.value!.frames[0].weights.slice());
    store.letGo();
    assert.deepEqual([store.hand.value, store.selected.value], [null, 0]);
    store.letGo();
    assert.equal(store.selected.value, null);
});

test("training from the hand begins with the state that it has made", () => {
    const { room, store } = opened();
    store.scrub(100);
    const frame = store.first.value!.frames[20];
    const weights = frame.weights.map((value) => value + 0.1);
    store.moveTo(0, 0, weights);
    store.trainFromHand();
    room.work();
    const [, second] = store.recordings.value;
    assert.deepEqual(second.frames[0].weights, weights);
    assert.deepEqual(second.frames[0].bias, frame.bias);
    assert.deepEqual([store.step.value, store.playing.value], [0, true]);
    // The address holds it to the last bit.
    const other = new Store(room.crew());
    other.open(store.address);
    room.work();
    assert.equal(bits(other.recordings.value[1].frames[40]), bits(second.frames[40]));
});

test("training from the hand goes on with what was changed before, and not with what was changed later", () => {
    const { room, store } = opened();
    const changes = [{ step: 40, rate: 0.002 }, { step: 120, rate: 0.003 }];
    store.show([{ described: DESCRIBED, run: 0, changes }], 100);
    room.work();
    store.moveTo(0, 0, store.first.value!.frames[20].weights.slice());
    store.trainFromHand();
    assert.deepEqual(store.recordings.value[1].changes, [{ step: 0, rate: 0.002 }]);
});

test("an ensemble has the ends of its runs, and stays while one of them is opened", () => {
    const { room, store } = opened();
    store.startEnsemble();
    assert.ok(store.views.value.includes("ensemble"));
    room.work();
    assert.equal(store.ensemble.value.size, 6);
    assert.equal(bits(store.ensemble.value.get(0)), bits(store.first.value?.frames[40]));
    store.show([{ described: DESCRIBED, run: 4, changes: [] }], 200);
    room.work();
    assert.equal(store.ensemble.value.size, 6);
    assert.equal(bits(store.ensemble.value.get(4)), bits(store.first.value?.frames[40]));
    store.restart({ rate: 0.02 });
    assert.equal(store.ensemble.value.size, 0);
});

test("what is no longer shown is no longer trained, and nothing of it is heard", () => {
    const { room, store } = opened({ wait: true });
    store.show([{ described: DESCRIBED, run: 1, changes: [] }], null);
    room.work();
    assert.deepEqual(room.asked.map((request) => [request.type, request.id]).slice(0, 3), [["train", 1], ["stop", 1], ["train", 2]]);
    assert.deepEqual(new Set(room.answered.map(({ id }) => id)), new Set([2]));
    assert.equal(store.first.value?.frames.length, 41);
});

test("a run that the workers refuse is a sentence", () => {
    const { room, store } = opened();
    store.scrub(100);
    store.branch({ sets: [{ set: 3, density: 0.1 }] });
    room.work();
    assert.match(store.refusal.value ?? "", /change\.sets\.set must be at most 0/);
});

test("a diverged run ends: playing stops, and its address can be copied", () => {
    const spec = altered(SMALL, { training: { steps: 2000, optimiser: "sgd", rate: 1e6, batch: 8, evaluation: 8 } });
    const { store } = opened({ spec });
    for (let picture = 0; picture < 200; picture++) store.tick(0.1);
    assert.deepEqual([store.first.value?.diverged, store.playing.value], [true, false]);
});

test("where motion is unwelcome, nothing moves by itself, and the end is seen first", () => {
    still.value = true;
    try {
        const { room, store } = opened({ wait: true });
        assert.equal(store.playing.value, false);
        room.work();
        assert.equal(store.step.value, 200);
        store.scrub(100);
        store.branch({ rate: 0.02 });
        assert.deepEqual([store.step.value, store.playing.value], [100, false]);
        // Who asks for motion has it.
        store.play();
        assert.equal(store.playing.value, true);
        // Who is already somewhere is left there.
        store.show([{ described: DESCRIBED, run: 3, changes: [] }], null);
        store.scrub(35);
        room.work();
        assert.equal(store.step.value, 35);
    } finally {
        still.value = false;
    }
});

test("the state is what is written", () => {
    const { store } = opened();
    store.scrub(10);
    assert.deepEqual(store.state.camera, FIRST_SIGHT);
    assert.equal(store.address, written(store.state));
});
