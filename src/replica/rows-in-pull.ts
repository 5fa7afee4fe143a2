/**
 * Which rows wait while a long pull is under way. A row that was made in the pull is made again only at its end, or
 * after `AGAIN_MS`. Otherwise, when 50 edits of each of 1,000 entities arrived in turn, every row was made up to 50 times.
 */
import type { Clock } from "../base/env.ts"

/** While a pull is under way, a row is made again at most once in this time, ms. */
const AGAIN_MS = 30_000

export class RowsInPull {
  readonly #clock: Clock
  /** Called in a timer after the pull has ended, if a row may have waited for that. */
  readonly #onEnd: () => void
  /** Entities whose row was made in the last `AGAIN_MS` of the pull. Undefined: no pull is under way. */
  #made: Set<string> | undefined
  /** When `#made` was begun, ms. */
  #since = 0
  #cancel: (() => void) | undefined

  constructor(clock: Clock, onEnd: () => void) {
    this.#clock = clock
    this.#onEnd = onEnd
  }

  /** Call after each commit of entries. `more`: whether entries of the pull are still to come. */
  expect(more: boolean): void {
    if (more) this.#begin()
    else if (this.#made !== undefined) this.#end()
  }

  #begin(): void {
    const now = this.#clock.now()
    if (this.#made !== undefined && Math.abs(now - this.#since) < AGAIN_MS) return
    this.#made = new Set()
    this.#since = now
  }

  #end(): void {
    this.#made = undefined
    // Not at once: a workspace that closes ends its connection first, and must not wait for rows.
    this.#cancel ??= this.#clock.after(0, () => {
      this.#cancel = undefined
      this.#onEnd()
    })
  }

  /** Call when the row of an entity was made and saved. */
  made(entity: string): void {
    this.#made?.add(entity)
  }

  /** Whether the row of this entity must not be made again yet. */
  waits(entity: string): boolean {
    return this.#made?.has(entity) === true
  }

  stop(): void {
    this.#cancel?.()
  }
}
