// Kinds of feature set, as the JSON form of a Spec has them, and the mixture table that each of them is compiled to:
// components of weight w_c in which the features are independent with densities q_ci. A kind that the page does not
// know comes with its table. Orientations of one feature (equivariant) are no such mixture; they are rays.
import { cos, exp, sin } from "./elementary.ts";
import { isUnitRange, type Magnitude, moments, readMagnitude, UNIT_RANGE } from "./magnitudes.ts";
import { given, number, numbers, orElse, type Path, Refusal, refuse, table, whole } from "./reading.ts";

/** One number for every feature of a set, or one for each. */
export type PerFeature = number | number[];

interface Common {
    density: PerFeature;
    importance: PerFeature;
    magnitude?: Magnitude;
}
export type Independent = Common & { kind: "independent"; count: number };
export type Correlated = Common & { kind: "correlated"; size: number };
export type Anticorrelated = Common & { kind: "anticorrelated"; size: number };
export type PartiallyCorrelated = Common & { kind: "partially-correlated"; size: number; strength: number };
export type Equivariant = Omit<Common, "magnitude"> & { kind: "equivariant"; size: number; width: number };

/**
 * A set given by its mixture table, as Python writes the kinds that only it can compile (hierarchy, exactly-k, copula,
 * a user's own). `source` is the set as Python describes it, and plays no role here.
 */
export interface Table {
    kind: "table";
    importance: PerFeature;
    weights: number[];
    gates: number[][];
    magnitude?: Magnitude;
    source?: unknown;
}
export type FeatureSet = Independent | Correlated | Anticorrelated | PartiallyCorrelated | Equivariant | Table;

/** The most numbers in the table of a set. */
export const MOST_ENTRIES = 1_048_576;

const SIZED = ["kind", "density", "importance", "size"];
const KEYS: Record<FeatureSet["kind"], readonly string[]> = {
    independent: ["kind", "density", "importance", "count", "magnitude"],
    correlated: [...SIZED, "magnitude"],
    anticorrelated: [...SIZED, "magnitude"],
    "partially-correlated": [...SIZED, "strength", "magnitude"],
    equivariant: [...SIZED, "width"],
    table: ["kind", "importance", "weights", "gates", "magnitude", "source"],
};
/** The kinds that the page compiles itself. */
export const KINDS = Object.keys(KEYS).filter((kind) => kind !== "table");
/** Kinds of the Python package of which the page needs the table. */
const BY_TABLE = ["hierarchy", "exactly-k", "copula"];

/** Read a list of feature sets; an entry may carry `copies` and then stands for so many equal sets. */
export function readFeatures(path: Path, value: unknown, mostFeatures: number): FeatureSet[] {
    if (!Array.isArray(value)) refuse(path, value, "must be a list of feature sets");
    const sets: FeatureSet[] = [];
    let features = 0;
    for (const [at, item] of value.entries()) {
        const { copies = 1, ...rest } = Object(item) as Record<string, unknown>;
        const count = whole([...path, at, "copies"], copies, 1, mostFeatures);
        const set = readSet([...path, at], rest);
        features += count * sizeOf(set);
        if (features > mostFeatures) {
            throw new Refusal(
                `Spec(features of ${features.toLocaleString("en-US")} features): the page trains at most ` +
                    `${mostFeatures} features; tegum in Python trains more`,
            );
        }
        for (let copy = 0; copy < count; copy++) sets.push(set);
    }
    if (sets.length === 0) refuse(path, value, "must hold at least one feature set");
    return sets;
}

