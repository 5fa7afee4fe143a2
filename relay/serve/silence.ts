/**
 * Notices a socket whose other side is gone although no system has said so. Clients ping every 15 s, so one of which no
 * byte comes for 90 s is closed. Three things are no silence: what the relay does not read, because it has yet to answer
 * what it read before; a long frame on a slow line, which gets here in many pieces; a full socket on such a line, of
 * whose pings the relay reads none until it has room. A frame, on its way in or out, may take 15 min.
 *
 * Time is counted in ticks. If the machine sleeps or its clock is set forward, only one tick has passed for everybody,
 * and their pings are read before the next one.
 */
import type { Clock } from "../../src/base/env.ts"
import type { ServeSizes } from "./sizes.ts"

/** Ticks in `silentMs`. */
const TICKS = 6

/** What is watched. */
export interface Watched {
  /** Bytes that have come, complete frames or not. */
  bytesRead(): number
  /** Received messages are unanswered. */
  busy(): boolean
  /** The network has not taken so much that the relay reads nothing until there is room. */
  full(): boolean
  /** It was silent for too long. */
  silent(): void
}

export class Silence {
  readonly #clock: Clock
  readonly #sizes: ServeSizes
  readonly #watched: Watched
  /** Ticks without a byte. */
  #quiet = 0
  /** Ticks without a whole frame in either direction. */
  #frameless = 0
  #bytesRead: number
  #cancel = () => {}

  constructor(clock: Clock, sizes: ServeSizes, watched: Watched) {
    this.#clock = clock
    this.#sizes = sizes
    this.#watched = watched
    this.#bytesRead = watched.bytesRead()
    this.#wait()
  }

  /** A frame has arrived in full, or all that was to be sent has left. */
  moved(): void {
    this.#quiet = this.#frameless = 0
  }

  stop(): void {
    this.#cancel()
  }

  #wait(): void {
    this.#cancel = this.#clock.after(this.#sizes.silentMs / TICKS, () => this.#tick())
  }

  #tick(): void {
    const bytesRead = this.#watched.bytesRead()
    const full = this.#watched.full()
    if (!full && this.#watched.busy()) this.moved()
    else {
      this.#quiet = full || bytesRead !== this.#bytesRead ? 0 : this.#quiet + 1
      this.#frameless++
    }
    this.#bytesRead = bytesRead
    const { silentMs, frameMs } = this.#sizes
    if (this.#quiet >= TICKS || this.#frameless * silentMs >= TICKS * frameMs) this.#watched.silent()
    else this.#wait()
  }
}
