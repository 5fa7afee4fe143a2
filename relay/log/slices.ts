/** Long work in slices, so that others have the processor in between. */
import type { Clock } from "../../src/base/env.ts"

/** Lets everybody else have their turn. */
export const breathe = (clock: Clock): Promise<void> => new Promise((resolve) => void clock.after(0, resolve))

/** Does all of `work`, and breathes wherever it yields. */
export async function inSlices<T>(clock: Clock, work: Generator<void, T>): Promise<T> {
  for (;;) {
    const { done, value } = work.next()
    if (done) return value
    await breathe(clock)
  }
}

/** Counts steps, and says when a slice is full. The caller counts what takes its time. */
export class Slice {
  #left: number
  readonly #steps: number

  constructor(steps: number) {
    this.#steps = this.#left = steps
  }

  /** Counts `steps` more; after a yes the next slice begins. */
  isFull(steps = 1): boolean {
    this.#left -= steps
    if (this.#left > 0) return false
    this.#left = this.#steps
    return true
  }
}