/** Read one feature set. */
export function readSet(path: Path, value: unknown): FeatureSet {
    const kind = given([...path, "kind"], (value as { kind?: unknown } | null)?.kind);
    if (typeof kind !== "string" || !Object.hasOwn(KEYS, kind)) {
        const known = Object.keys(KEYS).join(", ");
        refuse([...path, "kind"], kind, `must be a kind that the page can draw (${known})${instead(kind)}`);
    }
    const known = kind as FeatureSet["kind"];
    const from = table(path, value, KEYS[known]);
    if (known === "table") return readTable(path, from);
    const count = known === "independent" ? "count" : "size";
    const size = whole([...path, count], given([...path, count], from[count]), 1);
    const density = perFeature(
        [...path, "density"],
        given([...path, "density"], from.density),
        size,
        isDensity,
        DENSITY,
    );
    const importance = readImportance(path, from.importance, size);
    const law = known === "equivariant" ? {} : magnitudeOf([...path, "magnitude"], from.magnitude);
    switch (known) {
        case "independent":
            return { kind: known, density, importance, count: size, ...law };
        case "correlated":
        case "anticorrelated":
            return { kind: known, density, importance, size, ...law };
        case "partially-correlated": {
            const at = [...path, "strength"];
            const strength = number(at, given(at, from.strength), (x) => x >= 0 && x <= 1, "must lie in [0, 1]");
            return { kind: known, density, importance, size, strength, ...law };
        }
        case "equivariant": {
            const at = [...path, "width"];
            const width = number(at, given(at, from.width), (x) => x > 0, "must be a finite number above 0");
            if (Array.isArray(density)) {
                refuse([...path, "density"], density, "must be one number: the features of the set have one gate");
            }
            return { kind: known, density, importance, size, width };
        }
    }
}

function instead(kind: unknown): string {
    if (kind === "empirical") return ": activations of one's own are trained on in Python";
    return BY_TABLE.includes(kind as string) ? ": it needs the table of this one, which Python writes" : "";
}

const isDensity = (x: number) => x > 0 && x <= 1;
const DENSITY = "must lie in (0, 1]";
const isImportance = (x: number) => x === 0 || (x >= 1e-30 && x <= 1e30);

function perFeature(path: Path, value: unknown, size: number, keeps: (x: number) => boolean, rule: string): PerFeature {
    if (!Array.isArray(value)) return number(path, value, keeps, rule);
    const found = numbers(path, value, keeps, rule);
    if (found.length !== size) {
        refuse(path, value, `must be one number or ${size}, one for each feature of the set`);
    }
    return found;
}

function readImportance(path: Path, value: unknown, size: number): PerFeature {
    return perFeature(
        [...path, "importance"],
        orElse(value, 1),
        size,
        isImportance,
        "must be 0, or lie between 1e-30 and 1e30",
    );
}

function magnitudeOf(path: Path, value: unknown): { magnitude?: Magnitude } {
    const law = readMagnitude(path, value);
    return isUnitRange(law) ? {} : { magnitude: law };
}

function readTable(path: Path, from: Record<string, unknown>): Table {
    const inUnit = (x: number) => x >= 0 && x <= 1;
    const rule = "must be a list of probabilities, one for each component";
    const weights = numbers([...path, "weights"], given([...path, "weights"], from.weights), inUnit, rule);
    const sum = weights.reduce((all, each) => all + each, 0);
    if (!(Math.abs(sum - 1) <= 1e-9)) refuse([...path, "weights"], from.weights, "must sum to 1");
    const rows = given([...path, "gates"], from.gates);
    const each = `must be a list of ${weights.length} lists of densities in [0, 1], one for each component`;
    if (!Array.isArray(rows) || rows.length !== weights.length) refuse([...path, "gates"], rows, each);
    const gates = rows.map((row) => numbers([...path, "gates"], row, inUnit, each));
    const size = gates[0]?.length ?? 0;
    if (size === 0 || gates.some((row) => row.length !== size)) refuse([...path, "gates"], rows, each);
    if (size * gates.length > MOST_ENTRIES) {
        refuse([...path, "gates"], rows, `must hold at most ${MOST_ENTRIES.toLocaleString("en-US")} numbers`);
    }
    const importance = readImportance(path, from.importance, size);
    const law = magnitudeOf([...path, "magnitude"], from.magnitude);
    const source = from.source === undefined ? {} : { source: from.source };
    return { kind: "table", importance, weights, gates, ...law, ...source };
}

