// All that the page knows, as signals: what is shown, and how. Views read them and draw; controls set them. The camera,
// the step and the rest of the state go into the address, and come from it.
import { computed, signal } from "@preact/signals";
import { quoted, Refusal } from "../science/reading.ts";
import { readSpec } from "../science/spec.ts";
import { type Change, type DatedChange, Trainer } from "../science/train.ts";
import { FIRST_VIEWS, presetIn, read, type Shown, type State, type View, VIEWS, written } from "./address.ts";
import { type Camera, FIRST_SIGHT } from "./camera.ts";
import type { Crew } from "./crew.ts";
import { Draft } from "./draft.ts";
import { happenings } from "./happenings.ts";
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
    /** The runs that are shown: one, or two side by side. */
    readonly recordings = signal<readonly Recording[]>([]);
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
        void this.chapter.value;
        return recording === undefined ? [] : happenings(recording);
    });

    constructor(crew: Crew) {
        this.crew = crew;
    }

    /** The state as an address has it. */
    get state(): State {
        return {
            shown: this.recordings.value.map(({ spec, run, changes }) => ({ spec, run, changes })),
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
        return written(this.state, preset === null ? null : shownOf(preset).spec);
    }

    /** Open what an address says; without one, the first preset, already moving. */
    open(address: string): void {
        try {
            const name = presetIn(address) ?? PRESETS[0].name;
            const first = PRESETS.find((each) => each.name === name);
            if (first === undefined) {
                throw new Refusal(`preset=${quoted(name)}: must be one of ${PRESETS.map((each) => each.name).join(", ")}`);
            }
            const usual: State = {
                shown: [shownOf(first)],
                step: null,
                camera: FIRST_SIGHT,
                selected: null,
                views: FIRST_VIEWS,
                hidden: [],
                logarithmic: { time: false, loss: true },
                preset: first.name,
            };
            const state = read(address, usual);
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
        this.show([shownOf(preset)], null);
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
        const recordings = shown.map((each, at) => before[places[at]] ?? new Recording(each.spec, each.run, each.changes));
        this.#ids = recordings.map((recording, at) => known[places[at]] ?? this.#train(recording));
        this.#played = 0;
        this.step.value = step ?? 0;
        this.playing.value = step === null && !still.peek();
        this.#awaitsEnd = step === null && still.peek();
        this.recordings.value = recordings;
        this.#showEnd();
    }

    /** Where nothing moves by itself, the end is what is seen first. */
    #showEnd(): void {
        const recording = this.first.value;
        if (this.#awaitsEnd && recording?.whole) this.scrub(recording.last);
    }

    /** Runs beside the shown one stay as long as they differ by their number alone. */
    #leaveEnsemble(shown: Shown): void {
        const of = JSON.stringify([shown.spec, shown.changes]);
        if (of === this.#ensembleOf) return;
        if (this.#ensembleId !== null) this.crew.stop(this.#ensembleId);
        this.#ensembleId = null;
        this.#ensembleOf = of;
        this.ensemble.value = new Map();
    }

    #train(recording: Recording): number {
        return this.crew.train(recording.spec, recording.run, recording.changes, {
            frames: (frames, _, diverged) => {
                for (const frame of frames) recording.push(frame);
                recording.diverged = diverged;
                this.version.value++;
                this.#showEnd();
            },
            refused: (sentence) => {
                this.refusal.value = sentence;
            },
        });
    }

    /** From the shown step on with a change; the former future stays beside it. */
    branch(change: Change): void {
        const recording = this.first.value;
        if (recording === null) return;
        const step = this.step.value;
        const past = recording.changes.filter((each) => each.step <= step);
        const changes: DatedChange[] = [...past, { ...change, step }];
        const { spec, run } = recording;
        this.show([{ spec, run, changes: recording.changes }, { spec, run, changes }], step);
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
        const changed = new Trainer(recording.spec, recording.run, [{ ...change, step: 0 }]);
        const training = { ...recording.spec.training, rate: changed.rate };
        const spec = readSpec({ ...recording.spec, training, features: changed.features.sets });
        this.preset.value = null;
        this.show([{ spec, run: recording.run, changes: [] }], null);
    }

    /** Show another run beside the first one. */
    compare(run: number): void {
        const recording = this.first.value;
        if (recording === null) return;
        const { spec, changes } = recording;
        this.show([{ spec, run: recording.run, changes }, { spec, run, changes }], this.step.value);
    }

    /** Show the other of two runs alone, or the only one. */
    keep(at: number): void {
        const recording = this.recordings.value[at];
        if (recording === undefined) return;
        const { spec, run, changes } = recording;
        this.show([{ spec, run, changes }], this.step.value);
    }

    /** Train the other runs of the Spec to their ends. */
    trainEnsemble(runs: number): void {
        const recording = this.first.value;
        if (recording === null || this.#ensembleId !== null) return;
        this.#ensembleId = this.crew.ensemble(recording.spec, recording.changes, runs, (run, frame) => {
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

    compareNext(): void {
        const recording = this.first.value;
        if (recording === null) return;
        if (recording.spec.seeds > 1) this.compare((recording.run + 1) % recording.spec.seeds);
        else this.refusal.value = "There is no other run to compare with: the Spec has seeds=1";
    }

    startEnsemble(): void {
        const recording = this.first.value;
        if (recording === null) return;
        if (!this.views.value.includes("ensemble")) this.toggle("ensemble");
        this.trainEnsemble(Math.min(64, recording.spec.seeds));
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
        if (this.#asking) return;
        this.#asking = true;
        const { spec, changes } = recording;
        this.crew.ask({ spec, changes, step: frame.step, weights, bias: frame.bias }).then(
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
        const { n, m, spec, run } = recording;
        const frame = recording.frames[this.indices.value[hand.at]];
        const rows = Array.from({ length: n }, (_, i) => Array.from(hand.weights.slice(i * m, (i + 1) * m)));
        const start = { weights: rows, bias: Array.from(frame.bias) };
        // What was in force then is so from the beginning.
        const changes = recording.changes.filter((each) => each.step <= frame.step).map((each) => ({ ...each, step: 0 }));
        const moved: Shown = { spec: { ...spec, start, initial_scale: null }, run, changes };
        this.show([{ spec, run, changes: recording.changes }, moved], 0);
        this.playing.value = !still.peek();
    }

    play(): void {
        const recording = this.first.value;
        if (recording?.whole && this.step.value >= recording.frames[recording.frames.length - 1].step) this.step.value = 0;
        this.playing.value = !this.playing.value;
    }
}

function isSame(one: Shown, other: Shown): boolean {
    return JSON.stringify([one.spec, one.run, one.changes]) === JSON.stringify([other.spec, other.run, other.changes]);
}

export function shownOf(preset: Preset): Shown {
    return { spec: readSpec(preset.spec), run: preset.run ?? 0, changes: [] };
}
