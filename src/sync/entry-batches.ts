/**
 * Collects received entries and acks, and hands them in batches to the attempt, which commits them. Entries are handed
 * on at once, unless a batch is being committed or the pause after a batch is not over. Then they are collected, and
 * handed on together later. To apply many changes together costs hardly more than to apply one, because the cost grows
 * with the length of the text and not with the number of changes.
 *
 * The pause is as long as the commit of the batch took, so that half of the time is left for other work. But a commit
 * mostly waits for the disk, and other work goes on meanwhile. So the pause is at most `SHORT_PAUSE_MS` long, with two
 * exceptions: applying the changes took longer, or the timers of earlier pauses were late. Late timers show that this
 * thread has too much to do.
 *
 * An ack waits in the same way, so that one commit saves it together with the entries that come at the same time.
 */

import type { Clock } from "../base/env.ts"
import type { EntityHash } from "../replica/exchange/receive-answers.ts"
import { type Cursor, type Entries, encode } from "../wire/protocol.ts"

/** The longest pause between two batches in any case, ms. */
const LONGEST_PAUSE_MS = 500
/** The longest pause between two batches, ms, if the changes were applied in less time and no timer was late. */
const SHORT_PAUSE_MS = 25

/** An ack of a push. */
export interface Acked {
  /** The changes that the relay has stored. */
  readonly stored: readonly EntityHash[]
  /** The furthest place of these changes in the log, if the ack has named it. */
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
  /** Whether a batch with entries was handed on and is not committed yet. */
  #committing = false
  /** When the latest batch with entries was handed on, ms since 1970. */
  #handedOn = 0
  /** Cancels the pause after a batch; undefined when there is no pause. */
  #cancelPause: (() => void) | undefined
  /**
   * How late the timers of the last pauses were, ms. After each pause, this becomes half of its old value, or the
   * lateness of that pause's timer if that is more.
   */
  #late = 0
  /** Whether `handOnWhenDue` has queued a microtask that hands on a batch if one is due. */
  #looking = false
  #ended = false

  constructor(clock: Clock, handOn: (batch: Batch) => void) {
    this.#clock = clock
    this.#handOn = handOn
  }

  /**
   * `bytes`: size of the message's frame. Only the bytes of its items are counted, exactly as the relay counts them.
   * Otherwise small differences would add up over many frames, and change how far the relay may send ahead.
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
   * entries, if the microtask that is queued would hand them on.
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
   * Call when a batch with entries is committed. The pause begins. Then call `handOnWhenDue`, because there may be no
   * pause. `applyingMs`: how long it took to apply the changes of the batch, ms.
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
   * Hands on everything that has come, unless a batch is being committed or there is a pause. Does so in a microtask,
   * because several messages of the relay may come in one turn of the event loop.
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
   * Hands on the acks, drops the entries, and hands on nothing from now on. Without this, these entries might be
   * committed after entries of the next connection, with the principal and the cursor of the ended connection.
   */
  end(): void {
    this.#handOnAcks() // an acknowledged change is stored, whatever happens to the connection
    this.#ended = true
    this.#messages = []
    this.#cancelPause?.()
  }
}
