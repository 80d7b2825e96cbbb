// The element <tegum-lab>. Where runs are trained is its setting: in the page itself, or, in the local lab, by Python.
import { effect } from "@preact/signals";
import { type ComponentChildren, render } from "preact";
import styles from "./style.css";
import thread from "./thread.ts?worker";
import { Crew, type Hand } from "./crew.ts";
import { type Film, readFilms } from "./film.ts";
import { type Home, IN_PAGE } from "./home.ts";
import { Store } from "./store.ts";
import { asAround, still } from "./theme.ts";
import { App } from "./views/app.tsx";

/** Milliseconds between two looks at whether the address has to be written. */
const WRITTEN_EVERY = 300;

function hired(): Hand {
    const place = URL.createObjectURL(new Blob([thread], { type: "text/javascript" }));
    const worker = new Worker(place);
    URL.revokeObjectURL(place);
    return worker as unknown as Hand;
}

async function readAll(several: readonly Uint8Array[], home: Home): Promise<Film[]> {
    const films: Film[] = [];
    for (const bytes of several) films.push(...(await readFilms(bytes, home.fromPython, films.length)));
    return films;
}

/** What a page has beside the element itself. */
export interface Setting {
    crew: Crew;
    home: Home;
    /** Recorded runs in the bytes that Python writes. */
    films: readonly Uint8Array[];
    /** Where they come from in the folder of the local lab. */
    opened: readonly string[];
    /** What stands above the other views. */
    beside: (store: Store) => ComponentChildren;
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
    /** Called with its state whenever it comes into a document; what that returns is called when it leaves. */
    companion: ((store: Store) => () => void) | null = null;
    #leave: (() => void)[] = [];

    /** The setting of an element, at once or when it is there. */
    setting(): Setting | Promise<Setting> {
        const crew = new Crew(hired, Math.max(1, Math.min(8, (navigator.hardwareConcurrency || 2) - 1)));
        const films = this.films ?? (this.embedded ? null : filmsInPage());
        return { crew, home: IN_PAGE, films: films === null ? [] : [films], opened: [], beside: () => null };
    }

    connectedCallback(): void {
        const root = this.shadowRoot ?? this.attachShadow({ mode: "open" });
        const sheet = document.createElement("style");
        sheet.textContent = styles;
        const place = document.createElement("div");
        root.replaceChildren(sheet, place);
        // Whoever is taken out of the page while the setting is made has left.
        const stay = { there: true };
        this.#leave = [() => (stay.there = false), () => render(null, place)];
        const setting = this.setting();
        if (!(setting instanceof Promise)) {
            this.#open(setting, place, stay);
            return;
        }
        setting.then(
            (made) => this.#open(made, place, stay),
            (error: Error) => (place.textContent = error.message),
        );
    }

    #open(setting: Setting, place: HTMLElement, stay: { there: boolean }): void {
        if (!stay.there) {
            setting.crew.close();
            return;
        }
        const store = new Store(setting.crew, setting.home);
        this.store = store;
        this.#leave.push(() => setting.crew.close());
        if (this.companion !== null) this.#leave.push(this.companion(store));
        store.opened.value = setting.opened;
        if (setting.films.length === 0) {
            this.#begin(store, place, setting);
            return;
        }
        readAll(setting.films, setting.home)
            .then((read) => (store.films.value = read))
            .catch((error: Error) => (store.refusal.value = error.message))
            .then(() => {
                if (stay.there) this.#begin(store, place, setting);
            });
    }

    /** Show what the address says now. */
    reopen(store: Store, address: string): void {
        store.open(address);
    }

    #begin(store: Store, place: HTMLElement, { beside }: Setting): void {
        // A page may be written to open something of its own; what its address says comes first.
        const asked = () => (this.embedded ? "" : location.hash) || (this.getAttribute("address") ?? "");
        const told = store.refusal.value;
        store.open(asked());
        store.refusal.value ??= told;
        // Who wants no motion sees the end, and moves on by hand.
        if (still.value && (this.embedded || location.hash === "")) store.playing.value = false;
        // Beside text of others, keys are for those who are in the lab.
        const keys = this.embedded || this.hasAttribute("guest") ? this : document;
        render(<App store={store} host={this} keys={keys} docs={this.getAttribute("docs")} beside={beside} />, place);
        if (keys === this) this.#playWhenSeen(store);
        if (this.embedded) {
            this.#leave.push(asAround(this));
            return;
        }
        // The page in a frame of a notebook has no address of its own.
        if (location.protocol === "about:") {
            this.setAttribute("fitted", "");
            return;
        }
        const address = window.setInterval(() => {
            if (!store.playing.peek()) history.replaceState(null, "", `#${store.address}`);
        }, WRITTEN_EVERY);
        const opened = () => {
            if (location.hash !== `#${store.address}`) this.reopen(store, asked());
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
