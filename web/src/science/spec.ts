// The description of runs, in the JSON form that the Python package writes: same names, defaults and rules. What the
// page cannot train is refused in one sentence. A Spec that has been read is that form again, with every default.
import { type FeatureSet, readFeatures, sizeOf } from "./features.ts";
import { ACTIVATIONS, type Activation } from "./model.ts";
import { DEFAULTS, OPTIONS, type Sampled } from "./optimise.ts";
import { choice, given, number, orElse, type Path, quoted, Refusal, refuse, table, whole } from "./reading.ts";
import { readSnapshots, type Snapshots } from "./snapshots.ts";

export interface Start {
    /** (n, m), or (seeds, n, m). */
    weights: number[][] | number[][][];
    /** (n,), or (seeds, n); null is zero. */
    bias: number[] | number[][] | null;
}

export interface Spec {
    features: FeatureSet[];
    hidden: number;
    activation: Activation;
    initial_scale: number | null;
    start: Start | null;
    training: Sampled;
    snapshots: Snapshots;
    seeds: number;
    base_seed: number;
}

/** What one page can train in a lesson, and keep in memory. */
export const LIMITS = {
    features: 400,
    hidden: 40,
    steps: 10_000_000,
    batch: 16_384,
    /** Samples of a batch, or of an evaluation, times features. */
    batchNumbers: 2_097_152,
    evaluation: 65_536,
    seeds: 4096,
} as const;

const KEYS = [
    "features",
    "hidden",
    "activation",
    "initial_scale",
    "start",
    "training",
    "snapshots",
    "seeds",
    "base_seed",
];

/** Read a Spec from JSON text or from what JSON text holds. */
export function readSpec(value: unknown): Spec {
    const from = table([], typeof value === "string" ? parsed(value) : value, KEYS);
    const features = readFeatures(["features"], given(["features"], from.features), LIMITS.features);
    const n = features.reduce((sum, set) => sum + sizeOf(set), 0);
    const hidden = whole(["hidden"], given(["hidden"], from.hidden), 1, LIMITS.hidden);
    const seeds = whole(["seeds"], orElse(from.seeds, 1), 1, LIMITS.seeds);
    const positive = (x: number) => x > 0;
    const scale = from.initial_scale ?? null;
    const spec: Spec = {
        features,
        hidden,
        activation: choice(["activation"], orElse(from.activation, "relu"), ACTIVATIONS),
        initial_scale:
            scale === null
                ? null
                : number(["initial_scale"], scale, positive, "must be a finite number above 0, or null"),
        start: readStart(["start"], from.start ?? null, seeds, n, hidden),
        training: readTraining(["training"], orElse(from.training, {})),
        snapshots: readSnapshots(["snapshots"], from.snapshots),
        seeds,
        base_seed: whole(["base_seed"], orElse(from.base_seed, 0), 0),
    };
    if (spec.start !== null && scale !== null) {
        refuse(["initial_scale"], scale, "must not be given together with start");
    }
    checkTogether(spec, n);
    return spec;
}

/** A Spec as JSON text, which `readSpec` and Python read. */
export function writeSpec(spec: Spec): string {
    return JSON.stringify(spec);
}

function parsed(text: string): unknown {
    try {
        return JSON.parse(text);
    } catch (error) {
        throw new Refusal(`Spec(${quoted(text)}): must be valid JSON: ${(error as Error).message}`);
    }
}

function checkTogether(spec: Spec, n: number): void {
    const { snapshots, training } = spec;
    const last = "steps" in snapshots ? (snapshots.steps.at(-1) ?? 0) : 0;
    if (last > training.steps) {
        refuse(["snapshots", "steps"], last, `must not go beyond the last step of training, ${training.steps}`);
    }
    const most = Math.floor(LIMITS.batchNumbers / n);
    for (const key of ["batch", "evaluation"] as const) {
        if (training[key] <= most) continue;
        refuse(["training", key], training[key], `must be at most ${most} in the page with ${n} features`);
    }
}

