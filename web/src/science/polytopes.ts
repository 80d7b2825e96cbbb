// Names of what embeddings form, as the Python package gives them: of each tegum factor and of the whole. A factor has
// the name of a shape if its features can be matched with the vectors of the shape so that every cosine is within the
// tolerance of the ideal one, and if its norms are comparable; otherwise it is named by its numbers. Collapsed features
// count as one direction. On request a factor without a strict name has that of the nearest shape, "deformed pentagon".
import { rounded } from "./elementary.ts";
import { checkPart, dimensionality, isSound, represented, TOLERANCE, tegumFactors } from "./geometry.ts";
import { norms, rowProducts, singularValues, unitRows } from "./linear.ts";
import { catalogue, MOST_NAMED_DIGONS, orthoplexName, type Shape } from "./shapes.ts";

/** The cosine that all pairs of features in one direction exceed. */
const COLLAPSED_COSINE = 0.95;
/** Norms are comparable if the shortest is at least this fraction of the longest. */
const COMPARABLE_NORMS = 0.7;
/** A singular value is a dimension of a deformed shape if its square is above this part of the largest one's. */
const FLAT = 0.2;
/** Partial matchings that are tried; beyond them the best one so far counts. */
const MOST_TRIED = 5000;
const UNNAMED = "features in";

export const DIVERGED = "diverged";
export const NOTHING = "nothing represented";

/** One tegum factor of a weight matrix. */
export interface Factor {
    name: string;
    /** The numbers of its features, rising. */
    features: number[];
    /** The dimension of its shape, or of the space that it fills. */
    dimension: number;
    /** The mean of its features' dimensionalities. */
    dimensionality: number;
    /** The dimensionality of each feature in the ideal shape as a fraction, such as [2, 5]; null if there is none. */
    ideal: [number, number] | null;
    /** The largest difference of a cosine from that of its shape; null unless deformed shapes were asked for. */
    deformation: number | null;
}

/** What a weight matrix forms. */
export interface Polytope {
    name: string;
    /** Its tegum factors, ordered by their first features. */
    factors: Factor[];
    unrepresented: number[];
}

export interface Naming {
    /** The largest difference of a cosine from its ideal. */
    tolerance?: number;
    /** The fraction of the scale that a represented row must reach. */
    threshold?: number;
    /** The norm of a fully represented feature; null is that of the longest row. */
    scale?: number | null;
    /** Whether to name factors that are no shape after the nearest one. */
    deformed?: boolean;
}

/** Name the polytope that a weight matrix forms, and its tegum factors. */
export function namePolytope(weights: ArrayLike<number>, m: number, naming: Naming = {}): Polytope {
    const { tolerance = TOLERANCE, threshold = 0.5, scale = null, deformed = false } = naming;
    checkPart("namePolytope", "tolerance", tolerance);
    const flags = represented(weights, m, threshold, scale);
    const all = flags.map((_, i) => i);
    if (!isSound(weights)) return { name: DIVERGED, factors: [], unrepresented: all };
    const present = all.filter((i) => flags[i]);
    const unrepresented = all.filter((i) => !flags[i]);
    if (present.length === 0) return { name: NOTHING, factors: [], unrepresented };
    const measured = dimensionality(weights, m);
    const { directions, rows } = merged(picked(weights, m, present), m);
    const labels = tegumFactors(rows, m, tolerance, 0);
    const factors: Factor[] = [];
    for (let label = 0; label <= Math.max(...labels); label++) {
        const own = directions.map((_, at) => at).filter((at) => labels[at] === label);
        const features = own.flatMap((at) => directions[at].map((i) => present[i])).sort((a, b) => a - b);
        const mean = features.reduce((sum, i) => sum + measured[i], 0) / features.length;
        const sizes = own.map((at) => directions[at].length);
        const described = describe(picked(rows, m, own), m, sizes, tolerance, deformed);
        factors.push({ ...described, features, dimensionality: mean });
    }
    return { name: nameOfWhole(factors), factors, unrepresented };
}

