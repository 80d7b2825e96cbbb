// The edges of the convex hull of points in space, for up to some dozen points: every plane through three points that has
// all others on one side is a face, and an edge is where two faces meet at an angle.
const MOST = 24;
/** Relative to the size of the points. */
const FLAT = 1e-3;

/** Pairs of numbers of points; none for points in a plane, or for too many. */
export function hullEdges(points: readonly (readonly number[])[]): [number, number][] {
    const n = points.length;
    if (n < 4 || n > MOST) return [];
    const size = Math.max(...points.map((point) => Math.hypot(...point))) || 1;
    const normals = new Map<string, number[][]>();
    for (let i = 0; i < n; i++) {
        for (let j = i + 1; j < n; j++) {
            for (let k = j + 1; k < n; k++) {
                const normal = faceNormal(points, i, j, k, FLAT * size);
                if (normal === null) continue;
                for (const [a, b] of [[i, j], [i, k], [j, k]]) {
                    const key = `${a},${b}`;
                    const known = normals.get(key) ?? [];
                    // Faces with more than three corners are found as several triangles.
                    if (!known.some((other) => dot(other, normal) > 1 - 1e-4)) normals.set(key, [...known, normal]);
                }
            }
        }
    }
    return [...normals]
        .filter(([, found]) => found.length > 1)
        .map(([key]) => key.split(",").map(Number) as [number, number]);
}

/** The unit normal that points away from all other points; null if there are points on both sides, or everywhere on it. */
function faceNormal(points: readonly (readonly number[])[], i: number, j: number, k: number, least: number): number[] | null {
    const [a, b, c] = [points[i], points[j], points[k]];
    const [u, v] = [minus(b, a), minus(c, a)];
    const cross = [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
    const length = Math.hypot(...cross);
    if (length < least * least) return null;
    const normal = cross.map((value) => value / length);
    let [above, below] = [false, false];
    for (const point of points) {
        const height = dot(normal, minus(point, a));
        above ||= height > least;
        below ||= height < -least;
        if (above && below) return null;
    }
    if (above === below) return null;
    return above ? normal.map((value) => -value) : normal;
}

function minus(a: readonly number[], b: readonly number[]): number[] {
    return a.map((value, at) => value - b[at]);
}

function dot(a: readonly number[], b: readonly number[]): number {
    return a.reduce((sum, value, at) => sum + value * b[at], 0);
}

/** The corners of the convex hull of points in the plane, one after another. */
export function hullOutline(points: readonly (readonly [number, number] | number[])[]): [number, number][] {
    const sorted = points.map(([x, y]) => [x, y] as [number, number]).sort((a, b) => a[0] - b[0] || a[1] - b[1]);
    const half = (all: readonly [number, number][]) => {
        const chain: [number, number][] = [];
        for (const point of all) {
            while (chain.length > 1 && turns(chain[chain.length - 2], chain[chain.length - 1], point) <= 0) chain.pop();
            chain.push(point);
        }
        return chain.slice(0, -1);
    };
    return [...half(sorted), ...half(sorted.toReversed())];
}

/** Above 0 where the way from a by b to c turns left. */
function turns(a: readonly [number, number], b: readonly [number, number], c: readonly [number, number]): number {
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]);
}
