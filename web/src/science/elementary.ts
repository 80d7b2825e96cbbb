// Elementary functions made of + − × ÷ alone, so that they have the same bits in every browser: the language leaves the
// last digits of Math.exp, Math.log, Math.cos and Math.sin open, and a run would differ from one machine to another.
// Reductions and polynomials are those of fdlibm (Sun Microsystems 1993), with errors below one unit in the last place.

const LN2_HIGH = 6.9314718036912381649e-1;
const LN2_LOW = 1.90821492927058770002e-10;
const PER_LN2 = 1.442695040888963387;
const LN10 = 2.302585092994045684;

/** π/2 in three parts, the first two of 33 bits: their products with whole numbers below 2²⁰ are exact. */
const HALF_PI = [1.57079632673412561417, 6.0771005063039659766e-11, 2.02226624879595063154e-21] as const;
const PER_HALF_PI = 6.36619772367581382433e-1;
const LARGEST_ANGLE = 1_048_576;

/** 2^k for every k that a double can have, from −1074 to 1023; halving and doubling are exact. */
const POWERS_OF_TWO = powersOfTwo();

function powersOfTwo(): Float64Array {
    const powers = new Float64Array(2098);
    powers[1074] = 1;
    for (let k = 1075; k < 2098; k++) powers[k] = 2 * powers[k - 1];
    for (let k = 1073; k >= 0; k--) powers[k] = powers[k + 1] / 2;
    return powers;
}

const BITS = new DataView(new ArrayBuffer(8));

/** x · 2^k without rounding, unless the result is subnormal. */
export function scaled(x: number, k: number): number {
    if (k > 1023) return x * POWERS_OF_TWO[2097] * POWERS_OF_TWO[Math.min(k - 1023, 1023) + 1074];
    if (k < -1022) return x * POWERS_OF_TWO[52] * POWERS_OF_TWO[Math.max(k + 1022, -1074) + 1074];
    return x * POWERS_OF_TWO[k + 1074];
}

/** The k with |x| = f · 2^k and ½ ≤ f < 1; 0 for 0, and for what is not finite. */
export function exponent(x: number): number {
    if (x === 0 || !Number.isFinite(x)) return 0;
    BITS.setFloat64(0, x);
    const bits = (BITS.getInt32(0) >>> 20) & 0x7ff;
    return bits > 0 ? bits - 1022 : exponent(x * POWERS_OF_TWO[1074 + 54]) - 54;
}

/** e^x. */
export function exp(x: number): number {
    if (!(x > -745.2)) return x !== x ? x : 0;
    if (x > 709.79) return Infinity;
    const k = Math.floor(PER_LN2 * x + 0.5);
    const high = x - k * LN2_HIGH;
    const low = k * LN2_LOW;
    const r = high - low;
    const t = r * r;
    const c =
        r -
        t *
            (1.66666666666666019037e-1 +
                t *
                    (-2.77777777770155933842e-3 +
                        t *
                            (6.61375632143793436117e-5 +
                                t * (-1.6533902205465251539e-6 + t * 4.13813679705723846039e-8))));
    return scaled(1 - (low - (r * c) / (2 - c) - high), k);
}

/** The natural logarithm of x. */
export function log(x: number): number {
    if (!(x > 0)) return x === 0 ? -Infinity : NaN;
    if (x === Infinity) return x;
    let k = exponent(x);
    let f = scaled(x, -k);
    if (f < 0.70710678118654752) {
        f *= 2;
        k -= 1;
    }
    f -= 1;
    const s = f / (2 + f);
    const z = s * s;
    const w = z * z;
    const even = w * (3.999999999940941908e-1 + w * (2.222219843214978396e-1 + w * 1.531383769920937332e-1));
    const odd =
        z *
        (6.66666666666673513e-1 +
            w * (2.857142874366239149e-1 + w * (1.818357216161805012e-1 + w * 1.479819860511658591e-1)));
    const half = 0.5 * f * f;
    return k * LN2_HIGH - (half - (s * (half + even + odd) + k * LN2_LOW) - f);
}

/** The logarithm of x to base 10. */
export function log10(x: number): number {
    return log(x) / LN10;
}

/** 10^x. */
export function exp10(x: number): number {
    return exp(x * LN10);
}

/** base^n for a whole number n of at least 0, by repeated squaring. */
export function power(base: number, n: number): number {
    let result = 1;
    for (let square = base, rest = n; rest > 0; rest = Math.floor(rest / 2), square *= square) {
        if (rest % 2 === 1) result *= square;
    }
    return result;
}

/** cos x, for |x| up to 2²⁰. */
export function cos(x: number): number {
    const [quarter, high, low] = reduced(x);
    const value = quarter % 2 === 0 ? cosKernel(high, low) : sinKernel(high, low);
    return quarter === 1 || quarter === 2 ? -value : value;
}

/** sin x, for |x| up to 2²⁰. */
export function sin(x: number): number {
    const [quarter, high, low] = reduced(x);
    const value = quarter % 2 === 0 ? sinKernel(high, low) : cosKernel(high, low);
    return quarter > 1 ? -value : value;
}

/** x without its multiple of π/2, as a sum of two numbers, and that multiple modulo 4. */
function reduced(x: number): [number, number, number] {
    if (!(Math.abs(x) <= LARGEST_ANGLE)) return [0, NaN, NaN];
    const n = Math.floor(x * PER_HALF_PI + 0.5);
    const first = x - n * HALF_PI[0];
    const middle = n * HALF_PI[1];
    const rest = first - middle;
    const low = n * HALF_PI[2] - (first - rest - middle);
    const high = rest - low;
    return [n - 4 * Math.floor(n / 4), high, rest - high - low];
}

/** cos(x + y) for |x| up to π/4 and y below its last digit. */
function cosKernel(x: number, y: number): number {
    const z = x * x;
    const r =
        z *
        (4.16666666666666019037e-2 +
            z *
                (-1.38888888888741095749e-3 +
                    z *
                        (2.48015872894767294178e-5 +
                            z *
                                (-2.75573143513906633035e-7 +
                                    z * (2.0875723212981748279e-9 + z * -1.13596475577881948265e-11)))));
    const half = 0.5 * z;
    const near = 1 - half;
    return near + (1 - near - half + (z * r - x * y));
}

/** sin(x + y) for |x| up to π/4 and y below its last digit. */
function sinKernel(x: number, y: number): number {
    const z = x * x;
    const v = z * x;
    const r =
        8.33333333332248946124e-3 +
        z *
            (-1.98412698298579493134e-4 +
                z * (2.75573137070700676789e-6 + z * (-2.50507602534068634195e-8 + z * 1.58969099521155010221e-10)));
    return x - (z * (0.5 * y - v * r) - y - v * -1.66666666666666324348e-1);
}

/** x rounded to the nearest whole number, and to the even one of two, as NumPy rounds. */
export function rounded(x: number): number {
    const below = Math.floor(x);
    const rest = x - below;
    if (rest !== 0.5) return rest < 0.5 ? below : below + 1;
    return below % 2 === 0 ? below : below + 1;
}
