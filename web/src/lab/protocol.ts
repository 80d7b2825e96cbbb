// What the page and its worker say to one another. The worker trains as fast as it can and sends frames in bundles, each
// only after the last one was taken: a slow page drops nothing and queues nothing, it gets larger bundles.
import type { Spec } from "../science/spec.ts";
import type { DatedChange } from "../science/train.ts";
import type { Frame } from "./recording.ts";

export type Request =
    /** Train a run and send its frames; `id` names it in answers. */
    | { type: "train"; id: number; spec: Spec; run: number; changes: readonly DatedChange[] }
    /** The bundle was taken, the next one may be sent. */
    | { type: "taken"; id: number }
    /** Loss and gradient of a state, on the evaluation sample of what is in force at a step (a hand on an embedding). */
    | { type: "ask"; id: number; spec: Spec; changes: readonly DatedChange[]; step: number; weights: Float64Array; bias: Float64Array }
    /** Train runs to their end, without their past: `first`, and every so many after it, below `runs`. */
    | { type: "ensemble"; id: number; spec: Spec; changes: readonly DatedChange[]; first: number; every: number; runs: number }
    | { type: "stop"; id: number };

export type Answer =
    | { type: "frames"; id: number; frames: Frame[]; done: boolean; diverged: boolean }
    | { type: "answer"; id: number; loss: number; weights: Float64Array; bias: Float64Array }
    | { type: "end"; id: number; run: number; frame: Frame }
    | { type: "refused"; id: number; sentence: string };
