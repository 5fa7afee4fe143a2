/** Keeps what was measured, and judges it by the goals. */
import { median } from "../figures.ts"
import type { Side } from "./sides.ts"

/** What one round of a work has measured, by name. */
export type Measures = Readonly<Record<string, number>>

/** The rounds of a work, by size and side, in the order in which they were run. */
export class Figures {
  #rounds = new Map<string, Measures[]>()

  add(size: number, side: Side, measures: Measures): void {
    this.#of(size, side).push(measures)
  }

  /** Returns one value a round; none when this side was not measured at this size. */
  values(size: number, side: Side, measure: string): readonly number[] {
    return this.#of(size, side).flatMap((measures) => measures[measure] ?? [])
  }

  /** Returns the values of one side divided by those of another side, round by round. */
  ratios(size: number, side: Side, other: Side, measure: string): readonly number[] {
    const others = this.values(size, other, measure)
    const values = this.values(size, side, measure)
    return values.slice(0, others.length).map((value, round) => value / others[round]!)
  }

  #of(size: number, side: Side): Measures[] {
    const key = `${size} ${side}`
    const rounds = this.#rounds.get(key) ?? []
    this.#rounds.set(key, rounds)
    return rounds
  }
}

/** A goal for one row of the table: which number it is about, and its bound. */
export interface Goal {
  readonly says: string
  /** Returns one value a round; none when something that it needs was not measured. */
  readonly of: (figures: Figures) => readonly number[]
  readonly atMost?: number
  readonly atLeast?: number
  readonly unit?: string
}

/** Returns the value that a goal is about and whether it is met; undefined when it was not measured. */
export function judge(goal: Goal, figures: Figures): string | undefined {
  const values = goal.of(figures)
  if (values.length === 0) return undefined
  const value = median(values)
  const met = goal.atMost !== undefined ? value <= goal.atMost : value >= (goal.atLeast ?? 0)
  return `${short(value)}${goal.unit ?? "x"}: ${met ? "met" : "**missed**"}`
}

/** Formats a number with about three significant digits. */
export function short(value: number): string {
  const size = Math.abs(value)
  if (size >= 100 || Number.isInteger(value)) return Math.round(value).toLocaleString("en")
  return value.toFixed(size >= 10 ? 1 : 2)
}

/** Formats the median of the values, and their range if they differ. */
export function withSpread(values: readonly number[]): string {
  if (values.length === 0) return "–"
  const [least, most] = [short(Math.min(...values)), short(Math.max(...values))]
  return least === most ? short(median(values)) : `${short(median(values))} (${least}–${most})`
}
