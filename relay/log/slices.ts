/** Splits long work into slices, so that other work gets the processor in between. */
import type { Clock } from "../../src/base/env.ts"

/** Resolves after other work has had its turn. */
export const breathe = (clock: Clock): Promise<void> => new Promise((resolve) => void clock.after(0, resolve))

/** Runs all of `work`, and breathes wherever it yields. */
export async function inSlices<T>(clock: Clock, work: Generator<void, T>): Promise<T> {
  for (;;) {
    const { done, value } = work.next()
    if (done) return value
    await breathe(clock)
  }
}

/** Counts the steps of long work, and tells when a slice is full. */
export class Slice {
  #left: number
  readonly #steps: number

  constructor(steps: number) {
    this.#steps = this.#left = steps
  }

  /** Counts `steps` more. When it returns true, the next slice begins. */
  isFull(steps = 1): boolean {
    this.#left -= steps
    if (this.#left > 0) return false
    this.#left = this.#steps
    return true
  }
}
