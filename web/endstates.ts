// Where the runs of Specs end, as the page trains them: a list of Specs comes from standard input as JSON, and for each
// of them the final weights, biases and names of all its runs go to standard output. Python compares them with its own.
import { readFileSync } from "node:fs";
import { namePolytope } from "./src/science/polytopes.ts";
import { readSpec } from "./src/science/spec.ts";
import { Trainer } from "./src/science/train.ts";

const specs = JSON.parse(readFileSync(0, "utf8")) as unknown[];
const ends = specs.map((given) => {
    const spec = readSpec(given);
    return Array.from({ length: spec.seeds }, (_, run) => {
        const trainer = new Trainer(spec, run);
        trainer.advance(spec.training.steps);
        const { name } = namePolytope(trainer.weights, spec.hidden);
        return { weights: Array.from(trainer.weights), bias: Array.from(trainer.bias), name };
    });
});
process.stdout.write(JSON.stringify(ends));
