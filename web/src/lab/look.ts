// Colours and forms: one of each for a set, so that sets can be told apart without colour. The colours are those that
// colour-blind readers can distinguish (Okabe & Ito, 2008), darker on white and lighter on black where contrast needs it.
import { type Mark, MARKS } from "./pen.ts";

export interface Look {
    paper: string;
    ink: string;
    faint: string;
    grid: string;
    sets: readonly string[];
    /** Negative and positive entries of a matrix. */
    negative: [number, number, number];
    positive: [number, number, number];
}

const LIGHT: Look = {
    paper: "#ffffff",
    ink: "#1d1f21",
    faint: "#5c6166",
    grid: "#d9dcdf",
    sets: ["#0072b2", "#c44e00", "#00795a", "#a8467f", "#8a6a00", "#2f6f9f"],
    negative: [196, 78, 0],
    positive: [0, 114, 178],
};

const DARK: Look = {
    paper: "#15171a",
    ink: "#eceef0",
    faint: "#a4abb2",
    grid: "#3a3f45",
    sets: ["#56b4e9", "#f08a3c", "#2fc49a", "#e08cc0", "#e6c229", "#9fc8e8"],
    negative: [240, 138, 60],
    positive: [86, 180, 233],
};

export function lookOf(dark: boolean): Look {
    return dark ? DARK : LIGHT;
}

/** The colour of a set. */
export function colourOf(look: Look, set: number): string {
    return look.sets[set % look.sets.length];
}

/** The form of a set's marks; beyond as many sets as there are colours, forms tell them apart. */
export function markOf(set: number): Mark {
    return MARKS[set % MARKS.length];
}
