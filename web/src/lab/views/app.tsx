// The whole page: the scene of one run, or two, above the time axis, and the views beside them.
import { effect, signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useMemo } from "preact/hooks";
import type { View } from "../address.ts";
import { same } from "../brief.ts";
import { csv, python } from "../exports.ts";
import { KEYS, press } from "../keys.ts";
import { changeInWords } from "../happenings.ts";
import { PRESETS, type Preset } from "../presets.ts";
import { count, significant } from "../sentence.ts";
import type { Recording } from "../recording.ts";
import { shownIn, type Store } from "../store.ts";
import { chosenTheme, isDark } from "../theme.ts";
import { EnsembleView } from "./ensemble.tsx";
import { GramView } from "./gram.tsx";
import { filmed } from "./filming.ts";
import { moveSelected, SceneView, svgOf } from "./scene.tsx";
import { SettingsView } from "./settings.tsx";
import { EventList, TimeView } from "./time.tsx";

const TITLES: Record<View, string> = {
    loss: "Loss",
    dimensionality: "Dimensionality",
    gram: "Gram matrix W Wᵀ, and b",
    ensemble: "Ensemble",
    settings: "Settings",
    claim: "What to look for",
};
const SPEEDS = [0.25, 0.5, 1, 2, 4, 8];

interface Props {
    store: Store;
    host: HTMLElement;
    /** Where keys are heard. */
    keys: HTMLElement | Document;
    docs: string | null;
    /** What stands above the views. */
    beside: (store: Store) => ComponentChildren;
}

export function App({ store, host, keys, docs, beside }: Props) {
    const help = useMemo(() => signal(false), []);
    useEffect(() => running(store), []);
    useEffect(() => {
        const hear = (heard: Event) => {
            const event = heard as KeyboardEvent;
            const [target] = event.composedPath();
            if (help.value && event.key !== "?") return;
            // A slider wants the keys that move it, other controls all of them.
            if (target instanceof HTMLInputElement && (target.type !== "range" || /^(Arrow|Page|Home|End)/.test(event.key))) return;
            if (target instanceof HTMLSelectElement || target instanceof HTMLTextAreaElement) return;
            // A focused button, or what else can be opened, is pressed by space and enter.
            if (target instanceof HTMLElement && target.matches("button, summary, a") && [" ", "Enter"].includes(event.key)) return;
            if (press(store, event, (dx, dy) => moveSelected(store, host, dx, dy), () => (help.value = !help.value))) {
                event.preventDefault();
                // What the key means to a page around is not meant.
                if (keys === host) event.stopPropagation();
            }
        };
        keys.addEventListener("keydown", hear);
        return () => keys.removeEventListener("keydown", hear);
    }, []);
    const shown = store.views.value;
    const hidden = (name: string) => store.hidden.value.includes(name);
    const two = store.recordings.value.length > 1;
    return (
        <div class={`lab ${isDark.value ? "dark" : "light"}`}>
            {!hidden("toolbar") && <Toolbar store={store} help={() => (help.value = !help.value)} />}
            {store.refusal.value !== null && (
                <p class="refusal" role="alert">
                    {store.refusal.value}
                </p>
            )}
            {store.notice.value !== null && (
                <p class="notice" role="status">
                    {store.notice.value}
                </p>
            )}
            <main>
                {shown.includes("claim") && <Lead store={store} />}
                <div class="stage">
                    <div class={two ? "scenes two" : "scenes"}>
                        {store.recordings.value.map((recording, at) => (
                            <div key={at} class="one">
                                {two && (
                                    <h2>
                                        {at === 0 ? "first" : "second"}: run {recording.run}
                                        {difference(store.recordings.value, at)}
                                        <button type="button" onClick={() => store.keep(at)}>
                                            keep this one
                                        </button>
                                    </h2>
                                )}
                                <SceneView store={store} at={at} />
                            </div>
                        ))}
                    </div>
                    <HandView store={store} />
                    <Player store={store} />
                    {shown.includes("loss") && <TimeView store={store} what="loss" />}
                    {shown.includes("dimensionality") && <TimeView store={store} what="dimensionality" />}
                </div>
                <aside aria-label="Views">
                    {beside(store)}
                    {shown.includes("claim") && <Reading recording={store.first.value} />}
                    {shown.includes("claim") && store.preset.value !== null && (
                        <section class="claim">
                            <h2>{store.preset.value.title}</h2>
                            <p>{store.preset.value.look}</p>
                            <Offer store={store} preset={store.preset.value} />
                            <p class="caption">
                                How it is decided: {store.preset.value.criterion}{" "}
                                {docs !== null && <a href={`${docs}${store.preset.value.page}`}>Its page</a>}
                            </p>
                        </section>
                    )}
                    {shown.includes("gram") && (
                        <section>
                            <h2>
                                {TITLES.gram}
                                {two && ", of the first run"}
                            </h2>
                            <GramView store={store} />
                        </section>
                    )}
                    {shown.includes("settings") && !hidden("settings") && (
                        <section>
                            <h2>{TITLES.settings}</h2>
                            <SettingsView store={store} />
                        </section>
                    )}
                    {shown.includes("loss") && (
                        <section>
                            <h2>Events{two && " of the first run"}</h2>
                            <EventList store={store} />
                        </section>
                    )}
                    {shown.includes("ensemble") && (
                        <section>
                            <h2>{TITLES.ensemble}</h2>
                            <EnsembleView store={store} />
                        </section>
                    )}
                </aside>
            </main>
            {help.value && <Help close={() => (help.value = false)} />}
        </div>
    );
}

