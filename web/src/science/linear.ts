// The little linear algebra that pictures and names need, for matrices of at most a few dozen rows, by Jacobi's methods:
// short, accurate to rounding, and made of + − × ÷ √ alone. Matrices are row-major.

const MOST_SWEEPS = 60;
/** Columns count as orthogonal below this cosine. */
const ORTHOGONAL = 1e-15;

/** A singular value decomposition A = U diag(values) Vᵀ, values falling. */
export interface Decomposition {
    /** (rows, columns): left singular vectors as columns; zero where the value is zero to rounding. */
    left: Float64Array;
    values: Float64Array;
    /** (columns, columns): right singular vectors as columns. */
    right: Float64Array;
}

/** Decompose a matrix by turning pairs of its columns until all are orthogonal (Hestenes 1958). */
export function decomposed(matrix: ArrayLike<number>, rows: number, columns: number): Decomposition {
    const a = Float64Array.from(matrix);
    const v = identity(columns);
    for (let sweep = 0; sweep < MOST_SWEEPS; sweep++) {
        let turned = false;
        for (let p = 0; p < columns; p++) {
            for (let q = p + 1; q < columns; q++) {
                const [c, s] = rotation(a, rows, columns, p, q);
                if (s === 0) continue;
                turned = true;
                turn(a, rows, columns, p, q, c, s);
                turn(v, columns, columns, p, q, c, s);
            }
        }
        if (!turned) break;
    }
    return sorted(a, v, rows, columns);
}

/** The cosine and sine that make two columns orthogonal; a sine of 0 if they are. */
function rotation(a: Float64Array, rows: number, columns: number, p: number, q: number): [number, number] {
    let pp = 0;
    let qq = 0;
    let pq = 0;
    for (let i = 0; i < rows; i++) {
        const x = a[i * columns + p];
        const y = a[i * columns + q];
        pp += x * x;
        qq += y * y;
        pq += x * y;
    }
    if (!(Math.abs(pq) > ORTHOGONAL * Math.sqrt(pp * qq)) || pq * pq === 0) return [1, 0];
    const zeta = (qq - pp) / (2 * pq);
    const t = (zeta >= 0 ? 1 : -1) / (Math.abs(zeta) + Math.sqrt(1 + zeta * zeta));
    const c = 1 / Math.sqrt(1 + t * t);
    return [c, c * t];
}

function turn(a: Float64Array, rows: number, columns: number, p: number, q: number, c: number, s: number): void {
    for (let i = 0; i < rows; i++) {
        const x = a[i * columns + p];
        const y = a[i * columns + q];
        a[i * columns + p] = c * x - s * y;
        a[i * columns + q] = s * x + c * y;
    }
}

function sorted(a: Float64Array, v: Float64Array, rows: number, columns: number): Decomposition {
    const norms = Array.from({ length: columns }, (_, k) => {
        let square = 0;
        for (let i = 0; i < rows; i++) square += a[i * columns + k] * a[i * columns + k];
        return Math.sqrt(square);
    });
    const order = norms.map((_, k) => k).sort((p, q) => norms[q] - norms[p] || p - q);
    const left = new Float64Array(rows * columns);
    const right = new Float64Array(columns * columns);
    const least = 1e-14 * Math.max(...norms);
    for (const [k, from] of order.entries()) {
        for (let i = 0; i < columns; i++) right[i * columns + k] = v[i * columns + from];
        if (!(norms[from] > least)) continue;
        for (let i = 0; i < rows; i++) left[i * columns + k] = a[i * columns + from] / norms[from];
    }
    return { left, values: Float64Array.from(order, (from) => norms[from]), right };
}

/** The singular values of a matrix, falling; as many as the smaller of its sides. */
export function singularValues(matrix: ArrayLike<number>, rows: number, columns: number): Float64Array {
    // The shorter side gives the columns, of which there are then fewer pairs.
    if (rows >= columns) return decomposed(matrix, rows, columns).values;
    return decomposed(transposed(matrix, rows, columns), columns, rows).values;
}

