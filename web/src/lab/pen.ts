// Drawing that can go to a canvas or into an SVG file: the few shapes that the scene is made of, in CSS pixels.
export type Mark = "circle" | "square" | "triangle" | "diamond" | "cross" | "star";
export const MARKS: readonly Mark[] = ["circle", "square", "triangle", "diamond", "cross", "star"];

export interface Stroke {
    colour: string;
    width?: number;
    dashed?: boolean;
    /** From 0 to 1. */
    opacity?: number;
}

export interface Pen {
    line(points: readonly (readonly [number, number])[], stroke: Stroke): void;
    ring(x: number, y: number, radius: number, stroke: Stroke): void;
    mark(mark: Mark, x: number, y: number, size: number, colour: string, opacity?: number): void;
    text(text: string, x: number, y: number, colour: string, options?: { size?: number; anchor?: "start" | "middle" | "end" }): void;
}

/** The corners of a mark of size 1 around the origin; a circle has none. */
function corners(mark: Mark): [number, number][] {
    switch (mark) {
        case "circle":
            return [];
        case "square":
            return [[-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]];
        case "triangle":
            return [[0, -1.15], [1.05, 0.75], [-1.05, 0.75]];
        case "diamond":
            return [[0, -1.25], [1.05, 0], [0, 1.25], [-1.05, 0]];
        case "cross": {
            const [a, b] = [0.4, 1.1];
            return [[-a, -b], [a, -b], [a, -a], [b, -a], [b, a], [a, a], [a, b], [-a, b], [-a, a], [-b, a], [-b, -a], [-a, -a]];
        }
        case "star":
            return Array.from({ length: 10 }, (_, at) => {
                const [angle, radius] = [(at * Math.PI) / 5, at % 2 === 0 ? 1.3 : 0.6];
                return [radius * Math.sin(angle), -radius * Math.cos(angle)];
            });
    }
}

export class CanvasPen implements Pen {
    readonly #to: CanvasRenderingContext2D;

    constructor(to: CanvasRenderingContext2D) {
        this.#to = to;
    }

    line(points: readonly (readonly [number, number])[], stroke: Stroke): void {
        this.#to.beginPath();
        points.forEach(([x, y], at) => (at === 0 ? this.#to.moveTo(x, y) : this.#to.lineTo(x, y)));
        this.#stroke(stroke);
    }

    ring(x: number, y: number, radius: number, stroke: Stroke): void {
        this.#to.beginPath();
        this.#to.arc(x, y, radius, 0, 2 * Math.PI);
        this.#stroke(stroke);
    }

    mark(mark: Mark, x: number, y: number, size: number, colour: string, opacity = 1): void {
        const to = this.#to;
        to.beginPath();
        if (mark === "circle") to.arc(x, y, size, 0, 2 * Math.PI);
        else corners(mark).forEach(([dx, dy], at) => (at === 0 ? to.moveTo(x + size * dx, y + size * dy) : to.lineTo(x + size * dx, y + size * dy)));
        to.closePath();
        to.globalAlpha = opacity;
        to.fillStyle = colour;
        to.fill();
        to.globalAlpha = 1;
    }

    text(text: string, x: number, y: number, colour: string, options: { size?: number; anchor?: "start" | "middle" | "end" } = {}): void {
        const to = this.#to;
        to.font = `${options.size ?? 12}px system-ui, sans-serif`;
        to.textAlign = ({ start: "left", middle: "center", end: "right" } as const)[options.anchor ?? "start"];
        to.textBaseline = "middle";
        to.fillStyle = colour;
        to.fillText(text, x, y);
    }

    #stroke(stroke: Stroke): void {
        const to = this.#to;
        to.strokeStyle = stroke.colour;
        to.lineWidth = stroke.width ?? 1;
        to.lineCap = to.lineJoin = "round";
        to.setLineDash(stroke.dashed ? [3, 4] : []);
        to.globalAlpha = stroke.opacity ?? 1;
        to.stroke();
        to.globalAlpha = 1;
        to.setLineDash([]);
    }
}

export class SvgPen implements Pen {
    readonly #parts: string[] = [];

    line(points: readonly (readonly [number, number])[], stroke: Stroke): void {
        const path = points.map(([x, y]) => `${place(x)},${place(y)}`).join(" ");
        this.#parts.push(`<polyline points="${path}" fill="none" ${attributes(stroke)}/>`);
    }

    ring(x: number, y: number, radius: number, stroke: Stroke): void {
        this.#parts.push(`<circle cx="${place(x)}" cy="${place(y)}" r="${place(radius)}" fill="none" ${attributes(stroke)}/>`);
    }

    mark(mark: Mark, x: number, y: number, size: number, colour: string, opacity = 1): void {
        const how = `fill="${colour}"${opacity < 1 ? ` fill-opacity="${opacity}"` : ""}`;
        if (mark === "circle") {
            this.#parts.push(`<circle cx="${place(x)}" cy="${place(y)}" r="${place(size)}" ${how}/>`);
            return;
        }
        const path = corners(mark).map(([dx, dy]) => `${place(x + size * dx)},${place(y + size * dy)}`);
        this.#parts.push(`<polygon points="${path.join(" ")}" ${how}/>`);
    }

    text(text: string, x: number, y: number, colour: string, options: { size?: number; anchor?: "start" | "middle" | "end" } = {}): void {
        const inner = text.replace(/&/g, "&amp;").replace(/</g, "&lt;");
        this.#parts.push(
            `<text x="${place(x)}" y="${place(y)}" fill="${colour}" font-size="${options.size ?? 12}" ` +
                `text-anchor="${options.anchor ?? "start"}" dominant-baseline="central">${inner}</text>`,
        );
    }

    /** The file, on a background. */
    file(width: number, height: number, background: string): string {
        return (
            `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" ` +
            `font-family="system-ui, sans-serif"><rect width="100%" height="100%" fill="${background}"/>${this.#parts.join("")}</svg>\n`
        );
    }
}

function place(value: number): string {
    return String(Math.round(value * 100) / 100);
}

function attributes(stroke: Stroke): string {
    return [
        `stroke="${stroke.colour}" stroke-width="${stroke.width ?? 1}" stroke-linecap="round" stroke-linejoin="round"`,
        stroke.dashed ? `stroke-dasharray="3 4"` : "",
        (stroke.opacity ?? 1) < 1 ? `stroke-opacity="${stroke.opacity}"` : "",
    ]
        .filter(Boolean)
        .join(" ");
}
