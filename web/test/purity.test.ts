// What would make the bits of a run depend on the browser, or science on the page, is not written anywhere in it.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

const FOLDER = "src/science";
const FILES = readdirSync(FOLDER).filter((name) => name.endsWith(".ts"));

/** The code of a file without comments and without text. */
function code(name: string): string {
    const text = readFileSync(`${FOLDER}/${name}`, "utf8");
    return text
        .replace(/\/\*[^]*?\*\//g, "")
        .replace(/\/\/.*$/gm, "")
        .replace(/"(?:[^"\\]|\\.)*"/g, '""');
}

test("there is something to look at", () => {
    assert.ok(FILES.length >= 15);
    assert.match(code("random.ts"), /Math\.imul/);
});

test("of Math only what is exact is used", () => {
    // The language specifies these to the bit.
    const exact = ["sqrt", "imul", "floor", "ceil", "abs", "fround", "min", "max", "trunc", "sign", "clz32", "PI"];
    for (const name of FILES) {
        const used = [...code(name).matchAll(/\bMath\b(?:\.(\w+))?/g)].map((found) => found[1]);
        assert.deepEqual(
            used.filter((each) => each === undefined || !exact.includes(each)),
            [],
            name,
        );
    }
});

test("no powers, no clocks, no page, no randomness from elsewhere", () => {
    const forbidden =
        /\*\*|\b(?:Date|performance|crypto|document|window|globalThis|self|fetch|process|console|setTimeout)\b/;
    for (const name of FILES) assert.doesNotMatch(code(name), forbidden, name);
});

test("science imports nothing but itself", () => {
    for (const name of FILES) {
        const text = readFileSync(`${FOLDER}/${name}`, "utf8");
        for (const [, from] of text.matchAll(/\bfrom "([^"]+)"/g)) {
            assert.match(from, /^\.\/[a-z]+\.ts$/, `${name} imports ${from}`);
            assert.ok(FILES.includes(from.slice(2)), `${name} imports ${from}`);
        }
        assert.doesNotMatch(text, /\bimport\s*\(|\brequire\s*\(/, name);
    }
});

test("imports lead in no circle", () => {
    const imports = new Map(
        FILES.map((name) => {
            const text = readFileSync(`${FOLDER}/${name}`, "utf8");
            return [name, [...text.matchAll(/\bfrom "\.\/([^"]+)"/g)].map((found) => found[1])];
        }),
    );
    const visit = (name: string, above: string[]): void => {
        assert.ok(!above.includes(name), [...above, name].join(" → "));
        for (const next of imports.get(name) ?? []) visit(next, [...above, name]);
    };
    for (const name of FILES) visit(name, []);
});

test("every file says what it is for", () => {
    for (const name of FILES) assert.match(readFileSync(`${FOLDER}/${name}`, "utf8"), /^\/\/ \w/, name);
});
