/**
 * Notices, with a timer, that the device's clock was set. The known difference to the relay's clock is wrong from then
 * on, and new ids and times of changes depend on it: a device that boots in 1970 and whose clock is corrected later
 * would make ids of 2082, because it would add the old difference to the corrected time.
 */
import type { Clock } from "../base/env.ts"

const EVERY_MS = 5_000
/**
 * If clock and timer differ by more than this, ms, the clock was set (a jump). In a page in the background, timers are
 * up to a minute late, which must not count as a jump. A sleep of the device counts as a jump, too, but that does no
 * harm.
 */
const JUMP_MS = 2 * 60_000

export class ClockWatch {
  readonly #clock: Clock
  readonly #measuredAt: () => number
  readonly #jumped: (ms: number, before: number) => void
  #cancelTimer: () => void = () => {}

  /**
   * `measuredAt` returns when the difference to the relay's clock was measured last. `jumped` is called some seconds
   * after a jump. `ms`: how far the clock was set forward; negative if it was set back. `before`: what `measuredAt`
   * returned some seconds before the jump.
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
