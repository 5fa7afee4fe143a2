/**
 * Divides long work into parts, so that a web page can handle a key press or a frame of the relay between two parts.
 */
import type { Clock } from "./env.ts"

export class Turns {
  readonly #clock: Clock
  readonly #most: number
  /** The work done since other work last had its turn. */
  #done = 0

  /** `most`: after this much work other work has its turn. The caller chooses the unit: bytes, or operations. */
  constructor(clock: Clock, most: number) {
    this.#clock = clock
    this.#most = most
  }

  /**
   * Call after each piece of the work. If `worked` returns a promise, await it before the next piece: it resolves when
   * other work has had its turn.
   */
  worked(amount: number): Promise<void> | undefined {
    this.#done += amount
    if (this.#done < this.#most) return undefined
    this.#done = 0
    return new Promise((resolve) => void this.#clock.after(0, resolve))
  }
}
