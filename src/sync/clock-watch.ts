/**
 * Notices, with a timer, that the device's clock was set. From then on the known difference to the relay's clock is
 * wrong. New ids and the times of changes are computed from it. Example: a device boots in 1970, and its clock is
 * corrected to 2026 later. It would add the old difference of 56 years to the corrected time, and make ids of 2082.
 */
import type { Clock } from "../base/env.ts"

/** Time between two checks of the clock, ms. */
const EVERY_MS = 5_000
/**
 * If clock and timer differ by more than this, ms, the clock was set (a jump). In a page in the background, timers are
 * up to a minute late, which must not count as a jump. A sleep of the device counts as a jump forward. That does no
 * harm: the relay is only asked for its time once more.
 */
const JUMP_MS = 2 * 60_000

export class ClockWatch {
  readonly #clock: Clock
  readonly #measuredAt: () => number
  readonly #jumped: (ms: number, before: number) => void
  #cancelTimer: () => void = () => {}

  /**
   * `measuredAt` returns when the difference to the relay's clock was measured last, ms since 1970. `jumped` is called
   * within some seconds after a jump. Its `ms`: how far the clock was set forward; negative if it was set back. Its
   * `before`: the result of `measuredAt` at the last check before the jump.
   */
  constructor(clock: Clock, measuredAt: () => number, jumped: (ms: number, before: number) => void) {
    this.#clock = clock
    this.#measuredAt = measuredAt
    this.#jumped = jumped
    this.#wait()
  }

  #wait(): void {
    const due = this.#clock.now() + EVERY_MS
    const before = this.#measuredAt()
    this.#cancelTimer = this.#clock.after(
      EVERY_MS,
      () => {
        this.#wait()
        const ms = this.#clock.now() - due
        if (Math.abs(ms) > JUMP_MS) this.#jumped(ms, before)
      },
      true,
    )
  }

  end(): void {
    this.#cancelTimer()
  }
}
