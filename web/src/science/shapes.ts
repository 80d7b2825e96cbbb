// The catalogue of shapes that factors are named after: polytopes by their ideal vectors, which are all alike and form a
// tight frame, computed as in the Python package.
import { cos, sin } from "./elementary.ts";
import { rowProducts, unitRows } from "./linear.ts";

export interface Shape {
    name: string;
    /** The number of its vectors, and of the dimensions that they span. */
    count: number;
    dimension: number;
    /** The cosines of all pairs, row by row. */
    cosines: Float64Array;
    /** Whether it is a prism or an antiprism at another height than that of a tight frame. */
    atOtherHeight: boolean;
}

const SIMPLICES = ["", "point", "digon", "triangle", "tetrahedron"];
const POLYGONS = ["", "", "", "triangle", "square", "pentagon", "hexagon", "heptagon", "octagon"];
const ORTHOPLEXES = ["", "digon", "square", "octahedron"];
const STACKED: [string, number, number][] = [
    ["triangular prism", 3, 0],
    ["triangular antiprism", 3, 0.5],
    ["square antiprism", 4, 0.5],
];

type Vectors = number[][];

function shape(name: string, vectors: Vectors, atOtherHeight = false): Shape {
    const dimension = vectors[0].length;
    const rows = unitRows(vectors.flat(), dimension);
    return { name, count: vectors.length, dimension, cosines: rowProducts(rows, rows, dimension), atOtherHeight };
}

/** Helmert's basis of the space orthogonal to (1, …, 1): row k has k ones and then −k. */
function simplex(count: number): Shape {
    const name = SIMPLICES[count] ?? `${count - 1}-simplex`;
    if (count === 1) return shape(name, [[1]]);
    const basis = Array.from({ length: count - 1 }, (_, row) => {
        const k = row + 1;
        return Array.from({ length: count }, (_, i) => (i < k ? 1 : i === k ? -k : 0) / Math.sqrt(k + k * k));
    });
    return shape(
        name,
        Array.from({ length: count }, (_, i) => basis.map((row) => row[i])),
    );
}

function circle(count: number, twist = 0): Vectors {
    return Array.from({ length: count }, (_, i) => {
        const angle = (2 * Math.PI * (i + twist)) / count;
        return [cos(angle), sin(angle)];
    });
}

function polygon(count: number): Shape {
    return shape(POLYGONS[count] ?? `${count}-gon`, circle(count));
}

/** The most digons whose product has a name that does not count them. */
export const MOST_NAMED_DIGONS = 3;

/** The name of the cross-polytope of so many orthogonal digons. */
export function orthoplexName(digons: number): string {
    return ORTHOPLEXES[digons] ?? `${digons}-orthoplex`;
}

function orthoplex(digons: number): Shape {
    const axes = (sign: number) =>
        Array.from({ length: digons }, (_, i) => Array.from({ length: digons }, (_, k) => (i === k ? sign : 0)));
    return shape(orthoplexName(digons), [...axes(1), ...axes(-1)]);
}

/** Unit vectors to parallel polygons at ±√square, the lower turned by `twist` sides: tight at 1/3. */
function stacked(base: number, twist: number, square = 1 / 3): Vectors {
    const flat = Math.sqrt(1 - square);
    const layer = (turned: number, height: number) =>
        circle(base, turned).map(([x, y]) => [flat * x, flat * y, height]);
    return [...layer(0, Math.sqrt(square)), ...layer(twist, -Math.sqrt(square))];
}

function icosahedron(): Shape {
    const golden = (1 + Math.sqrt(5)) / 2;
    const corners = [1, -1].flatMap((one) => [1, -1].map((side) => [0, one, side * golden]));
    const turned = (by: number) => corners.map((corner) => [0, 1, 2].map((k) => corner[(k - by + 3) % 3]));
    return shape("icosahedron", [0, 1, 2].flatMap(turned));
}

function catalogueOf(count: number): Shape[] {
    const shapes: Shape[] = [];
    if (count <= 4) shapes.push(simplex(count));
    if (count >= 4 && count <= 8) shapes.push(polygon(count));
    if (count === 6) shapes.push(orthoplex(3));
    for (const [name, base, twist] of STACKED) if (2 * base === count) shapes.push(shape(name, stacked(base, twist)));
    if (count === 8) shapes.push(shape("cube", stacked(4, 0)));
    if (count === 12) shapes.push(icosahedron());
    if (count > 4 && count <= 10) shapes.push(simplex(count));
    if (count > 8 && count <= 19) shapes.push(polygon(count));
    if (count > 6 && count <= 128 && count % 2 === 0) shapes.push(orthoplex(count / 2));
    for (const [name, base, twist] of STACKED) {
        if (2 * base !== count) continue;
        for (let at = 0; at < 41; at++) shapes.push(shape(name, stacked(base, twist, 0.1 + at * 0.02), true));
    }
    return shapes;
}

const CATALOGUES = new Map<number, Shape[]>();

/**
 * All shapes of `count` vectors. Simplices of more than ten vectors and polygons of more than nineteen are omitted:
 * within the tolerance their features are orthogonal, and collapsed, respectively.
 */
export function catalogue(count: number): readonly Shape[] {
    let shapes = CATALOGUES.get(count);
    if (shapes === undefined) {
        shapes = catalogueOf(count);
        CATALOGUES.set(count, shapes);
    }
    return shapes;
}
