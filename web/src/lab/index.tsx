// The element <tegum-lab>: everything in one module that fetches nothing.
import { effect } from "@preact/signals";
import { render } from "preact";
import styles from "./style.css";
import thread from "./thread.ts?worker";
import { Crew, type Hand } from "./crew.ts";
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

export class TegumLab extends HTMLElement {
    store: Store | null = null;
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
        // A page may be written to open something of its own; what its address says comes first.
        const asked = () => location.hash || (this.getAttribute("address") ?? "");
        store.open(asked());
        // Who wants no motion sees the end, and moves on by hand.
        if (still.value && location.hash === "") store.playing.value = false;
        render(<App store={store} host={this} docs={this.getAttribute("docs")} />, place);
        const address = window.setInterval(() => {
            if (!store.playing.peek()) history.replaceState(null, "", `#${store.address}`);
        }, WRITTEN_EVERY);
        const opened = () => {
            if (location.hash !== `#${store.address}`) store.open(asked());
        };
        window.addEventListener("hashchange", opened);
        const titled = effect(() => {
            document.title = `${store.preset.value?.title ?? "tegum lab"}`;
        });
        this.#leave = [
            () => window.clearInterval(address),
            () => window.removeEventListener("hashchange", opened),
            titled,
            () => render(null, place),
            () => crew.close(),
        ];
    }

    disconnectedCallback(): void {
        for (const leave of this.#leave) leave();
        this.#leave = [];
        this.store = null;
    }
}

if (customElements.get("tegum-lab") === undefined) customElements.define("tegum-lab", TegumLab);
