// The module that is committed in the Python package.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { gzipSync } from "node:zlib";

const COMMITTED = readFileSync("../src/tegum/lab/page/lab.js");

test("the page's module is what its sources make, byte by byte", () => {
    const folder = mkdtempSync(join(tmpdir(), "tegum-page-"));
    try {
        execFileSync(process.execPath, ["build.js", "page", folder]);
        assert.deepEqual(readdirSync(folder), ["lab.js"]);
        assert.ok(readFileSync(join(folder, "lab.js")).equals(COMMITTED), "`node build.js page` makes another module than the committed one");
    } finally {
        rmSync(folder, { recursive: true });
    }
});

test("it has at most 80 KB, compressed", () => {
    assert.ok(gzipSync(COMMITTED, { level: 9 }).length <= 80_000, `${gzipSync(COMMITTED).length} bytes`);
});

test("it fetches nothing and knows no address", () => {
    const text = COMMITTED.toString("utf8");
    assert.doesNotMatch(text, /\b(?:fetch|XMLHttpRequest|WebSocket|EventSource|sendBeacon|importScripts)\b/);
    assert.doesNotMatch(text, /\bimport\s*[("']|\bfrom\s*["']/);
    // Names of languages, which are no places.
    const named = [...text.matchAll(/https?:\/\/[\w./-]+/g)].map(([address]) => address).filter((address) => !address.startsWith("http://www.w3.org/"));
    assert.deepEqual(named, []);
});
