/** Long work, done in slices: others have the processor in between. */
import type { Clock } from "../../src/base/env.ts"

export const breathe = (clock: Clock): Promise<void> => new Promise((resolve) => void clock.after(0, resolve))

/** Does `work` to its end; wherever it yields, others come first. */
export async function inSlices<T>(clock: Clock, work: Generator<void, T>): Promise<T> {
  for (;;) {
    const { done, value } = work.next()
    if (done) return value
    await breathe(clock)
  }
}

/** Says when a slice is full: after so many steps, which a caller counts in whatever takes its time. */
export class Slice {
  #left: number
  readonly #steps: number

  constructor(steps: number) {
    this.#steps = this.#left = steps
  }

  isFull(steps = 1): boolean {
    this.#left -= steps
    if (this.#left > 0) return false
    this.#left = this.#steps
    return true
  }
}
