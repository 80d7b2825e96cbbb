// Bundles. `node build.js` makes what tests need in build/: what Node runs (every test, the benchmark and the program of
// the end states), and a script that computes fingerprints in a browser. `node build.js page` makes the page's module and
// its rules, which are committed in the Python package; another folder may follow.
import { readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";

const PAGE = process.argv[3] ?? "../src/tegum/lab/page";

/** The code of a worker as text, for a module that fetches nothing. */
const workers = {
    name: "workers",
    setup(bundler) {
        bundler.onResolve({ filter: /\?worker$/ }, ({ path, resolveDir }) => ({
            path: new URL(path.replace(/\?worker$/, ""), `file://${resolveDir}/`).pathname,
            namespace: "worker",
        }));
        bundler.onLoad({ filter: /.*/, namespace: "worker" }, async ({ path }) => {
            const { outputFiles } = await build({ ...common, entryPoints: [path], format: "iife", minify: true, write: false });
            return { contents: outputFiles[0].text, loader: "text" };
        });
    },
};
const common = { bundle: true, target: "es2022", logLevel: "warning", charset: "utf8", legalComments: "none" };

if (process.argv[2] === "page") {
    await build({
        ...common,
        entryPoints: { lab: "src/lab/index.tsx", local: "src/lab/local.tsx" },
        outdir: PAGE,
        format: "esm",
        platform: "browser",
        minify: true,
        jsx: "automatic",
        jsxImportSource: "preact",
        loader: { ".css": "text" },
        plugins: [workers],
    });
    const { outputFiles } = await build({ ...common, entryPoints: ["src/lab/rules.ts"], format: "esm", write: false });
    const { RULES } = await import(`data:text/javascript,${encodeURIComponent(outputFiles[0].text)}`);
    writeFileSync(join(PAGE, "rules.json"), `${JSON.stringify(RULES, null, 4)}\n`);
} else {
    const tests = readdirSync("test").filter((name) => name.endsWith(".test.ts"));
    rmSync("build", { recursive: true, force: true });
    await build({
        ...common,
        entryPoints: [...tests.map((name) => `test/${name}`), "bench/train.ts", "endstates.ts"],
        outbase: ".",
        outdir: "build",
        platform: "node",
        format: "esm",
        target: "node20",
        sourcemap: "inline",
        jsx: "automatic",
        jsxImportSource: "preact",
    });
    // What a browser is asked in tests: which bits the science has there.
    await build({ ...common, entryPoints: { digests: "test/digests.ts" }, outdir: "build", platform: "browser", format: "iife" });
}
