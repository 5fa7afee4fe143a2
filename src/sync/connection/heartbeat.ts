/** Pings the relay to notice a half-open connection: a connection that looks open although nothing arrives any more. */

import type { Clock } from "../../base/env.ts"

/** Time between the check that finds an answer and the next ping, ms. */
const BEAT_MS = 15_000
/**
 * The patience: if nothing arrives for this time after a ping, ms, the connection counts as dead. `PATIENCE_MS`: the
 * patience at first. `LONGEST_PATIENCE_MS`: the longest one. Each dead connection doubles it: on a slow line, a large
 * frame arrives before the answer, and with a short patience that frame would never arrive completely.
 */
const PATIENCE_MS = 10_000
const LONGEST_PATIENCE_MS = 160_000
/** This many answered pings in a row reset the patience to `PATIENCE_MS`. */
const ANSWERS = 8

export class Heartbeat {
  readonly #after: Clock["after"]
  readonly #ping: () => void
  readonly #dead: () => void
  #state: "stopped" | "resting" | "pinged" = "stopped"
  /** Whether a frame has come since the latest ping. */
  #heard = false
  /** The present patience, ms. It outlasts a connection. */
  #patience = PATIENCE_MS
  /** Answered pings in a row, over all connections. */
  #answers = 0
  #cancelTimer: (() => void) | undefined

  /** `ping` sends a ping. `dead` is called when nothing has arrived for the present patience after a ping. */
  constructor(after: Clock["after"], ping: () => void, dead: () => void) {
    this.#after = after
    this.#ping = ping
    this.#dead = dead
  }

  /** Call when the connection is open. */
  start(): void {
    this.#rest()
  }

  /** Call when the connection has ended. */
  stop(): void {
    this.#state = "stopped"
    this.#cancelTimer?.()
    this.#cancelTimer = undefined
  }

  /** Call when a frame has come. Any frame answers the ping. */
  heard(): void {
    this.#heard = true
  }

  /**
   * Pings now. Does nothing while this object waits for the answer to a ping. Otherwise each call would begin that wait
   * anew, and with frequent calls a dead connection would never be noticed.
   */
  beatNow(): void {
    if (this.#state === "pinged") return
    this.#cancelTimer?.()
    this.#ping()
    this.#state = "pinged"
    this.#heard = false
    this.#awaitAnswer(this.#patience)
  }

  #rest(): void {
    this.#state = "resting"
    this.#cancelTimer = this.#after(BEAT_MS, () => this.beatNow())
  }

  /**
   * Checks for an answer every `PATIENCE_MS`, until `patience` ms are over. So even with a long patience, an answer is
   * found soon, and the next ping is sent before a proxy cuts the idle line.
   */
  #awaitAnswer(patience: number): void {
    this.#cancelTimer = this.#after(PATIENCE_MS, () => {
      if (!this.#heard && patience > PATIENCE_MS) return this.#awaitAnswer(patience - PATIENCE_MS)
      if (this.#heard) {
        if (++this.#answers === ANSWERS) this.#patience = PATIENCE_MS
        return this.#rest()
      }
      this.#answers = 0
      this.#patience = Math.min(LONGEST_PATIENCE_MS, 2 * this.#patience)
      this.#dead()
    })
  }
}
