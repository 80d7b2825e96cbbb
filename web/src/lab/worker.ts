// The other thread: it trains, in slices short enough that a question is answered at once.
import { Trainer } from "../science/train.ts";
import { stepsOf } from "../science/snapshots.ts";
import type { Answer, Request } from "./protocol.ts";
import type { Frame } from "./recording.ts";

/** Milliseconds of training between two looks at the messages. */
const SLICE = 8;
/** Frames of one bundle, at most. */
const BUNDLE = 64;

interface Training {
    id: number;
    trainer: Trainer;
    /** The recorded steps, rising, and how many of them are done. */
    steps: number[];
    done: number;
    frames: Frame[];
    /** Whether the page has taken the last bundle. */
    free: boolean;
}

interface Ensemble {
    id: number;
    make: (run: number) => Trainer;
    runs: number;
    every: number;
    /** The run that is trained now. */
    run: number;
    trainer: Trainer | null;
}

export interface Port {
    postMessage(answer: Answer, transfer?: Transferable[]): void;
}

/** Everything that a worker does, apart from the worker itself, so that it can be tested without one. */
export class Workshop {
    readonly #port: Port;
    readonly #later: (task: () => void) => void;
    readonly #trainings = new Map<number, Training>();
    readonly #ensembles = new Map<number, Ensemble>();
    #asked: { key: string; trainer: Trainer } | null = null;
    #awake = false;

    constructor(port: Port, later: (task: () => void) => void) {
        this.#port = port;
        this.#later = later;
    }

    hear(request: Request): void {
        try {
            this.#hear(request);
        } catch (error) {
            this.#port.postMessage({ type: "refused", id: request.id, sentence: (error as Error).message });
        }
        this.#wake();
    }

    #hear(request: Request): void {
        switch (request.type) {
            case "train": {
                const trainer = new Trainer(request.spec, request.run, request.changes);
                const steps = stepsOf(request.spec.snapshots, request.spec.training.steps);
                this.#trainings.set(request.id, { id: request.id, trainer, steps, done: 0, frames: [], free: true });
                return;
            }
            case "taken": {
                const training = this.#trainings.get(request.id);
                if (training !== undefined) training.free = true;
                return;
            }
            case "ask": {
                this.#answer(request);
                return;
            }
            case "ensemble": {
                const { id, spec, changes, first, every, runs } = request;
                const make = (run: number) => new Trainer(spec, run, changes);
                if (first < runs) this.#ensembles.set(id, { id, make, runs, every, run: first, trainer: null });
                return;
            }
            case "stop": {
                this.#trainings.delete(request.id);
                this.#ensembles.delete(request.id);
                return;
            }
        }
    }

    #answer(request: Request & { type: "ask" }): void {
        const { spec, changes, step } = request;
        const key = JSON.stringify([spec, changes]);
        if (this.#asked?.key !== key) this.#asked = { key, trainer: new Trainer(spec, 0, changes) };
        const { trainer } = this.#asked;
        trainer.restore({ ...trainer.state, step, weights: request.weights, bias: request.bias });
        const { loss, weights, bias } = trainer.gradient();
        this.#port.postMessage({ type: "answer", id: request.id, loss, weights, bias });
    }

    #wake(): void {
        if (this.#awake) return;
        this.#awake = true;
        this.#later(() => {
            this.#awake = false;
            if (this.#work()) this.#wake();
        });
    }

    /** Train for a slice; whether there is more to do. */
    #work(): boolean {
        const share = SLICE / Math.max(this.#trainings.size, 1);
        let more = false;
        // Runs that are watched come first, side by side.
        for (const training of this.#trainings.values()) more = this.#advance(training, performance.now() + share) || more;
        if (more) return true;
        for (const ensemble of this.#ensembles.values()) more = this.#finish(ensemble, performance.now() + SLICE) || more;
        return more;
    }

    #advance(training: Training, end: number): boolean {
        const { trainer, steps, frames } = training;
        while (training.done < steps.length && frames.length < BUNDLE && performance.now() < end) {
            const left = steps[training.done] - trainer.step;
            // A few steps at a time, so that sparse snapshots do not make a slice long.
            if (left > 0) trainer.advance(Math.min(left, 16));
            if (trainer.step === steps[training.done]) {
                frames.push(frameOf(trainer));
                training.done++;
                if (trainer.diverged) training.done = steps.length;
            }
        }
        const done = training.done === steps.length;
        if (training.free && frames.length > 0) {
            training.free = false;
            training.frames = [];
            if (done) this.#trainings.delete(training.id);
            this.#port.postMessage({ type: "frames", id: training.id, frames, done, diverged: trainer.diverged });
        }
        return !done && training.frames.length < BUNDLE;
    }

    #finish(ensemble: Ensemble, end: number): boolean {
        while (performance.now() < end) {
            ensemble.trainer ??= ensemble.make(ensemble.run);
            if (ensemble.trainer.advance(16) > 0 && !ensemble.trainer.diverged) continue;
            const frame = frameOf(ensemble.trainer);
            this.#port.postMessage({ type: "end", id: ensemble.id, run: ensemble.run, frame });
            ensemble.trainer = null;
            ensemble.run += ensemble.every;
            if (ensemble.run >= ensemble.runs) {
                this.#ensembles.delete(ensemble.id);
                return false;
            }
        }
        return true;
    }
}

function frameOf(trainer: Trainer): Frame {
    return {
        step: trainer.step,
        weights: trainer.weights.slice(),
        bias: trainer.bias.slice(),
        loss: trainer.loss(),
    };
}
