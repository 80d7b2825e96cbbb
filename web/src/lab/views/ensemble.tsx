// Many runs side by side, each as it ended, in canonical pose, sorted by what it became. A click opens it.
import { canonicalPose, principalAxes } from "../../science/geometry.ts";
import { namePolytope } from "../../science/polytopes.ts";
import { FIRST_SIGHT } from "../camera.ts";
import { CanvasPen } from "../pen.ts";
import type { Frame, Recording } from "../recording.ts";
import { paint, type Scene } from "../scene.ts";
import { significant } from "../sentence.ts";
import type { Store } from "../store.ts";
import { look } from "../theme.ts";
import { Canvas } from "./canvas.tsx";

interface End {
    run: number;
    frame: Frame;
    name: string;
}

const known = new WeakMap<Frame, string>();

function nameOf(frame: Frame, m: number): string {
    const name = known.get(frame) ?? namePolytope(frame.weights, m).name;
    known.set(frame, name);
    return name;
}

/** The ends by what they became: the most frequent first, and then by loss. */
function sorted(store: Store, recording: Recording): { name: string; ends: End[] }[] {
    const groups = new Map<string, End[]>();
    for (const [run, frame] of store.ensemble.value) {
        const name = nameOf(frame, recording.m);
        groups.set(name, [...(groups.get(name) ?? []), { run, frame, name }]);
    }
    const found = [...groups].map(([name, ends]) => ({ name, ends: ends.sort((a, b) => a.frame.loss - b.frame.loss) }));
    return found.sort((a, b) => b.ends.length - a.ends.length || a.ends[0].frame.loss - b.ends[0].frame.loss);
}

export function EnsembleView({ store }: { store: Store }) {
    const recording = store.first.value;
    if (recording === null) return null;
    const runs = recording.film === null ? Math.min(64, recording.described.seeds) : store.runs.length;
    const groups = sorted(store, recording);
    const done = store.ensemble.value.size;
    return (
        <section class="ensemble" aria-label="Ensemble">
            <p class="caption" role="status">
                {done === 0 ? (
                    <button type="button" onClick={() => store.trainEnsemble(runs)}>
                        Train {runs} runs
                    </button>
                ) : (
                    `${done} of ${runs} runs; ${groups.map(({ name, ends }) => `${ends.length} × ${name}`).join(", ")}`
                )}
            </p>
            {groups.map(({ name, ends }) => (
                <div class="group" key={name}>
                    <h3>
                        {name} <small>{ends.length}</small>
                    </h3>
                    <div class="cells">
                        {ends.map((end) => (
                            <Cell key={end.run} store={store} recording={recording} end={end} />
                        ))}
                    </div>
                </div>
            ))}
        </section>
    );
}

function Cell({ store, recording, end }: { store: Store; recording: Recording; end: End }) {
    const { run, frame } = end;
    const words = `run ${run}, loss ${significant(frame.loss)}`;
    const open = () => store.turnTo(run, recording.last);
    return (
        <button type="button" class="cell" title={words} aria-label={`Open ${words}, ${end.name}`} aria-pressed={run === recording.run} onClick={open}>
            <Canvas
                aria-hidden="true"
                read={() => look.value}
                draw={({ to, width, height }, colours) => {
                    to.clearRect(0, 0, width, height);
                    const scene = still(frame, recording);
                    paint(new CanvasPen(to), { ...scene }, { width, height, camera: FIRST_SIGHT, look: colours, reach: 1.25 });
                }}
            />
        </button>
    );
}

function still(frame: Frame, recording: Recording): Scene {
    const { m } = recording;
    const weights = canonicalPose(frame.weights, m);
    let projection: number[][] | null = null;
    if (m > 3) {
        const { axes } = principalAxes(weights, m, 3);
        projection = [0, 1, 2].map((axis) => Array.from(axes.slice(axis * m, (axis + 1) * m)));
    }
    return { weights, m, groups: recording.groups, projection, selected: null, small: true };
}
