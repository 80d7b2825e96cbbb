// How a scene in space is looked at: two angles and a distance.

/** Angles in radians; zoom 1 shows the unit sphere. */
export interface Camera {
    yaw: number;
    pitch: number;
    zoom: number;
}

export const FIRST_SIGHT: Camera = { yaw: 0.6, pitch: 0.35, zoom: 1 };

/** Angles and zooms that can be told from one another, so that an address holds them to the last digit. */
const FINE = 1e4;

/** The camera turned by so many pixels. */
export function turned({ yaw, pitch, zoom }: Camera, dx: number, dy: number): Camera {
    return { yaw: rounded(yaw - dx / 150), pitch: rounded(Math.max(-1.5, Math.min(1.5, pitch + dy / 150))), zoom };
}

/** The camera so many times nearer. */
export function nearer(camera: Camera, factor: number): Camera {
    return { ...camera, zoom: rounded(Math.max(0.3, Math.min(4, camera.zoom * factor))) };
}

function rounded(value: number): number {
    // Adding 0 makes −0 a 0.
    return Math.round(value * FINE) / FINE + 0;
}

/** The rows of the matrix that turns a point in space: right, up, and towards the eye. */
export function axes(camera: Camera): [number[], number[], number[]] {
    const [cy, sy, cp, sp] = [Math.cos(camera.yaw), Math.sin(camera.yaw), Math.cos(camera.pitch), Math.sin(camera.pitch)];
    return [
        [cy, 0, -sy],
        [-sy * sp, cp, -cy * sp],
        [sy * cp, sp, cy * cp],
    ];
}