/** The tegum product of the factors' names, spelt out even if the whole has a name of its own. */
export function productOf(factors: readonly Factor[]): string {
    const counts = new Map<string, number>();
    const sizes = new Map<string, number>();
    for (const { name, features } of factors) {
        counts.set(name, (counts.get(name) ?? 0) + 1);
        sizes.set(name, features.length);
    }
    const names = [...counts.keys()].sort(
        (a, b) => counts.get(b)! - counts.get(a)! || sizes.get(b)! - sizes.get(a)! || (a < b ? -1 : 1),
    );
    return names.map((name) => (counts.get(name)! > 1 ? `${counts.get(name)} × ${name}` : name)).join(" ⊕ ");
}

function nameOfWhole(factors: readonly Factor[]): string {
    if (!factors.every(({ name }) => name === "digon")) return productOf(factors);
    const digons = factors.length;
    // A square is also the name of its corners alone, and which two digons cross is not seen in it.
    const counted = digons === 2 || digons > MOST_NAMED_DIGONS ? ` (${digons} digons)` : "";
    return orthoplexName(digons) + counted;
}

function picked(rows: ArrayLike<number>, m: number, which: readonly number[]): Float64Array {
    return Float64Array.from({ length: which.length * m }, (_, at) => rows[which[Math.floor(at / m)] * m + (at % m)]);
}

/** Find groups of at least two features that share a direction: norms comparable and all cosines above 0.95. */
export function collapsedGroups(vectors: ArrayLike<number>, m: number): number[][] {
    const sizes = norms(vectors, m);
    const n = sizes.length;
    const unit = unitRows(vectors, m);
    const cosines = rowProducts(unit, unit, m);
    const alike = (i: number, j: number) => {
        const longer = Math.max(sizes[i], sizes[j]);
        const comparable = Math.min(sizes[i], sizes[j]) / (longer > 0 ? longer : 1) >= COMPARABLE_NORMS;
        return comparable && cosines[i * n + j] > COLLAPSED_COSINE;
    };
    const all = Array.from(sizes, (_, i) => i);
    const partners = all.map((i) => all.filter((j) => alike(i, j)));
    // In a group all members have the same partners; a fan of directions is none.
    return partners.filter(
        (group, i) => group.length > 1 && group[0] === i && group.every((j) => partners[j].join() === group.join()),
    );
}

/** The features of each direction, and its vector: ΣW_i/√k for collapsed features. */
function merged(vectors: Float64Array, m: number): { directions: number[][]; rows: Float64Array } {
    const groups = collapsedGroups(vectors, m);
    const collapsed = new Set(groups.flat());
    const alone = Array.from({ length: vectors.length / m }, (_, i) => [i]).filter(([i]) => !collapsed.has(i));
    const directions = [...alone, ...groups].sort((a, b) => a[0] - b[0]);
    const rows = new Float64Array(directions.length * m);
    for (const [at, group] of directions.entries()) {
        for (const i of group)
            for (let k = 0; k < m; k++) rows[at * m + k] += vectors[i * m + k] / Math.sqrt(group.length);
    }
    return { directions, rows };
}

type Described = Pick<Factor, "name" | "dimension" | "ideal" | "deformation">;

/** Name a factor by the vectors of its directions and their numbers of features. */
function describe(rows: Float64Array, m: number, sizes: number[], tolerance: number, deformed: boolean): Described {
    const unit = unitRows(rows, m);
    const cosines = rowProducts(unit, unit, m);
    const found = match(cosines, norms(rows, m), tolerance);
    const dimension = found ? found.dimension : rank(unit, m, tolerance);
    const strict = { ...named(found, sizes, dimension), dimension, deformation: null };
    return deformed ? nearest(strict, cosines, rank(unit, m, FLAT), sizes) : strict;
}

