// From steps and values to pixels and back, linear or logarithmic, with ticks that one can read.
export interface Axis {
    low: number;
    high: number;
    logarithmic: boolean;
    from: number;
    to: number;
}

/** A logarithmic axis of steps begins at step 1; step 0 lies where 0.5 would. */
const ZERO = 0.5;

export function position(axis: Axis, value: number): number {
    const at = (x: number) => (axis.logarithmic ? Math.log(Math.max(x, zeroOf(axis))) : x);
    const [low, high] = [at(axis.low), at(axis.high)];
    return axis.from + ((at(value) - low) / (high - low || 1)) * (axis.to - axis.from);
}

function zeroOf(axis: Axis): number {
    return axis.low > 0 ? Math.min(axis.low, 1e-12) : ZERO;
}

export function valueAt(axis: Axis, place: number): number {
    const share = (place - axis.from) / (axis.to - axis.from || 1);
    if (!axis.logarithmic) return axis.low + share * (axis.high - axis.low);
    const [low, high] = [Math.log(Math.max(axis.low, zeroOf(axis))), Math.log(axis.high)];
    return Math.exp(low + share * (high - low));
}

/** About `most` values to label: 1, 2 or 5 times a power of ten, or powers of ten on a logarithmic axis. */
export function ticks(axis: Axis, most: number): number[] {
    const { low, high, logarithmic } = axis;
    if (!(high > low)) return [low];
    if (logarithmic) {
        const first = Math.ceil(Math.log10(Math.max(low, zeroOf(axis))) - 1e-9);
        const last = Math.floor(Math.log10(high) + 1e-9);
        const every = Math.max(1, Math.ceil((last - first + 1) / most));
        const powers = [];
        for (let power = first; power <= last; power += every) powers.push(10 ** power);
        if (powers.length > 1) return powers;
        // Less than two powers of ten: steps in between.
        const finer = [1, 2, 3, 5, 7].flatMap((digit) => [digit * 10 ** (first - 1), digit * 10 ** first, digit * 10 ** (first + 1)]);
        const inside = [...new Set(finer)].filter((value) => value >= low && value <= high).sort((a, b) => a - b);
        if (inside.length > 1) return inside;
    }
    const raw = (high - low) / most;
    const power = 10 ** Math.floor(Math.log10(raw));
    const width = [1, 2, 5, 10].map((digit) => digit * power).find((candidate) => candidate >= raw) ?? raw;
    const found = [];
    // Adding 0 makes −0 a 0.
    for (let k = Math.ceil(low / width - 1e-9) + 0; k * width <= high + 1e-9 * width; k++) found.push(k * width);
    return found;
}

export function label(value: number): string {
    if (value === 0) return "0";
    if (Math.abs(value) >= 1000) return value >= 1e6 ? `${+(value / 1e6).toPrecision(3)}M` : value.toLocaleString("en-US", { maximumFractionDigits: 0 });
    if (Math.abs(value) < 1e-3) return value.toExponential(0).replace("e-", "e−");
    return String(+value.toPrecision(3));
}
