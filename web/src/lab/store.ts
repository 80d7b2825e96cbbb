// All that the page knows, as signals: what is shown, and how. Views read them and draw; controls set them. The camera,
// the step and the rest of the state go into the address, and come from it.
import { computed, signal } from "@preact/signals";
import { quoted, Refusal } from "../science/reading.ts";
import { readSpec } from "../science/spec.ts";
import type { Change, DatedChange } from "../science/train.ts";
import { FIRST_VIEWS, presetIn, read, type Shown, type State, type Trained, type View, VIEWS, written } from "./address.ts";
import { same } from "./brief.ts";
import { type Camera, FIRST_SIGHT } from "./camera.ts";
import type { Crew } from "./crew.ts";
import { describe, type Described } from "./described.ts";
import { Draft } from "./draft.ts";
import type { Film } from "./film.ts";
import { happenings } from "./happenings.ts";
import { type Home, IN_PAGE, trainable } from "./home.ts";
import { PRESETS, type Preset } from "./presets.ts";
import { type Frame, type Happening, Recording } from "./recording.ts";
import { still } from "./theme.ts";

/** Frames that are played in a second, at speed 1. */
const RATE = 30;

/** A moved embedding. */
export interface Hand {
    /** Which of the runs shown. */
    at: number;
    feature: number;
    /** In the pose of the scene. */
    weights: Float64Array;
    /** Null until the loss has been computed. */
    loss: number | null;
    /** The length of the gradient of the moved embedding. */
    slope: number | null;
}

export class Store {
    readonly crew: Crew;
    readonly home: Home;
    /** What the page has recorded of other places; the first of them is shown before anything else. */
    readonly films = signal<readonly Film[]>([]);
    /** Where, in the folder of the local lab, the films come from. */
    readonly opened = signal<readonly string[]>([]);
    /** The runs that are shown: one, or two side by side. */
    readonly recordings = signal<readonly Recording[]>([]);
    /** Counts the runs of which Python has told what happened in them. */
    readonly news = signal(0);
    /** Counts the frames that have come, so that views are drawn again. */
    readonly version = signal(0);
    /** As `version`, but counted only every so many frames. */
    readonly chapter = computed(() => {
        const frames = this.version.value < 0 ? 0 : (this.recordings.value[0]?.frames.length ?? 0);
        return this.recordings.value[0]?.whole ? -frames : Math.floor(frames / 50);
    });
    /** The step that every view shows. */
    readonly step = signal(0);
    /** Whether the step moves on by itself. */
    readonly playing = signal(true);
    readonly speed = signal(1);
    readonly camera = signal<Camera>(FIRST_SIGHT);
    readonly selected = signal<number | null>(null);
    /** A change that is being prepared. */
    readonly draft = new Draft();
    readonly views = signal<readonly View[]>(FIRST_VIEWS);
    readonly hidden = signal<readonly string[]>([]);
    readonly logarithmic = signal({ time: false, loss: true });
    readonly preset = signal<Preset | null>(null);
    /** What went wrong, in a sentence. */
    readonly refusal = signal<string | null>(null);
    /** What is going on, or was done, in a sentence. */
    readonly notice = signal<string | null>(null);
    /** A state that a hand has made of the shown one, and what the loss says of it; null where nothing was moved. */
    readonly hand = signal<Hand | null>(null);
    /** The last states of other runs of the Spec, by the number of the run. */
    readonly ensemble = signal<ReadonlyMap<number, Frame>>(new Map());
    #asking = false;
    #played = 0;
    #ids: number[] = [];
    #ensembleId: number | null = null;
    /** What the ensemble is of. */
    #ensembleOf = "";
    /** Whether the end of the run is to be shown once it is there, as nothing moves by itself. */
    #awaitsEnd = false;

    /** The first of the runs shown. */
    readonly first = computed(() => this.recordings.value[0] ?? null);
    /** The number of the shown frame of each run; −1 while there is none. */
    readonly indices = computed(() => {
        void this.version.value;
        return this.recordings.value.map((each) => each.indexAt(this.step.value));
    });

