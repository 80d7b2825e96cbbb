// The module that is committed in the Python package; that its sources make it, and its size, `npm run page:check` asks.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

const MODULE = readFileSync("../src/tegum/lab/page/lab.js", "utf8");

test("the page's module fetches nothing and knows no address", () => {
    assert.doesNotMatch(MODULE, /\b(?:fetch|XMLHttpRequest|WebSocket|EventSource|sendBeacon|importScripts)\b/);
    assert.doesNotMatch(MODULE, /\bimport\s*[("']|\bfrom\s*["']/);
    // Names of languages, which are no places.
    const named = [...MODULE.matchAll(/https?:\/\/[\w./-]+/g)].map(([address]) => address).filter((address) => !address.startsWith("http://www.w3.org/"));
    assert.deepEqual(named, []);
});
