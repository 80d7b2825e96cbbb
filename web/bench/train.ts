// How many steps a second one core takes, at the two sizes that the lab is meant for: `npm run bench`. Time is that of
// the processor, the best of several repetitions, so that other work on the machine matters less.
import { readSpec } from "../src/science/spec.ts";
import { Trainer } from "../src/science/train.ts";

const CASES = [
    { name: "5 in 2, density 0.1", count: 5, density: 0.1, hidden: 2, steps: 500 },
    { name: "5 in 2, density 0.5", count: 5, density: 0.5, hidden: 2, steps: 500 },
    { name: "40 in 5, density 0.05", count: 40, density: 0.05, hidden: 5, steps: 60 },
    { name: "40 in 5, density 0.5", count: 40, density: 0.5, hidden: 5, steps: 60 },
    { name: "400 in 30, density 0.01", count: 400, density: 0.01, hidden: 30, steps: 4 },
];
const REPETITIONS = 20;

for (const { name, count, density, hidden, steps } of CASES) {
    const features = [{ kind: "independent", count, density }];
    const trainer = new Trainer(readSpec({ features, hidden, training: { steps: 1_000_000 } }), 0);
    let best = 0;
    for (let repetition = 0; repetition < REPETITIONS; repetition++) {
        const begun = process.cpuUsage();
        trainer.advance(steps);
        const { user, system } = process.cpuUsage(begun);
        best = Math.max(best, (1e6 * steps) / (user + system));
    }
    console.log(`${name.padEnd(24)} ${best.toFixed(0).padStart(6)} steps a second (batch 1,024)`);
}
