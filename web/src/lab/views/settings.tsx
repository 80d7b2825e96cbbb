// What the shown runs are trained on, and changes from the shown step on: the past stays, and both futures are seen.
import type { SetWords } from "../described.ts";
import type { Store } from "../store.ts";

/** What may be changed of a set, with the range of its control. */
const CONTROLS = [
    { key: "density", label: "density p", low: 0.01, high: 1, step: 0.01 },
    { key: "strength", label: "strength ρ", low: 0, high: 1, step: 0.01 },
    { key: "importance", label: "importance", low: 0, high: 2, step: 0.05 },
] as const;

interface Group {
    set: SetWords;
    numbers: number[];
}

/** Equal sets share their controls. */
function grouped(sets: readonly SetWords[]): Group[] {
    const groups = new Map<string, Group>();
    sets.forEach((set, at) => {
        const key = JSON.stringify(set);
        const group = groups.get(key) ?? { set, numbers: [] };
        group.numbers.push(at);
        groups.set(key, group);
    });
    return [...groups.values()];
}

function named(set: SetWords, copies: number): string {
    const { size } = set;
    const kind = set.kind === "table" ? "features of a table" : `${set.kind} ${size === 1 ? "feature" : "features"}`;
    return `${copies > 1 ? `${copies} sets of ` : ""}${size} ${kind}`;
}

export function SettingsView({ store }: { store: Store }) {
    const recording = store.first.value;
    if (recording === null) return null;
    const { described } = recording;
    const { rate, sets } = recording.inForce(store.step.value);
    const groups = grouped(sets);
    const { draft } = store;
    return (
        <section class="settings" aria-label="Settings">
            <p class="caption">
                {recording.n} features in {recording.m} {recording.m === 1 ? "dimension" : "dimensions"}; {described.method}; run {recording.run} of{" "}
                {described.seeds}
            </p>
            {described.why !== null && <p class="caption">{groups.map(({ set, numbers }) => named(set, numbers.length)).join(", ")}</p>}
            {(described.why === null ? groups : []).map(({ set, numbers }) => (
                <fieldset key={JSON.stringify(set)}>
                    <legend>{named(set, numbers.length)}</legend>
                    {CONTROLS.map(({ key, label, low, high, step }) => {
                        const given = (set as unknown as Record<string, unknown>)[key];
                        if (typeof given !== "number" || store.hidden.value.includes(key)) return null;
                        const changed = draft.of(numbers[0], key);
                        return (
                            <Slider key={key} label={label} value={changed ?? given} low={low} high={high} step={step} changed={changed !== undefined} set={(value) => draft.put(numbers, key, value)} />
                        );
                    })}
                </fieldset>
            ))}
            {rate !== null && described.why === null && !store.hidden.value.includes("rate") && (
                <Slider
                    label="learning rate"
                    value={draft.change.value.rate ?? rate}
                    low={0.0001}
                    high={0.02}
                    step={0.0001}
                    changed={draft.change.value.rate !== undefined}
                    set={(value) => draft.putRate(value)}
                />
            )}
            {described.why === null && (
                <p class="caption">
                    Density is the chance that a feature is active, importance its weight in the loss. After a change, go on from here or begin
                    anew:
                </p>
            )}
            {described.why !== null && <p class="caption">It is shown as it was recorded, since the page cannot train it on: {described.why}.</p>}
            {recording.film !== null && described.why === null && (
                <p class="caption">A change trains on from the shown state, here in the page, beside the recording.</p>
            )}
            <div class="row" hidden={described.why !== null && store.runs.length < 2}>
                <button type="button" title="Go on from the shown step with the change, beside the run as it was" disabled={draft.empty} onClick={() => store.branchDraft()}>
                    Branch here
                </button>
                <button type="button" title="Train with the change from step 0 on" disabled={draft.empty} onClick={() => store.restart(draft.take())}>
                    Train anew
                </button>
                <label>
                    run
                    <input
                        type="number"
                        min={0}
                        max={described.seeds - 1}
                        value={recording.run}
                        onChange={(event) => {
                            const run = Number(event.currentTarget.value);
                            if (store.runs.includes(run)) store.turnTo(run, null);
                            else event.currentTarget.value = String(recording.run);
                        }}
                    />
                </label>
            </div>
        </section>
    );
}

interface SliderProps {
    label: string;
    value: number;
    low: number;
    high: number;
    step: number;
    changed: boolean;
    set: (value: number) => void;
}

function Slider({ label, value, low, high, step, changed, set }: SliderProps) {
    return (
        <label class={changed ? "slider changed" : "slider"}>
            <span>{label}</span>
            <input type="range" min={Math.min(low, value)} max={Math.max(high, value)} step={step} value={value} onInput={(event) => set(Number(event.currentTarget.value))} />
            <output>{+value.toPrecision(3)}</output>
        </label>
    );
}
