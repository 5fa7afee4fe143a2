/** Divides long work, so that the page can answer a key, and the relay's next frame can come, in the middle of it. */
import type { Clock } from "./env.ts"

export class Turns {
  readonly #clock: Clock
  readonly #most: number
  /** Bytes worked through since other work last had its turn. */
  #bytes = 0

  /** `most`: after this number of bytes other work has its turn. */
  constructor(clock: Clock, most: number) {
    this.#clock = clock
    this.#most = most
  }

  /**
   * Call after each piece of the work, and await the result if there is one: it resolves when other work has had its
   * turn.
   */
  worked(bytes: number): Promise<void> | undefined {
    this.#bytes += bytes
    if (this.#bytes < this.#most) return undefined
    this.#bytes = 0
    return new Promise((resolve) => void this.#clock.after(0, resolve))
  }
}
