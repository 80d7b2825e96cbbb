// The systems of the literature as one may start with them: what to look for, in two sentences, how the experiment
// decides, and its page.
export interface Preset {
    name: string;
    title: string;
    /** Two sentences on what to look for. */
    look: string;
    /** The criterion of the experiment, and its null. */
    criterion: string;
    /** The page of the experiment in the documentation. */
    page: string;
    /** A Spec as JSON has it. */
    spec: object;
    run?: number;
}

const correlated = (size: number, density: number, copies: number) => [{ kind: "correlated", size, density, copies }];
const sampled = (steps: number, rest: object = {}) => ({ kind: "sampled", steps, batch: 1024, ...rest });

export const PRESETS: readonly Preset[] = [
    {
        name: "octahedron",
        title: "Two sets of three learn an octahedron",
        look:
            "Both sets first grow as one direction each, on a long plateau of the loss. Then the triangles open and turn " +
            "into an octahedron whose opposite corners belong to different sets.",
        criterion:
            "The regimes seen in the motion begin where the loss changes, more closely than the same regimes shuffled in " +
            "time or placed at random.",
        page: "systems/octahedron.html",
        spec: {
            features: correlated(3, 0.05, 2),
            hidden: 3,
            initial_scale: 0.01,
            training: sampled(15_000),
            snapshots: { spacing: "linear", count: 500 },
            seeds: 64,
        },
    },
    {
        name: "pentagon",
        title: "Five features in two dimensions",
        look:
            "Sparse features need no dimension of their own: all five share the plane, as corners of a pentagon. Make them " +
            "denser, and only two remain.",
        criterion: "How many features are represented, against the best linear model, which keeps two.",
        page: "notebooks/introduction.html",
        spec: {
            features: [{ kind: "independent", count: 5, density: 0.05 }],
            hidden: 2,
            training: sampled(10_000),
            snapshots: { spacing: "linear", count: 500 },
            seeds: 64,
        },
    },
    {
        name: "pairs",
        title: "Correlated pairs collapse as they get denser",
        look:
            "Three pairs in the plane, the members of a pair side by side. Raise the density: one pair after the other " +
            "collapses into a single direction, its principal component.",
        criterion: "The number of collapsed pairs in the best of many starts, at each density, with its interval.",
        page: "systems/collapse.html",
        spec: {
            features: correlated(2, 0.1, 3),
            hidden: 2,
            training: sampled(10_000),
            snapshots: { spacing: "linear", count: 500 },
            seeds: 64,
        },
    },
    {
        name: "anticorrelated",
        title: "Anticorrelated pairs lie opposite to each other",
        look:
            "Of each pair at most one member is active, so that members may interfere as much as they like. They take " +
            "opposite directions, and two pairs cross.",
        criterion: "The angle between partners, against the angles between features of different pairs.",
        page: "notebooks/pairs.html",
        spec: {
            features: [{ kind: "anticorrelated", size: 2, density: 0.4, copies: 2 }],
            hidden: 2,
            training: sampled(10_000),
            snapshots: { spacing: "linear", count: 500 },
            seeds: 64,
        },
    },
    {
        name: "one-dimension",
        title: "Two correlated features with room for one",
        look:
            "Both features end on the same side: the model keeps their sum and ignores their difference. Lower the " +
            "strength of the correlation, and it keeps one feature, or both back to back.",
        criterion: "The angle to (a + b)/√2, against the same with independent features.",
        page: "systems/pair.html",
        spec: {
            features: [{ kind: "partially-correlated", size: 2, density: 0.2, strength: 1 }],
            hidden: 1,
            training: sampled(5000),
            snapshots: { spacing: "linear", count: 300 },
            seeds: 64,
        },
    },
    {
        name: "tradeoff",
        title: "Between superposition and principal components",
        look:
            "Pairs that share a gate with probability ρ. Strong correlation and high density favour the principal " +
            "component, sparsity favours superposition; in between, models mix both.",
        criterion: "Which of the candidate solutions has the lowest exact loss at each strength and density.",
        page: "systems/tradeoff.html",
        spec: {
            features: [{ kind: "partially-correlated", size: 2, density: 0.15, strength: 0.7, copies: 3 }],
            hidden: 2,
            training: sampled(10_000),
            snapshots: { spacing: "linear", count: 500 },
            seeds: 64,
        },
    },
    {
        name: "equivariant",
        title: "One feature in several orientations",
        look:
            "Eight detectors of one thing, turned around a circle; neighbours are active together. Narrow tuning makes " +
            "them separate features, wide tuning leaves two waves: a circle in the plane.",
        criterion: "Which Fourier modes the embeddings have, against detectors that are independent.",
        page: "systems/equivariant.html",
        spec: {
            features: [{ kind: "equivariant", size: 8, density: 0.2, width: 0.8 }],
            hidden: 3,
            training: sampled(10_000),
            snapshots: { spacing: "linear", count: 400 },
            seeds: 64,
        },
    },
    {
        name: "energy-levels",
        title: "Features jump between levels of dimensionality",
        look:
            "Forty features in five dimensions; each line is the share of a dimension that one feature has. Most settle at " +
            "½, as digons; some jump late, and the loss drops as they do.",
        criterion: "Drops of the loss meet jumps more often than jumps of other runs at the same times.",
        page: "systems/energy-levels.html",
        spec: {
            features: [{ kind: "independent", count: 40, density: 0.4 }],
            hidden: 5,
            training: sampled(20_000),
            snapshots: { spacing: "linear", count: 400 },
            seeds: 16,
        },
    },
    {
        name: "many-jumps",
        title: "A smooth loss, made of many small jumps?",
        look:
            "A larger model: its loss looks smooth, while single features still move in steps. Do the steps add up to the " +
            "curve?",
        criterion: "The part of the fall that happens while features jump, against jumps shifted in time.",
        page: "systems/many-jumps.html",
        spec: {
            features: [{ kind: "independent", count: 100, density: 0.3 }],
            hidden: 10,
            training: sampled(8000),
            snapshots: { spacing: "linear", count: 200 },
            seeds: 4,
        },
    },
    {
        name: "polytopes",
        title: "Features end in few polytopes",
        look:
            "Eight equal features in three dimensions. Look at the dimensionalities: they are fractions, such as ⅜ for a " +
            "square antiprism or ½ for a digon.",
        criterion: "The share of features within 0.03 of a level, against a smooth distribution.",
        page: "systems/polytopes.html",
        spec: {
            features: [{ kind: "independent", count: 8, density: 0.05 }],
            hidden: 3,
            training: sampled(15_000),
            snapshots: { spacing: "linear", count: 500 },
            seeds: 64,
        },
    },
    {
        name: "linear-first",
        title: "Linear first",
        look:
            "From a small start, the first plateau is the best linear solution, with one direction for each set. " +
            "Superposition comes later, as the plateau is left.",
        criterion: "The loss of the first plateau equals that of the best linear model of the same rank.",
        page: "systems/linear-first.html",
        spec: {
            features: correlated(4, 0.05, 2),
            hidden: 4,
            initial_scale: 0.01,
            training: sampled(15_000),
            snapshots: { spacing: "linear", count: 500 },
            seeds: 32,
        },
    },
    {
        name: "local-basis",
        title: "Features that occur together are nearly orthogonal",
        look:
            "Four sets of five in eight dimensions. The Gram matrix is calm within a set and noisy between sets: where one " +
            "topic is active, there is hardly any superposition.",
        criterion: "Interference within sets against interference between them, and against shuffled sets.",
        page: "systems/local-basis.html",
        spec: {
            features: correlated(5, 0.05, 4),
            hidden: 8,
            training: sampled(10_000),
            snapshots: { spacing: "linear", count: 300 },
            seeds: 16,
        },
    },
    {
        name: "exact-vs-sampled",
        title: "Does noise decide?",
        look:
            "The same model with small batches: its path is rough, and its end often the same. Compare two runs that " +
            "differ by their samples only.",
        criterion: "End states with and without noise, from the same starts.",
        page: "systems/exact-vs-sampled.html",
        spec: {
            features: [{ kind: "independent", count: 5, density: 0.1 }],
            hidden: 2,
            training: sampled(10_000, { batch: 64 }),
            snapshots: { spacing: "linear", count: 500 },
            seeds: 64,
        },
    },
];
