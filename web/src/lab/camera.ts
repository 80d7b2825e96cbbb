// How a scene in space is looked at: two angles and a distance.

/** Angles in radians; zoom 1 shows the unit sphere. */
export interface Camera {
    yaw: number;
    pitch: number;
    zoom: number;
}

export const FIRST_SIGHT: Camera = { yaw: 0.6, pitch: 0.35, zoom: 1 };

/** The rows of the matrix that turns a point in space: right, up, and towards the eye. */
export function axes(camera: Camera): [number[], number[], number[]] {
    const [cy, sy, cp, sp] = [Math.cos(camera.yaw), Math.sin(camera.yaw), Math.cos(camera.pitch), Math.sin(camera.pitch)];
    return [
        [cy, 0, -sy],
        [-sy * sp, cp, -cy * sp],
        [sy * cp, sp, cy * cp],
    ];
}
