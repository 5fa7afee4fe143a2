/** Tracks how much of the answer to our latest pull this device has committed. */

/** The part of a session's status about its catch-up. */
export interface CatchUpStatus {
  /** Whether this device has committed everything that the relay has announced. */
  readonly level: boolean
  /** The number of the latest check (`Sync.check`) whose answer is committed completely. */
  readonly asOf: number
  /**
   * Bytes of log. `done`: committed since this device was last level. `total`: `done` and the bytes that are still to
   * come. Null when nothing more is to come.
   */
  readonly progress: { readonly done: number; readonly total: number } | null
}

export class CatchUp {
  /**
   * A check is a request of the app, by `whenSynced`, for everything that the relay has now (`Sync.check` numbers them).
   * This is the number of the check for which our latest pull was sent.
   */
  #asOf = 0
  /**
   * The state of our latest pull. `asked`: no entries of the answer are committed yet. `answered`: the first entries of
   * the answer are committed. `level`: everything that the relay has announced is committed.
   */
  #state: "asked" | "answered" | "level" = "asked"
  /** Bytes of items committed since this device was last level. */
  #done = 0
  /** Bytes of log that the relay has announced. */
  #total = 0

  /** Whether the latest pull is answered, and everything that the answer announced is committed. */
  get isLevel(): boolean {
    return this.#state === "level"
  }

  /** Call before a pull or a `have` is sent. `check`: the number of the latest check. */
  asks(check: number): void {
    this.#asOf = check
  }

  /**
   * Whether the caller must pull for the check with this number. False if the latest pull was sent for this check, or
   * if the answer to a pull is under way: its end shows that the relay has no further entries. When true is returned,
   * the pull counts as sent.
   */
  mustAskAgain(check: number): boolean {
    return this.#asOf !== check && this.mustAsk()
  }

  /**
   * Whether the caller must pull, to learn from the relay that nothing more follows. False while the answer to the latest
   * pull is under way, because that answer shows it. When true is returned, the pull counts as sent.
   */
  mustAsk(): boolean {
    if (this.#state !== "level") return false
    this.#state = "asked"
    return true
  }

  /** Call when the relay does not know our cursor. This device is not level then: a heal follows and brings entries. */
  lost(): void {
    if (this.#state === "level") this.#state = "answered"
  }

  /** Call when the relay has announced how many bytes of log follow. */
  announced(bytes: number): void {
    this.#total = bytes
  }

  /**
   * Call when entries are committed. `answers`: whether the first entries of the answer to a pull, or the last entries
   * of a heal, are among them.
   */
  committed(bytes: number, answers: boolean, level: boolean): Partial<CatchUpStatus> {
    this.#done += bytes
    if (answers && this.#state === "asked") this.#state = "answered"
    if (!level) return { level, progress: { done: this.#done, total: Math.max(this.#total, this.#done) } }
    this.#done = 0
    this.#total = 0
    if (this.#state === "asked") return { level, progress: null }
    this.#state = "level"
    return { level, progress: null, asOf: this.#asOf }
  }
}
