/**
 * Notices a socket whose other side is gone although no system has said so. Clients ping every 15 s, so a socket
 * without a byte for 90 s is closed. Three cases are no silence: the relay does not read because it has messages to
 * answer; a long frame arrives in many pieces on a slow line; a socket on such a line is full, and the relay reads no
 * pings until it has room. A frame, in either direction, may take 15 min.
 *
 * Time is counted in ticks. When the machine sleeps or its clock is set forward, only one tick passes, and the pings
 * that have come are read before the next one.
 */
import type { Clock } from "../../src/base/env.ts"
import type { ServeSizes } from "./sizes.ts"

/** Ticks in `silentMs`. */
const TICKS = 6

/** The socket that is watched. */
export interface Watched {
  /** Bytes that have come, complete frames or not. */
  bytesRead(): number
  /** Received messages are unanswered. */
  busy(): boolean
  /** So many bytes wait for the network that the relay reads nothing until there is room. */
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

  /** A frame has arrived in full, or everything that was sent has left. */
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
