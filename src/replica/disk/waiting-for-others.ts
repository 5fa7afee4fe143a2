/**
 * Says which changes in the outbox wait for a principal other than the present one. A change waits if another principal
 * made it, or made a change of the same entity that is pushed before it. The counts are updated entity by entity:
 * another account may have left thousands of unsent notes, and no push and no status should have to visit all of them.
 */

import { isOurs, principalOf } from "./outbox-principal.ts"
import type { Owed, State } from "./records.ts"

export type Principals = Pick<State, "principal" | "firstPrincipal">

/**
 * The waiting changes of one entity. `pending`: their number. `principal`: the principal that the first of them waits
 * for.
 */
interface Waiting {
  readonly principal: string
  readonly pending: number
}

export class WaitingForOthers {
  readonly #present: Principals
  readonly #byEntity = new Map<string, Waiting>()
  /** How many changes wait for each principal. */
  readonly #counts = new Map<string, number>()
  /** Entities with at least one change that does not wait for another principal. */
  readonly #pushable = new Set<string>()

  constructor({ principal, firstPrincipal }: Principals) {
    this.#present = { principal, firstPrincipal }
  }

  /** Whether this object was made for these principals. */
  isFor({ principal, firstPrincipal }: Principals): boolean {
    return this.#present.principal === principal && this.#present.firstPrincipal === firstPrincipal
  }

  /**
   * Updates the counts for one entity. Call once for each entity, and again when its outbox records have changed.
   * `owed`: all outbox records of the entity, in the order of pushes.
   */
  look(entity: string, owed: readonly Owed[]): void {
    const before = this.#byEntity.get(entity)
    if (before !== undefined) this.#count(before.principal, -before.pending)
    this.#byEntity.delete(entity)
    const from = owed.findIndex((one) => !isOurs(one, this.#present))
    const principal = from < 0 ? null : principalOf(owed[from] as Owed, this.#present)
    if (principal !== null) {
      const pending = owed.length - from
      this.#byEntity.set(entity, { principal, pending })
      this.#count(principal, pending)
    }
    if (owed.length > 0 && (from !== 0 || principal === null)) this.#pushable.add(entity)
    else this.#pushable.delete(entity)
  }

  #count(principal: string, by: number): void {
    const count = (this.#counts.get(principal) ?? 0) + by
    if (count === 0) this.#counts.delete(principal)
    else this.#counts.set(principal, count)
  }

  /** Whether a change of this entity waits. */
  has(entity: string): boolean {
    return this.#byEntity.has(entity)
  }

  get counts(): ReadonlyMap<string, number> {
    return this.#counts
  }

  get pushable(): Iterable<string> {
    return this.#pushable
  }
}
