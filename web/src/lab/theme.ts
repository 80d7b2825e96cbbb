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
export const isDark = computed(() => (chosenTheme.value === null ? dark.value : chosenTheme.value === "dark"));
export const look = computed(() => lookOf(isDark.value));
export const still = following("(prefers-reduced-motion: reduce)");
