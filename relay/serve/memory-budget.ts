/**
 * Bounds the memory that all connections of a relay take together: for frames that are not whole, frames that are not
 * answered, and bytes that the network has not taken. Each of these is bounded for one connection, but a thousand
 * connections could each take as much as is allowed. When they take too much together, the one that takes the most is
 * cut off first. An honest client that is cut off dials again.
 */

/** A connection, as the budget sees it. */
export interface Spender {
  /** Bytes that it takes now, about. */
  memory(): number
  /** It must give all of that back. The budget does not count it any more. */
  shed(): void
}

export class MemoryBudget {
  readonly #limit: number
  /** Bytes that each took when the budget last looked. */
  readonly #taken = new Map<Spender, number>()
  #sum = 0

  constructor(limit: number) {
    this.#limit = limit
  }

  add(spender: Spender): void {
    this.#taken.set(spender, 0)
  }

  remove(spender: Spender): void {
    this.#sum -= this.#taken.get(spender) ?? 0
    this.#taken.delete(spender)
  }

  /** Call it when the spender may take more than before. A decrease is noticed later. */
  update(spender: Spender): void {
    this.#look(spender)
    if (this.#sum > this.#limit) this.#shed()
  }

  /** Bytes that all of them take now. */
  sum(): number {
    for (const spender of this.#taken.keys()) this.#look(spender)
    return this.#sum
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
    const worstFirst = [...this.#taken].sort(([, a], [, b]) => b - a)
    for (const [worst] of worstFirst) {
      this.remove(worst)
      worst.shed()
      if (this.#sum <= this.#limit) return
    }
  }
}
