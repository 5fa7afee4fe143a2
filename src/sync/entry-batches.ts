/**
 * Keeps received entries until they are committed. An entry is handed on at once, unless a batch is being committed or
 * the pause after a batch is not over. Then entries are collected and handed on together, because the cost of applying
 * changes grows with the length of the text, not with the number of changes. The pause is as long as the commit of the
 * batch took, so that half of the time is left for other work. But a commit mostly waits for the disk, and other work
 * goes on meanwhile: if applying the changes took less than `SHORT_PAUSE_MS`, the pause is no longer than that.
 */

import type { Clock } from "../base/env.ts"
import { type Entries, encode } from "../wire/protocol.ts"

/** The longest pause between two batches that have changes of others, ms. */
const LONGEST_PAUSE_MS = 500
/** The longest pause after a batch that was applied in less time than this, ms. */
const SHORT_PAUSE_MS = 25

/** Messages to be committed together. */
export interface Batch {
  /** One or more, in the order in which they came. */
  readonly messages: readonly Entries[]
  /** Bytes of their items, as the relay counts them against the credit. */
  readonly bytes: number
}

export class EntryBatches {
  readonly #clock: Clock
  readonly #handOn: (batch: Batch) => void
  #messages: Entries[] = []
  #bytes = 0
  /** Whether a batch was handed on and is not committed yet. */
  #committing = false
  /** When the latest batch was handed on, ms since 1970. */
  #handedOn = 0
  /** Set during the pause after a batch. */
  #cancelPause: (() => void) | undefined
  #ended = false

  constructor(clock: Clock, handOn: (batch: Batch) => void) {
    this.#clock = clock
    this.#handOn = handOn
  }

  /**
   * `bytes`: size of the frame. Only the bytes of its items are counted, exactly as the relay counts them, because a
   * small difference in each frame would add up.
   */
  add(message: Entries, bytes: number): void {
    this.#messages.push(message)
    this.#bytes += bytes - encode({ ...message, items: [] }).length
    this.handOnWhenDue()
  }

  /** Adds the items of a message that belongs to an earlier attempt. Their bytes use up no credit of this attempt. */
  addItems({ t, w, items }: Entries): void {
    this.#messages.push({ t, w, items })
    this.handOnWhenDue()
  }

  /**
   * Call when the batch that was handed on is committed. `applyingMs`: how long it took to apply its changes, ms. The
   * next batch is handed on by `handOnWhenDue`.
   */
  committed(applyingMs: number): void {
    this.#committing = false
    if (this.#ended) return
    const longest = Math.min(LONGEST_PAUSE_MS, Math.max(SHORT_PAUSE_MS, applyingMs))
    const pause = Math.min(longest, this.#clock.now() - this.#handedOn)
    if (pause <= 0) return
    this.#cancelPause?.()
    this.#cancelPause = this.#clock.after(pause, () => {
      this.#cancelPause = undefined
      this.handOnWhenDue()
    })
  }

  handOnWhenDue(): void {
    if (this.#committing || this.#messages.length === 0) return
    const foreign = this.#messages.some(({ items }) => items.some((item) => "entry" in item))
    if (!foreign || this.#cancelPause === undefined) this.handOn()
  }

  /** Hands on everything that has come, even while a batch is being committed. */
  handOn(): void {
    if (this.#messages.length === 0 || this.#ended) return
    const batch: Batch = { messages: this.#messages, bytes: this.#bytes }
    this.#messages = []
    this.#bytes = 0
    this.#committing = true
    this.#handedOn = this.#clock.now()
    this.#handOn(batch)
  }

  /**
   * Drops what was not handed on, and hands on nothing from now on. Otherwise these entries would be committed after
   * those of the next connection, and would name the principal and the cursor of a connection that is gone.
   */
  end(): void {
    this.#ended = true
    this.#messages = []
    this.#cancelPause?.()
  }
}
