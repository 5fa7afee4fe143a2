/**
 * Keeps the entities of which the relay refuses a change for now, each with the time of the next try. Later changes of
 * the entity may depend on the refused change, so nothing of the entity is pushed before that time. A workspace keeps
 * those with `QUOTA` and `RATE` over its connections: a line that breaks every few seconds does not make a wait of a
 * minute shorter.
 */

import type { Clock } from "../base/env.ts"
import { type Code, HeadwaterError } from "../base/errors.ts"
import { RETRY_MS, retryWait } from "./refusal-wait.ts"

interface Refusal {
  readonly error: HeadwaterError
  /**
   * When the change is pushed again, ms since 1970; infinite for a stuck entity. The status shows this time. The
   * refusal is ended by a timer, because a clock that is set back would make it last longer.
   */
  readonly retryAt: number
}

/** The refused entities that are tried again at the same time. A thousand changes of one push need one timer. */
interface Ending {
  readonly entities: Set<string>
  readonly cancelTimer: () => void
}

export class Refusals {
  readonly #clock: Clock
  /** Shows in the status the refusal that ends first. Gets null once nothing is refused any more. */
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
   * Call when the relay lacks the deps of a change even after several `have`s. The entity then waits until entries of
   * it arrive, or for the next attempt.
   */
  stuck(entity: string, code: Code): void {
    const message =
      "the relay lacks changes on which this one depends; it stays in the outbox until they come or we connect again"
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

  /**
   * Call when another attempt begins on the same connection. Refusals that end at some time stay, and are shown again.
   * Stuck entities wait no longer, because the attempt may send `have`s for them again.
   */
  beginAgain(): void {
    for (const [entity, { retryAt }] of this.#entities)
      if (retryAt === Number.POSITIVE_INFINITY) this.#entities.delete(entity)
    this.#next = this.#findNext()
    this.#showNext()
  }

  /**
   * Call when another connection is open. What was refused because of the token or the access may be taken now, and so
   * may what a damaged log could not take. `QUOTA` and `RATE` last as long as the relay has said. The timers of a device
   * that sleeps may stand still, so a refusal whose time has passed by the clock is over, too.
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

  /** Removes the entity from the ending at its `retryAt`. When no entity is left there, cancels that ending's timer. */
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