/** Moves the shown step on with the pictures of the screen. */
function running(store: Store): () => void {
    let [last, due] = [0, 0];
    const next = (now: number) => {
        due = 0;
        store.tick(last === 0 ? 0 : Math.min((now - last) / 1000, 0.1));
        last = now;
        if (store.playing.peek()) due = requestAnimationFrame(next);
    };
    const stop = effect(() => {
        if (store.playing.value && due === 0) {
            last = 0;
            due = requestAnimationFrame(next);
        }
    });
    return () => {
        stop();
        cancelAnimationFrame(due);
    };
}

function Toolbar({ store, help }: { store: Store; help: () => void }) {
    return (
        <header>
            <h1>tegum lab</h1>
            <FilmChoice store={store} />
            <label hidden={store.films.value.length > 0}>
                <span class="quiet">System</span>
                <select
                    aria-label="System"
                    value={store.preset.value?.name ?? ""}
                    onChange={(event) => {
                        const preset = PRESETS.find((each) => each.name === event.currentTarget.value);
                        if (preset !== undefined) store.choose(preset);
                    }}
                >
                    {store.preset.value === null && <option value="">your own</option>}
                    {PRESETS.map((preset) => (
                        <option key={preset.name} value={preset.name}>
                            {preset.title}
                        </option>
                    ))}
                </select>
            </label>
            <nav aria-label="Views">
                {(Object.keys(TITLES) as View[]).map((view) => (
                    <button type="button" key={view} aria-pressed={store.views.value.includes(view)} onClick={() => store.toggle(view)}>
                        {TITLES[view].replace(/ W Wᵀ.*/, "")}
                    </button>
                ))}
            </nav>
            <Exports store={store} />
            <button type="button" aria-label={isDark.value ? "Light" : "Dark"} onClick={() => (chosenTheme.value = isDark.value ? "light" : "dark")}>
                {isDark.value ? "☀" : "☾"}
            </button>
            <button type="button" aria-label="Keys" onClick={help}>
                ?
            </button>
        </header>
    );
}

/** Which of the page's films is shown, where there are several. */
function FilmChoice({ store }: { store: Store }) {
    const films = store.films.value;
    if (films.length < 2) return null;
    const shown = store.first.value?.film ?? null;
    return (
        <label>
            <span class="quiet">Runs of</span>
            <select aria-label="Runs of" value={shown ?? ""} onChange={(event) => store.playFilm(Number(event.currentTarget.value))}>
                {shown === null && <option value="">trained here</option>}
                {films.map((film, at) => (
                    <option key={at} value={at}>
                        {film.title || `film ${at}`}
                    </option>
                ))}
            </select>
        </label>
    );
}

