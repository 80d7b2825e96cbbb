// The module of the local lab: the same element, whose runs are trained by Python on this machine, and which opens what is
// stored there.
import { signal } from "@preact/signals";
import { readSpec, type Spec } from "../science/spec.ts";
import { Crew } from "./crew.ts";
import { describe, type Described, fromPython, type FromPython } from "./described.ts";
import { type Setting, TegumLab } from "./element.tsx";
import { readFilms } from "./film.ts";
import { type Home, IN_PAGE } from "./home.ts";
import type { DatedChange } from "../science/train.ts";
import type { Happening } from "./recording.ts";
import { type Folder, Server } from "./server.ts";
import type { Store } from "./store.ts";
import { LocalView } from "./views/local.tsx";

/** What Python trains, the page knows by Python's description. */
function known(given: FromPython): Described {
    return { ...fromPython({ ...given, page: null }), trainable: given.spec as Spec, why: null };
}

/** A Spec as the page reads it, or null where it does not know its kind. */
function readable(spec: object): Spec | null {
    try {
        return readSpec(spec);
    } catch {
        return null;
    }
}

/** A home in which Python trains; Specs that the page does not know must have been described before. */
function homeOf(server: Server, described: ReadonlyMap<string, Described>): Home {
    return {
        describe(text) {
            return described.get(text) ?? describe(readSpec(text));
        },
        checked(_of, _run, changes) {
            return changes as DatedChange[];
        },
        anew(of, run, change) {
            const spec = readable(of.spec);
            return spec === null ? { described: of, run, changes: [{ ...change, step: 0 }] } : IN_PAGE.anew(describe(spec), run, change);
        },
        startingAt(of, weights, bias) {
            const { initial_scale: _, ...spec } = of.spec as Record<string, unknown>;
            const moved = { ...spec, start: { weights, bias } };
            return { ...of, spec: moved, trainable: moved as unknown as Spec };
        },
        fromPython: known,
        reproduced: "The Spec of the run in the page, which has the same bits where engine, version and vector unit are the same.",
        async told({ described: of, changes, run }) {
            const told = await server.ask({ type: "events", spec: of.trainable, changes, run });
            return (told as { happenings: Happening[] }).happenings;
        },
    };
}

class LocalLab extends TegumLab {
    /** What another address names has to be asked for again. */
    override reopen(): void {
        location.reload();
    }

    override async setting(): Promise<Setting> {
        const server = new Server(new URLSearchParams(location.search).get("token") ?? "");
        await server.begin();
        const folder = signal<Folder>(await server.folder());
        const described = new Map<string, Described>();
        const asked = new URLSearchParams((location.hash || (this.getAttribute("address") ?? "")).replace(/^#/, ""));
        let refused: string | null = null;
        for (const end of ["", "2"]) {
            const text = asked.get(`spec${end}`);
            if (text === null) continue;
            try {
                const given = await server.describe(JSON.parse(text));
                // Changes on the way may stand in a Spec; in an address they stand beside it.
                const spec = given.changes.length > 0 ? JSON.stringify(given.spec) : text;
                described.set(spec, known(given));
                if (given.changes.length > 0) {
                    asked.set(`spec${end}`, spec);
                    if (!asked.has(`changes${end}`)) asked.set(`changes${end}`, JSON.stringify(given.changes));
                    history.replaceState(null, "", `#${asked}`);
                }
            } catch (error) {
                refused = (error as Error).message;
            }
        }
        const opened: string[] = [];
        const films: Uint8Array[] = [];
        const { opens } = folder.value;
        for (const path of new Set([...(opens === null ? [] : [opens]), ...asked.getAll("open")])) {
            try {
                films.push(await server.film(path));
                opened.push(path);
            } catch (error) {
                refused = (error as Error).message;
            }
        }
        const crew = new Crew(() => server, 1);
        const open = async (store: Store, path: string) => {
            const first = store.films.value.length;
            const more = await readFilms(await server.film(path), known, first);
            store.films.value = [...store.films.value, ...more];
            store.opened.value = [...store.opened.value, path];
            store.playFilm(first);
        };
        return {
            crew,
            home: homeOf(server, described),
            films,
            opened,
            beside: (store) => <LocalView store={store} server={server} folder={folder} open={open} refused={refused} />,
        };
    }
}

customElements.define("tegum-lab", LocalLab);