    /** What happened in the first run so far; looked for when it is whole, and now and then before. */
    readonly events = computed<readonly Happening[]>(() => {
        const recording = this.recordings.value[0];
        void [this.chapter.value, this.news.value];
        return recording === undefined ? [] : happenings(recording);
    });

    constructor(crew: Crew, home: Home = IN_PAGE) {
        this.crew = crew;
        this.home = home;
    }

    /** The film of the first of the runs shown, if it is recorded. */
    readonly film = computed<Film | null>(() => this.films.value[this.first.value?.film ?? -1] ?? null);

    /** The state as an address has it. */
    get state(): State {
        return {
            opened: this.opened.value,
            shown: this.recordings.value.map(shownOf),
            step: this.step.value,
            camera: this.camera.value,
            selected: this.selected.value,
            views: this.views.value,
            hidden: this.hidden.value,
            logarithmic: this.logarithmic.value,
            preset: this.preset.value?.name ?? null,
        };
    }

    get address(): string {
        const preset = this.preset.value;
        return written(this.state, preset === null ? null : shownIn(preset).described.spec);
    }

    /** Open what an address says; without one the first film, or else the first preset, already moving. */
    open(address: string): void {
        try {
            const name = presetIn(address) ?? PRESETS[0].name;
            const first = PRESETS.find((each) => each.name === name);
            if (first === undefined) {
                throw new Refusal(`preset=${quoted(name)}: must be one of ${PRESETS.map((each) => each.name).join(", ")}`);
            }
            const [film] = this.films.value;
            const filmed = presetIn(address) === null && film !== undefined;
            const usual: State = {
                opened: this.opened.value,
                shown: [filmed ? { film: 0, run: film.runs[0].run } : shownIn(first)],
                step: null,
                camera: FIRST_SIGHT,
                selected: null,
                views: FIRST_VIEWS,
                hidden: [],
                logarithmic: { time: filmed && film.logarithmic, loss: true },
                preset: filmed ? null : first.name,
            };
            const state = read(address, usual, {
                describe: (text) => this.home.describe(text),
                checked: (of, run, changes) => this.home.checked(of, run, changes),
                films: this.films.value,
            });
            this.camera.value = state.camera;
            this.selected.value = state.selected;
            this.views.value = state.views;
            this.hidden.value = state.hidden;
            this.logarithmic.value = state.logarithmic;
            this.preset.value = PRESETS.find((each) => each.name === state.preset) ?? null;
            this.show(state.shown, state.step);
        } catch (error) {
            // What is shown instead takes the sentence about what was shown before away.
            if (address !== "") this.open("");
            this.refusal.value = (error as Error).message;
        }
    }

    choose(preset: Preset): void {
        this.preset.value = preset;
        this.selected.value = null;
        this.camera.value = FIRST_SIGHT;
        this.show([shownIn(preset)], null);
    }

    /** Show the first run of a film, from its beginning. */
    playFilm(film: number): void {
        this.preset.value = null;
        this.selected.value = null;
        this.logarithmic.value = { ...this.logarithmic.value, time: this.films.value[film].logarithmic };
        this.show([{ film, run: this.films.value[film].runs[0].run }], null);
    }

    /** Train these runs and show them: from the beginning, or at a step, where the address names one. */
    show(shown: readonly Shown[], step: number | null): void {
        const before = this.recordings.value;
        const known = this.#ids;
        this.#leaveEnsemble(shown[0]);
        this.draft.take();
        this.hand.value = null;
        this.refusal.value = null;
        // A run that is shown already goes on, with its past.
        const places = shown.map((each) => before.findIndex((other) => isSame(other, each)));
        known.forEach((id, at) => {
            if (!places.includes(at)) this.crew.stop(id);
        });
        const recordings = shown.map((each, at) => before[places[at]] ?? this.#recording(each));
        this.#ids = recordings.map((recording, at) => known[places[at]] ?? this.#train(recording));
        this.#played = 0;
        this.step.value = step ?? 0;
        this.playing.value = step === null && !still.peek();
        this.#awaitsEnd = step === null && still.peek();
        this.recordings.value = recordings;
        this.#showEnd();
    }

    #recording(shown: Shown): Recording {
        if ("film" in shown) return this.films.value[shown.film].recording(shown.run);
        return new Recording(shown.described, shown.run, shown.changes);
    }

