// Light or dark, and whether motion is welcome, as the reader's system says; the page may choose light or dark itself.
import { computed, signal } from "@preact/signals";
import { lookOf } from "./look.ts";

function following(query: string) {
    const list = globalThis.matchMedia?.(query);
    const is = signal(list?.matches ?? false);
    list?.addEventListener("change", (event) => (is.value = event.matches));
    return is;
}

const dark = following("(prefers-color-scheme: dark)");

/** "light" or "dark" where the page has chosen, and null where the system decides. */
export const chosenTheme = signal<"light" | "dark" | null>(null);
/** "light" or "dark" where a page around the lab is one of them, whatever the system prefers. */
const around = signal<"light" | "dark" | null>(null);
export const isDark = computed(() => (chosenTheme.value ?? around.value ?? (dark.value ? "dark" : "light")) === "dark");
export const look = computed(() => lookOf(isDark.value));
export const still = following("(prefers-reduced-motion: reduce)");

/** Milliseconds after which a page has the colours of a theme that it has just chosen. */
const SETTLED = 400;

/** Be as light or as dark as the page around an element, until the function that is returned is called. */
export function asAround(element: Element): () => void {
    let due = 0;
    const see = () => {
        around.value = isLight(backgroundOf(element)) ? "light" : "dark";
    };
    const later = () => {
        see();
        window.clearTimeout(due);
        due = window.setTimeout(see, SETTLED);
    };
    const observer = new MutationObserver(later);
    // Where notebooks say which theme they have.
    for (const each of [document.documentElement, document.body]) observer.observe(each, { attributes: true });
    later();
    return () => {
        observer.disconnect();
        window.clearTimeout(due);
    };
}

/** The colour that is seen behind an element, in red, green and blue; white where there is none. */
function backgroundOf(element: Element): readonly [number, number, number] {
    const to = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
    for (let at = above(element); at !== null && to !== null; at = above(at)) {
        to.clearRect(0, 0, 1, 1);
        // Whatever way of writing colours a style sheet has.
        to.fillStyle = getComputedStyle(at).backgroundColor;
        to.fillRect(0, 0, 1, 1);
        const [red, green, blue, opaque] = to.getImageData(0, 0, 1, 1).data;
        if (opaque > 127) return [red, green, blue];
    }
    return [255, 255, 255];
}

function above(element: Element): Element | null {
    if (element.parentElement !== null) return element.parentElement;
    const root = element.getRootNode();
    return root instanceof ShadowRoot ? root.host : null;
}

function isLight([red, green, blue]: readonly [number, number, number]): boolean {
    return 0.299 * red + 0.587 * green + 0.114 * blue > 127;
}