function named(shape: Shape | null, sizes: number[], dimension: number): Pick<Factor, "name" | "ideal"> {
    const [size] = sizes;
    if (shape && sizes.every((each) => each === size)) {
        const ideal = reduced(shape.dimension, shape.count * size);
        if (size === 1) return { name: shape.name, ideal };
        return { name: shape.count === 1 ? groupName(size) : `${shape.name} of ${groupName(size, "s")}`, ideal };
    }
    const features = sizes.reduce((sum, each) => sum + each, 0);
    const numbers = `${features} ${UNNAMED} ${dimension} dimension${dimension > 1 ? "s" : ""}`;
    const groups = new Map<number, number>();
    for (const each of sizes) if (each > 1) groups.set(each, (groups.get(each) ?? 0) + 1);
    const parts = [...groups]
        .sort(([a], [b]) => a - b)
        .map(([each, count]) => `${count} ${groupName(each, count > 1 ? "s" : "")}`);
    const name = shape ? shape.name : numbers;
    return { name: parts.length > 0 ? `${name} with ${parts.join(" and ")}` : name, ideal: null };
}

function groupName(size: number, plural = ""): string {
    if (size === 2) return `collapsed pair${plural}`;
    return size === 3 ? `collapsed triple${plural}` : `collapsed group${plural} of ${size}`;
}

/** A fraction in lowest terms. */
function reduced(over: number, under: number): [number, number] {
    let [a, b] = [over, under];
    while (b > 0) [a, b] = [b, a % b];
    return [over / a, under / a];
}

/** The number of dimensions that unit rows fill. */
function rank(unit: Float64Array, m: number, tolerance: number): number {
    const spread = singularValues(unit, unit.length / m, m).map((value) => value * value);
    const least = Math.max(tolerance, 1e-9) * spread[0];
    return spread.filter((value) => value > least).length;
}

/** The shape whose cosines these are, within the tolerance, up to the order of the features. */
function match(cosines: Float64Array, sizes: Float64Array, tolerance: number): Shape | null {
    const shortest = Math.min(...sizes);
    if (shortest < COMPARABLE_NORMS * Math.max(...sizes) || shortest === 0) return null;
    const shapes = catalogue(sizes.length);
    const entries = cosines.slice().sort();
    const distances = shapes.map((shape) => largestDifference(shape.cosines.slice().sort(), entries));
    // The nearest shape is tried first, with rounded distances, because an octahedron ties with the antiprism that it is.
    const order = shapes.map((_, at) => at);
    const key = distances.map((distance) => rounded(distance * 1e9));
    order.sort((a, b) => Number(shapes[a].atOtherHeight) - Number(shapes[b].atOtherHeight) || key[a] - key[b] || a - b);
    for (const at of order) {
        // Equality up to order implies equality when sorted, which rules out most shapes.
        if (distances[at] <= tolerance && sameUpToOrder(cosines, shapes[at].cosines, sizes.length, tolerance)) {
            return shapes[at];
        }
    }
    return null;
}

function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
    let largest = 0;
    for (let at = 0; at < a.length; at++) largest = Math.max(largest, Math.abs(a[at] - b[at]));
    return largest;
}

/** For each row of one matrix and each of another, the largest difference of their sorted entries. */
function rowDifferences(cosines: Float64Array, ideal: Float64Array, n: number): number[][] {
    const rowsOf = (matrix: Float64Array) =>
        Array.from({ length: n }, (_, i) => matrix.slice(i * n, (i + 1) * n).sort());
    const ideals = rowsOf(ideal);
    return rowsOf(cosines).map((row) => ideals.map((other) => largestDifference(row, other)));
}

/** Whether some permutation of the features brings every cosine within the tolerance of the ideal one. */
function sameUpToOrder(cosines: Float64Array, ideal: Float64Array, n: number, tolerance: number): boolean {
    const differences = rowDifferences(cosines, ideal, n);
    const chosen: number[] = [];
    const fits = (feature: number, vector: number) =>
        differences[feature][vector] <= tolerance &&
        !chosen.includes(vector) &&
        chosen.every((other, i) => Math.abs(ideal[vector * n + other] - cosines[feature * n + i]) <= tolerance);
    const extend = (): boolean => {
        const feature = chosen.length;
        if (feature === n) return true;
        for (let vector = 0; vector < n; vector++) {
            if (!fits(feature, vector)) continue;
            chosen.push(vector);
            if (extend()) return true;
            chosen.pop();
        }
        return false;
    };
    return extend();
}