    /** Where nothing moves by itself, the end is what is seen first. */
    #showEnd(): void {
        const recording = this.first.value;
        if (this.#awaitsEnd && recording?.whole) this.scrub(recording.last);
    }

    /** Runs beside the shown one stay as long as they differ by their number alone. */
    #leaveEnsemble(shown: Shown): void {
        const of = "film" in shown ? `film ${shown.film}` : JSON.stringify([shown.described.spec, shown.changes]);
        if (of === this.#ensembleOf) return;
        if (this.#ensembleId !== null) this.crew.stop(this.#ensembleId);
        this.#ensembleId = null;
        this.#ensembleOf = of;
        const film = "film" in shown ? this.films.value[shown.film] : null;
        // Every run of a film is there already.
        this.ensemble.value = new Map(film?.runs.map(({ run }) => [run, film.end(run)]));
    }

    /** The number of its training; 0 for a run that has been recorded. */
    #train(recording: Recording): number {
        if (recording.film !== null) return 0;
        return this.crew.train(trainable(recording.described), recording.run, recording.changes, {
            frames: (frames, _, diverged) => {
                for (const frame of frames) recording.push(frame);
                recording.diverged = diverged;
                this.version.value++;
                this.#showEnd();
                if (recording.whole) this.#askWhatHappened(recording);
            },
            refused: (sentence) => {
                this.refusal.value = sentence;
            },
        });
    }

