// The Gram matrix W Wᵀ and the biases of the shown state: squared norms on the diagonal, interference beside it.
import { gram } from "../../science/geometry.ts";
import { type Look } from "../look.ts";
import type { Store } from "../store.ts";
import { look } from "../theme.ts";
import { type Area, Canvas } from "./canvas.tsx";

interface Shown {
    gram: Float64Array | null;
    bias: Float64Array | null;
    n: number;
    selected: number | null;
    look: Look;
}

export function GramView({ store }: { store: Store }) {
    return (
        <Canvas
            class="gram"
            role="img"
            aria-label="Gram matrix of the embeddings, with the biases on its right: blue is positive, orange negative"
            onPointerDown={(event) => {
                const n = store.first.value?.n ?? 0;
                const canvas = event.currentTarget as HTMLCanvasElement;
                const box = canvas.getBoundingClientRect();
                const at = Math.floor((event.clientY - box.top - LABEL) / cellOf({ width: box.width, height: box.height }, n));
                if (at >= 0 && at < n) store.selected.value = store.selected.value === at ? null : at;
            }}
            read={(): Shown => {
                const recording = store.first.value;
                const index = store.indices.value[0] ?? -1;
                const there = recording !== null && index >= 0;
                const hand = store.hand.value;
                const moved = hand !== null && hand.at === 0 && recording !== null ? gram(hand.weights, recording.m) : null;
                return {
                    gram: moved ?? (there ? recording.measured(index).gram : null),
                    bias: there ? recording.frames[index].bias : null,
                    n: recording?.n ?? 0,
                    selected: store.selected.value,
                    look: look.value,
                };
            }}
            draw={draw}
        />
    );
}

/** Room for the numbers of the features, on the left and above. */
const LABEL = 16;

function cellOf({ width, height }: { width: number; height: number }, n: number): number {
    return Math.min((width - LABEL) / (n + 2), (height - LABEL) / n);
}

function draw({ to, width, height }: Area, { gram: shown, bias, n, selected, look: colours }: Shown): void {
    to.clearRect(0, 0, width, height);
    if (shown === null || bias === null || n === 0) return;
    const cell = cellOf({ width, height }, n);
    const gap = cell > 6 ? 1 : 0;
    to.save();
    to.translate(LABEL, LABEL);
    const put = (value: number, column: number, row: number) => {
        to.fillStyle = shade(colours, value);
        to.fillRect(column * cell, row * cell, cell - gap, cell - gap);
    };
    for (let i = 0; i < n; i++) {
        for (let j = 0; j < n; j++) put(shown[i * n + j], j, i);
        put(bias[i], n + 0.75, i);
    }
    if (cell >= 30) {
        to.font = "11px system-ui, sans-serif";
        to.textAlign = "center";
        to.textBaseline = "middle";
        for (let i = 0; i < n; i++) {
            for (let j = 0; j < n; j++) number(to, shown[i * n + j], (j + 0.5) * cell, (i + 0.5) * cell, colours);
            number(to, bias[i], (n + 1.25) * cell, (i + 0.5) * cell, colours);
        }
    }
    if (selected !== null && selected < n) {
        to.strokeStyle = colours.ink;
        to.lineWidth = 1.5;
        to.strokeRect(0.75, selected * cell + 0.75, n * cell - 1.5, cell - 1.5);
    }
    to.fillStyle = colours.faint;
    to.font = "11px system-ui, sans-serif";
    to.textAlign = "center";
    to.textBaseline = "middle";
    // As many numbers as there is room for.
    const every = Math.ceil(15 / cell);
    for (let i = 0; i < n; i += every) {
        to.fillText(String(i), (i + 0.5) * cell, -LABEL / 2);
        to.fillText(String(i), -LABEL / 2, (i + 0.5) * cell);
    }
    to.fillText("b", (n + 1.25) * cell, -LABEL / 2);
    to.restore();
}

function number(to: CanvasRenderingContext2D, value: number, x: number, y: number, colours: Look): void {
    to.fillStyle = Math.abs(value) > 0.6 ? colours.paper : colours.ink;
    // Adding 0 makes −0 a 0.
    to.fillText((Math.round(100 * value) / 100 + 0).toFixed(2).replace("-", "−"), x, y);
}

function shade(colours: Look, value: number): string {
    if (!Number.isFinite(value)) return colours.grid;
    const [r, g, b] = value < 0 ? colours.negative : colours.positive;
    return `rgba(${r}, ${g}, ${b}, ${Math.min(1, Math.abs(value)).toFixed(3)})`;
}
