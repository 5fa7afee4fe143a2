/**
 * Keeps the entities of which the relay refuses a change for now, each with the time of the next push. Until then, no
 * change of the entity is pushed, because later changes may depend on the refused one.
 *
 * Refusals with `QUOTA` and `RATE` outlast the connection. Otherwise, on a line that breaks every few seconds, a wait
 * of a minute would end after a few seconds.
 */

import type { Clock } from "../base/env.ts"
import { type Code, HeadwaterError } from "../base/errors.ts"
import { RETRY_MS, retryWait } from "./refusal-wait.ts"

interface Refusal {
  readonly error: HeadwaterError
  /**
   * When the change is pushed again, ms since 1970; infinite for a stuck entity (`stuck`). A timer ends the refusal,
   * because it would last longer by a clock that is set back.
   */
  readonly retryAt: number
}

/** The entities that are pushed again at the same time. They share a timer: one push may bring a thousand refusals. */
interface Ending {
  readonly entities: Set<string>
  readonly cancelTimer: () => void
}

export class Refusals {
  readonly #clock: Clock
  /** Shows in the status the error of the refusal that ends first; null when nothing is refused. */
  readonly #show: (refusal: HeadwaterError | null) => void
  readonly #pushAgain: () => void
  readonly #entities = new Map<string, Refusal>()
  /** By `retryAt`. */
  readonly #endings = new Map<number, Ending>()
  /** The refusal that ends first. */
  #next: Refusal | undefined

  constructor(clock: Clock, show: (refusal: HeadwaterError | null) => void, pushAgain: () => void) {
    this.#clock = clock
    this.#show = show
    this.#pushAgain = pushAgain
  }

  has(entity: string): boolean {
    return this.#entities.has(entity)
  }

  /** `retryIn`: the wait that the relay has named, ms. */
  add(entity: string, code: Code, retryIn: number | undefined): void {
    const wait = retryWait(retryIn, RETRY_MS)
    const retryAt = this.#clock.now() + wait
    const message = "the relay refuses this change for now; it stays in the outbox and is pushed again at retryAt"
    this.#set(entity, { error: new HeadwaterError(code, message, { entity, retryAt }), retryAt })
    let ending = this.#endings.get(retryAt)
    if (ending === undefined) {
      const cancelTimer = this.#clock.after(wait, () => this.#over(retryAt))
      this.#endings.set(retryAt, (ending = { entities: new Set(), cancelTimer }))
    }
    ending.entities.add(entity)
  }

  /**
   * Call when the relay lacks the deps of a change even after `HAVES_AT_MOST` `have`s. The entity is then stuck: it
   * waits for the next attempt, or until entries of it arrive.
   */
  stuck(entity: string, code: Code): void {
    const message =
      "the relay lacks deps of this change; the change stays in the outbox until they arrive or we connect again"
    this.#set(entity, { error: new HeadwaterError(code, message, { entity }), retryAt: Number.POSITIVE_INFINITY })
  }

  /**
   * Call when entries of an entity have arrived. The missing deps may be among them, so the entity is not stuck any
   * more. Returns whether it was stuck.
   */
  arrived(entity: string): boolean {
    const refusal = this.#entities.get(entity)
    if (refusal === undefined || Number.isFinite(refusal.retryAt)) return false
    this.#entities.delete(entity)
    if (refusal === this.#next) this.#next = this.#findNext()
    this.#showNext()
    return true
  }

  /**
   * Call when another attempt begins on the same connection. Refusals with a time stay, and the status shows them
   * again. Stuck entities wait no longer, because the new attempt may send `have`s for them again.
   */
  beginAgain(): void {
    for (const [entity, { retryAt }] of this.#entities)
      if (retryAt === Number.POSITIVE_INFINITY) this.#entities.delete(entity)
    this.#next = this.#findNext()
    this.#showNext()
  }

  /**
   * Call when another connection is open. Refusals with `QUOTA` and `RATE` last as long as the relay has said. All
   * others end: the token, the access or the log may be in order now. A refusal whose time has passed by the clock is
   * over, too, because timers may stand still while the device sleeps.
   */
  reconnected(): void {
    for (const [entity, refusal] of this.#entities) {
      const { code } = refusal.error
      if ((code === "QUOTA" || code === "RATE") && refusal.retryAt > this.#clock.now()) continue
      this.#leaveEnding(entity, refusal)
      this.#entities.delete(entity)
    }
    this.beginAgain()
  }

  /** Removes the entity from the ending at its `retryAt`. If the ending is empty then, cancels its timer. */
  #leaveEnding(entity: string, { retryAt }: Refusal): void {
    const ending = this.#endings.get(retryAt)
    ending?.entities.delete(entity)
    if (ending?.entities.size !== 0) return
    ending.cancelTimer()
    this.#endings.delete(retryAt)
  }

  #set(entity: string, refusal: Refusal): void {
    const before = this.#entities.get(entity)
    if (before !== undefined) this.#leaveEnding(entity, before)
    this.#entities.set(entity, refusal)
    if (before !== undefined && before === this.#next) this.#next = this.#findNext()
    else if (this.#next === undefined || refusal.retryAt < this.#next.retryAt) this.#next = refusal
    this.#showNext()
  }

  #findNext(): Refusal | undefined {
    let next: Refusal | undefined
    for (const one of this.#entities.values()) if (next === undefined || one.retryAt < next.retryAt) next = one
    return next
  }

  #showNext(): void {
    this.#show(this.#next?.error ?? null)
  }

  #over(retryAt: number): void {
    const entities = this.#endings.get(retryAt)?.entities ?? []
    this.#endings.delete(retryAt)
    for (const entity of entities) this.#entities.delete(entity)
    this.#next = this.#findNext()
    this.#showNext()
    this.#pushAgain()
  }

  /** Forgets every refusal. */
  clear(): void {
    for (const { cancelTimer } of this.#endings.values()) cancelTimer()
    this.#endings.clear()
    this.#entities.clear()
    this.#next = undefined
    this.#showNext()
  }
}
