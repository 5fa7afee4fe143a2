/**
 * Finds out whether a workspace makes progress. Progress makes the waits before the next attempt and the next dial
 * short again. So a step that succeeds each time before the same failure must not count as progress. These are
 * progress:
 *
 * - a cursor that is further than all earlier cursors of the workspace,
 * - an ack, unless the last failure has cut off a pull,
 * - the end of a pull, if the last failure has cut off a pull.
 */
import type { Clock } from "../base/env.ts"

/** What the relay had not answered completely when an attempt or its connection ended. */
export type Unfinished = "pull" | "push"

/** A heal counts as successful once the workspace has stayed level for this time after it, ms. */
const HELD_MS = 60_000

export class Progress {
  /** The furthest position of the relay's log that was committed; -1 before the first. */
  #furthest = -1
  /** What was unfinished at the last failure; undefined if nothing was unfinished, or there was progress since then. */
  #failed: Unfinished | undefined
  /** Heals since the workspace was last level for `HELD_MS`. */
  #heals = 0
  /**
   * Cancels the timer of `HELD_MS`, which runs while the workspace is level after a heal. A timer is used, because the
   * device's clock may be set meanwhile: `#heals` would then be reset too early or too late.
   */
  #cancelTimer: (() => void) | undefined
  readonly #clock: Pick<Clock, "after">
  readonly #made: () => void

  /** `made` is called when there is progress. */
  constructor(clock: Pick<Clock, "after">, made: () => void) {
    this.#clock = clock
    this.#made = made
  }

  /** Call when an attempt has ended because it or its connection has failed. `unfinished`: see its type. */
  failed(unfinished: Unfinished | undefined): void {
    this.#notLevel()
    this.#failed = unfinished
  }

  /**
   * Call when entries are committed. `position`: the position of their cursor; undefined if they have no cursor.
   * `level`: whether everything that the relay has announced is committed.
   */
  committed(position: number | undefined, level: boolean): void {
    if (level) this.#level()
    else this.#notLevel()
    const isFurther = position !== undefined && position > this.#furthest
    if (isFurther) this.#furthest = position
    if (isFurther || (level && this.#failed === "pull")) this.#progress()
  }

  /** Call when the ack of a push is committed. */
  stored(): void {
    if (this.#failed !== "pull") this.#progress()
  }

  /**
   * Call when the relay does not know our cursor. The log may be another one, in which positions are smaller. So the
   * first heal begins to count positions anew. Further heals do not, because that would make each of them progress.
   */
  otherLog(): void {
    this.#notLevel()
    if (this.#heals++ === 0) this.#furthest = -1
  }

  #level(): void {
    if (this.#heals === 0) return
    this.#cancelTimer ??= this.#clock.after(
      HELD_MS,
      () => {
        this.#heals = 0
        this.#cancelTimer = undefined
      },
      true,
    )
  }

  #notLevel(): void {
    this.#cancelTimer?.()
    this.#cancelTimer = undefined
  }

  #progress(): void {
    // With a relay that forgets our cursor after every heal, a workspace only seems to make progress: after each heal
    // it gets a cursor, becomes level and gets acks.
    if (this.#heals > 1) return
    this.#failed = undefined
    this.#made()
  }
}
