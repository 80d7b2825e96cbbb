// The lab in a notebook, as anywidget wants it: an element that plays the films of a model in Python, with the shown step,
// run and Spec and the selected feature linked to names of the model, both ways.
import type { TegumLab } from "./element.tsx";
import type { Store } from "./store.ts";

/** Milliseconds between two messages to Python, while a film plays. */
const TOLD_EVERY = 150;

/** The side of the model that lives here, in Jupyter as in marimo. */
export interface Model {
    get(name: string): unknown;
    set(name: string, value: unknown): void;
    save_changes(): void;
    on(event: string, hear: () => void): void;
    off(event: string, hear: () => void): void;
}

/** Show a model in an element, until the function that is returned takes it away. */
export function render({ model, el }: { model: Model; el: HTMLElement }): () => void {
    const lab = document.createElement("tegum-lab") as TegumLab;
    const { buffer, byteOffset, byteLength } = model.get("_films") as DataView;
    lab.films = new Uint8Array(buffer, byteOffset, byteLength);
    lab.embedded = true;
    lab.setAttribute("address", model.get("_address") as string);
    lab.setAttribute("fitted", "");
    lab.style.height = `${model.get("_height")}px`;
    lab.companion = (store) => linked(store, model);
    el.append(lab);
    // What the notebook keeps for when nobody is there to show a widget.
    for (const frame of document.querySelectorAll(`.tegum-lab[data-of="${model.get("_of")}"]`)) frame.remove();
    return () => {
        lab.remove();
        lab.films = null;
    };
}

/** Link what is shown to the model, until the function that is returned is called. */
export function linked(store: Store, model: Model): () => void {
    let due: ReturnType<typeof setTimeout> | null = null;
    let telling = false;
    // Of what is trained in the page Python knows nothing.
    const shown = () => {
        const first = store.first.peek();
        if (first === null || first.film === null) return null;
        return { step: store.step.peek(), run: first.run, spec: first.film, selection: store.selected.peek() };
    };
    const tell = () => {
        due = null;
        const now = shown();
        if (now === null) return;
        const news = Object.entries(now).filter(([name, value]) => model.get(name) !== value);
        if (news.length === 0) return;
        // A model tells what is set here, too.
        telling = true;
        for (const [name, value] of news) model.set(name, value);
        telling = false;
        model.save_changes();
    };
    const see = () => {
        if (store.first.peek() !== null) due ??= setTimeout(tell, TOLD_EVERY);
    };
    const turn = () => {
        const [run, film, step] = ["run", "spec", "step"].map((name) => model.get(name) as number);
        const now = shown();
        // Films that could not be read are refused in the element itself.
        if (store.films.peek()[film] === undefined) return;
        if (now?.run !== run || now.spec !== film) store.show([{ film, run }], step);
        else if (now.step !== step) store.scrub(step);
    };
    const hear = {
        "change:step": turn,
        "change:run": turn,
        "change:spec": turn,
        "change:selection": () => {
            store.selected.value = model.get("selection") as number | null;
        },
    };
    const stops = Object.entries(hear).map(([event, act]) => {
        const heard = () => {
            if (!telling && store.first.peek() !== null) act();
        };
        model.on(event, heard);
        return () => model.off(event, heard);
    });
    // Films are read first, and then what was set before.
    const begun = store.recordings.subscribe((recordings) => {
        if (recordings.length === 0) return;
        for (const act of Object.values(hear)) act();
        queueMicrotask(() => begun());
    });
    stops.push(begun, store.step.subscribe(see), store.selected.subscribe(see), store.recordings.subscribe(see));
    return () => {
        if (due !== null) clearTimeout(due);
        for (const stop of stops) stop();
    };
}