function Exports({ store }: { store: Store }) {
    const take = async (kind: string) => {
        const recording = store.first.value;
        if (recording === null) return;
        store.notice.value = null;
        if (kind === "address") {
            await navigator.clipboard?.writeText(`${location.href.split("#")[0]}#${store.address}`);
            store.notice.value = "The address is copied: whoever opens it sees the same.";
        }
        if (kind === "csv") save("run.csv", "text/csv", csv(recording));
        if (kind === "python") save("run.py", "text/x-python", python(recording, store.home.reproduced));
        if (kind === "svg") save("scene.svg", "image/svg+xml", svgOf(store, 0, 640, 640));
        if (kind === "png") await savePng(svgOf(store, 0, 1280, 1280));
        if (kind === "film") {
            const film = await filmed(store, 640, (done) => (store.notice.value = `The film is recorded as it plays: ${Math.round(100 * done)} %`));
            store.notice.value = null;
            save("scene.webm", film.type, film);
        }
    };
    const first = store.recordings.value.length > 1 ? " of the first run" : "";
    return (
        <label>
            <span class="quiet">Export</span>
            <select
                aria-label="Export"
                value=""
                onChange={(event) => {
                    take(event.currentTarget.value).catch((error: Error) => (store.refusal.value = error.message));
                    event.currentTarget.value = "";
                }}
            >
                <option value="">Export …</option>
                <option value="address">Address, copied</option>
                <option value="png">Scene{first} as PNG</option>
                <option value="svg">Scene{first} as SVG</option>
                <option value="film">Film{first} as WebM</option>
                <option value="csv">Numbers{first} as CSV</option>
                <option value="python">Python that reproduces {first === "" ? "it" : "the first run"}</option>
            </select>
        </label>
    );
}

function save(name: string, type: string, content: BlobPart): void {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([content], { type }));
    link.download = name;
    link.click();
    URL.revokeObjectURL(link.href);
}

async function savePng(svg: string): Promise<void> {
    const image = new Image();
    image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;
    await image.decode();
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [image.width, image.height];
    canvas.getContext("2d")?.drawImage(image, 0, 0);
    canvas.toBlob((blob) => {
        if (blob !== null) save("scene.png", "image/png", blob);
    });
}

function Player({ store }: { store: Store }) {
    const recording = store.first.value;
    const done = recording === null || recording.frames.length === 0 ? 0 : recording.frames[recording.frames.length - 1].step;
    void store.version.value;
    // As the views say it: that of the last recorded state at or before the step.
    const step = recording?.frames[store.indices.value[0] ?? -1]?.step ?? store.step.value;
    return (
        <div class="player" role="group" aria-label="Player">
            <button type="button" aria-label={store.playing.value ? "Pause" : "Play"} onClick={() => store.play()}>
                {store.playing.value ? "❚❚" : "▶"}
            </button>
            <button type="button" aria-label="Previous event" title="[" onClick={() => store.jump(-1)}>
                ‹ event
            </button>
            <button type="button" aria-label="Next event" title="]" onClick={() => store.jump(1)}>
                event ›
            </button>
            <label>
                <span class="quiet">Speed</span>
                <select aria-label="Speed" value={String(store.speed.value)} onChange={(event) => (store.speed.value = Number(event.currentTarget.value))}>
                    {SPEEDS.map((speed) => (
                        <option key={speed} value={String(speed)}>
                            {speed}×
                        </option>
                    ))}
                </select>
            </label>
            <button type="button" onClick={() => store.compareNext()}>
                Compare
            </button>
            <span class="caption">
                step {count(step)}
                {recording !== null && done < recording.last && ` · trained ${count(done)} of ${count(recording.last)}`}
            </span>
        </div>
    );
}

/** What a run has that the other one shown has not, in words. */
function difference(recordings: readonly Recording[], at: number): string {
    const recording = recordings[at];
    const last = recording.changes[recording.changes.length - 1];
    if (last !== undefined) {
        const { step, ...change } = last;
        return `, from step ${count(step)} on: ${changeInWords(change)}`;
    }
    const sets = (each: Recording | undefined) => JSON.stringify(each?.described.sets);
    if (sets(recording) === sets(recordings[1 - at])) return "";
    const densities = new Set(recording.described.sets.flatMap((set) => set.density ?? []));
    const strengths = new Set(recording.described.sets.flatMap((set) => set.strength ?? []));
    const words = [["density", densities] as const, ["strength", strengths] as const];
    return words.map(([name, values]) => (values.size === 1 ? `, ${name} ${[...values][0]}` : "")).join("");
}

