// The systems of the literature as one may start with them: what to look for, in two sentences, a criterion of the
// experiment with its null, and its page.
import type { Change } from "../science/train.ts";

export interface Preset {
    name: string;
    title: string;
    /** Two sentences on what to look for. */
    look: string;
    /** A criterion of the experiment, and its null. */
    criterion: string;
    /** The page of the experiment in the documentation. */
    page: string;
    /** What else to try, as a button says it, and the change that makes it. */
    offer?: { words: string; change: Change };
    /** A Spec as JSON has it. */
    spec: object;
    run?: number;
}

const correlated = (size: number, density: number, copies: number) => [{ kind: "correlated", size, density, copies }];
const sampled = (steps: number, rest: object = {}) => ({ kind: "sampled", steps, ...rest });

export const PRESETS: readonly Preset[] = [
    {
        name: "octahedron",
        title: "Two sets of three learn an octahedron",
        look:
            "Features of one colour are active together. Both sets first grow as one direction each, on a long plateau of the " +
            "loss; then the triangles open and turn into an octahedron whose opposite corners belong to different sets.",
        criterion:
            "Most runs end as an octahedron that joins different sets; of the 15 ways to pair six features, 6 join " +
            "different sets only.",
        page: "systems/octahedron.html",
        spec: {
            features: correlated(3, 0.05, 2),
            hidden: 3,
            initial_scale: 0.01,
            training: sampled(15_000),
            snapshots: 500,
            seeds: 64,
        },
    },
    {
        name: "pentagon",
        title: "Five features in two dimensions",
        look:
            "Sparse features need no dimension of their own: all five share the plane, as corners of a pentagon, where they " +
            "disturb each other least. Density is the chance that a feature is active: denser ones meet and disturb each other " +
            "more often, so that at 0.25 most runs keep four, in a square, and near 1 two or three.",
        criterion:
            "At each of seven densities one counts which features are represented, beside the best linear model, which keeps " +
            "two.",
        offer: { words: "Make them denser: 0.25", change: { sets: [{ set: 0, density: 0.25 }] } },
        page: "notebooks/introduction.html",
        spec: {
            features: [{ kind: "independent", count: 5, density: 0.05 }],
            hidden: 2,
            training: sampled(10_000),
            snapshots: 500,
            seeds: 64,
        },
    },
    {
        name: "pairs",
        title: "Correlated pairs collapse as they get denser",
        look:
            "Three pairs in the plane, the members of a pair side by side. Raise the density: one pair after the other " +
            "collapses into a single direction, its principal component.",
        criterion:
            "In the best of many starts the number of collapsed pairs never falls as density rises; six independent " +
            "features in arbitrary pairs do not collapse up to density 0.5.",
        page: "systems/collapse.html",
        offer: { words: "Raise the density to 0.4", change: { sets: [0, 1, 2].map((set) => ({ set, density: 0.4 })) } },
        spec: {
            features: correlated(2, 0.1, 3),
            hidden: 2,
            training: sampled(10_000),
            snapshots: 500,
            seeds: 64,
        },
    },
    {
        name: "anticorrelated",
        title: "Anticorrelated pairs lie opposite to each other",
        look:
            "Of each pair at most one member is active, so that members may interfere as much as they like. They take " +
            "opposite directions, and two pairs cross.",
        criterion:
            "The notebook measures the angle between partners in every run, beside what random directions in the " +
            "plane would have.",
        page: "notebooks/pairs.html",
        spec: {
            features: [{ kind: "anticorrelated", size: 2, density: 0.4, copies: 2 }],
            hidden: 2,
            training: sampled(10_000),
            snapshots: 500,
            seeds: 64,
        },
    },
    {
        name: "one-dimension",
        title: "Two correlated features with room for one",
        look:
            "In most runs both features end on the same side: the model keeps their sum and ignores their difference. Lower the " +
            "strength of the correlation, and it keeps one feature, or both back to back.",
        criterion:
            "At full correlation the model represents (a + b)/√2, at every density; without correlation it does not, " +
            "up to density 0.5.",
        page: "systems/pair.html",
        offer: { words: "Lower the strength to 0.2", change: { sets: [{ set: 0, strength: 0.2 }] } },
        spec: {
            features: [{ kind: "partially-correlated", size: 2, density: 0.2, strength: 1 }],
            hidden: 1,
            training: sampled(5000),
            snapshots: 300,
            seeds: 64,
        },
    },
    {
        name: "tradeoff",
        title: "Between superposition and principal components",
        look:
            "Pairs that share a gate with probability ρ. Strong correlation and high density favour the principal " +
            "component, sparsity favours superposition; in between, models mix both.",
        criterion:
            "The loss, relative to that of the best linear model, never falls as density or correlation rises; " +
            "without correlation nothing collapses up to density 0.5.",
        page: "systems/tradeoff.html",
        spec: {
            features: [{ kind: "partially-correlated", size: 2, density: 0.15, strength: 0.7, copies: 3 }],
            hidden: 2,
            training: sampled(10_000),
            snapshots: 500,
            seeds: 64,
        },
    },
    {
        name: "equivariant",
        title: "One feature in several orientations",
        look:
            "Eight detectors of one thing, turned around a circle, so that neighbours are active together. In " +
            "most runs their embeddings form an octagon, in the order of the orientations.",
        criterion:
            "At widths from 0.4 to 0.85 the best solution in the plane is a regular polygon of all orientations; that " +
            "of independent features never is.",
        page: "systems/equivariant.html",
        spec: {
            features: [{ kind: "equivariant", size: 8, density: 0.2, width: 0.6 }],
            hidden: 2,
            training: sampled(10_000),
            snapshots: 400,
            seeds: 64,
        },
    },
    {
        name: "energy-levels",
        title: "Features jump between levels of dimensionality",
        look:
            "Forty features in five dimensions; each line is the share of a dimension that one feature has. Most settle at " +
            "½, as digons; some jump late, and the loss drops as they do.",
        criterion:
            "Late jumps coincide with drops that are found in the loss alone, more often than after shifting either " +
            "in time.",
        page: "systems/energy-levels.html",
        spec: {
            features: [{ kind: "independent", count: 40, density: 0.4 }],
            hidden: 5,
            training: sampled(20_000),
            snapshots: 400,
            seeds: 16,
        },
    },
    {
        name: "many-jumps",
        title: "A smooth loss, made of many small jumps?",
        look:
            "A larger model: its loss looks smooth, while single features still move in steps. Do the steps add up to the " +
            "curve?",
        criterion:
            "More of the fall lies inside a run's own jumps than inside those of other runs, which come at similar " +
            "times.",
        page: "systems/many-jumps.html",
        spec: {
            features: [{ kind: "independent", count: 100, density: 0.3 }],
            hidden: 10,
            training: sampled(8000),
            snapshots: 200,
            seeds: 4,
        },
    },
    {
        name: "polytopes",
        title: "Features end in few polytopes",
        look:
            "Eight equal features in three dimensions. Look at the dimensionalities: they are fractions, such as ⅜ for a " +
            "square antiprism or ½ for a digon.",
        criterion:
            "Features are at one of five levels more often than at levels that are shifted together, and than " +
            "features of an even frame with random directions.",
        page: "systems/polytopes.html",
        spec: {
            features: [{ kind: "independent", count: 8, density: 0.05 }],
            hidden: 3,
            training: sampled(15_000),
            snapshots: 500,
            seeds: 64,
        },
    },
    {
        name: "linear-first",
        title: "Linear first",
        look:
            "From a small start, the first plateau is the best linear solution, with one direction for each set. " +
            "Superposition comes later, as the plateau is left.",
        criterion:
            "The first plateau of most runs is at the loss of the best linear solution with one direction for each " +
            "set, and not at multiples of that loss.",
        page: "systems/linear-first.html",
        spec: {
            features: correlated(4, 0.05, 2),
            hidden: 4,
            initial_scale: 0.01,
            training: sampled(15_000),
            snapshots: 500,
            seeds: 32,
        },
    },
    {
        name: "local-basis",
        title: "Features that occur together are nearly orthogonal",
        look:
            "Four sets of five in eight dimensions. The Gram matrix is calm within a set and noisy between sets: where one " +
            "topic is active, there is hardly any superposition.",
        criterion:
            "Interference within sets is less than a third of that between sets; without correlation in training it " +
            "is not.",
        page: "systems/local-basis.html",
        spec: {
            features: correlated(5, 0.05, 4),
            hidden: 8,
            training: sampled(10_000),
            snapshots: 300,
            seeds: 16,
        },
    },
    {
        name: "exact-vs-sampled",
        title: "Is a plateau a saddle?",
        look:
            "With small batches the way is rough, and yet it rests where training without noise would rest: on plateaus. " +
            "They are saddles of the exact loss, which are left slowly along few directions.",
        criterion:
            "More escaped plateaus are at saddles than moments of fastest fall are; a run stays closer to its twin without " +
            "noise than to that of another start.",
        page: "systems/exact-vs-sampled.html",
        spec: {
            features: correlated(3, 0.05, 2),
            hidden: 3,
            initial_scale: 0.01,
            training: sampled(15_000, { batch: 128 }),
            snapshots: 500,
            seeds: 64,
        },
    },
];
