/**
 * Decides how many bytes of entries the relay may send ahead of what this device has committed. An ack comes over the
 * same connection, behind the entries that are under way. So on a slow line these entries must be few: about as many as
 * the line brings in a second. On a fast line they must be many, so that the relay never waits for new credit.
 *
 * When the device's clock is set, one measurement is wrong, and halves or doubles these bytes within their limits. The
 * next measurement corrects that.
 */

import type { Clock } from "../base/env.ts"
import type { Sizes } from "../base/replica-sizes.ts"

/** The relay may send ahead about as many bytes as the line brings in this time, ms. */
const AHEAD_MS = 1000

export class Credit {
  readonly #clock: Clock
  readonly #sizes: Sizes
  /** Bytes that the relay may send ahead. */
  #ahead: number
  /**
   * Bytes of credit to grant next: the bytes that were committed since the last grant, plus the growth of `#ahead`
   * since then. Negative when `#ahead` has become smaller by more.
   */
  #due = 0
  /** Bytes committed since `#since`, while the relay had more to send. */
  #committed = 0
  #since: number

  constructor(clock: Clock, sizes: Sizes) {
    this.#clock = clock
    this.#sizes = sizes
    this.#ahead = sizes.firstCredit
    this.#since = clock.now()
  }

  /** Returns the credit for a pull that replaces all earlier credit, or that is the first of a connection. */
  first(): number {
    this.#due = 0
    this.#measure()
    return this.#ahead
  }

  /**
   * Call when items were committed. Returns the credit to grant now; 0 while the credit is too small to be worth a
   * message. `level`: the relay has sent everything, so the time until the next items says nothing about the line.
   */
  committed(bytes: number, level: boolean): number {
    this.#due += bytes
    this.#committed += bytes
    if (level) this.#measure()
    else if (this.#committed >= this.#ahead) this.#adapt()
    if (this.#due < this.#ahead / 4) return 0
    const granted = this.#due
    this.#due = 0
    return granted
  }

  /** Doubles or halves the bytes ahead if they were committed in much less or much more time than `AHEAD_MS`. */
  #adapt(): void {
    const took = this.#clock.now() - this.#since
    const { leastCredit, credit } = this.#sizes
    const factor = took < AHEAD_MS / 2 ? 2 : took > 2 * AHEAD_MS ? 1 / 2 : 1
    const ahead = Math.min(credit, Math.max(leastCredit, this.#ahead * factor))
    this.#due += ahead - this.#ahead
    this.#ahead = ahead
    this.#measure()
  }

  #measure(): void {
    this.#committed = 0
    this.#since = this.#clock.now()
  }
}
