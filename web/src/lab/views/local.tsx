// What the local lab has beside the others: what lies in its folder, what only Python can say of the shown state, and a
// place to keep a run.
import { type Signal, signal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import type { Recording } from "../recording.ts";
import { count, significant } from "../sentence.ts";
import type { Entry, Folder, Look, Server, Sweep, Way } from "../server.ts";
import type { Store } from "../store.ts";

interface Props {
    store: Store;
    server: Server;
    folder: Signal<Folder>;
    /** Open a stored trajectory. */
    open: (store: Store, path: string) => Promise<void>;
    /** Why the page does not show what its address says. */
    refused: string | null;
}

export function LocalView({ store, server, folder, open, refused }: Props) {
    const said = (error: Error) => (store.refusal.value = error.message);
    useEffect(() => {
        server.ended = (sentence) => (store.refusal.value = sentence);
        if (refused !== null) store.refusal.value = refused;
    }, []);
    return (
        <>
            <FolderView folder={folder.value} server={server} open={(path) => void open(store, path).catch(said)} />
            <Waiting store={store} />
            <LookView store={store} server={server} />
            <KeepView store={store} server={server} kept={() => void server.folder().then((found) => (folder.value = found), said)} />
        </>
    );
}

/** Python has kernels to compile, the first time. */
function Waiting({ store }: { store: Store }) {
    void store.version.value;
    if ((store.first.value?.frames.length ?? 0) > 0 || store.refusal.value !== null) return null;
    return (
        <p class="caption" role="status">
            Python begins to train. The first time it compiles, for up to a minute.
        </p>
    );
}

function FolderView({ folder, server, open }: { folder: Folder; server: Server; open: (path: string) => void }) {
    const { name, entries, left_out } = folder;
    return (
        <details class="folder" open={entries.length > 0 && entries.length < 12}>
            <summary>
                {name}: {entries.length === 0 ? "nothing is stored here yet" : `${entries.length} stored`}
            </summary>
            <ul>
                {entries.map((entry) => (
                    <li key={entry.path}>
                        <EntryView entry={entry} server={server} open={open} />
                    </li>
                ))}
            </ul>
            {left_out !== null && <p class="caption">{left_out}</p>}
        </details>
    );
}

function EntryView({ entry, server, open }: { entry: Entry; server: Server; open: (path: string) => void }) {
    const { path, kind, why, verdict, n, m, runs } = entry;
    if (why !== undefined) return <span class="caption">{`${path}: ${why}`}</span>;
    if (kind === "result") {
        return (
            <>
                <a href={server.result(path)} target="_blank" rel="noreferrer">
                    {path}
                </a>{" "}
                <small>{verdict}</small>
            </>
        );
    }
    if (kind === "sweep") return <SweepView entry={entry} server={server} />;
    return (
        <>
            <button type="button" onClick={() => open(path)}>
                {path}
            </button>{" "}
            <small>{`${runs} ${runs === 1 ? "run" : "runs"}, ${n} in ${m}`}</small>
        </>
    );
}

/** Milliseconds between looks at a sweep that is not complete. */
const LOOK_EVERY = 2000;

/** A sweep, which may be running: how far it is, and its Specs, each of which can be trained here. */
function SweepView({ entry, server }: { entry: Entry; server: Server }) {
    const seen = useMemo(() => signal<Sweep | string | null>(null), []);
    const open = useMemo(() => signal(false), []);
    const shown = open.value;
    useEffect(() => {
        if (!shown) return;
        let timer = 0;
        let left = false;
        const look = async () => {
            try {
                seen.value = await server.sweep(entry.path);
            } catch (error) {
                seen.value = (error as Error).message;
            }
            const again = typeof seen.value === "string" || !seen.value.complete;
            if (!left && again) timer = window.setTimeout(() => void look(), LOOK_EVERY);
        };
        void look();
        return () => {
            left = true;
            window.clearTimeout(timer);
        };
    }, [shown]);
    const { value } = seen;
    const told = typeof value === "object" ? value : null;
    const { runs, runs_there } = told ?? entry;
    return (
        <details class="sweep" onToggle={(event) => (open.value = event.currentTarget.open)}>
            <summary>
                {entry.path} <small>{`sweep, ${count(runs_there ?? 0)} of ${count(runs ?? 0)} runs`}</small>
            </summary>
            {typeof value === "string" && <p class="caption">{value}</p>}
            {told !== null && <SweepTable sweep={told} />}
        </details>
    );
}

function SweepTable({ sweep }: { sweep: Sweep }) {
    const { rows, measures, packs, packs_there, processes, elsewhere, complete, specs, set_aside } = sweep;
    const labels = Object.keys(rows[0]?.labels ?? {});
    const here = processes > 0 ? `, ${processes} ${processes === 1 ? "process" : "processes"} at work` : "";
    const at = here + (elsewhere > 0 ? `, ${elsewhere} on other machines, if still alive` : "");
    return (
        <>
            <progress max={packs} value={packs_there} aria-label="packs made" />
            <p class="caption" role="status">
                {`${packs_there} of ${packs} packs${complete ? ", complete" : at}`}
            </p>
            {set_aside.map((each, index) => (
                <p class="caption" key={index}>{`a pack was set aside: ${each.errors[each.errors.length - 1] ?? ""}`}</p>
            ))}
            <div class="wide">
                <table>
                    <thead>
                        <tr>
                            {labels.map((name) => (
                                <th key={name}>{name}</th>
                            ))}
                            <th>runs</th>
                            {measures.map((name) => (
                                <th key={name}>{name}</th>
                            ))}
                            <th>here</th>
                        </tr>
                    </thead>
                    <tbody>
                        {rows.map((row, index) => (
                            <tr key={index}>
                                {labels.map((name) => (
                                    <td key={name}>{label(row.labels[name])}</td>
                                ))}
                                <td>{row.runs}</td>
                                {measures.map((name) => (
                                    <td key={name}>{row.values[name] ?? ""}</td>
                                ))}
                                <td>
                                    <a href={`#${new URLSearchParams({ spec: JSON.stringify(row.spec) })}`}>train it</a>
                                </td>
                            </tr>
                        ))}
                    </tbody>
                </table>
            </div>
            {rows.length < specs && <p class="caption">{`the first ${rows.length} of ${count(specs)} Specs`}</p>}
        </>
    );
}

/** The value of a parameter, as briefly as it can be read. */
function label(value: unknown): string {
    return typeof value === "number" ? String(Number(value.toPrecision(6))) : String(value);
}

/** A look at one state; it is of no other. */
interface Seen {
    recording: Recording;
    step: number;
    /** Null until the answer is there. */
    look: Look | null;
}

function LookView({ store, server }: { store: Store; server: Server }) {
    const seen = useMemo(() => signal<Seen | null>(null), []);
    const recording = store.first.value;
    const frame = recording?.frames[store.indices.value[0] ?? -1];
    if (recording === null || frame === undefined) return null;
    const here = seen.value?.recording === recording && seen.value.step === frame.step ? seen.value : null;
    const ask = () => {
        store.playing.value = false;
        const asked: Seen = { recording, step: frame.step, look: null };
        seen.value = asked;
        const { described, changes } = recording;
        const { step, weights, bias } = frame;
        server.ask({ type: "look", spec: described.trainable, changes, step, weights, bias }).then(
            (look) => {
                if (seen.value === asked) seen.value = { ...asked, look: look as Look };
            },
            (error: Error) => {
                store.refusal.value = error.message;
                if (seen.value === asked) seen.value = null;
            },
        );
    };
    return (
        <section class="look row" aria-label="What Python says of this state">
            <button type="button" onClick={ask} disabled={here !== null && here.look === null}>
                {here !== null && here.look === null ? "Looking …" : "Exact loss, saddle, ways out"}
            </button>
            {here?.look != null && <LookWords store={store} recording={recording} step={frame.step} look={here.look} />}
        </section>
    );
}

function LookWords({ store, recording, step, look }: { store: Store; recording: Recording; step: number; look: Look }) {
    const { loss, error, gradient, point, ways, why } = look;
    const leave = ({ weights, bias, other }: Way) => {
        const changes = store.inForceFrom(recording, step);
        const one = store.startingAt(recording, weights, bias, changes);
        store.show(other === null ? [one] : [one, store.startingAt(recording, other.weights, other.bias, changes)], 0);
        store.playing.value = true;
    };
    return (
        <div role="status">
            {loss !== null && Number.isFinite(loss) && (
                <p>
                    Step {count(step)}: exact loss {loss.toPrecision(8)} (± {(error ?? 0).toExponential(0)}), gradient {significant(gradient ?? 0)}.
                </p>
            )}
            {why !== null && <p>{why}.</p>}
            {point !== null && <p>{pointInWords(point)}</p>}
            {ways.length > 0 && (
                <ul>
                    {ways.map((way, at) => (
                        <li key={at}>
                            <button type="button" onClick={() => leave(way)}>
                                Way out {at + 1}
                            </button>{" "}
                            <small>{wayInWords(way)}</small>
                        </li>
                    ))}
                </ul>
            )}
        </div>
    );
}

function pointInWords(point: NonNullable<Look["point"]>): string {
    const { found, distance, index, undecided, negative, loss, name } = point;
    if (!found) return `No critical point is near: the next one that Newton's method finds is ${significant(distance)} away.`;
    const where = `${significant(distance)} away, of loss ${loss.toPrecision(6)} (${name})`;
    if (index === 0) return `A minimum is near: ${where}.`;
    const falls = (directions: number) => `the loss falls in ${directions} ${directions === 1 ? "direction" : "directions"}`;
    if (index === null) {
        const sure = negative.length === 0 ? "" : ` ${falls(negative.length).replace("the", "The")}, and`;
        return `A ${negative.length === 0 ? "critical point" : "saddle"} is near: ${where}.${sure} ${sure === "" ? "It" : "it"} is flat in ${undecided} as far as can be told.`;
    }
    return `A saddle of index ${index} is near: ${where}; ${falls(index)}.`;
}

function wayInWords({ eigenvalue, features, multiplicity, other }: Way): string {
    const which = features.length > 0 ? `, mainly ${features.length === 1 ? "feature" : "features"} ${features.join(", ")}` : "";
    const many = multiplicity > 1 ? `, one of ${multiplicity} alike` : "";
    return `curvature ${significant(eigenvalue)}${which}${many}${other === null ? "" : "; both sides"}`;
}

function KeepView({ store, server, kept }: { store: Store; server: Server; kept: () => void }) {
    const name = useMemo(() => signal(""), []);
    const said = useMemo(() => signal<string | null>(null), []);
    void store.version.value;
    const recording = store.first.value;
    if (recording === null || recording.film !== null) return null;
    const proposed = name.value || `run-${recording.run}.zarr`;
    const keep = () => {
        const { described, changes, run } = recording;
        server.ask({ type: "keep", spec: described.trainable, changes, run, name: proposed }).then(
            (answer) => {
                said.value = `kept as ${(answer as { path: string }).path}`;
                kept();
            },
            (error: Error) => (said.value = error.message),
        );
    };
    return (
        <section class="keep" aria-label="Keep this run">
            <div class="row">
                <label>
                    <span class="quiet">Name</span>
                    <input type="text" aria-label="Name of the store" value={proposed} onInput={(event) => (name.value = event.currentTarget.value)} />
                </label>
                <button type="button" disabled={!recording.whole} onClick={keep}>
                    Keep this run
                </button>
            </div>
            {said.value !== null && (
                <p class="caption" role="status">
                    {said.value}
                </p>
            )}
        </section>
    );
}
