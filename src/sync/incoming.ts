/**
 * Entries that have come and are not committed yet. The first are handed on at once. Those that come while they are
 * being committed, or soon after, are handed on together: applying costs by the length of a text, not by the number of
 * changes.
 */

import type { Clock } from "../base/env.ts"
import { type Entries, encode } from "../wire/protocol.ts"

/** Remote changes are handed on once in this time, ms. */
const APPLY_EVERY_MS = 50

/** Messages to be committed together. */
export interface Batch {
  /** One or more, in the order in which they came. */
  readonly messages: readonly Entries[]
  /** Of their items, as the relay counts them against the credit. */
  readonly bytes: number
}

export class Incoming {
  readonly #clock: Clock
  readonly #handOn: (batch: Batch) => void
  #messages: Entries[] = []
  #bytes = 0
  /** A batch was handed on and is not committed yet. */
  #committing = false
  /** Set for `APPLY_EVERY_MS` after a batch was handed on. */
  #cancelPause: (() => void) | undefined

  constructor(clock: Clock, handOn: (batch: Batch) => void) {
    this.#clock = clock
    this.#handOn = handOn
  }

  /** `bytes`: of the whole frame. A frame weighs a little more than its items, and that must not add up. */
  add(message: Entries, bytes: number): void {
    this.#messages.push(message)
    this.#bytes += bytes - encode({ ...message, items: [] }).length
    this.handOnWhenDue()
  }

  /** The batch that was handed on is committed. The next one follows with `handOnWhenDue`. */
  committed(): void {
    this.#committing = false
  }

  handOnWhenDue(): void {
    if (this.#committing || this.#messages.length === 0) return
    const foreign = this.#messages.some(({ items }) => items.some((item) => "entry" in item))
    if (!foreign || this.#cancelPause === undefined) this.handOn()
  }

  /** Everything that has come so far, whatever is still being committed. */
  handOn(): void {
    if (this.#messages.length === 0) return
    const batch: Batch = { messages: this.#messages, bytes: this.#bytes }
    this.#messages = []
    this.#bytes = 0
    this.#committing = true
    this.#cancelPause?.()
    this.#cancelPause = this.#clock.after(APPLY_EVERY_MS, () => {
      this.#cancelPause = undefined
      this.handOnWhenDue()
    })
    this.#handOn(batch)
  }

  end(): void {
    this.#cancelPause?.()
  }
}
