/**
 * Entities, by id or by key, with numbers while heals run: one map for all of them, and a bit for each entity and heal. When a relay comes
 * back from a backup, everybody heals at once, and a set of ids for each of them would cost a hundred times as much.
 */
export class Numbers {
  readonly #numbers = new Map<string, number>()
  #users = 0

  /** A set of entities. Only such as the relay holds belong into it: what a client names otherwise must cost nothing. */
  newSet(): EntitySet {
    this.#users++
    let bits = new Uint8Array(64)
    return {
      add: (entity) => {
        let n = this.#numbers.get(entity)
        if (n === undefined) this.#numbers.set(entity, (n = this.#numbers.size))
        if (n >> 3 >= bits.length) {
          const more = new Uint8Array(2 * (n >> 3))
          more.set(bits)
          bits = more
        }
        bits[n >> 3]! |= 1 << (n & 7)
      },
      has: (entity) => {
        const n = this.#numbers.get(entity)
        return n !== undefined && ((bits[n >> 3] ?? 0) & (1 << (n & 7))) !== 0
      },
      release: () => {
        if (--this.#users === 0) this.#numbers.clear()
      },
    }
  }
}

export interface EntitySet {
  add(entity: string): void
  has(entity: string): boolean
  /** Once, at the end. */
  release(): void
}
