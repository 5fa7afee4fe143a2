/**
 * Bounds the memory that all connections of a relay take together: incomplete frames, unanswered frames, and bytes that
 * the network has not taken. Each of these is bounded for one connection, but a thousand connections could each take
 * the maximum. When all connections together exceed the budget, the connections whose end frees the most memory are cut
 * off first. An honest client that was cut off dials again.
 *
 * Work that has begun is finished even if its connection is gone. Until then its memory is counted, and cutting off the
 * connection does not free it. A slow disk may let such work pile up. Once this work alone fills the budget, every
 * connection that sends more is cut off, and no new connection may be accepted.
 */

/**
 * A connection whose end would free fewer bytes than this is not cut off. Otherwise the few bytes of a ping could be
 * enough to end a connection. Therefore the budget may be exceeded by this number of bytes for each connection.
 */
const WORTH_IT = 4096

/**
 * After all connections were measured and too little could be freed, this many calls of `update` do not measure them
 * again. A call is made for each piece from the network, 64 KiB at most, so the budget may be exceeded by another 13
 * MiB.
 */
const LOOKS_SKIPPED = 200

/** A connection, as the budget sees it. */
export interface Spender {
  /**
   * Approximate bytes that the connection takes now, without the large frames, which several connections may hold
   * (`LARGE`).
   */
  memory(): number
  /** Bytes that cutting off the connection would free, including its share of the large frames. */
  sheddable(): number
  /** Cuts off the connection and frees its `sheddable` bytes. Its other bytes are counted until `remove`. */
  shed(): void
}

export class MemoryBudget {
  readonly #limit: number
  readonly #common: () => number
  /** Bytes that each spender took when it was last measured. */
  readonly #taken = new Map<Spender, number>()
  #sum = 0
  /** Number of calls of `#shed` since one freed too little, that one included. 0: the last one freed enough. */
  #vainLooks = 0

  /** `common`: returns the bytes of all large frames, which no spender includes in its `memory`. */
  constructor(limit: number, common: () => number) {
    this.#limit = limit
    this.#common = common
  }

  /** Whether all connections together exceed the budget. Measures them again if their last measurements say so. */
  get exhausted(): boolean {
    return this.lastSum > this.#limit && this.sum() > this.#limit
  }

  add(spender: Spender): void {
    this.#taken.set(spender, 0)
  }

  /** Removes a spender that takes no memory any more. */
  remove(spender: Spender): void {
    this.#sum -= this.#taken.get(spender) ?? 0
    this.#taken.delete(spender)
  }

  /** Call it when the spender may take more than before. A decrease is found later, when all spenders are measured. */
  update(spender: Spender): void {
    this.#look(spender)
    if (this.lastSum > this.#limit) this.#shed()
  }

  /** Measures all spenders, and returns the bytes that they take together. */
  sum(): number {
    for (const spender of this.#taken.keys()) this.#look(spender)
    return this.lastSum
  }

  /** Like `sum`, but from the last measurement of each spender: approximate, and without new measurements. */
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
    // Measure no connections now if too little could be freed a short while ago: measuring takes time and would free
    // nothing.
    if (this.#vainLooks > 0 && this.#vainLooks++ < LOOKS_SKIPPED) return
    this.#vainLooks = 0
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
    this.#vainLooks = 1
  }
}
