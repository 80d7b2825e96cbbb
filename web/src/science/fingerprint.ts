// A short name for the bits of an array of doubles: two arrays with the same name have, for all that can happen by
// chance, the same bits. It is how runs are compared from browser to browser.

/** Sixteen hexadecimal digits: FNV-1a over the bytes, least significant first, from two different beginnings. */
export function fingerprint(values: ArrayLike<number>): string {
    const bytes = new DataView(new ArrayBuffer(8));
    let one = 0x811c9dc5;
    let other = 0x050c5d1f;
    for (let i = 0; i < values.length; i++) {
        bytes.setFloat64(0, values[i], true);
        for (let at = 0; at < 8; at++) {
            const byte = bytes.getUint8(at);
            one = Math.imul(one ^ byte, 0x01000193);
            other = Math.imul(other ^ byte, 0x01000193);
        }
    }
    return [one, other].map((word) => (word >>> 0).toString(16).padStart(8, "0")).join("");
}