/** Read a way of training, which must be on samples. */
export function readTraining(path: Path, value: unknown): Sampled {
    const kind = orElse((value as { kind?: unknown } | null)?.kind, "sampled");
    if (kind !== "sampled") {
        const python = kind === "exact" || kind === "flow" ? `; tegum in Python trains '${kind}'` : "";
        refuse([...path, "kind"], kind, `must be 'sampled' in the page${python}`);
    }
    const from = table(path, value, Object.keys(DEFAULTS));
    const at = (key: keyof Sampled): [Path, unknown] => [[...path, key], orElse(from[key], DEFAULTS[key])];
    const positive = (x: number) => x > 0;
    const decay = from.weight_decay ?? null;
    const training: Sampled = {
        kind,
        steps: whole(...at("steps"), 0, LIMITS.steps),
        optimiser: choice(...at("optimiser"), ["adamw", "sgd"]),
        rate: number(...at("rate"), positive, "must be a finite number above 0"),
        schedule: choice(...at("schedule"), ["constant", "cosine", "linear"]),
        warmup: whole(...at("warmup"), 0),
        betas: readBetas(...at("betas")),
        eps: number(...at("eps"), positive, "must be a finite number above 0"),
        weight_decay:
            decay === null
                ? null
                : number(
                      [...path, "weight_decay"],
                      decay,
                      (x) => x >= 0,
                      "must be a finite number of at least 0, or null",
                  ),
        momentum: number(...at("momentum"), (x) => x >= 0 && x < 1, "must be a number in [0, 1)"),
        batch: whole(...at("batch"), 1, LIMITS.batch),
        evaluation: whole(...at("evaluation"), 1, LIMITS.evaluation),
    };
    if (training.warmup > training.steps) {
        refuse([...path, "warmup"], training.warmup, `must be at most steps, which is ${training.steps}`);
    }
    const other = training.optimiser === "adamw" ? "sgd" : "adamw";
    for (const key of OPTIONS[other]) {
        if (quoted(training[key]) === quoted(DEFAULTS[key])) continue;
        const rule = `must stay ${quoted(DEFAULTS[key])} with the optimiser '${training.optimiser}'`;
        refuse([...path, key], training[key], `${rule}: only '${other}' has it`);
    }
    return training;
}

function readBetas(path: Path, value: unknown): [number, number] {
    const isFraction = (x: unknown) => typeof x === "number" && x >= 0 && x < 1;
    if (Array.isArray(value) && value.length === 2 && value.every(isFraction)) return [value[0], value[1]];
    return refuse(path, value, "must be two numbers in [0, 1)");
}

function readStart(path: Path, value: unknown, seeds: number, n: number, m: number): Start | null {
    if (value === null) return null;
    const from = Array.isArray(value) ? { weights: value } : table(path, value, ["weights", "bias"]);
    const weights = given([...path, "weights"], from.weights);
    const bias = (from as Record<string, unknown>).bias ?? null;
    const check = (key: string, array: unknown, shape: number[]) => {
        if (hasShape(array, shape) || hasShape(array, [seeds, ...shape])) return;
        const each = `(${[seeds, ...shape].join(", ")}) with a start for each seed`;
        const rule = `must be an array of finite numbers of at most 1e30, of shape (${shape.join(", ")}), or ${each}`;
        refuse([...path, key], array, rule);
    };
    check("weights", weights, [n, m]);
    if (bias !== null) check("bias", bias, [n]);
    return { weights, bias } as Start;
}

function hasShape(value: unknown, shape: readonly number[]): boolean {
    if (shape.length === 0) return typeof value === "number" && Math.abs(value) <= 1e30;
    return Array.isArray(value) && value.length === shape[0] && value.every((each) => hasShape(each, shape.slice(1)));
}
