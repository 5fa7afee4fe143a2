/**
 * Whether a workspace gets anywhere. What undoes a backoff is progress past the point of the last failure: entries that come
 * again and again before the same failure are none.
 */
export class Progress {
  /** The furthest position of the relay's log that was committed; -1 before the first, and in another log. */
  #furthest = -1
  readonly #made: () => void

  /** `made` is called when there is progress. */
  constructor(made: () => void) {
    this.#made = made
  }

  /** A cursor at this position is committed. */
  reached(position: number): void {
    if (position <= this.#furthest) return
    this.#furthest = position
    this.#made()
  }

  /** The relay has acknowledged a push. */
  stored(): void {
    this.#made()
  }

  /** The relay's log is not the one that was known. */
  otherLog(): void {
    this.#furthest = -1
  }
}
