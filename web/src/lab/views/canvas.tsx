// A canvas that is drawn whenever what it shows has changed, once for each picture of the screen, as sharp as the screen.
import { effect, signal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";

export interface Area {
    to: CanvasRenderingContext2D;
    width: number;
    height: number;
}

interface Props<Data> extends Omit<JSX.IntrinsicElements["canvas"], "ref"> {
    /** What is to be drawn, read from signals; the canvas is drawn again when one of them changes. */
    read: () => Data;
    draw: (area: Area, data: Data) => void;
    /** Called with the canvas when it is there. */
    there?: (canvas: HTMLCanvasElement) => void;
}

export function Canvas<Data>({ read, draw, there, ...rest }: Props<Data>) {
    const ref = useRef<HTMLCanvasElement>(null);
    useEffect(() => {
        const canvas = ref.current;
        if (canvas === null) return;
        there?.(canvas);
        const size = signal({ width: 0, height: 0 });
        const observer = new ResizeObserver(() => {
            const { width, height } = canvas.getBoundingClientRect();
            if (width !== size.peek().width || height !== size.peek().height) size.value = { width, height };
        });
        observer.observe(canvas);
        let due = 0;
        let data = read();
        const stop = effect(() => {
            void size.value;
            data = read();
            due ||= requestAnimationFrame(() => {
                due = 0;
                paint(canvas, size.peek(), (area) => draw(area, data));
            });
        });
        return () => {
            stop();
            observer.disconnect();
            cancelAnimationFrame(due);
        };
    }, []);
    return <canvas ref={ref} {...rest} />;
}

function paint(canvas: HTMLCanvasElement, size: { width: number; height: number }, draw: (area: Area) => void): void {
    const { width, height } = size;
    const to = canvas.getContext("2d");
    if (to === null || width === 0 || height === 0) return;
    const dense = globalThis.devicePixelRatio || 1;
    canvas.width = Math.round(width * dense);
    canvas.height = Math.round(height * dense);
    to.setTransform(dense, 0, 0, dense, 0, 0);
    draw({ to, width, height });
}
