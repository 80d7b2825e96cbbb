// The element <tegum-lab>: everything in one module that fetches nothing.
import { effect } from "@preact/signals";
import { render } from "preact";
import styles from "./style.css";
import thread from "./thread.ts?worker";
import { Crew, type Hand } from "./crew.ts";
import { readFilms } from "./film.ts";
import { Store } from "./store.ts";
import { still } from "./theme.ts";
import { App } from "./views/app.tsx";

/** Milliseconds between two looks at whether the address has to be written. */
const WRITTEN_EVERY = 300;

function hired(): Hand {
    const place = URL.createObjectURL(new Blob([thread], { type: "text/javascript" }));
    const worker = new Worker(place);
    URL.revokeObjectURL(place);
    return worker as unknown as Hand;
}

/** The bytes of films that stand in the page, if there are any. */
function filmsInPage(): Uint8Array | null {
    const text = document.querySelector("script[type='text/x-tegum-films']")?.textContent?.trim();
    return text ? Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)) : null;
}

export class TegumLab extends HTMLElement {
    store: Store | null = null;
    /** Recorded runs in the bytes that Python writes, in place of those in the page. */
    films: Uint8Array | null = null;
    /** Whether it is a guest in a page of others: it leaves the address, the title and keys outside of it alone. */
    embedded = false;
    #leave: (() => void)[] = [];

    connectedCallback(): void {
        const crew = new Crew(hired, Math.max(1, Math.min(8, (navigator.hardwareConcurrency || 2) - 1)));
        const store = new Store(crew);
        this.store = store;
        const root = this.shadowRoot ?? this.attachShadow({ mode: "open" });
        const sheet = document.createElement("style");
        sheet.textContent = styles;
        const place = document.createElement("div");
        root.replaceChildren(sheet, place);
        this.#leave = [() => render(null, place), () => crew.close()];
        const films = this.films ?? (this.embedded ? null : filmsInPage());
        if (films === null) {
            this.#begin(store, place);
            return;
        }
        readFilms(films)
            .then((read) => (store.films.value = read))
            .catch((error: Error) => (store.refusal.value = error.message))
            .then(() => {
                if (this.store === store) this.#begin(store, place);
            });
    }

    #begin(store: Store, place: HTMLElement): void {
        // A page may be written to open something of its own; what its address says comes first.
        const asked = () => (this.embedded ? "" : location.hash) || (this.getAttribute("address") ?? "");
        const told = store.refusal.value;
        store.open(asked());
        store.refusal.value ??= told;
        // Who wants no motion sees the end, and moves on by hand.
        if (still.value && (this.embedded || location.hash === "")) store.playing.value = false;
        // Beside text of others, keys are for those who are in the lab.
        const keys = this.embedded || this.hasAttribute("guest") ? this : document;
        render(<App store={store} host={this} keys={keys} docs={this.getAttribute("docs")} />, place);
        if (keys === this) this.#playWhenSeen(store);
        if (this.embedded) return;
        const address = window.setInterval(() => {
            if (!store.playing.peek()) history.replaceState(null, "", `#${store.address}`);
        }, WRITTEN_EVERY);
        const opened = () => {
            if (location.hash !== `#${store.address}`) store.open(asked());
        };
        window.addEventListener("hashchange", opened);
        this.#leave.push(() => window.clearInterval(address), () => window.removeEventListener("hashchange", opened));
        if (this.hasAttribute("guest")) return;
        this.#leave.push(
            effect(() => {
                document.title = `${store.preset.value?.title ?? "tegum lab"}`;
            }),
        );
    }

    /** What stands further down a page begins when somebody gets there. */
    #playWhenSeen(store: Store): void {
        if (!store.playing.peek()) return;
        store.playing.value = false;
        const observer = new IntersectionObserver((entries) => {
            if (!entries.some((entry) => entry.isIntersecting)) return;
            observer.disconnect();
            store.playing.value = true;
        });
        observer.observe(this);
        this.#leave.push(() => observer.disconnect());
    }

    disconnectedCallback(): void {
        for (const leave of this.#leave) leave();
        this.#leave = [];
        this.store = null;
    }
}

if (customElements.get("tegum-lab") === undefined) customElements.define("tegum-lab", TegumLab);
