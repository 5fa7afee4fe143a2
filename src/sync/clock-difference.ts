/**
 * Measures how far the relay's clock is ahead of this device's, from the times in the relay's answers.
 *
 * The relay read its clock at some moment between the request and the arrival of the answer. So an answer proves only a
 * range, as wide as the answer took. An answer may take minutes: on a bad line, or in a page that the browser has
 * frozen. If the difference that is known lies in the range, it stays; otherwise the nearest end of the range takes its
 * place. So a slow answer never makes the difference worse, and a fast answer makes it as exact as the answer was fast.
 */
import type { Clock } from "../base/env.ts"

export class ClockDifference {
  readonly #clock: Clock
  /** When the request whose answer has the relay's time was sent, by this device's clock; undefined once answered. */
  #askedAt: number | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Call when a request is sent whose answer has the relay's time. */
  asked(): void {
    this.#askedAt ??= this.#clock.now()
  }

  /**
   * Returns by how many ms the relay's clock is ahead. `time`: the relay's time in an answer, ms since 1970. `known`: the
   * difference that was known before the answer. The later times in the answer to a heal say nothing new, because
   * nobody knows how long they took.
   */
  answered(time: number, known: number): number {
    const askedAt = this.#askedAt
    if (askedAt === undefined) return known
    this.#askedAt = undefined
    const least = time - this.#clock.now()
    // Smaller than `least` if the device's clock was set back meanwhile.
    const most = Math.max(least, time - askedAt)
    return Math.min(most, Math.max(least, known))
  }
}
