/**
 * Detects a socket whose other side is gone although the operating system has reported no error. Clients ping every
 * 15 s, so a socket that receives no frame for 90 s is closed. Three cases are not silence: (1) the relay reads
 * nothing, because it has yet to answer earlier messages; (2) a long frame arrives on a slow line, at least 64 KiB of
 * it in 90 s; (3) the socket is full, so that the relay reads no pings, but the network still takes some of its bytes.
 * One frame, received or sent, may take 15 min.
 *
 * Time is counted in ticks. If the machine sleeps or its clock is set forward, only one tick passes, and the pings that
 * arrived meanwhile are read before the next tick.
 */
import type { Clock } from "../../../src/base/env.ts"
import type { ServeSizes } from "../serve-sizes.ts"

/** Number of ticks in `silentMs`. */
const TICKS = 6

/** A socket, as `Silence` sees it. */
export interface Watched {
  /** Bytes received so far, whether or not they complete a frame. */
  bytesRead(): number
  /** Whether some received messages are unanswered. */
  busy(): boolean
  /** Whether so many bytes wait for the network that the relay reads nothing from the socket. */
  full(): boolean
  /**
   * Bytes that the network has not taken, counted in several ways. The network has taken some if one of the numbers
   * falls.
   */
  untaken(): readonly number[]
  /** Called when the socket was silent for too long. */
  silent(): void
}

export class Silence {
  readonly #clock: Clock
  readonly #sizes: ServeSizes
  readonly #watched: Watched
  /** Whether there was a sign of the other side since the last tick. */
  #sign = false
  /** Ticks in a row without a sign of the other side. */
  #quiet = 0
  /** Ticks in a row without a complete frame in either direction. */
  #frameless = 0
  /** The value of `bytesRead()` at the last sign of the other side. */
  #bytesRead: number
  /** The value of `untaken()` at the last tick; undefined if the socket was not full then. */
  #untaken: readonly number[] | undefined
  #cancel = () => {}

  constructor(clock: Clock, sizes: ServeSizes, watched: Watched) {
    this.#clock = clock
    this.#sizes = sizes
    this.#watched = watched
    this.#bytesRead = watched.bytesRead()
    this.#wait()
  }

  /** Call it when a frame has arrived in full, or when the network has taken everything that was sent. */
  moved(): void {
    this.#frameless = 0
    this.heard()
  }

  /** Call it at a sign of the other side: a ping or pong (even in the middle of a frame), or a part of a frame. */
  heard(): void {
    this.#sign = true
    this.#bytesRead = this.#watched.bytesRead()
  }

  stop(): void {
    this.#cancel()
  }

  #wait(): void {
    this.#cancel = this.#clock.after(this.#sizes.silentMs / TICKS, () => this.#tick())
  }

  #tick(): void {
    const { silentMs, silentBytes, frameMs } = this.#sizes
    const before = this.#untaken
    this.#untaken = this.#watched.full() ? this.#watched.untaken() : undefined
    if (!this.#untaken && this.#watched.busy()) this.moved()
    else {
      this.#frameless++
      if (this.#untaken) {
        if (!before || this.#untaken.some((bytes, i) => bytes < before[i]!)) this.heard()
      } else if (this.#watched.bytesRead() - this.#bytesRead >= silentBytes) this.heard()
    }
    this.#quiet = this.#sign ? 0 : this.#quiet + 1
    this.#sign = false
    if (this.#quiet >= TICKS || this.#frameless * silentMs >= TICKS * frameMs) this.#watched.silent()
    else this.#wait()
  }
}
