/** Splits long work into slices, so that other work gets the processor in between. */
import type { Clock } from "../../src/base/env.ts"

/** Resolves after other work has had its turn. */
export const breathe = (clock: Clock): Promise<void> => new Promise((resolve) => void clock.after(0, resolve))

/** Runs `work` to its end, and calls `breathe` at each of its yields. */
export async function inSlices<T>(clock: Clock, work: Generator<void, T>): Promise<T> {
  for (;;) {
    const { done, value } = work.next()
    if (done) return value
    await breathe(clock)
  }
}

/** Counts the steps of long work, and tells when a slice has its full number of steps. */
export class Slice {
  #left: number
  readonly #steps: number

  constructor(steps: number) {
    this.#steps = this.#left = steps
  }

  /** Counts `steps` more steps. Returns true when the slice is full; the next slice then begins. */
  isFull(steps = 1): boolean {
    this.#left -= steps
    if (this.#left > 0) return false
    this.#left = this.#steps
    return true
  }
}
