/**
 * Decides how many bytes of entries the relay may send before this device has committed them: the bytes ahead. An ack
 * comes over the same connection, behind the entries that are under way. So that acks are not late on a slow line, the
 * bytes ahead are about as many as the line brings in a second. On a fast line they must be many, so that the relay
 * never waits for new credit.
 *
 * When the device's clock is set, one measurement is wrong, and doubles or halves the bytes ahead. The next measurement
 * corrects that.
 */

import type { Clock } from "../base/env.ts"
import type { Sizes } from "../base/replica-sizes.ts"

/** The bytes ahead are about as many as the line brings in this time, ms. */
const AHEAD_MS = 1000

export class Credit {
  readonly #clock: Clock
  readonly #sizes: Sizes
  /** The bytes ahead. */
  #ahead: number
  /**
   * Bytes of credit to grant next: the bytes that were committed since the last grant, plus the growth of `#ahead`
   * since then. Negative if `#ahead` has shrunk by more bytes than were committed.
   */
  #due = 0
  /** Bytes committed since the present measurement began. */
  #committed = 0
  /** When the present measurement began, ms since 1970. The relay has had more to send ever since. */
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
    this.#measureAnew()
    return this.#ahead
  }

  /**
   * Call when items were committed. Returns the credit to grant now; 0 while it is too little to be worth a message.
   * `level`: whether the relay has sent everything. If so, the time until the next items says nothing about the line.
   */
  committed(bytes: number, level: boolean): number {
    this.#due += bytes
    this.#committed += bytes
    if (level) this.#measureAnew()
    else if (this.#committed >= this.#ahead) this.#adapt()
    if (this.#due < this.#ahead / 4) return 0
    const granted = this.#due
    this.#due = 0
    return granted
  }

  /** Doubles the bytes ahead if they were committed in much less time than `AHEAD_MS`; halves them if in much more. */
  #adapt(): void {
    const took = this.#clock.now() - this.#since
    const { leastCredit, credit } = this.#sizes
    const factor = took < AHEAD_MS / 2 ? 2 : took > 2 * AHEAD_MS ? 1 / 2 : 1
    const ahead = Math.min(credit, Math.max(leastCredit, this.#ahead * factor))
    this.#due += ahead - this.#ahead
    this.#ahead = ahead
    this.#measureAnew()
  }

  #measureAnew(): void {
    this.#committed = 0
    this.#since = this.#clock.now()
  }
}
