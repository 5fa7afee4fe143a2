/**
 * A hash table of pairs of numbers, with 24 to 48 bytes for each pair. The table holds no keys: a pair says where its
 * key is, and the caller compares the key. A Map of objects would take ten times the memory, in every open log.
 */
export type Pair = readonly [a: number, b: number]

export class Table {
  size = 0
  /** Three numbers for each slot: fingerprint, a + 1 (0: the slot is free), b. */
  #slots: Uint32Array

  /** `expected`: the number of pairs that the table can hold before it grows. */
  constructor(expected = 0) {
    this.#slots = new Uint32Array(3 * 2 ** Math.ceil(Math.log2(2 * expected + 64)))
  }

  get memory(): number {
    return this.#slots.byteLength
  }

  add(fingerprint: number, a: number, b: number): void {
    this.size++
    if (this.size * 2 > this.#capacity) this.#grow()
    let slot = fingerprint & (this.#capacity - 1)
    while (this.#slots[3 * slot + 1] !== 0) slot = (slot + 1) & (this.#capacity - 1)
    this.#set(slot, fingerprint, a, b)
  }

  /** Returns the first pair with that fingerprint for which `is` returns true. */
  find(fingerprint: number, is: (a: number, b: number) => boolean): Pair | undefined {
    const slot = this.#find(fingerprint, is)
    return slot === undefined ? undefined : this.#pair(slot)
  }

  /** Replaces the pair that `find` would return, and returns that pair. Adds a new pair if there is none. */
  put(fingerprint: number, a: number, b: number, is: (a: number, b: number) => boolean): Pair | undefined {
    const slot = this.#find(fingerprint, is)
    if (slot === undefined) {
      this.add(fingerprint, a, b)
      return undefined
    }
    const replaced = this.#pair(slot)
    this.#set(slot, fingerprint, a, b)
    return replaced
  }

  /** Undoes the `add` or `put` of a pair. `replaced`: the pair that `put` returned. */
  takeBack(fingerprint: number, a: number, b: number, replaced?: Pair): void {
    const slot = this.#find(fingerprint, (foundA, foundB) => foundA === a && foundB === b)
    if (slot === undefined) return
    if (replaced) this.#set(slot, fingerprint, ...replaced)
    else this.#remove(slot)
  }

  *[Symbol.iterator](): Generator<Pair> {
    const slots = this.#slots
    for (let at = 0; at < slots.length; at += 3) if (slots[at + 1] !== 0) yield [slots[at + 1]! - 1, slots[at + 2]!]
  }

  get #capacity(): number {
    return this.#slots.length / 3
  }

  #find(fingerprint: number, is: (a: number, b: number) => boolean): number | undefined {
    const slots = this.#slots
    const mask = this.#capacity - 1
    for (let slot = fingerprint & mask; slots[3 * slot + 1] !== 0; slot = (slot + 1) & mask) {
      if (slots[3 * slot] === fingerprint && is(slots[3 * slot + 1]! - 1, slots[3 * slot + 2]!)) return slot
    }
    return undefined
  }

  #pair(slot: number): Pair {
    return [this.#slots[3 * slot + 1]! - 1, this.#slots[3 * slot + 2]!]
  }

  /**
   * Frees a slot. Then moves back the pairs that a search would not reach any more, because a search ends at the first
   * free slot.
   */
  #remove(slot: number): void {
    const slots = this.#slots
    const mask = this.#capacity - 1
    let free = slot
    for (let next = (slot + 1) & mask; slots[3 * next + 1] !== 0; next = (next + 1) & mask) {
      const from = slots[3 * next]! & mask
      if (((next - from) & mask) < ((next - free) & mask)) continue // the search begins after the free slot
      slots.copyWithin(3 * free, 3 * next, 3 * next + 3)
      free = next
    }
    slots[3 * free + 1] = 0
    this.size--
  }

  #set(slot: number, fingerprint: number, a: number, b: number): void {
    this.#slots[3 * slot] = fingerprint
    this.#slots[3 * slot + 1] = a + 1
    this.#slots[3 * slot + 2] = b
  }

  #grow(): void {
    const old = this.#slots
    this.#slots = new Uint32Array(2 * old.length)
    const mask = this.#capacity - 1
    for (let at = 0; at < old.length; at += 3) {
      if (old[at + 1] === 0) continue
      let slot = old[at]! & mask
      while (this.#slots[3 * slot + 1] !== 0) slot = (slot + 1) & mask
      this.#slots.set(old.subarray(at, at + 3), 3 * slot)
    }
  }
}
