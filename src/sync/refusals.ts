/**
 * The entities of which the relay refuses a change for now. What was written on top of a refused change waits with it,
 * so nothing of such an entity is pushed before its time.
 */

import type { Clock } from "../base/env.ts"
import { type Code, HeadwaterError } from "../base/errors.ts"
import { RETRY_MS, retryWait } from "./retry.ts"

export class Refusals {
  readonly #clock: Clock
  /** Shows the latest refusal in the status; null once nothing is refused any more. */
  readonly #show: (refusal: HeadwaterError | null) => void
  readonly #pushAgain: () => void
  readonly #entities = new Set<string>()
  #cancelTimer: (() => void) | undefined

  constructor(clock: Clock, show: (refusal: HeadwaterError | null) => void, pushAgain: () => void) {
    this.#clock = clock
    this.#show = show
    this.#pushAgain = pushAgain
  }

  has(entity: string): boolean {
    return this.#entities.has(entity)
  }

  /**
   * `retryIn`: ms, when the relay has named it. Refusals that come during the wait of an earlier one share its time.
   */
  add(entity: string, code: Code, retryIn: number | undefined): void {
    this.#entities.add(entity)
    const wait = retryWait(retryIn, RETRY_MS)
    const retryAt = this.#clock.now() + wait
    const message = "the relay refuses this change for now; it stays in the outbox and is pushed again at retryAt"
    this.#show(new HeadwaterError(code, message, { entity, retryAt }))
    this.#cancelTimer ??= this.#clock.after(wait, () => {
      this.#cancelTimer = undefined
      this.#entities.clear()
      this.#show(null)
      this.#pushAgain()
    })
  }

  end(): void {
    this.#cancelTimer?.()
  }
}
