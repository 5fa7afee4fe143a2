/**
 * Keeps the entities of which the relay refuses a change for now, each with the time of the next try. Later changes of
 * the entity may depend on the refused change, so nothing of the entity is pushed before that time.
 */

import type { Clock } from "../base/env.ts"
import { type Code, HeadwaterError } from "../base/errors.ts"
import { RETRY_MS, retryWait } from "./refusal-wait.ts"

interface Refusal {
  readonly error: HeadwaterError
  /** ms since 1970; infinite: there is no next try on this connection. */
  readonly retryAt: number
}

export class Refusals {
  readonly #clock: Clock
  /** Shows in the status the refusal that ends first. Gets null once nothing is refused any more. */
  readonly #show: (refusal: HeadwaterError | null) => void
  readonly #pushAgain: () => void
  readonly #entities = new Map<string, Refusal>()
  /** The refusal that ends first. */
  #next: Refusal | undefined
  #cancelTimer: (() => void) | undefined
  /** The time for which the timer is set, ms since 1970. */
  #timerAt = Number.POSITIVE_INFINITY

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
    const retryAt = this.#clock.now() + retryWait(retryIn, RETRY_MS)
    const message = "the relay refuses this change for now; it stays in the outbox and is pushed again at retryAt"
    this.#set(entity, { error: new HeadwaterError(code, message, { entity, retryAt }), retryAt })
  }

  /**
   * Call when the relay lacks the deps of a change even after several `have`s. The entity then waits for the next
   * connection, or until entries of it arrive.
   */
  stuck(entity: string, code: Code): void {
    const message =
      "the relay lacks what this change depends on; it stays in the outbox until that comes, or the next connection"
    this.#set(entity, { error: new HeadwaterError(code, message, { entity }), retryAt: Number.POSITIVE_INFINITY })
  }

  /**
   * Call when entries of an entity have arrived. The missing deps may be among them, so a stuck entity waits no longer.
   * Returns whether the entity was stuck.
   */
  arrived(entity: string): boolean {
    const refusal = this.#entities.get(entity)
    if (refusal === undefined || Number.isFinite(refusal.retryAt)) return false
    this.#entities.delete(entity)
    if (refusal === this.#next) this.#next = this.#findNext()
    this.#showNext()
    return true
  }

  #set(entity: string, refusal: Refusal): void {
    const before = this.#entities.get(entity)
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

  /** Shows the refusal that ends first, and sets the timer for its end. */
  #showNext(): void {
    this.#show(this.#next?.error ?? null)
    const at = this.#next?.retryAt ?? Number.POSITIVE_INFINITY
    if (at === this.#timerAt) return
    this.#cancelTimer?.()
    this.#timerAt = at
    this.#cancelTimer = Number.isFinite(at) ? this.#clock.after(at - this.#clock.now(), () => this.#over()) : undefined
  }

  #over(): void {
    const now = this.#clock.now()
    for (const [entity, { retryAt }] of this.#entities) if (retryAt <= now) this.#entities.delete(entity)
    this.#timerAt = Number.POSITIVE_INFINITY
    this.#next = this.#findNext()
    this.#showNext()
    this.#pushAgain()
  }

  end(): void {
    this.#cancelTimer?.()
  }
}
