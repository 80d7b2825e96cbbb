// The keyboard: everything that can be done by mouse.
import type { View } from "./address.ts";
import type { Store } from "./store.ts";
import { turn, zoom } from "./views/scene.tsx";

export const KEYS: readonly (readonly [string, string])[] = [
    ["space", "play or pause"],
    ["← →", "one recorded step; with Ctrl ten"],
    ["Home End", "first or last step"],
    ["[ ]", "previous or next event"],
    ["Shift + arrows", "turn the scene"],
    ["+ −", "nearer, farther"],
    ["f, F", "select the next or previous feature; Esc selects none"],
    ["Alt + arrows", "move the selected embedding; Esc puts it back, Enter trains from there"],
    ["b", "branch at this step, after a change in the settings"],
    ["c", "compare with the next run; x shows one run again"],
    ["e", "train the ensemble"],
    ["1 … 6", "show or hide a view"],
    ["l, L", "logarithmic loss, logarithmic time"],
    ["?", "this list"],
];

const VIEW_KEYS: readonly View[] = ["loss", "dimensionality", "gram", "ensemble", "settings", "claim"];
/** How far a key moves an embedding, or turns the scene, in pixels. */
const STRIDE = 12;
const ARROWS: Record<string, readonly [number, number]> = {
    ArrowLeft: [-1, 0],
    ArrowRight: [1, 0],
    ArrowUp: [0, -1],
    ArrowDown: [0, 1],
};

/** Do what a key says; whether it says anything. */
export function press(store: Store, event: KeyboardEvent, moveSelected: (dx: number, dy: number) => void, help: () => void): boolean {
    const arrow = ARROWS[event.key];
    if (arrow !== undefined) {
        const [dx, dy] = arrow;
        if (event.altKey) moveSelected(dx * STRIDE, dy * STRIDE);
        else if (event.shiftKey) turn(store, dx * STRIDE, dy * STRIDE);
        else if (dx === 0) return false;
        else store.move(dx * (event.ctrlKey ? 10 : 1));
        return true;
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return false;
    const action = ACTIONS[event.key];
    if (action !== undefined) {
        action(store);
        return true;
    }
    if (event.key === "?") {
        help();
        return true;
    }
    const view = VIEW_KEYS[Number(event.key) - 1];
    if (view === undefined) return false;
    store.toggle(view);
    return true;
}

const ACTIONS: Record<string, (store: Store) => void> = {
    " ": (store) => store.play(),
    Home: (store) => store.scrub(0),
    End: (store) => store.scrub(Infinity),
    "[": (store) => store.jump(-1),
    "]": (store) => store.jump(1),
    "+": (store) => zoom(store, 1.15),
    "=": (store) => zoom(store, 1.15),
    "-": (store) => zoom(store, 1 / 1.15),
    f: (store) => store.selectNext(1),
    F: (store) => store.selectNext(-1),
    Escape: (store) => store.letGo(),
    Enter: (store) => store.trainFromHand(),
    b: (store) => store.branchDraft(),
    c: (store) => store.compareNext(),
    x: (store) => store.keep(0),
    e: (store) => store.startEnsemble(),
    l: (store) => store.toggleLogarithmic("loss"),
    L: (store) => store.toggleLogarithmic("time"),
};
