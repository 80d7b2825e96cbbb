// What can be taken away: numbers as CSV, and the Python that describes the same run.
import { IN_PAGE } from "./home.ts";
import type { Recording } from "./recording.ts";

/** One row for each recorded step: the loss, and of each feature its bias, its dimensionality and its embedding. */
export function csv(recording: Recording): string {
    const { n, m } = recording;
    const each = (name: string, make: (i: number) => string[]) => Array.from({ length: n }, (_, i) => make(i).map((end) => `${name}${end}`)).flat();
    const head = [
        "step",
        "loss",
        ...each("bias", (i) => [`[${i}]`]),
        ...each("dimensionality", (i) => [`[${i}]`]),
        ...each("W", (i) => Array.from({ length: m }, (_, k) => `[${i}][${k}]`)),
    ];
    const rows = recording.frames.map((frame, index) =>
        [frame.step, frame.loss, ...frame.bias, ...recording.measured(index).dimensionality, ...frame.weights].join(","),
    );
    return `${[head.join(","), ...rows].join("\n")}\n`;
}

/** A Spec whose tables are the sets that Python made them of. */
function inPython(spec: { features: { kind: string; source?: unknown }[] }): object {
    const features = spec.features.map((set) => {
        if (set.kind !== "table" || set.source === undefined) return set;
        const { kind: _, weights: _w, gates: _g, magnitude: _m, source, ...rest } = set as Record<string, unknown>;
        return { ...(source as object), ...rest };
    });
    return { ...spec, features };
}

/** A program that trains the same Spec, with the changes made on the way. */
export function python(recording: Recording, reproduced: string = IN_PAGE.reproduced): string {
    const { described, changes, film, run } = recording;
    const spec = inPython(described.spec as { features: { kind: string }[] });
    const text = JSON.stringify(changes.length > 0 ? { ...spec, changes } : spec, null, 4);
    const recorded = "The Spec of the recorded run, which has the same bits where engine, version and vector unit are the same.";
    const lines = [
        "import tegum as tg",
        "",
        `# ${film === null ? reproduced : recorded}`,
        `spec = tg.Spec.from_json(r'''${text}''')`,
        "run = tg.train(spec)",
        `one = run.sel(seed=${run})`,
        "print(tg.name_polytope(one.weights.isel(step=-1)))",
    ];
    return `${lines.join("\n")}\n`;
}