/** The number of features of a set. */
export function sizeOf(set: FeatureSet): number {
    if (set.kind === "table") return set.gates[0].length;
    return set.kind === "independent" ? set.count : set.size;
}

/** A number of each feature, spelt out. */
export function spelt(value: PerFeature, size: number): Float64Array {
    return typeof value === "number" ? new Float64Array(size).fill(value) : Float64Array.from(value);
}

/** A mixture of components within which features are independent. */
export interface MixtureTable {
    /** The probability of each component. */
    weights: number[];
    /** For each component, the probability that each feature is active. */
    gates: number[][];
}

/** Write a set as a mixture. */
export function tableOf(set: Exclude<FeatureSet, Equivariant>): MixtureTable {
    if (set.kind === "table") return { weights: set.weights, gates: set.gates };
    const size = sizeOf(set);
    const density = Array.from(spelt(set.density, size));
    switch (set.kind) {
        case "independent":
            return { weights: [1], gates: [density] };
        case "correlated":
            return nested(density);
        case "anticorrelated": {
            const each = density.map((p) => p / size);
            const alone = each.map((_, i) => each.map((_, j) => (i === j ? 1 : 0)));
            const none = 1 - each.reduce((sum, p) => sum + p, 0);
            return possible([none, ...each], [each.map(() => 0), ...alone]);
        }
        case "partially-correlated": {
            const shared = nested(density);
            const weights = shared.weights.map((weight) => set.strength * weight);
            return possible([...weights, 1 - set.strength], [...shared.gates, density]);
        }
    }
}

/** Components of features that share one uniform: nothing active, then the densest, …, then all. */
function nested(density: number[]): MixtureTable {
    const levels = [...new Set(density)].sort((a, b) => b - a);
    const bounds = [1, ...levels, 0];
    const weights = bounds.slice(1).map((bound, at) => bounds[at] - bound);
    const gates = levels.map((level) => density.map((p) => (p >= level ? 1 : 0)));
    return possible(weights, [density.map(() => 0), ...gates]);
}

/** The table without impossible components. */
function possible(weights: number[], gates: number[][]): MixtureTable {
    const kept = weights.map((_, at) => at).filter((at) => weights[at] > 0);
    const sum = kept.reduce((all, at) => all + weights[at], 0);
    return { weights: kept.map((at) => weights[at] / sum), gates: kept.map((at) => gates[at]) };
}

/** The probability that each feature is active. */
export function activeOf(set: FeatureSet): Float64Array {
    const size = sizeOf(set);
    if (set.kind === "equivariant") return spelt(set.density, size);
    const { weights, gates } = tableOf(set);
    return Float64Array.from({ length: size }, (_, i) => gates.reduce((sum, row, c) => sum + weights[c] * row[i], 0));
}

/** Moments of the features of a set, or of several sets. */
export interface Moments {
    /** The probability that each is active. */
    active: Float64Array;
    /** E[x_i]. */
    first: Float64Array;
    /** E[x_i x_j], row by row. */
    second: Float64Array;
}

function momentsOfSet(set: FeatureSet): Moments {
    const size = sizeOf(set);
    const active = activeOf(set);
    if (set.kind === "equivariant") return { active, ...momentsOfRays(set) };
    const { weights, gates } = tableOf(set);
    const [mean, square] = moments(set.magnitude ?? UNIT_RANGE);
    const second = new Float64Array(size * size);
    for (let i = 0; i < size; i++) {
        for (let j = 0; j < size; j++) {
            let together = 0;
            for (const [c, row] of gates.entries()) together += weights[c] * row[i] * row[j];
            second[i * size + j] = i === j ? active[i] * square : mean * mean * together;
        }
    }
    return { active, first: active.map((p) => p * mean), second };
}

