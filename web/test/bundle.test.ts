// The module that is committed in the Python package; that the sources make it is asked by `npm run page:check`.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

const COMMITTED = readFileSync("../src/tegum/lab/page/lab.js");

test("it fetches nothing and knows no address", () => {
    const text = COMMITTED.toString("utf8");
    assert.doesNotMatch(text, /\b(?:fetch|XMLHttpRequest|WebSocket|EventSource|sendBeacon|importScripts)\b/);
    assert.doesNotMatch(text, /\bimport\s*[("']|\bfrom\s*["']/);
    // Names of languages, which are no places.
    const named = [...text.matchAll(/https?:\/\/[\w./-]+/g)].map(([address]) => address).filter((address) => !address.startsWith("http://www.w3.org/"));
    assert.deepEqual(named, []);
});
