// Bundles what Node runs: every test, the benchmark and the program of the end states, one file each in build/.
import { readdirSync, rmSync } from "node:fs";
import { build } from "esbuild";

const tests = readdirSync("test").filter((name) => name.endsWith(".test.ts"));
rmSync("build", { recursive: true, force: true });
await build({
    entryPoints: [...tests.map((name) => `test/${name}`), "bench/train.ts", "endstates.ts"],
    outbase: ".",
    outdir: "build",
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node20",
    sourcemap: "inline",
    logLevel: "warning",
});
