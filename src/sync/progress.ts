/**
 * Notices the progress of a workspace, which resets its backoff. Progress is an ack, or a commit beyond all earlier
 * ones: entries that come again and again before the same failure are none.
 */
export class Progress {
  /** The furthest committed position of the relay's log; -1 before the first commit, and after a change of the log. */
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

  /** The relay has another log than before. */
  otherLog(): void {
    this.#furthest = -1
  }
}
