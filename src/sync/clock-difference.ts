/**
 * Measures how far the relay's clock is ahead of this device's, from the times in the relay's answers.
 *
 * The relay read its clock at some moment between the request and the arrival of the answer. So an answer proves only
 * that the difference lies in a range, which is as wide as the time that the answer took. An answer may take minutes:
 * on a bad line, or in a page that the browser has frozen. If the known difference lies in the range, it stays;
 * otherwise the nearest end of the range replaces it. So a slow answer never makes the known difference worse. An
 * answer within 50 ms makes it exact to 50 ms.
 *
 * All attempts of a session share one `ClockDifference`. The answer to a request of an earlier attempt may come during
 * a later attempt. Measured from the later attempt's request, that answer would seem to be fast.
 */
import type { Clock } from "../base/env.ts"

export class ClockDifference {
  readonly #clock: Clock
  /**
   * For each attempt: when it sent its oldest request that is not answered yet, ms since 1970 by this device's clock.
   * Only requests whose answer has the relay's time count. The attempts are in the order of their requests, because the
   * relay answers in that order.
   */
  readonly #askedAt = new Map<object, number>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Call when an attempt sends a request whose answer has the relay's time. */
  asked(attempt: object): void {
    if (!this.#askedAt.has(attempt)) this.#askedAt.set(attempt, this.#clock.now())
  }

  /**
   * Call when entries with the relay's time have come and no attempt accepts them. They may be the answer to the oldest
   * request, so no later answer must be measured from that request.
   */
  passedOver(): void {
    for (const attempt of this.#askedAt.keys()) return void this.#askedAt.delete(attempt)
  }

  /** Call when the relay will answer none of the requests that were sent. */
  forget(): void {
    this.#askedAt.clear()
  }

  /**
   * Call when entries with the relay's time were accepted. Returns by how many ms the relay's clock is ahead. `time`:
   * the relay's time, ms since 1970. `known`: the difference that was known before, ms. Returns `known` if every
   * request is answered already: in a heal the relay sends its time more than once, and only the first time answers a
   * request.
   */
  answered(time: number, known: number): number {
    const [oldest] = this.#askedAt.values()
    if (oldest === undefined) return known
    this.passedOver()
    const least = time - this.#clock.now()
    // If the device's clock was set back since the request, `time - oldest` is smaller than `least`.
    const most = Math.max(least, time - oldest)
    return Math.min(most, Math.max(least, known))
  }
}