/** What all of this is about, in a sentence, for those who have just come. */
function Lead({ store }: { store: Store }) {
    const recording = store.first.value;
    if (recording === null) return null;
    const { n, m, described, film } = recording;
    const simplest = PRESETS.find((each) => each.name === "pentagon");
    return (
        <p class="lead">
            A tiny network {described.trainable === null || film !== null ? "had to" : "learns to"} pass {n} numbers, the features, through{" "}
            {m === 1 ? "a single one" : m} and get them back. Each arrow is the direction in which it stores one feature.{" "}
            {simplest !== undefined && store.preset.value !== null && store.preset.value !== simplest && (
                <button type="button" onClick={() => store.choose(simplest)}>
                    The simplest case: five in two dimensions
                </button>
            )}
        </p>
    );
}

/** What to try next, trained beside what is shown; and whether what is shown is still the example. */
function Offer({ store, preset }: { store: Store; preset: Preset }) {
    const { offer } = preset;
    const recording = store.first.value;
    const changed = recording !== null && !same(recording.described.spec, shownIn(preset).described.spec);
    return (
        <>
            {offer !== undefined && !changed && (
                <button type="button" onClick={() => store.contrast(offer.change)}>
                    {offer.words}
                </button>
            )}
            {changed && <p class="caption">The settings are no longer those of this example.</p>}
        </>
    );
}

/** How the picture is read, in the numbers of the run that is shown. */
function Reading({ recording }: { recording: Recording | null }) {
    if (recording === null) return null;
    const { n, m } = recording;
    return (
        <details class="reading">
            <summary>How to read this page</summary>
            <p>
                A model squeezes {n} numbers, the features, into {m}, and reads them out again: x̂ = ReLU(W Wᵀ x + b). Each arrow is the direction
                in which one feature is stored, a row of W. At length 1, the circle, a feature comes back in full if b is zero; where b
                is negative and takes some of it away, arrows are longer. Features with an angle
                below 90° between them add to one another's read-out; opposite ones are cut off by the ReLU. Sparse features are seldom active
                together, so that {n > m ? "more of them fit than there are dimensions" : "they may share what there is"}: that is superposition.
            </p>
            <p>
                A <b>digon</b> is two features in opposite directions; a <b>collapsed</b> pair shares one direction; an <b>absent</b> feature is not
                stored at all; on a <b>plateau</b> the loss hardly changes.
            </p>
            <p>
                <b>Dimensionality</b> is the part of a dimension that a feature has to itself: five in a pentagon have ⅖ each. The <b>Gram matrix</b> has
                squared lengths on its diagonal and interference elsewhere. Drag along the loss to go back in time, drag an arrow to ask what the loss
                says, change a setting and branch.
            </p>
        </details>
    );
}

/** What the loss says of a moved embedding. */
function HandView({ store }: { store: Store }) {
    const hand = store.hand.value;
    if (hand === null) return null;
    const recording = store.recordings.value[hand.at];
    const before = recording?.frames[store.indices.value[hand.at] ?? 0]?.loss ?? NaN;
    const words =
        hand.loss === null
            ? "…"
            : `loss ${significant(hand.loss)} (${significant(before)} before); training would pull it with a gradient of ${significant(hand.slope ?? NaN)}`;
    return (
        <p class="hand" role="status">
            Feature {hand.feature} is moved: {words}{" "}
            <button type="button" onClick={() => store.trainFromHand()}>
                Train from here
            </button>
            <button type="button" onClick={() => store.release()}>
                Put it back
            </button>
        </p>
    );
}

function Help({ close }: { close: () => void }) {
    return (
        <dialog class="help" aria-label="Keys" onClose={close} ref={(dialog) => (dialog?.open === false ? dialog.showModal() : undefined)}>
            <button type="button" class="close" aria-label="Close" onClick={close}>
                ×
            </button>
            <h2>Keys</h2>
            <dl>
                {KEYS.map(([key, meaning]) => (
                    <div key={key}>
                        <dt>{key}</dt>
                        <dd>{meaning}</dd>
                    </div>
                ))}
            </dl>
        </dialog>
    );
}

