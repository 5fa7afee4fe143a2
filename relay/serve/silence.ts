/**
 * Notices a socket whose other side is gone although no system has said so. Clients ping every 15 s, so one of which no
 * frame comes for 90 s is closed. Three things are no silence: what the relay does not read, because it has yet to
 * answer what it read before; a long frame on a slow line, of which 64 KiB come in that time; a full socket on such a
 * line, of whose pings the relay reads none until it has room, as long as the network takes some of it. A frame, on its
 * way in or out, may take 15 min.
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
  /** Bytes that the network has not taken, counted in several ways. It takes some when one of them falls. */
  untaken(): readonly number[]
  /** It was silent for too long. */
  silent(): void
}

export class Silence {
  readonly #clock: Clock
  readonly #sizes: ServeSizes
  readonly #watched: Watched
  /** There was a sign of the other side since the last tick. */
  #sign = false
  /** Ticks in a row without one. */
  #quiet = 0
  /** Ticks without a whole frame in either direction. */
  #frameless = 0
  /** Bytes that had come when the last sign did. */
  #bytesRead: number
  /** At the last tick, if the socket was full. */
  #untaken: readonly number[] | undefined
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
    this.#frameless = 0
    this.heard()
  }

  /** There was a sign of the other side: a ping or pong, which may come in the middle of a frame, or a part of one. */
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
