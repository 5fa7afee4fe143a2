/**
 * Reads the values of a change's operations. One column has the type and the length of each value; another column has
 * the bytes of all values, one value after the other.
 */

import { Bytes } from "../../wire/leb128.ts"
import { BYTES, COUNTER, FALSE, FLOAT, INT, NULL, STRING, TIMESTAMP, TRUE, UINT } from "../format.ts"
import { decline } from "./declined.ts"
import { NUMBERS, Runs } from "./runs.ts"
import { sizeFrom, textOf } from "./utf8.ts"

/** The largest distance from 1970 that a JavaScript date can have, in ms. */
const LAST_DATE = 8.64e15

export class Values {
  /** The type of the scalar that `scalar` read last. */
  type = NULL
  /** The length of each value, and its type in the lowest 4 bits. */
  readonly #kinds: Runs
  readonly #bytes: Bytes

  constructor(kinds: Bytes | undefined, bytes: Bytes | undefined) {
    this.#kinds = Runs.of(kinds, NUMBERS, false)
    this.#bytes = bytes ?? new Bytes(new Uint8Array(), 0)
  }

  /** Passes `count` operations. Declines when one of them has a value. */
  none(count: number): void {
    for (let left = count; left > 0; ) {
      const alike = this.#alike(left)
      if (this.#kinds.value !== 0) decline("a value where Automerge writes none")
      this.#kinds.pass(alike)
      left -= alike
    }
  }

  /**
   * Reads the next value as plain JSON, as rows show it. Dates become ms, numbers that JSON cannot hold null, and bytes
   * undefined.
   */
  scalar(): unknown {
    this.#alike(1)
    const kind = this.#kinds.value
    const size = Math.floor(kind / 16)
    this.#kinds.pass(1)
    this.type = kind % 16
    const from = this.#bytes.at
    this.#bytes.skip(size)
    const bytes = this.#bytes.bytes
    switch (this.type) {
      case NULL:
      case FALSE:
      case TRUE:
        if (size > 0) decline("a value of no bytes has bytes")
        return this.type === NULL ? null : this.type === TRUE
      case UINT:
        return integer(bytes, from, size, false)
      case INT:
      case COUNTER:
        return integer(bytes, from, size, true)
      case TIMESTAMP: {
        const time = integer(bytes, from, size, true)
        return Math.abs(time) > LAST_DATE ? null : time
      }
      case FLOAT:
        return float(bytes, from, size)
      case STRING:
        return textOf(bytes, from, from + size)
      case BYTES:
        return undefined
      default:
        decline("a value of an unknown type")
    }
  }

  /** Reads the next `count` values as one text. Each of them must be a string of one character. */
  characters(count: number): string {
    const { bytes, at: from } = this.#bytes
    let pairs = 0
    for (let left = count; left > 0; ) {
      const alike = this.#alike(left)
      const kind = this.#kinds.value
      const size = Math.floor(kind / 16)
      if (kind % 16 !== STRING || size === 0 || size > 4) decline("an element of a text that is no character")
      const start = this.#bytes.at
      this.#bytes.skip(alike * size)
      for (let at = start; size > 1 && at < this.#bytes.at; at += size) {
        if (sizeFrom(bytes[at]!) !== size) decline("an element of a text that is no character")
      }
      if (size === 4) pairs += alike
      this.#kinds.pass(alike)
      left -= alike
    }
    const text = textOf(bytes, from, this.#bytes.at)
    // The loop has checked that each element of 2 to 4 bytes is one character, but not the elements of one byte. All
    // elements are characters if the text has `count` characters. Then it has `count + pairs` UTF-16 units.
    if (text.length !== count + pairs) decline("an element of a text that is no character")
    return text
  }

  end(): void {
    this.#kinds.end()
    if (!this.#bytes.done) decline("bytes that belong to no value")
  }

  /** Returns how many of the next values have the same type and length, at most `count`. */
  #alike(count: number): number {
    if (this.#kinds.left === 0) decline("a column is shorter than the change")
    return Math.min(count, this.#kinds.left)
  }
}

/**
 * Reads a LEB128 number of `size` bytes. Declines a number in a longer form than it needs, and a number beyond 2^53.
 */
function integer(bytes: Uint8Array, from: number, size: number, signed: boolean): number {
  if (size === 0 || size > 8) decline("a number of no bytes, or beyond 2^53")
  const last = bytes[from + size - 1]!
  const sign = signed && (last & 0x40) !== 0
  if (last >= 0x80) decline("a number that goes on beyond its value")
  if (size > 1) {
    const before = bytes[from + size - 2]!
    if (last === 0 && (!signed || (before & 0x40) === 0)) decline("a number in a longer form than it needs")
    if (sign && last === 0x7f && (before & 0x40) !== 0) decline("a number in a longer form than it needs")
  }
  let value = sign ? last - 128 : last
  for (let at = from + size - 2; at >= from; at--) {
    const byte = bytes[at]!
    if (byte < 0x80) decline("a number that ends before its value")
    value = value * 128 + (byte & 0x7f)
  }
  if (!Number.isSafeInteger(value)) decline("a number of no bytes, or beyond 2^53")
  return value
}

function float(bytes: Uint8Array, from: number, size: number): number | null {
  if (size !== 8) decline("a float that is not 8 bytes long")
  const view = new DataView(bytes.buffer, bytes.byteOffset + from, 8)
  const value = view.getFloat64(0, true)
  // NaN has many encodings, and a processor may turn one into another. Automerge would then not return the change byte
  // for byte.
  if (Number.isNaN(value) && view.getBigUint64(0, true) !== 0x7ff8000000000000n) decline("an unusual NaN")
  return Number.isFinite(value) ? value : null
}