/** Moments of orientations, means over the circle by the trapezoid rule: ½ p mean κ(θ) and ⅓ p mean κ(θ) κ(θ − θ_d). */
function momentsOfRays(set: Equivariant): { first: Float64Array; second: Float64Array } {
    const { size, width } = set;
    const density = set.density as number;
    let nodes = 2048;
    while (nodes < 2048 / width && nodes < 16384) nodes *= 2;
    const mean = (of: (angle: number) => number) => {
        let sum = 0;
        for (let node = 0; node < nodes; node++) sum += of((2 * Math.PI * (node + 0.5)) / nodes);
        return sum / nodes;
    };
    const curve = new TuningCurve(1, width);
    const turned = (angle: number, by: number) => curve.response(cos(angle - by), sin(angle - by), 0);
    const first = (density / 2) * mean((angle) => turned(angle, 0));
    const apart = Array.from({ length: size }, (_, d) => {
        const by = (2 * Math.PI * d) / size;
        return (density / 3) * mean((angle) => turned(angle, 0) * turned(angle, by));
    });
    const second = new Float64Array(size * size);
    for (let i = 0; i < size; i++) for (let j = 0; j < size; j++) second[i * size + j] = apart[(i - j + size) % size];
    return { first: new Float64Array(size).fill(first), second };
}

/** The von Mises tuning curves κ(θ − θ_i) = exp((cos(θ − θ_i) − 1)/width²) of orientations θ_i around the circle. */
export class TuningCurve {
    readonly #cosines: Float64Array;
    readonly #sines: Float64Array;
    readonly #sharpness: number;

    constructor(size: number, width: number) {
        const angles = Array.from({ length: size }, (_, i) => (2 * Math.PI * i) / size);
        this.#cosines = Float64Array.from(angles, cos);
        this.#sines = Float64Array.from(angles, sin);
        this.#sharpness = 1 / (width * width);
    }

    /** The response of orientation i to the angle of this cosine and sine. */
    response(cosine: number, sine: number, i: number): number {
        return exp((cosine * this.#cosines[i] + sine * this.#sines[i] - 1) * this.#sharpness);
    }
}

/** Feature sets, one after another, with what training and pictures ask of them. */
export class FeatureDistribution {
    readonly sets: readonly FeatureSet[];
    /** The number of features. */
    readonly n: number;
    /** The weight of each feature's squared error in the loss. */
    readonly importance: Float64Array;
    /** For each feature the number of its set. */
    readonly setOfFeature: Int32Array;

    constructor(sets: readonly FeatureSet[]) {
        this.sets = sets;
        const sizes = sets.map(sizeOf);
        this.n = sizes.reduce((sum, size) => sum + size, 0);
        this.importance = joined(sets.map((set) => spelt(set.importance, sizeOf(set))));
        this.setOfFeature = Int32Array.from(sizes.flatMap((size, at) => new Array<number>(size).fill(at)));
    }

    /** The probability that each feature is active. */
    get density(): Float64Array {
        return joined(this.sets.map(activeOf));
    }

    /** The moments of all features; those of different sets are independent. */
    moments(): Moments {
        const { n } = this;
        const parts = this.sets.map(momentsOfSet);
        const first = joined(parts.map((part) => part.first));
        const second = new Float64Array(n * n);
        for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) second[i * n + j] = first[i] * first[j];
        let start = 0;
        for (const part of parts) {
            const size = part.first.length;
            for (let i = 0; i < size; i++) {
                second.set(part.second.subarray(i * size, (i + 1) * size), (start + i) * n + start);
            }
            start += size;
        }
        return { active: joined(parts.map((part) => part.active)), first, second };
    }
}

function joined(parts: readonly Float64Array[]): Float64Array {
    const all = new Float64Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) {
        all.set(part, at);
        at += part.length;
    }
    return all;
}
