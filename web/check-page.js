// That the page in the Python package is the one that these sources make, byte for byte, and small enough.
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execFileSync } from "node:child_process";
import { gzipSync } from "node:zlib";

const PAGE = "../src/tegum/lab/page";
const MODULES = ["lab.js", "local.js"];
/** Bytes of a module, gzipped. */
const MOST = 80_000;

const made = mkdtempSync(join(tmpdir(), "page-"));
try {
    execFileSync(process.execPath, ["build.js", "page", made], { stdio: "inherit" });
    const [kept, anew] = [PAGE, made].map((folder) => readdirSync(folder).sort());
    const other = [...new Set([...kept, ...anew])].filter(
        (name) => !kept.includes(name) || !anew.includes(name) || !readFileSync(join(PAGE, name)).equals(readFileSync(join(made, name))),
    );
    if (other.length > 0) throw new Error(`${other.join(", ")} in ${PAGE} is not what the sources make: node build.js page`);
    for (const name of MODULES) {
        const size = gzipSync(readFileSync(join(made, name)), { level: 9 }).length;
        if (size > MOST) throw new Error(`${name} has ${size} bytes gzipped, and may have ${MOST}`);
        console.log(`${name} is what the sources make: ${size} bytes gzipped of ${MOST}`);
    }
} catch (error) {
    console.error(error.message);
    process.exitCode = 1;
} finally {
    rmSync(made, { recursive: true });
}
