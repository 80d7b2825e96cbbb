// The workers and the page's side of them, in one thread.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Answer } from "../src/lab/protocol.ts";
import type { Frame } from "../src/lab/recording.ts";
import { Workshop } from "../src/lab/worker.ts";
import { fingerprint } from "../src/science/fingerprint.ts";
import { type DatedChange, Trainer } from "../src/science/train.ts";
import { altered, Room, SMALL } from "./room.ts";

type Frames = Answer & { type: "frames" };

/** A workshop with what it has said, and what it has still to do. */
function opened() {
    const said: Answer[] = [];
    const tasks: (() => void)[] = [];
    const workshop = new Workshop({ postMessage: (answer) => said.push(answer) }, (task) => tasks.push(task));
    const work = () => {
        for (let task = tasks.shift(); task !== undefined; task = tasks.shift()) task();
    };
    const frames = () => said.filter((answer): answer is Frames => answer.type === "frames");
    /** All frames of a run, each bundle of which is taken. */
    const whole = (id: number) => {
        const own = () => frames().filter((answer) => answer.id === id);
        for (work(); !own().at(-1)?.done; work()) workshop.hear({ type: "taken", id });
        return own().flatMap((answer) => answer.frames);
    };
    return { said, workshop, work, frames, whole };
}

function bits(frame: Frame): string {
    return fingerprint([frame.step, ...frame.weights, ...frame.bias, frame.loss]);
}

/** The state of a run at a step, as the science alone has it. */
function state(spec = SMALL, run = 0, step = 200, changes: readonly DatedChange[] = []): Frame {
    const trainer = new Trainer(spec, run, changes);
    trainer.advance(step);
    return { step, weights: trainer.weights, bias: trainer.bias, loss: trainer.loss() };
}

test("bundles are sent only after the last one was taken, and nothing is lost", () => {
    const { workshop, work, frames } = opened();
    const spec = altered(SMALL, { snapshots: 200 });
    workshop.hear({ type: "train", id: 1, spec, run: 2, changes: [] });
    work();
    assert.equal(frames().length, 1, "one bundle, however long one waits");
    for (let bundles = 1; !frames().at(-1)!.done; bundles++) {
        assert.equal(frames().length, bundles);
        workshop.hear({ type: "taken", id: 1 });
        work();
    }
    assert.ok(frames().length >= 4, "200 frames are more than three bundles of 64");
    assert.ok(frames().every((answer) => answer.frames.length <= 64));
    const all = frames().flatMap((answer) => answer.frames);
    assert.deepEqual(all.map(({ step }) => step), Array.from({ length: 201 }, (_, at) => at));
    for (const step of [0, 1, 77, 200]) assert.equal(bits(all[step]), bits(state(spec, 2, step)));
    workshop.hear({ type: "taken", id: 1 });
    work();
    assert.equal(frames().at(-1)!.frames.length > 0, true, "nothing is sent after the end");
});

test("changes count from their steps on", () => {
    const { workshop, whole } = opened();
    const changes = [{ step: 100, rate: 0.05, sets: [{ set: 0, density: 0.9 }] }];
    workshop.hear({ type: "train", id: 1, spec: SMALL, run: 0, changes });
    const all = whole(1);
    assert.equal(all.length, 41);
    assert.equal(bits(all[19]), bits(state(SMALL, 0, 95)));
    assert.equal(bits(all[40]), bits(state(SMALL, 0, 200, changes)));
    assert.notEqual(bits(all[40]), bits(state()));
});

test("several runs go on side by side", () => {
    const { workshop, work, frames, whole } = opened();
    workshop.hear({ type: "train", id: 1, spec: SMALL, run: 0, changes: [] });
    workshop.hear({ type: "train", id: 2, spec: SMALL, run: 1, changes: [] });
    work();
    assert.deepEqual(frames().slice(0, 2).map(({ id }) => id), [1, 2]);
    for (const [id, run] of [[1, 0], [2, 1]]) assert.equal(bits(whole(id)[40]), bits(state(SMALL, run)));
});

test("an ensemble ends as its runs do, each worker with a part of it", () => {
    const { said, workshop, work } = opened();
    workshop.hear({ type: "ensemble", id: 1, spec: SMALL, changes: [], first: 1, every: 2, runs: 6 });
    workshop.hear({ type: "ensemble", id: 2, spec: SMALL, changes: [], first: 6, every: 2, runs: 6 });
    work();
    const ends = said.map((answer) => answer as Answer & { type: "end" });
    assert.deepEqual(ends.map(({ type, id, run }) => [type, id, run]), [1, 3, 5].map((run) => ["end", 1, run]));
    for (const { run, frame } of ends) assert.equal(bits(frame), bits(state(SMALL, run)));
});

