// The scene as a film: every recorded step in turn on a canvas of its own, recorded by the browser as it plays.
import { CanvasPen } from "../pen.ts";
import { paint } from "../scene.ts";
import { count, significant } from "../sentence.ts";
import type { Store } from "../store.ts";
import { look } from "../theme.ts";
import { sceneAt } from "./scene.tsx";

/** Pictures a second, and how many there are at most. */
const RATE = 30;
const MOST = 300;
/** What browsers can record; the first that this one can is taken. */
const KINDS = ["video/webm;codecs=vp9", "video/webm;codecs=vp8", "video/webm", "video/mp4"];

/** A film of the first of the runs shown, with the camera where it is. */
export async function filmed(store: Store, size: number, said: (done: number) => void): Promise<Blob> {
    const recording = store.first.value;
    const kind = KINDS.find((each) => globalThis.MediaRecorder?.isTypeSupported(each));
    if (recording === null || kind === undefined) throw new Error("This browser cannot record films");
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [size, size];
    const to = canvas.getContext("2d") as CanvasRenderingContext2D;
    const recorder = new MediaRecorder(canvas.captureStream(RATE), { mimeType: kind, videoBitsPerSecond: 5_000_000 });
    const parts: Blob[] = [];
    recorder.ondataavailable = ({ data }) => parts.push(data);
    const stopped = new Promise((resolve) => (recorder.onstop = resolve));
    const { frames } = recording;
    const pictures = Math.min(frames.length, MOST);
    const camera = store.camera.value;
    recorder.start();
    for (let picture = 0; picture < pictures; picture++) {
        const index = pictures === 1 ? 0 : Math.round((picture * (frames.length - 1)) / (pictures - 1));
        const { scene, reach } = sceneAt(store, recording, index);
        to.fillStyle = look.value.paper;
        to.fillRect(0, 0, size, size);
        paint(new CanvasPen(to), scene, { width: size, height: size, camera, look: look.value, reach });
        to.fillStyle = look.value.ink;
        to.font = `${Math.round(size / 40)}px system-ui, sans-serif`;
        to.textAlign = "left";
        to.textBaseline = "bottom";
        to.fillText(`step ${count(frames[index].step)}, loss ${significant(frames[index].loss)}`, 12, size - 10);
        said((picture + 1) / pictures);
        await new Promise((resolve) => setTimeout(resolve, 1000 / RATE));
    }
    recorder.stop();
    await stopped;
    return new Blob(parts, { type: kind.split(";")[0] });
}
