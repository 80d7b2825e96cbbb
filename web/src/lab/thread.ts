// What runs in the worker itself: a workshop whose port is the page.
import type { Request } from "./protocol.ts";
import { type Port, Workshop } from "./worker.ts";

const self = globalThis as unknown as Port & { onmessage: ((event: { data: Request }) => void) | null };
const channel = new MessageChannel();
let tasks: (() => void)[] = [];
channel.port1.onmessage = () => {
    const due = tasks;
    tasks = [];
    for (const task of due) task();
};
// Not setTimeout, which browsers delay by milliseconds.
const workshop = new Workshop(self, (task) => {
    tasks.push(task);
    channel.port2.postMessage(null);
});
self.onmessage = ({ data }) => workshop.hear(data);
