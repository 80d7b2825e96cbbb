import assert from "node:assert/strict";
import { test } from "node:test";
import {
    alignSteps,
    canonicalPose,
    dimensionality,
    gram,
    principalAxes,
    represented,
    tegumFactors,
} from "../src/science/geometry.ts";
import {
    decomposed,
    nearestOrthogonal,
    product,
    rowProducts,
    singularValues,
    transposed,
} from "../src/science/linear.ts";
import { collapsedGroups, type Factor, namePolytope, productOf } from "../src/science/polytopes.ts";
import { Stream } from "../src/science/random.ts";
import { close, columns, flat, golden } from "./golden.ts";

interface Matrix {
    what: string;
    weights: number[][];
    gram: number[][] | null;
    dimensionality: number[];
    represented: boolean[];
    represented_at_full_strength: boolean[];
    factors: number[];
    pose: number[][];
    name: string;
    product: string;
    names_of_factors: Factor[];
    deformed: string;
    deformed_factors: Factor[];
    "within_0.3": string;
}
const MATRICES = golden<Matrix>("matrices");

test("measures of matrices are those of tegum", () => {
    assert.ok(MATRICES.length >= 60);
    for (const each of MATRICES) {
        const [weights, m, what] = [flat(each.weights), columns(each.weights), each.what];
        if (each.gram) close(gram(weights, m), each.gram, 1e-14, `${what}, Gram matrix`);
        close(dimensionality(weights, m), each.dimensionality, 1e-13, `${what}, dimensionality`);
        assert.deepEqual(represented(weights, m), each.represented, what);
        assert.deepEqual(represented(weights, m, 0.5, 1), each.represented_at_full_strength, what);
        assert.deepEqual([...tegumFactors(weights, m)], each.factors, what);
        close(canonicalPose(weights, m), each.pose, 1e-9, `${what}, pose`);
    }
});

function checkFactors(found: Factor[], expected: Factor[], what: string): void {
    assert.equal(found.length, expected.length, what);
    for (const [at, factor] of found.entries()) {
        const { dimensionality: measured, deformation, ...exact } = factor;
        const { dimensionality: wanted, deformation: bent, ...rest } = expected[at];
        assert.deepEqual(exact, rest, what);
        close([measured], wanted, 1e-13, `${what}, dimensionality of factor ${at}`);
        if (bent === null) assert.equal(deformation, null, what);
        else
            assert.ok(deformation !== null && Math.abs(deformation - bent) < 1e-12, `${what}: ${deformation}, ${bent}`);
    }
}

test("names of polytopes and of their factors are those of tegum", () => {
    for (const each of MATRICES) {
        const [weights, m] = [flat(each.weights), columns(each.weights)];
        const strict = namePolytope(weights, m);
        assert.equal(strict.name, each.name, each.what);
        assert.equal(productOf(strict.factors), each.product, each.what);
        checkFactors(strict.factors, each.names_of_factors, each.what);
        const deformed = namePolytope(weights, m, { deformed: true });
        assert.equal(deformed.name, each.deformed, each.what);
        checkFactors(deformed.factors, each.deformed_factors, each.what);
        assert.equal(namePolytope(weights, m, { tolerance: 0.3 }).name, each["within_0.3"], each.what);
    }
});

test("the golden matrices have all shapes among them, and deformed ones", () => {
    const names = new Set(MATRICES.flatMap((each) => [each.name, each.deformed]));
    for (const name of ["pentagon", "square antiprism", "cube", "icosahedron", "octahedron", "4-simplex", "9-gon"]) {
        assert.ok(names.has(name), name);
    }
    assert.ok([...names].filter((name) => name.startsWith("deformed")).length >= 4);
});

test("a name does not depend on the pose", () => {
    const stream = new Stream().key(0, 0, "start", 0);
    for (const each of MATRICES.filter(({ weights }) => flat(weights).every(Number.isFinite) && columns(weights) > 1)) {
        const [weights, m] = [flat(each.weights), columns(each.weights)];
        const random = new Float64Array(m * m);
        stream.fillNormals(random);
        const turned = product(weights, nearestOrthogonal(random, m), weights.length / m, m, m);
        assert.equal(namePolytope(turned, m).name, each.name, each.what);
    }
});

