/** The parts of a work: what the sides do, at three sizes, and what is measured. */
import type { Figures, Goal, Measures } from "./figures.ts"
import type { Seeds } from "./seeds.ts"
import type { Side } from "./sides.ts"

/** One line of the table: a measure at one size. */
export interface Row {
  readonly title: string
  readonly measure: string
  readonly size: number
  readonly unit: string
  readonly goal?: Goal
}

export interface Work {
  readonly name: string
  /** What the size is a number of, such as notes. */
  readonly counts: string
  /** The sizes, ascending. The table shows those that `rows` name, and the plot shows all. */
  readonly sizes: readonly number[]
  /** The sides that can do it, with the largest size that each can do in a sensible time. */
  readonly sides: Readonly<Partial<Record<Side, number>>>
  readonly rows: readonly Row[]
  /** The measure that the plot shows, divided by the size. `whole`: not divided. */
  readonly plot: { readonly measure: string; readonly title: string; readonly unit: string; readonly whole?: true }
  /** Does the work once. Figures count only if it resolves. */
  round(side: Side, size: number, run: Run): Promise<Measures>
}

export interface Run {
  readonly seeds: Seeds
  /** Makes an empty folder that is deleted after the round. */
  folder(name: string): string
}

/** A goal for a measure of Headwater, divided by the same measure of another side in the same round. */
export const against = (
  other: Side,
  measure: string,
  size: number,
  bound: { readonly atMost?: number; readonly atLeast?: number },
): Goal => ({
  says: `${bound.atMost === undefined ? `>= ${bound.atLeast}` : `<= ${bound.atMost}`}x ${nameOf[other] ?? other}`,
  of: (figures: Figures) => figures.ratios(size, "headwater", other, measure),
  ...bound,
})
const nameOf: Partial<Record<Side, string>> = { hocuspocus: "Hocuspocus", bare: "bare" }

/** A goal for a measure of Headwater by itself. */
export const within = (measure: string, size: number, atMost: number, unit: string): Goal => ({
  says: `<= ${atMost.toLocaleString("en")}${unit}`,
  of: (figures: Figures) => figures.values(size, "headwater", measure),
  atMost,
  unit,
})

/** A goal for a measure of Headwater, divided by another measure of Headwater in the same round. */
export const share = (measure: string, of: string, size: number, atMost: number, says: string): Goal => ({
  says: `<= ${atMost}x ${says}`,
  of(figures: Figures) {
    const whole = figures.values(size, "headwater", of)
    return figures.values(size, "headwater", measure).map((value, round) => value / whole[round]!)
  },
  atMost,
})
