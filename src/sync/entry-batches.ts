/**
 * Collects received entries and acks, and hands them on as batches to be committed. An entry is handed on at once,
 * unless a batch is being committed or the pause after a batch is not over. In these two cases, entries are collected
 * and later handed on together, because the cost of applying changes grows with the length of the text, not with the
 * number of changes.
 *
 * The pause is as long as the commit of the batch took, so that half of the time is left for other work. But a commit
 * mostly waits for the disk, and other work goes on meanwhile. So the pause is no longer than `SHORT_PAUSE_MS`, with
 * two exceptions: applying the changes took longer, or the timer of an earlier pause was late, which shows that this
 * thread has too much to do.
 *
 * An ack waits in the same way, so that one commit saves it with the entries that come at the same time.
 */

import type { Clock } from "../base/env.ts"
import type { EntityHash } from "../replica/exchange/receive-answers.ts"
import { type Cursor, type Entries, encode } from "../wire/protocol.ts"

/** The longest pause between two batches, ms. */
const LONGEST_PAUSE_MS = 500
/** The longest pause after a batch that was applied in less time than this, ms. */
const SHORT_PAUSE_MS = 25

/** An ack of a push. */
export interface Acked {
  /** The changes that the relay has stored. */
  readonly stored: readonly EntityHash[]
  readonly at: Cursor | undefined
}

/** Entries and acks that are committed together. */
export interface Batch {
  /** In the order in which they came; none when only acks have come. */
  readonly messages: readonly Entries[]
  /** Bytes of the items in `messages`, as the relay counts them against the credit. */
  readonly bytes: number
  readonly acks: readonly Acked[]
}

export class EntryBatches {
  readonly #clock: Clock
  readonly #handOn: (batch: Batch) => void
  #messages: Entries[] = []
  #bytes = 0
  #acks: Acked[] = []
  /** Whether a batch was handed on and is not committed yet. */
  #committing = false
  /** When the latest batch was handed on, ms since 1970. */
  #handedOn = 0
  /** Cancels the pause after a batch; undefined when there is no pause. */
  #cancelPause: (() => void) | undefined
  /**
   * How late the timers of pauses were lately, ms. After each pause this becomes half of its old value, or the lateness of
   * that pause's timer if that is more.
   */
  #late = 0
  /** Whether `handOnWhenDue` was called in this turn of the event loop, and looks at its end whether a batch is due. */
  #looking = false
  #ended = false

  constructor(clock: Clock, handOn: (batch: Batch) => void) {
    this.#clock = clock
    this.#handOn = handOn
  }

  /**
   * `bytes`: size of the frame. Only the bytes of its items are counted, and exactly as the relay counts them, because
   * small differences would add up over many frames.
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

  addAck(ack: Acked): void {
    this.#acks.push(ack)
    this.handOnWhenDue()
  }

  /**
   * Call before the step of a message that has neither entries nor an ack. Hands on all acks. Also hands on the
   * entries, if they would be handed on at the end of this turn of the event loop.
   */
  handOnEarlier(): void {
    if (this.#looking && this.#isDue) this.handOn()
    else this.#handOnAcks()
  }

  #handOnAcks(): void {
    if (this.#acks.length > 0 && !this.#ended) this.#handOn({ messages: [], bytes: 0, acks: this.#acks.splice(0) })
  }

  get #isDue(): boolean {
    return !this.#committing && this.#cancelPause === undefined
  }

  /**
   * Call when the entries that were handed on are committed, and then call `handOnWhenDue`. `applyingMs`: how long it
   * took to apply their changes, ms.
   */
  committed(applyingMs: number): void {
    this.#committing = false
    if (this.#ended) return
    const longest = Math.min(LONGEST_PAUSE_MS, Math.max(SHORT_PAUSE_MS, applyingMs, this.#late))
    const now = this.#clock.now()
    const pause = Math.min(longest, now - this.#handedOn)
    if (pause <= 0) return
    this.#cancelPause?.()
    this.#cancelPause = this.#clock.after(pause, () => {
      this.#cancelPause = undefined
      this.#late = Math.min(LONGEST_PAUSE_MS, Math.max(this.#late / 2, this.#clock.now() - now - pause))
      this.handOnWhenDue()
    })
  }

  /**
   * Hands on what has come, unless a batch is being committed or there is a pause. Does so at the end of this turn of
   * the event loop, because several messages of the relay may come in one turn.
   */
  handOnWhenDue(): void {
    if (this.#looking) return
    this.#looking = true
    queueMicrotask(() => {
      this.#looking = false
      if (this.#isDue) this.handOn()
    })
  }

  /** Hands on everything that has come, even while a batch is being committed. */
  handOn(): void {
    if (this.#messages.length === 0) return this.#handOnAcks()
    if (this.#ended) return
    const batch: Batch = { messages: this.#messages, bytes: this.#bytes, acks: this.#acks.splice(0) }
    this.#messages = []
    this.#bytes = 0
    this.#committing = true
    this.#handedOn = this.#clock.now()
    this.#handOn(batch)
  }

  /**
   * Hands on the acks, drops the entries, and hands on nothing from now on. Otherwise these entries would be committed
   * after those of the next connection, and would name the principal and the cursor of a connection that is gone.
   */
  end(): void {
    this.#handOnAcks() // what an ack says of a change stays true after the connection
    this.#ended = true
    this.#messages = []
    this.#cancelPause?.()
  }
}
