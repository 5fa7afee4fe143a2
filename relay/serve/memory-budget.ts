/**
 * Bounds the memory that all connections of a relay take together: what has come of a frame that is not whole, frames
 * that are not answered, and what the network has not taken. Each of these is bounded for one connection, but a thousand
 * of them could each take what is allowed. When they take too much together, the one that takes the most is cut off
 * first: an honest client that was, dials again.
 */

/** A connection, as the budget sees it. */
export interface Spender {
  /** Bytes that it takes now, about. */
  memory(): number
  /** It must give all of that back. It is not counted any more. */
  shed(): void
}

export class MemoryBudget {
  readonly #limit: number
  /** What each has taken when it was looked at last. */
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

  /** Call it when the spender may take more than before. What it takes less is found out in time. */
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