/** The orthogonal matrix R (size, size) nearest to a square matrix: the one that maximises tr(Rᵀ A). */
export function nearestOrthogonal(matrix: ArrayLike<number>, size: number): Float64Array {
    const { left, right } = decomposed(matrix, size, size);
    completed(left, size);
    return product(left, transposed(right, size, size), size, size, size);
}

/** Fill columns that are zero so that all are orthonormal. */
function completed(columns: Float64Array, size: number): void {
    for (let k = 0; k < size; k++) {
        if (columnNorm(columns, size, k) > 0.5) continue;
        // The axis that lies farthest outside what is there already.
        let best = new Float64Array(size);
        let farthest = -1;
        for (let axis = 0; axis < size; axis++) {
            const candidate = outside(columns, size, axis);
            const norm = Math.sqrt(candidate.reduce((sum, x) => sum + x * x, 0));
            if (norm <= farthest + 1e-9) continue;
            farthest = norm;
            best = candidate.map((x) => x / norm);
        }
        for (let i = 0; i < size; i++) columns[i * size + k] = best[i];
    }
}

/** An axis without its part in the span of orthonormal (or zero) columns. */
function outside(columns: Float64Array, size: number, axis: number): Float64Array {
    const vector = new Float64Array(size);
    vector[axis] = 1;
    // Twice is enough: a short remainder has lost its orthogonality to rounding.
    for (let pass = 0; pass < 2; pass++) {
        for (let k = 0; k < size; k++) {
            let overlap = 0;
            for (let i = 0; i < size; i++) overlap += columns[i * size + k] * vector[i];
            for (let i = 0; i < size; i++) vector[i] -= overlap * columns[i * size + k];
        }
    }
    return vector;
}

function columnNorm(columns: Float64Array, size: number, k: number): number {
    let square = 0;
    for (let i = 0; i < size; i++) square += columns[i * size + k] * columns[i * size + k];
    return Math.sqrt(square);
}

/** A Bᵀ of two matrices with rows of one length. */
export function rowProducts(a: ArrayLike<number>, b: ArrayLike<number>, length: number): Float64Array {
    const rows = a.length / length;
    const columns = b.length / length;
    const result = new Float64Array(rows * columns);
    for (let i = 0; i < rows; i++) {
        for (let j = 0; j < columns; j++) {
            let sum = 0;
            for (let k = 0; k < length; k++) sum += a[i * length + k] * b[j * length + k];
            result[i * columns + j] = sum;
        }
    }
    return result;
}

/** A B of matrices (rows, inner) and (inner, columns). */
export function product(
    a: ArrayLike<number>,
    b: ArrayLike<number>,
    rows: number,
    inner: number,
    columns: number,
): Float64Array {
    return rowProducts(
        Float64Array.from({ length: rows * inner }, (_, at) => a[at]),
        transposed(b, inner, columns),
        inner,
    );
}

export function transposed(a: ArrayLike<number>, rows: number, columns: number): Float64Array {
    const result = new Float64Array(rows * columns);
    for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) result[j * rows + i] = a[i * columns + j];
    return result;
}

/** The norms of rows. */
export function norms(a: ArrayLike<number>, length: number): Float64Array {
    return Float64Array.from({ length: a.length / length }, (_, i) => {
        let square = 0;
        for (let k = i * length; k < (i + 1) * length; k++) square += a[k] * a[k];
        return Math.sqrt(square);
    });
}

/** Rows of length 1; a zero row stays. */
export function unitRows(a: ArrayLike<number>, length: number): Float64Array {
    const sizes = norms(a, length);
    return Float64Array.from({ length: a.length }, (_, at) => a[at] / (sizes[Math.floor(at / length)] || 1));
}

function identity(size: number): Float64Array {
    const result = new Float64Array(size * size);
    for (let i = 0; i < size; i++) result[i * size + i] = 1;
    return result;
}
