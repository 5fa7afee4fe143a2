/** A list of numbers below 2^32 that grows at its end, 4 bytes each: what the record heads of a segment are indexed by. */
export class NumberList {
  length = 0
  #items = new Uint32Array(16)

  get memory(): number {
    return this.#items.byteLength
  }

  /** Returns where it is. */
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