test("a question is answered with the gradient of what is in force at the step", () => {
    const { said, workshop, work } = opened();
    const changes = [{ step: 100, sets: [{ set: 0, density: 0.9, importance: 2 }] }];
    const { weights, bias } = state();
    const losses: number[] = [];
    const asked = (step: number, entry: number, shift: number) => {
        const moved = weights.slice();
        moved[entry] += shift;
        workshop.hear({ type: "ask", id: 7, spec: SMALL, changes, step, weights: moved, bias });
        work();
        const answer = said.at(-1) as Answer & { type: "answer" };
        assert.equal(answer.id, 7);
        losses.push(answer.loss);
        return answer;
    };
    for (const step of [50, 150]) {
        const { loss, weights: slope } = asked(step, 0, 0);
        for (const entry of [0, 3, 9]) {
            const difference = (asked(step, entry, 1e-5).loss - asked(step, entry, -1e-5).loss) / 2e-5;
            assert.ok(Math.abs(slope[entry] - difference) < 1e-4 * (1 + Math.abs(difference)), `${slope[entry]} is not ${difference}`);
        }
        const trainer = new Trainer(SMALL, 0, changes);
        trainer.restore({ ...trainer.state, step, weights, bias });
        assert.equal(loss, trainer.gradient().loss);
        assert.deepEqual([...slope], [...trainer.gradient().weights]);
    }
    assert.ok(losses[7] > 2 * losses[0], "denser features of twice the importance lose more");
});

test("what cannot be trained is refused in a sentence, and the rest goes on", () => {
    const { said, workshop, work, frames } = opened();
    workshop.hear({ type: "train", id: 1, spec: SMALL, run: 0, changes: [{ step: 10, rate: -1 }] });
    workshop.hear({ type: "train", id: 2, spec: SMALL, run: 0, changes: [] });
    work();
    assert.deepEqual(said[0], { type: "refused", id: 1, sentence: "Spec(rate=-1): rate must be a finite number above 0" });
    assert.deepEqual([...new Set(frames().map(({ id }) => id))], [2]);
    workshop.hear({ type: "ask", id: 3, spec: SMALL, changes: [], step: 0, weights: new Float64Array(3), bias: new Float64Array(5) });
    assert.match((said.at(-1) as Answer & { type: "refused" }).sentence, /^restore\(state with 3, 5, 15, 15 numbers\): must have 10, 5, 15, 15$/);
});

test("a diverged run ends, and says so", () => {
    const { workshop, frames, whole } = opened();
    const spec = altered(SMALL, { training: { steps: 2000, optimiser: "sgd", rate: 1e6, batch: 8, evaluation: 8 } });
    workshop.hear({ type: "train", id: 1, spec, run: 0, changes: [] });
    const all = whole(1);
    assert.equal(frames().at(-1)!.diverged, true);
    assert.ok(all.at(-1)!.step < 2000);
});

test("what is stopped says nothing more", () => {
    const { said, workshop, work } = opened();
    workshop.hear({ type: "train", id: 1, spec: SMALL, run: 0, changes: [] });
    workshop.hear({ type: "ensemble", id: 2, spec: SMALL, changes: [], first: 0, every: 1, runs: 3 });
    workshop.hear({ type: "stop", id: 1 });
    workshop.hear({ type: "stop", id: 2 });
    workshop.hear({ type: "taken", id: 1 });
    work();
    assert.deepEqual(said, []);
});

test("the page takes every bundle, and hears of a refusal", () => {
    const room = new Room();
    const crew = room.crew();
    const frames: Frame[] = [];
    const sentences: string[] = [];
    const listener = { frames: (each: Frame[]) => void frames.push(...each), refused: (sentence: string) => void sentences.push(sentence) };
    const id = crew.train(altered(SMALL, { snapshots: 200 }), 0, [], listener);
    crew.train(SMALL, 0, [{ step: -1 }], listener);
    room.work();
    assert.equal(frames.length, 201);
    assert.equal(room.asked.filter((request) => request.type === "taken" && request.id === id).length, room.answered.length - 1);
    assert.deepEqual(sentences, ["Spec(changes.step=-1): changes.step must be an int of at least 0"]);
    assert.equal(room.hired, 1);
});

test("nobody hears of a run that was stopped, and a closed crew has dismissed everyone", () => {
    const room = new Room();
    const crew = room.crew(3);
    const heard: number[] = [];
    const id = crew.train(SMALL, 0, [], { frames: (frames) => void heard.push(frames.length), refused: assert.fail });
    crew.ensemble(SMALL, [], 5, (run) => void heard.push(run));
    crew.stop(id);
    crew.close();
    room.work();
    assert.deepEqual(heard, []);
    assert.deepEqual([room.hired, room.dismissed], [4, 4]);
});

test("an ensemble is divided among the workers", () => {
    const room = new Room();
    const ends = new Map<number, string>();
    room.crew(3).ensemble(SMALL, [{ step: 50, rate: 0.02 }], 5, (run, frame) => void ends.set(run, bits(frame)));
    room.work();
    assert.deepEqual([...ends.keys()].sort(), [0, 1, 2, 3, 4]);
    assert.equal(ends.get(3), bits(state(SMALL, 3, 200, [{ step: 50, rate: 0.02 }])));
    assert.equal(room.hired, 3);
});

test("a refused question is an error", async () => {
    const room = new Room();
    const crew = room.crew();
    const question = { spec: SMALL, changes: [], step: 0, weights: new Float64Array(1), bias: new Float64Array(5) };
    const [wrong, right] = [crew.ask(question), crew.ask({ ...question, weights: new Float64Array(10) })];
    room.work();
    await assert.rejects(wrong, /must have 10, 5, 15, 15/);
    assert.ok((await right).loss > 0);
});
