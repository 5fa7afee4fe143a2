/**
 * Whether a workspace makes progress. Progress resets a backoff, so a step that succeeds each time before the same
 * failure must not count as progress. An ack is progress, unless the last failure has cut off a pull. A cursor is
 * progress when it is further than all earlier cursors of the workspace. After a failure that has cut off a pull, the
 * end of a pull is progress, too.
 */
import type { Clock } from "../base/env.ts"

/** What a workspace was doing when its connection or its attempt ended. */
export type Unfinished = "pull" | "push"

/** A heal has succeeded once the workspace has stayed level for this long, ms. */
const HELD_MS = 60_000

export class Progress {
  /** The furthest position of the relay's log that was committed; -1 before the first. */
  #furthest = -1
  /** What was unfinished at the last failure; undefined if nothing was unfinished, or there was progress since then. */
  #failed: Unfinished | undefined
  /** Heals since the workspace was last level for `HELD_MS`. */
  #heals = 0
  /**
   * Cancels the timer of `HELD_MS`, which runs while the workspace is level after a heal. This time is not measured by
   * the device's clock, because the clock may be set meanwhile: a backoff would then be reset too early or too late.
   */
  #cancelTimer: (() => void) | undefined
  readonly #clock: Pick<Clock, "after">
  readonly #made: () => void

  /** `made` is called when there is progress. */
  constructor(clock: Pick<Clock, "after">, made: () => void) {
    this.#clock = clock
    this.#made = made
  }

  /** Call when an attempt has ended because it or its connection has failed. `unfinished`: what it was doing. */
  failed(unfinished: Unfinished | undefined): void {
    this.#notLevel()
    this.#failed = unfinished
  }

  /**
   * Call when entries are committed. `position`: that of their cursor; undefined when they have none. `level`:
   * everything that the relay has announced is committed.
   */
  committed(position: number | undefined, level: boolean): void {
    if (level) this.#level()
    else this.#notLevel()
    const isFurther = position !== undefined && position > this.#furthest
    if (isFurther) this.#furthest = position
    if (isFurther || (level && this.#failed === "pull")) this.#progress()
  }

  /** Call when the relay has acknowledged a push. */
  stored(): void {
    if (this.#failed !== "pull") this.#progress()
  }

  /** Call when the relay has another log than before. */
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
    // A relay that forgets our cursor after every heal only seems to make progress: each time it gives us a further
    // cursor, brings us level and acknowledges pushes.
    if (this.#heals > 1) return
    this.#failed = undefined
    this.#made()
  }
}
