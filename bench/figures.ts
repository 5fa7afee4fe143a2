/** Prints figures: the median of the values of all rounds, their range, and the goal. */
export const median = (values: readonly number[]): number => {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[sorted.length >> 1] ?? Number.NaN
}

export interface Goal {
  readonly atLeast?: number
  readonly atMost?: number
}

/** Prints one line: `name  median unit (min..max)  goal`. A missed goal is marked but does not fail the run. */
export function figure(name: string, values: readonly number[], unit: string, goal: Goal = {}): void {
  const middle = median(values)
  const spread = values.length > 1 ? ` (${short(Math.min(...values))}..${short(Math.max(...values))})` : ""
  console.log(`  ${name.padEnd(58)} ${short(middle)}${unit}${spread}${judge(middle, goal)}`)
}

function judge(value: number, { atLeast, atMost }: Goal): string {
  if (atLeast !== undefined) return `  goal >= ${atLeast}: ${value >= atLeast ? "met" : "MISSED"}`
  if (atMost !== undefined) return `  goal <= ${atMost}: ${value <= atMost ? "met" : "MISSED"}`
  return ""
}

/** Formats a number with about three significant digits. */
function short(value: number): string {
  const size = Math.abs(value)
  if (size >= 100 || Number.isInteger(value)) return Math.round(value).toLocaleString("en")
  return value.toFixed(size >= 10 ? 1 : size >= 0.1 ? 2 : 4)
}

/** Runs `f` and resolves with its duration in ms. */
export async function timed(f: () => unknown): Promise<number> {
  const begun = performance.now()
  await f()
  return performance.now() - begun
}
