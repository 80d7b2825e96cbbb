// Geometry of the embeddings, with the definitions, tolerances and edge cases of the Python package: W is row-major, row
// i the embedding of feature i. A matrix has diverged if an entry is not finite or beyond 1e70; its measures are NaN,
// false or −1.
import { exponent, scaled } from "./elementary.ts";
import { decomposed, nearestOrthogonal, norms, product, rowProducts, transposed, unitRows } from "./linear.ts";
import { quoted, Refusal } from "./reading.ts";

/** An entry beyond this counts as diverged: sums of fourth powers must stay below 1e308. */
export const LARGEST_WEIGHT = 1e70;
/** A row shorter than this fraction of the longest row counts as zero. */
export const ZERO_TOLERANCE = 1e-6;
/** The largest difference of a cosine from its ideal. */
export const TOLERANCE = 0.1;

/** Whether every entry can be measured; NaN compares as false. */
export function isSound(weights: ArrayLike<number>): boolean {
    for (let at = 0; at < weights.length; at++) if (!(Math.abs(weights[at]) <= LARGEST_WEIGHT)) return false;
    return true;
}

/** The Gram matrix W Wᵀ, shape (n, n): squared norms, and off the diagonal interference. */
export function gram(weights: ArrayLike<number>, m: number): Float64Array {
    const products = rowProducts(weights, weights, m);
    return isSound(weights) ? products : products.fill(NaN);
}

/** The feature dimensionality D_i = |W_i|² / Σ_j (Ŵ_i·W_j)² (Elhage et al. 2022); that of a zero row is 0. */
export function dimensionality(weights: ArrayLike<number>, m: number): Float64Array {
    const n = weights.length / m;
    const result = new Float64Array(n);
    if (!isSound(weights)) return result.fill(NaN);
    let peak = 0;
    for (let at = 0; at < weights.length; at++) peak = Math.max(peak, Math.abs(weights[at]));
    const rows = Float64Array.from({ length: n * m }, (_, at) => weights[at] / (peak || 1));
    // Σ_j (W_i·W_j)² = W_iᵀ (WᵀW) W_i, at a cost of n m² in place of n² m.
    const columns = transposed(rows, n, m);
    const moved = rowProducts(rows, rowProducts(columns, columns, n), m);
    const squares = norms(rows, m).map((norm) => norm * norm);
    const least = ZERO_TOLERANCE * ZERO_TOLERANCE * squares.reduce((a, b) => Math.max(a, b), 0);
    for (let i = 0; i < n; i++) {
        if (!(squares[i] > least)) continue;
        let overlap = 0;
        for (let k = 0; k < m; k++) overlap += moved[i * m + k] * rows[i * m + k];
        // The sum includes j = i; rounding must not push a dimensionality above 1.
        result[i] = (squares[i] * squares[i]) / Math.max(overlap, squares[i] * squares[i]);
    }
    return result;
}

/** Which features have |W_i| ≥ threshold × scale; the scale is by default the longest row. */
export function represented(
    weights: ArrayLike<number>,
    m: number,
    threshold = 0.5,
    scale: number | null = null,
): boolean[] {
    checkPart("represented", "threshold", threshold);
    if (scale !== null && !(scale > 0 && scale < Infinity)) {
        throw new Refusal(`represented(scale=${quoted(scale)}): scale must be positive and finite, or null`);
    }
    const sizes = Array.from(norms(weights, m));
    if (!isSound(weights)) return sizes.map(() => false);
    const unit = scale ?? Math.max(...sizes);
    return sizes.map((size) => size >= threshold * unit && size > 0);
}

/**
 * Divide the represented features into tegum factors, groups that lie in mutually orthogonal subspaces: components of
 * the graph that joins two whose |cosine| exceeds the tolerance. For each feature the number of its factor, counted by
 * first features; −1 where it is not represented.
 */
export function tegumFactors(
    weights: ArrayLike<number>,
    m: number,
    tolerance = TOLERANCE,
    threshold = 0.5,
    scale: number | null = null,
): Int32Array {
    checkPart("tegumFactors", "tolerance", tolerance);
    const present = represented(weights, m, threshold, scale);
    const n = present.length;
    const directions = unitRows(weights, m);
    const labels = new Int32Array(n).fill(-1);
    let factors = 0;
    for (let first = 0; first < n; first++) {
        if (!present[first] || labels[first] >= 0) continue;
        labels[first] = factors;
        const reached = [first];
        for (let at = reached.pop(); at !== undefined; at = reached.pop()) {
            for (let other = 0; other < n; other++) {
                if (!present[other] || labels[other] >= 0 || !(Math.abs(dot(directions, m, at, other)) > tolerance))
                    continue;
                labels[other] = factors;
                reached.push(other);
            }
        }
        factors++;
    }
    return labels;
}

