// Streams of random numbers without a past. A stream is keyed by the seed, the number of the run, what its numbers are
// for, and a number, such as that of a batch: the batch of step 5,000 is the same whether the run got there step by
// step, was put back there, or branched there. Philox turns the key into the state of a fast generator, xoshiro128++.
import { log } from "./elementary.ts";

/** What random numbers are for; their order is part of every stream. */
const PURPOSES = ["start", "training", "evaluation"] as const;
export type Purpose = (typeof PURPOSES)[number];

/** Uniforms that are made at once; a batch of samples needs many. */
const BLOCK = 512;
const TO_UNIT = 2.3283064365386963e-10; // 2⁻³²
const TWO_32 = 4_294_967_296;

/** The high half of the product of two 32-bit numbers. */
function highProduct(a: number, b: number): number {
    const aHigh = a >>> 16;
    const aLow = a & 0xffff;
    const bHigh = b >>> 16;
    const bLow = b & 0xffff;
    const middle = aHigh * bLow + ((aLow * bLow) >>> 16);
    const other = aLow * bHigh + (middle & 0xffff);
    return (aHigh * bHigh + Math.floor(middle / 65536) + (other - (other & 0xffff)) / 65536) >>> 0;
}

/**
 * Philox4x32 with ten rounds (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): a bijection of four
 * words that a key of two words selects, so good at mixing that counting through it is a generator.
 */
export function philox(counter: readonly number[], key: readonly number[]): [number, number, number, number] {
    let [a, b, c, d] = counter as [number, number, number, number];
    let [first, second] = key as [number, number];
    for (let round = 0; round < 10; round++) {
        const highA = highProduct(0xd2511f53, a);
        const highC = highProduct(0xcd9e8d57, c);
        const lowA = Math.imul(0xd2511f53, a);
        const lowC = Math.imul(0xcd9e8d57, c);
        a = (highC ^ b ^ first) >>> 0;
        b = lowC >>> 0;
        c = (highA ^ d ^ second) >>> 0;
        d = lowA >>> 0;
        first = (first + 0x9e3779b9) >>> 0;
        second = (second + 0xbb67ae85) >>> 0;
    }
    return [a >>> 0, b >>> 0, c >>> 0, d >>> 0];
}

/** A stream of random numbers: xoshiro128++ (Blackman & Vigna 2019), from a key or from a state. */
export class Stream {
    readonly #state = new Int32Array(4);
    readonly #block = new Float64Array(BLOCK);
    #at = BLOCK;

    /** Begin the stream of a seed, a run, a purpose and a number; all three numbers are whole and in [0, 2⁵³). */
    key(seed: number, run: number, purpose: Purpose, number: number): this {
        const high = Math.floor(number / TWO_32) * 4 + PURPOSES.indexOf(purpose);
        const counter = [number % TWO_32, high, run % TWO_32, Math.floor(run / TWO_32)];
        return this.from(philox(counter, [seed % TWO_32, Math.floor(seed / TWO_32)]));
    }

    /** Begin with four words of state, not all of them 0. */
    from(state: readonly number[]): this {
        this.#state.set(state.map((word) => word | 0));
        // The one state from which there is nothing but zeros.
        if (!this.#state.some((word) => word !== 0)) this.#state[0] = 1;
        this.#at = BLOCK;
        return this;
    }

    /** A uniform on [0, 1), a multiple of 2⁻³². */
    uniform(): number {
        if (this.#at === BLOCK) this.#fill();
        return this.#block[this.#at++];
    }

    /** Two independent normal variables of mean 0 and variance 1 (Marsaglia's polar method), with 32 bits each. */
    normals(): [number, number] {
        for (;;) {
            const x = 2 * this.uniform() - 1;
            const y = 2 * this.uniform() - 1;
            const square = x * x + y * y;
            if (square > 0 && square < 1) {
                const factor = Math.sqrt((-2 * log(square)) / square);
                return [x * factor, y * factor];
            }
        }
    }

    /** Fill an array with normal variables of mean 0 and variance 1. */
    fillNormals(values: Float64Array): void {
        for (let i = 0; i < values.length; i += 2) {
            const [x, y] = this.normals();
            values[i] = x;
            if (i + 1 < values.length) values[i + 1] = y;
        }
    }

    #fill(): void {
        const state = this.#state;
        const block = this.#block;
        let a = state[0];
        let b = state[1];
        let c = state[2];
        let d = state[3];
        for (let i = 0; i < BLOCK; i++) {
            const sum = (a + d) | 0;
            const word = (((sum << 7) | (sum >>> 25)) + a) | 0;
            const shifted = b << 9;
            c ^= a;
            d ^= b;
            b ^= c;
            a ^= d;
            c ^= shifted;
            d = (d << 11) | (d >>> 21);
            block[i] = (word >>> 0) * TO_UNIT;
        }
        state[0] = a;
        state[1] = b;
        state[2] = c;
        state[3] = d;
        this.#at = 0;
    }
}
