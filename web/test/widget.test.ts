// What a notebook's widget links: the shown step, run and Spec and the selected feature, with names of a model in Python.
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as after } from "node:timers/promises";
import { linked, type Model } from "../src/lab/widget.ts";
import { film, opened } from "./filmed.ts";

/** Longer than the time between two messages. */
const LATER = 220;

/** The side of the model in a browser, which tells of every change, and counts the messages to Python. */
class Told implements Model {
    readonly values: Record<string, unknown>;
    sent = 0;
    readonly #ears = new Map<string, (() => void)[]>();

    constructor(values: Record<string, unknown>) {
        this.values = values;
    }

    get(name: string): unknown {
        return this.values[name];
    }

    set(name: string, value: unknown): void {
        if (this.values[name] === value) return;
        this.values[name] = value;
        for (const ear of this.#ears.get(`change:${name}`) ?? []) ear();
    }

    save_changes(): void {
        this.sent++;
    }

    on(event: string, hear: () => void): void {
        this.#ears.set(event, [...(this.#ears.get(event) ?? []), hear]);
    }

    off(event: string, hear: () => void): void {
        this.#ears.set(event, (this.#ears.get(event) ?? []).filter((each) => each !== hear));
    }

    get listeners(): number {
        return [...this.#ears.values()].flat().length;
    }
}

async function link(values: Record<string, unknown> = {}, films = [film()]) {
    const { store } = await opened("step=200", films);
    const model = new Told({ step: 200, run: 3, spec: 0, selection: null, ...values });
    return { store, model, leave: linked(store, model) };
}

test("what was set before is shown first", async () => {
    const { store, leave } = await link({ step: 50, run: 5, spec: 1, selection: 2 }, [film(), film()]);
    assert.deepEqual([store.step.value, store.first.value?.run, store.first.value?.film, store.selected.value], [50, 5, 1, 2]);
    leave();
});

test("what Python sets is shown, and is not told back", async () => {
    const { store, model, leave } = await link();
    model.set("step", 50);
    model.set("selection", 4);
    assert.deepEqual([store.step.value, store.selected.value], [50, 4]);
    model.set("run", 5);
    assert.deepEqual([store.first.value?.run, store.step.value], [5, 50]);
    await after(LATER);
    assert.equal(model.sent, 0);
    leave();
});

test("what is done in the page is told in one message, some time after", async () => {
    const { store, model, leave } = await link();
    for (const step of [0, 10, 20, 50]) store.scrub(step);
    store.selectNext(1);
    assert.equal(model.values["step"], 200);
    await after(LATER);
    assert.deepEqual([model.values["step"], model.values["selection"], model.sent], [50, 0, 1]);
    leave();
});

test("of runs that are trained in the page nothing is told, and Python brings the recorded ones back", async () => {
    const { store, model, leave } = await link();
    store.restart({ rate: 0.02 });
    store.selected.value = 1;
    await after(LATER);
    assert.deepEqual([store.first.value?.film, model.values["step"], model.sent], [null, 200, 0]);
    model.set("step", 50);
    assert.deepEqual([store.first.value?.run, store.first.value?.film, store.step.value], [3, 0, 50]);
    leave();
});

test("nothing is linked any more after it has left", async () => {
    const { store, model, leave } = await link();
    store.scrub(0);
    leave();
    model.set("step", 50);
    await after(LATER);
    assert.deepEqual([store.step.value, model.listeners, model.sent], [0, 0, 0]);
});

test("films that cannot be read leave what the page says of them", async () => {
    const { store, model, leave } = await link({}, []);
    model.set("step", 50);
    assert.equal(store.first.value?.film, null);
    leave();
});
