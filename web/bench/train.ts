// How many steps a second one core takes, at the two sizes that the lab is meant for: `npm run bench`.
import { readSpec } from "../src/science/spec.ts";
import { Trainer } from "../src/science/train.ts";

const CASES = [
    { name: "5 in 2, density 0.1", count: 5, density: 0.1, hidden: 2 },
    { name: "5 in 2, density 0.5", count: 5, density: 0.5, hidden: 2 },
    { name: "40 in 5, density 0.05", count: 40, density: 0.05, hidden: 5 },
    { name: "40 in 5, density 0.5", count: 40, density: 0.5, hidden: 5 },
];

for (const { name, count, density, hidden } of CASES) {
    const features = [{ kind: "independent", count, density }];
    const trainer = new Trainer(readSpec({ features, hidden, training: { steps: 10_000_000 } }), 0);
    trainer.advance(200);
    const rates: number[] = [];
    for (let repetition = 0; repetition < 5; repetition++) {
        const steps = count > 10 ? 400 : 2000;
        const begun = performance.now();
        trainer.advance(steps);
        rates.push((1000 * steps) / (performance.now() - begun));
    }
    rates.sort((a, b) => a - b);
    console.log(`${name.padEnd(24)} ${rates[2].toFixed(0).padStart(6)} steps a second (batch 1,024)`);
}