function dot(rows: Float64Array, m: number, i: number, j: number): number {
    let sum = 0;
    for (let k = 0; k < m; k++) sum += rows[i * m + k] * rows[j * m + k];
    return sum;
}

/**
 * Rotate and reflect W in hidden space into a pose that depends on its Gram matrix alone: Gram–Schmidt from selected
 * rows. Each time the first feature is selected whose part outside the axes so far is at least 0.37 of the largest such
 * part. With a reference, the pose is the one closest to it (orthogonal Procrustes, Schönemann 1966).
 */
export function canonicalPose(
    weights: ArrayLike<number>,
    m: number,
    reference: ArrayLike<number> | null = null,
): Float64Array {
    const n = weights.length / m;
    if (reference !== null && reference.length !== weights.length) {
        throw new Refusal(
            `canonicalPose(reference of ${reference.length} numbers): must have as many as weights, ${weights.length}`,
        );
    }
    if (!isSound(weights) || (reference !== null && !isSound(reference))) return new Float64Array(n * m).fill(NaN);
    if (reference !== null) {
        const across = rowProducts(transposed(weights, n, m), transposed(reference, n, m), n);
        return product(weights, nearestOrthogonal(across, m), n, m, m);
    }
    let peak = 0;
    for (let at = 0; at < weights.length; at++) peak = Math.max(peak, Math.abs(weights[at]));
    // Squares of small numbers would be zero; powers of two change no digit.
    const power = exponent(peak);
    const rows = Float64Array.from({ length: n * m }, (_, at) => scaled(weights[at], -power));
    return posed(rows, n, m).map((value) => scaled(value, power));
}

function posed(weights: Float64Array, n: number, m: number): Float64Array {
    const rest = weights.slice();
    const result = new Float64Array(n * m);
    const axes = new Float64Array(m * m);
    const longest = norms(weights, m).reduce((a, b) => Math.max(a, b), 0);
    for (let axis = 0; axis < m; axis++) {
        const outside = norms(rest, m);
        const largest = outside.reduce((a, b) => Math.max(a, b), 0);
        // Below this, only rounding errors remain outside the axes found so far.
        if (!(largest > 1e-12 * longest)) continue;
        const chosen = outside.findIndex((size) => size >= 0.37 * largest);
        const direction = rest.slice(chosen * m, (chosen + 1) * m);
        // Once more: a short remainder has lost its orthogonality to rounding.
        const overlaps = rowProducts(axes, direction, m);
        for (let k = 0; k < m; k++) for (let a = 0; a < m; a++) direction[k] -= overlaps[a] * axes[a * m + k];
        const length = norms(direction, m)[0];
        if (!(length > 0)) continue;
        for (let k = 0; k < m; k++) axes[axis * m + k] = direction[k] / length;
        const along = rowProducts(rest, axes.subarray(axis * m, (axis + 1) * m), m);
        for (let i = 0; i < n; i++) {
            result[i * m + axis] = along[i];
            for (let k = 0; k < m; k++) rest[i * m + k] -= along[i] * axes[axis * m + k];
        }
    }
    return result;
}

/**
 * Put a trajectory into one pose, so that a film of it does not spin: the last step in its canonical pose, every earlier
 * one in the pose closest to its successor. Steps after a run has diverged are NaN, and the chain starts before them.
 */
export function alignSteps(steps: readonly ArrayLike<number>[], m: number): Float64Array[] {
    const result: Float64Array[] = [];
    let successor: Float64Array | null = null;
    for (const weights of [...steps].reverse()) {
        const pose = canonicalPose(weights, m, successor);
        if (isSound(pose)) successor = pose;
        result.push(pose);
    }
    return result.reverse();
}

/** The principal axes of the embeddings. */
export interface PrincipalAxes {
    /** (count, m): orthonormal axes as rows, those of the largest part of |W|² first. */
    axes: Float64Array;
    /** The part of |W|² along each of them. */
    shares: Float64Array;
}

/** The axes of hidden space along which the embeddings lie most, about the origin; NaN where W has diverged. */
export function principalAxes(weights: ArrayLike<number>, m: number, count = m): PrincipalAxes {
    const n = weights.length / m;
    if (!isSound(weights))
        return { axes: new Float64Array(count * m).fill(NaN), shares: new Float64Array(count).fill(NaN) };
    const { values, right } = decomposed(weights, n, m);
    const total = values.reduce((sum, value) => sum + value * value, 0) || 1;
    const axes = transposed(right, m, m).slice(0, count * m);
    return { axes, shares: values.slice(0, count).map((value) => (value * value) / total) };
}

export function checkPart(call: string, name: string, value: number): void {
    if (!(value >= 0 && value < 1)) throw new Refusal(`${call}(${name}=${quoted(value)}): ${name} must lie in [0, 1)`);
}
