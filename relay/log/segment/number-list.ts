/** A growing list of numbers below 2^32, in 4 bytes each. An index in memory is made of such lists. */
export class NumberList {
  length = 0
  #items = new Uint32Array(16)

  get memory(): number {
    return this.#items.byteLength
  }

  /** Appends an item and returns its index. */
  push(item: number): number {
    if (this.length === this.#items.length) {
      const more = new Uint32Array(2 * this.length)
      more.set(this.#items)
      this.#items = more
    }
    this.#items[this.length] = item
    return this.length++
  }

  at(i: number): number {
    return this.#items[i]!
  }

  set(i: number, item: number): void {
    this.#items[i] = item
  }
}