    #askWhatHappened(recording: Recording): void {
        this.home.told?.(recording).then(
            (told) => {
                recording.told = told;
                this.news.value++;
            },
            // The page's own detectors have looked already.
            () => undefined,
        );
    }

    /** From the shown step on with a change; the former future stays beside it. */
    branch(change: Change): void {
        const recording = this.first.value;
        if (recording === null) return;
        const step = this.step.value;
        // What was recorded elsewhere has no past here: its state is where another run starts.
        if (recording.film !== null) {
            const frame = recording.frames[this.indices.value[0]];
            this.#trainFrom(recording, frame, null, [...this.inForceFrom(recording, frame.step), { ...change, step: 0 }]);
            return;
        }
        const past = recording.changes.filter((each) => each.step <= step);
        const changes: DatedChange[] = [...past, { ...change, step }];
        const { described, run } = recording;
        this.show([shownOf(recording), { described, run, changes }], step);
        this.playing.value = !still.peek();
    }

    /** Branch with what is prepared in the settings. */
    branchDraft(): void {
        if (!this.draft.empty) this.branch(this.draft.take());
    }

    /** Train from the beginning with a change. */
    restart(change: Change): void {
        const recording = this.first.value;
        if (recording === null) return;
        this.show([this.home.anew(recording.described, recording.run, change)], null);
    }

    /** Show the first run beside one that has been trained with a change from the beginning. */
    contrast(change: Change): void {
        const recording = this.first.value;
        if (recording === null) return;
        this.show([shownOf(recording), this.home.anew(recording.described, recording.run, change)], 0);
        this.playing.value = !still.peek();
    }

    /** Show another run beside the first one. */
    compare(run: number): void {
        const recording = this.first.value;
        if (recording === null) return;
        const shown = shownOf(recording);
        this.show([shown, { ...shown, run }], this.step.value);
    }

    /** Show the other of two runs alone, or the only one. */
    keep(at: number): void {
        const recording = this.recordings.value[at];
        if (recording === undefined) return;
        this.show([shownOf(recording)], this.step.value);
    }

    /** Show another run of the same Spec, or of the same film, alone. */
    turnTo(run: number, step: number | null): void {
        const recording = this.first.value;
        if (recording !== null) this.show([{ ...shownOf(recording), run }], step);
    }

    /** Train the other runs of the Spec to their ends. */
    trainEnsemble(runs: number): void {
        const recording = this.first.value;
        if (recording === null || recording.film !== null || this.#ensembleId !== null) return;
        this.#ensembleId = this.crew.ensemble(trainable(recording.described), recording.changes, runs, (run, frame) => {
            this.ensemble.value = new Map(this.ensemble.value).set(run, frame);
        });
    }

    /** Go to a step; playing stops. */
    scrub(step: number): void {
        const last = this.first.value?.last ?? 0;
        this.playing.value = false;
        this.#awaitsEnd = false;
        this.hand.value = null;
        this.step.value = Math.min(Math.max(Math.round(step), 0), last);
    }

    /** The numbers of all runs that there are of what is shown. */
    get runs(): readonly number[] {
        const film = this.film.value;
        if (film !== null) return film.runs.map(({ run }) => run);
        return Array.from({ length: this.first.value?.described.seeds ?? 0 }, (_, run) => run);
    }

    compareNext(): void {
        const recording = this.first.value;
        if (recording === null) return;
        const { runs } = this;
        if (runs.length > 1) this.compare(runs[(runs.indexOf(recording.run) + 1) % runs.length]);
        else this.refusal.value = `There is no other run to compare with: ${this.film.value === null ? "the Spec has seeds=1" : "the film has one"}`;
    }

    startEnsemble(): void {
        const recording = this.first.value;
        if (recording === null) return;
        if (!this.views.value.includes("ensemble")) this.toggle("ensemble");
        this.trainEnsemble(Math.min(64, recording.described.seeds));
    }

    toggle(view: View): void {
        const shown = this.views.value;
        this.views.value = VIEWS.filter((each) => (each === view ? !shown.includes(each) : shown.includes(each)));
    }

    toggleLogarithmic(axis: "time" | "loss"): void {
        this.logarithmic.value = { ...this.logarithmic.value, [axis]: !this.logarithmic.value[axis] };
    }

    /** Go to the next event, or the one before. */
    jump(way: 1 | -1): void {
        const steps = this.events.value.map((event) => event.step);
        const here = this.step.value;
        const there = way > 0 ? steps.find((step) => step > here) : steps.findLast((step) => step < here);
        if (there !== undefined) this.scrub(there);
    }

    selectNext(way: 1 | -1): void {
        const n = this.first.value?.n ?? 0;
        const here = this.selected.value;
        if (n > 0) this.selected.value = here === null ? (way > 0 ? 0 : n - 1) : (here + way + n) % n;
    }

    /** Put a moved embedding back; then select none. */
    letGo(): void {
        if (this.hand.value !== null) this.hand.value = null;
        else this.selected.value = null;
    }

    /** Go by recorded frames. */
    move(frames: number): void {
        const recording = this.first.value;
        if (recording === null || recording.frames.length === 0) return;
        const at = recording.indexAt(this.step.value) + frames;
        this.scrub(recording.frames[Math.min(Math.max(at, 0), recording.frames.length - 1)].step);
    }

    /** Move on by the time that has gone by, in seconds; called for each picture while playing. */
    tick(seconds: number): void {
        const recording = this.first.value;
        if (!this.playing.value || recording === null || recording.frames.length === 0) return;
        this.#played += seconds * RATE * this.speed.value;
        const frames = Math.floor(this.#played);
        this.#played -= frames;
        const at = recording.indexAt(this.step.value);
        const next = Math.min(at + frames, recording.frames.length - 1);
        if (next > at) this.step.value = recording.frames[next].step;
        if (recording.whole && next === recording.frames.length - 1) this.playing.value = false;
    }

    /** Put an embedding elsewhere; loss and gradient answer. */
    moveTo(at: number, feature: number, weights: Float64Array): void {
        const recording = this.recordings.value[at];
        const frame = recording?.frames[this.indices.value[at] ?? -1];
        if (recording === undefined || frame === undefined) return;
        this.playing.value = false;
        const before = this.hand.value?.feature === feature && this.hand.value.at === at ? this.hand.value : null;
        const { loss = null, slope = null } = before ?? {};
        this.hand.value = { at, feature, weights, loss, slope };
        const { described, changes } = recording;
        if (this.#asking || described.trainable === null) return;
        this.#asking = true;
        this.crew.ask({ spec: described.trainable, changes, step: frame.step, weights, bias: frame.bias }).then(
            (answer) => {
                this.#asking = false;
                const hand = this.hand.value;
                if (hand === null) return;
                if (hand.at === at && hand.feature === feature) {
                    const row = answer.weights.slice(feature * recording.m, (feature + 1) * recording.m);
                    this.hand.value = { ...hand, loss: answer.loss, slope: Math.hypot(...row) };
                }
                // The hand has moved on meanwhile.
                if (hand.weights !== weights) this.moveTo(hand.at, hand.feature, hand.weights);
            },
            () => (this.#asking = false),
        );
    }

    /** Take the hand away: the state is as it was. */
    release(): void {
        this.hand.value = null;
    }

    /** Train on from the state that the hand has made. */
    trainFromHand(): void {
        const hand = this.hand.value;
        const recording = hand === null ? null : this.recordings.value[hand.at];
        if (hand === null || recording == null) return;
        const frame = recording.frames[this.indices.value[hand.at]];
        // What was in force then is so from the beginning.
        this.#trainFrom(recording, frame, hand.weights, this.inForceFrom(recording, frame.step));
    }

    /** Train on from a state, beside what becomes of it without the change. */
    #trainFrom(recording: Recording, frame: Frame, moved: Float64Array | null, changes: readonly DatedChange[]): void {
        const { described } = recording;
        if (described.trainable === null) {
            this.refusal.value = described.why;
            return;
        }
        const from = this.startingAt(recording, moved ?? frame.weights, frame.bias, changes);
        this.show([shownOf(recording), from], 0);
        this.playing.value = !still.peek();
    }

    /** A run like this one, but from a state. */
    startingAt({ n, m, described, run }: Recording, weights: Float64Array, bias: Float64Array, changes: readonly DatedChange[]): Trained {
        const rows = Array.from({ length: n }, (_, i) => Array.from(weights.slice(i * m, (i + 1) * m)));
        return { described: this.home.startingAt(described, rows, Array.from(bias)), run, changes };
    }

    /** The changes in force at a step, as they are for a run that starts there. */
    inForceFrom(recording: Recording, step: number): DatedChange[] {
        return recording.changes.filter((each) => each.step <= step).map((each) => ({ ...each, step: 0 }));
    }

    play(): void {
        const recording = this.first.value;
        if (recording?.whole && this.step.value >= recording.frames[recording.frames.length - 1].step) this.step.value = 0;
        this.playing.value = !this.playing.value;
    }
}

function isSame(recording: Recording, other: Shown): boolean {
    const one = shownOf(recording);
    if ("film" in one || "film" in other) return same(one, other);
    return same([one.described.spec, one.run, one.changes], [other.described.spec, other.run, other.changes]);
}

/** A recording as the state of the page names it. */
function shownOf({ film, described, run, changes }: Recording): Shown {
    return film === null ? { described, run, changes } : { film, run };
}

const described = new Map<Preset, Described>();

export function shownIn(preset: Preset): Trained {
    const known = described.get(preset) ?? describe(readSpec(preset.spec));
    described.set(preset, known);
    return { described: known, run: preset.run ?? 0, changes: [] };
}