test("poses closest to a reference are those of tegum", () => {
    interface Pose {
        weights: number[][];
        reference: number[][];
        pose: number[][];
    }
    for (const each of golden<Pose>("poses")) {
        const pose = canonicalPose(flat(each.weights), columns(each.weights), flat(each.reference));
        close(pose, each.pose, 1e-12, "pose");
    }
});

test("trajectories in one pose are those of tegum", () => {
    for (const { steps, aligned } of golden<{ steps: number[][][]; aligned: number[][][] }>("trajectories")) {
        const found = alignSteps(steps.map(flat), columns(steps[0]));
        for (const [at, pose] of found.entries()) close(pose, aligned[at], 1e-12, `step ${at}`);
    }
});

test("a pose keeps the Gram matrix, and undoes a rotation", () => {
    const stream = new Stream().key(1, 0, "start", 0);
    for (const [n, m] of [
        [5, 2],
        [8, 3],
        [12, 7],
        [4, 6],
        [50, 40],
    ] as const) {
        const weights = new Float64Array(n * m);
        const random = new Float64Array(m * m);
        stream.fillNormals(weights);
        stream.fillNormals(random);
        const turned = product(weights, nearestOrthogonal(random, m), n, m, m);
        close(gram(canonicalPose(weights, m), m), [...gram(weights, m)], 1e-12, "Gram matrix");
        close(canonicalPose(turned, m), [...canonicalPose(weights, m)], 1e-8, "pose");
        close(canonicalPose(turned, m, weights), [...weights], 1e-10, "aligned");
    }
});

test("a reference that is no guide still gives a rotation", () => {
    const weights = Float64Array.of(1, 0, 0, 0, 2, 0);
    for (const reference of [new Float64Array(6), Float64Array.of(0, 0, 1, 0, 0, 0)]) {
        close(gram(canonicalPose(weights, 3, reference), 3), [...gram(weights, 3)], 1e-13, "Gram matrix");
    }
});

test("a decomposition gives the matrix back", () => {
    const stream = new Stream().key(2, 0, "start", 0);
    for (const [rows, size] of [
        [3, 3],
        [9, 4],
        [2, 5],
        [40, 40],
    ] as const) {
        const a = new Float64Array(rows * size);
        stream.fillNormals(a);
        const { left, values, right } = decomposed(a, rows, size);
        const stretched = left.map((value, at) => value * values[at % size]);
        close(product(stretched, transposed(right, size, size), rows, size, size), [...a], 1e-12, "product");
        const identity = Float64Array.from({ length: size * size }, (_, at) => Number(at % (size + 1) === 0));
        close(rowProducts(right, right, size), [...identity], 1e-13, "right vectors");
        assert.ok(values.every((value, at) => at === 0 || value <= values[at - 1]));
    }
    // Of (3 0; 4 5) they are √45 and √5.
    close(singularValues([3, 0, 4, 5], 2, 2), [Math.sqrt(45), Math.sqrt(5)], 1e-15, "singular values");
});

test("principal axes are those of the largest part of |W|²", () => {
    const { axes, shares } = principalAxes([3, 0, -3, 0, 0, 1], 2);
    close(axes.map(Math.abs), [1, 0, 0, 1], 1e-15, "axes");
    close(shares, [18 / 19, 1 / 19], 1e-15, "shares");
    assert.equal(principalAxes([1, 2, 3, 4, 5, 6], 3, 2).axes.length, 6);
    assert.ok(Number.isNaN(principalAxes([NaN, 1], 2).shares[0]));
});

test("collapsed features have all the same partners", () => {
    assert.deepEqual(collapsedGroups([1, 0, 1, 0.1, 0, 1, 0.9, 0], 2), [[0, 1, 3]]);
    assert.deepEqual(collapsedGroups([1, 0, 0.5, 0], 2), [], "of different norms");
    assert.deepEqual(collapsedGroups([0, 0, 0, 0], 2), [], "zero rows");
});

test("bad arguments are refused in one sentence", () => {
    assert.throws(() => represented([1], 1, 1), /represented\(threshold=1\): threshold must lie in \[0, 1\)/);
    assert.throws(() => represented([1], 1, 0.5, -1), /represented\(scale=-1\): scale must be positive and finite/);
    assert.throws(() => namePolytope([1], 1, { tolerance: 2 }), /namePolytope\(tolerance=2\)/);
    assert.throws(() => canonicalPose([1, 2], 1, [1]), /reference of 1 numbers/);
});
