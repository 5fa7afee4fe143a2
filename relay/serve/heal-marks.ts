/**
 * Marks the entities that a heal leaves out, because the replica holds all their changes that the relay holds. When a
 * relay is restored from a backup, all replicas heal at the same time, and a set of ids for each connection would take
 * a hundred times the memory. So all heals of a workspace share one map from entities to numbers, and a heal has one
 * bit for each number.
 */

/** Assigns a number to each entity that a running heal has marked. The numbers are dropped when no heal runs. */
export class EntityNumbers {
  readonly #numbers = new Map<string, number>()
  /** Number of heals whose marks were not released yet. */
  #heals = 0

  beginHeal(): void {
    this.#heals++
  }

  endHeal(): void {
    if (--this.#heals === 0) this.#numbers.clear()
  }

  /** Returns the entity's number, or undefined if it has none. `entity` is the entity's `Log.key`. */
  get(entity: string): number | undefined {
    return this.#numbers.get(entity)
  }

  getOrAssign(entity: string): number {
    let n = this.#numbers.get(entity)
    if (n === undefined) this.#numbers.set(entity, (n = this.#numbers.size))
    return n
  }
}

/** The set of entities that one heal leaves out. An entity is identified by its `Log.key`. */
export class HealMarks {
  readonly #numbers: EntityNumbers
  /** Bit n is set when the entity with number n is marked. */
  #bits = new Uint8Array(64)

  constructor(numbers: EntityNumbers) {
    this.#numbers = numbers
    numbers.beginHeal()
  }

  /** Call it only for entities that the relay holds, because an id that a client has invented must take no memory. */
  add(entity: string): void {
    const n = this.#numbers.getOrAssign(entity)
    if (n >> 3 >= this.#bits.length) {
      const more = new Uint8Array(2 * (n >> 3))
      more.set(this.#bits)
      this.#bits = more
    }
    this.#bits[n >> 3]! |= 1 << (n & 7)
  }

  has(entity: string): boolean {
    const n = this.#numbers.get(entity)
    return n !== undefined && ((this.#bits[n >> 3] ?? 0) & (1 << (n & 7))) !== 0
  }

  /** Call once, when the heal has ended. */
  release(): void {
    this.#numbers.endHeal()
  }
}
