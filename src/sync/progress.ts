/**
 * Whether a workspace gets anywhere. What undoes a backoff is progress past the point of the last failure: what comes again
 * and again before the same failure is none. So an ack counts unless pulling had failed, and the workspace's cursor counts
 * when it is further than ever.
 */
import type { Clock } from "../base/env.ts"

/** What a workspace was about when its connection or its attempt ended. */
export type Unfinished = "pull" | "push"

/** Being level for so long, in ms, shows that a heal was good. */
const HELD_MS = 60_000

export class Progress {
  /** The furthest position of the relay's log that was committed; -1 before the first. */
  #furthest = -1
  /** What the last failure left undone; undefined once there was progress, and where it left nothing. */
  #failed: Unfinished | undefined
  /** Heals since the workspace was last level for a while. */
  #heals = 0
  /** ms since 1970: since when the workspace is level; undefined while it is not. */
  #levelSince: number | undefined
  readonly #clock: Pick<Clock, "now">
  readonly #made: () => void

  /** `made` is called when there is progress. */
  constructor(clock: Pick<Clock, "now">, made: () => void) {
    this.#clock = clock
    this.#made = made
  }

  /** The connection or the attempt has ended. `unfinished`: what it was about. */
  failed(unfinished: Unfinished | undefined): void {
    this.#noteHeld()
    this.#levelSince = undefined
    this.#failed = unfinished
  }

  /** A cursor at this position is committed. `level`: and everything that the relay has announced. */
  committed(position: number | undefined, level: boolean): void {
    this.#noteHeld()
    this.#levelSince = level ? (this.#levelSince ?? this.#clock.now()) : undefined
    const isFurther = position !== undefined && position > this.#furthest
    if (isFurther) this.#furthest = position
    if (isFurther || (level && this.#failed === "pull")) this.#progress()
  }

  /** The relay has acknowledged a push. */
  stored(): void {
    if (this.#failed !== "pull") this.#progress()
  }

  /** The relay has another log than before. */
  otherLog(): void {
    this.#noteHeld()
    this.#levelSince = undefined
    if (this.#heals++ === 0) this.#furthest = -1
  }

  #noteHeld(): void {
    if (this.#levelSince !== undefined && this.#clock.now() - this.#levelSince >= HELD_MS) this.#heals = 0
  }

  #progress(): void {
    // A relay that does not know our cursor after each heal brings a further one each time, has us level, and takes pushes.
    if (this.#heals > 1) return
    this.#failed = undefined
    this.#made()
  }
}
