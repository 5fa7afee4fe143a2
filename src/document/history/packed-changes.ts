/**
 * Keeps changes in few large buffers. As an object, each change of a text that is typed letter by letter would take
 * some 1.2 kB, although its chunk has 130 bytes: a note that is open for hours would fill the memory of a tab. A packed
 * change takes its chunk and about 70 bytes. Each call of `at` reads the change from its chunk again.
 */

import { bytesOfHex, hex } from "../../base/hash.ts"
import { type Change, readChange } from "../../wire/chunk.ts"
import type { Hash } from "../../wire/protocol.ts"

const HASH = 32
/** The size in bytes of a buffer into which chunks are copied. A larger chunk gets a buffer of its own. */
const BUFFER = 2 ** 16
/** The value of a free slot in `#table`. */
const FREE = 0

export class PackedChanges {
  #size = 0
  #hashes = new Uint8Array(HASH * 64)
  /** A hash table with open addressing. A slot has 1 plus the place of a change. At most half of the slots are used. */
  #table = new Uint32Array(128)
  readonly #buffers: Uint8Array[] = []
  /** Bytes used in the last buffer; `BUFFER` while there is no buffer. */
  #used = BUFFER
  // By place of a change: the buffer that has its chunk, the chunk's offset and length, and the counters of its first
  // and last operation.
  readonly #buffer = new Numbers()
  readonly #offset = new Numbers()
  readonly #length = new Numbers()
  readonly #startOp = new Numbers()
  readonly #maxOp = new Numbers()

  get size(): number {
    return this.#size
  }

  /**
   * Adds a change that this list does not have yet. The place of the change is the number of changes that the list had
   * before the call.
   */
  add({ hash, chunk, startOp, maxOp }: Change): void {
    const place = this.#size++
    if (2 * this.#size > this.#table.length) this.#grow()
    if (HASH * this.#size > this.#hashes.length) this.#hashes = doubled(this.#hashes)
    this.#hashes.set(bytesOfHex(hash), HASH * place)
    this.#table[this.#freeFor(this.#startOf(place))] = place + 1
    if (this.#used + chunk.length > BUFFER) {
      this.#buffers.push(new Uint8Array(Math.max(BUFFER, chunk.length)))
      this.#used = 0
    }
    this.#buffers.at(-1)!.set(chunk, this.#used)
    this.#buffer.push(this.#buffers.length - 1)
    this.#offset.push(this.#used)
    this.#length.push(chunk.length)
    this.#startOp.push(startOp)
    this.#maxOp.push(maxOp)
    this.#used += chunk.length
  }

  /** Returns the place of a change; undefined when this list does not have the change. */
  placeOf(hash: Hash): number | undefined {
    const mask = this.#table.length - 1
    for (let at = Number.parseInt(hash.slice(0, 8), 16) & mask; ; at = (at + 1) & mask) {
      const there = this.#table[at] as number
      if (there === FREE) return undefined
      if (this.#hashAt(there - 1) === hash) return there - 1
    }
  }

  /** Reads the change at a place. */
  at(place: number): Change {
    const from = this.#offset.at(place)
    const buffer = this.#buffers[this.#buffer.at(place)] as Uint8Array
    return readChange(buffer.slice(from, from + this.#length.at(place)))
  }

  startOpAt(place: number): number {
    return this.#startOp.at(place)
  }

  maxOpAt(place: number): number {
    return this.#maxOp.at(place)
  }

  #hashAt(place: number): Hash {
    return hex(this.#hashes.subarray(HASH * place, HASH * (place + 1)))
  }

  /**
   * Reads the first four bytes of the hash at a place. A search for this hash begins at the slot of `#table` that these
   * bytes name, modulo the number of slots.
   */
  #startOf(place: number): number {
    return new DataView(this.#hashes.buffer).getUint32(HASH * place)
  }

  #freeFor(start: number): number {
    const mask = this.#table.length - 1
    let at = start & mask
    while (this.#table[at] !== FREE) at = (at + 1) & mask
    return at
  }

  #grow(): void {
    this.#table = new Uint32Array(2 * this.#table.length)
    for (let place = 0; place < this.#size - 1; place++) this.#table[this.#freeFor(this.#startOf(place))] = place + 1
  }
}

const EMPTY = new Uint32Array(0)

/** A list of whole numbers below 2^32, which take 4 bytes each. */
export class Numbers {
  #size = 0
  #values = EMPTY

  get size(): number {
    return this.#size
  }

  push(value: number): void {
    if (this.#size === this.#values.length) this.#values = doubled(this.#values)
    this.#values[this.#size++] = value
  }

  at(index: number): number {
    return this.#values[index] as number
  }
}

function doubled<T extends Uint8Array | Uint32Array>(values: T): T {
  const larger = new (values.constructor as new (length: number) => T)(Math.max(2 * values.length, 4))
  larger.set(values)
  return larger
}