/** The factor with its deformation, and with the name of the nearest shape if it has no strict one. */
function nearest(strict: Described, cosines: Float64Array, flatRank: number, sizes: number[]): Described {
    const n = sizes.length;
    const shapes = catalogue(n);
    const entries = cosines.slice().sort();
    // No matching is better than that of sorted cosines: once one has been found, most shapes are ruled out.
    const bounds = shapes.map((shape) => largestDifference(shape.cosines.slice().sort(), entries));
    const order = shapes.map((_, at) => at).sort((a, b) => bounds[a] - bounds[b] || a - b);
    let least = Infinity;
    let found: Shape | null = null;
    for (const at of order) {
        if (bounds[at] >= least) continue;
        const distance = deformationFrom(cosines, shapes[at].cosines, n, least);
        if (distance >= least) continue;
        least = distance;
        found = shapes[at];
    }
    if (found === null) return strict;
    if (!strict.name.includes(UNNAMED)) return { ...strict, deformation: least };
    // Two nearly orthogonal features are no digon, and what fills more dimensions than the shape has is not that shape.
    const limit = Math.min(smallestGap(found.cosines) / 2, weakestLink(cosines, n));
    if (least >= limit || Math.max(...sizes) > 1 || flatRank > found.dimension) return strict;
    const ideal = reduced(found.dimension, found.count);
    return { name: `deformed ${found.name}`, dimension: strict.dimension, ideal, deformation: least };
}

/** The smallest gap between the different cosines of a shape, and 1. */
function smallestGap(ideal: Float64Array): number {
    const values = [...new Set([...ideal, 1].map((cosine) => rounded(cosine * 1e9) / 1e9))].sort((a, b) => a - b);
    return values.slice(1).reduce((least, value, at) => Math.min(least, value - values[at]), 2);
}

/** The largest cosine that must become zero to split the factor into orthogonal ones, where that takes least. */
function weakestLink(cosines: Float64Array, n: number): number {
    // Prim's maximum spanning tree: its smallest edge.
    const strength = Array.from({ length: n }, (_, j) => Math.abs(cosines[j]));
    const joined = strength.map((_, j) => j === 0);
    let weakest = 1;
    for (let edges = 1; edges < n; edges++) {
        let best = -1;
        for (let j = 0; j < n; j++) if (!joined[j] && (best < 0 || strength[j] > strength[best])) best = j;
        joined[best] = true;
        // A cosine of exactly zero joins nothing.
        if (strength[best] > 0) weakest = Math.min(weakest, strength[best]);
        for (let j = 0; j < n; j++)
            if (!joined[j]) strength[j] = Math.max(strength[j], Math.abs(cosines[best * n + j]));
    }
    return weakest;
}

/** The largest difference of a cosine from its ideal in the best matching, if it is below `least`. */
function deformationFrom(cosines: Float64Array, ideal: Float64Array, n: number, least: number): number {
    const rows = rowDifferences(cosines, ideal, n);
    const best = rows.map((row) => Math.min(...row));
    // The feature that fits worst first, as its place decides most; all vectors of a shape are alike.
    const order = best.map((_, at) => at).sort((a, b) => best[b] - best[a] || a - b);
    const chosen: number[] = [];
    let smallest = least;
    let tried = 0;
    const costOf = (feature: number, vector: number) =>
        chosen.reduce(
            (cost, other, at) => Math.max(cost, Math.abs(ideal[vector * n + other] - cosines[feature * n + order[at]])),
            rows[feature][vector],
        );
    const extend = (largest: number): void => {
        tried++;
        const placed = chosen.length;
        if (placed === n) {
            smallest = largest;
            return;
        }
        const costs = best.map((_, vector) => costOf(order[placed], vector));
        const vectors = placed === 0 ? [0] : costs.map((_, at) => at).sort((a, b) => costs[a] - costs[b] || a - b);
        for (const vector of vectors) {
            const cost = Math.max(largest, costs[vector]);
            if (cost >= smallest || tried > MOST_TRIED) return;
            if (chosen.includes(vector)) continue;
            chosen.push(vector);
            extend(cost);
            chosen.pop();
        }
    };
    extend(0);
    return smallest;
}
