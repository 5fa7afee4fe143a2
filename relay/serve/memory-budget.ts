/**
 * Bounds the memory that all connections of a relay take together: what has come of a frame that is not whole, frames
 * that are not answered, and what the network has not taken. Each of these is bounded for one connection, but a thousand
 * of them could each take what is allowed. When they take too much together, those are cut off first that give back the
 * most: an honest client that was, dials again.
 *
 * Work that has begun is ended even if its connection is gone, so it is counted until then, and nobody can free it. A
 * slow disk may let it pile up. Once it fills the budget by itself, whoever sends more is cut off, and no further
 * connection is to be let in.
 */

/** Nobody is cut off for less. All connections may exceed the budget by so much each: a ping must not end one. */
const WORTH_IT = 4096

/** A connection, as the budget sees it. */
export interface Spender {
  /** Bytes that it takes now, by itself, about. */
  memory(): number
  /** Bytes that it would give back if it were cut off, its share of what several take included. */
  sheddable(): number
  /** It must give these back. What else it takes is counted until `remove`. */
  shed(): void
}

export class MemoryBudget {
  readonly #limit: number
  readonly #common: () => number
  /** Bytes that each took when the budget last looked. */
  readonly #taken = new Map<Spender, number>()
  #sum = 0

  /** `common`: bytes that several spenders take together, which none of them counts by itself. */
  constructor(limit: number, common: () => number) {
    this.#limit = limit
    this.#common = common
  }

  /** More is taken than cutting off can give back. */
  get exhausted(): boolean {
    return this.lastSum > this.#limit && this.sum() > this.#limit
  }

  add(spender: Spender): void {
    this.#taken.set(spender, 0)
  }

  /** It takes nothing any more. */
  remove(spender: Spender): void {
    this.#sum -= this.#taken.get(spender) ?? 0
    this.#taken.delete(spender)
  }

  /** Call it when the spender may take more than before. A decrease is noticed later. */
  update(spender: Spender): void {
    this.#look(spender)
    if (this.lastSum > this.#limit) this.#shed()
  }

  /** Bytes that all of them take now. */
  sum(): number {
    for (const spender of this.#taken.keys()) this.#look(spender)
    return this.lastSum
  }

  /** The same, with what each took when it was looked at last: about right, and at hand. */
  get lastSum(): number {
    return this.#sum + this.#common()
  }

  #look(spender: Spender): void {
    const before = this.#taken.get(spender)
    if (before === undefined) return
    const now = spender.memory()
    this.#taken.set(spender, now)
    this.#sum += now - before
  }

  #shed(): void {
    if (this.sum() <= this.#limit) return
    const gives = new Map<Spender, number>()
    for (const spender of this.#taken.keys()) {
      const bytes = spender.sheddable()
      if (bytes >= WORTH_IT) gives.set(spender, bytes)
    }
    for (const [most] of [...gives].sort(([, a], [, b]) => b - a)) {
      most.shed()
      this.#look(most)
      if (this.lastSum <= this.#limit) return
    }
  }
}
