/**
 * Reads bytes in order, and numbers as in Automerge's format: LEB128 (https://en.wikipedia.org/wiki/LEB128), in the
 * shortest form only.
 */

import { HeadwaterError } from "../base/errors.ts"

/**
 * Reads a part of a chunk from `at` up to `end`. Throws `CHUNK_BAD` for a number that is too large or not in its
 * shortest form, and for bytes that end early. Allocates nothing for a length before it is known that so many bytes
 * follow.
 */
export class Bytes {
  readonly bytes: Uint8Array
  /** Offset of the next byte. */
  at: number
  readonly end: number

  constructor(bytes: Uint8Array, at: number, end = bytes.length) {
    this.bytes = bytes
    this.at = at
    this.end = end
  }

  get done(): boolean {
    return this.at >= this.end
  }

  /** Takes the next `length` bytes without copying them. */
  slice(length: number): Uint8Array {
    const from = this.at
    this.skip(length)
    return this.bytes.subarray(from, this.at)
  }

  skip(length: number): void {
    if (length > this.end - this.at) throw chunkBad("the bytes end early")
    this.at += length
  }

  byte(): number {
    if (this.at >= this.end) throw chunkBad("the bytes end early")
    return this.bytes[this.at++]!
  }

  /** Reads an unsigned number below 2^53. */
  uleb(): number {
    const first = this.byte()
    if (first < 0x80) return first
    let value = first & 0x7f
    for (let scale = 2 ** 7; scale < 2 ** 56; scale *= 128) {
      const byte = this.byte()
      value += (byte & 0x7f) * scale
      if (byte & 0x80) continue
      if (byte === 0 || value > Number.MAX_SAFE_INTEGER) break
      return value
    }
    throw chunkBad("a number is not in its shortest form, or beyond 2^53")
  }

  /** Reads a signed number within 2^48: enough for any date, and few enough bits to be added up exactly in a double. */
  sleb(): number {
    let byte = this.byte()
    if (byte < 0x80) return byte & 0x40 ? byte - 128 : byte
    let value = byte & 0x7f
    for (let scale = 2 ** 7; scale < 2 ** 49; scale *= 128) {
      const sign = byte & 0x40
      byte = this.byte()
      value += (byte & 0x7f) * scale
      if (byte & 0x80) continue
      if (byte === (sign ? 0x7f : 0)) break
      return byte & 0x40 ? value - scale * 128 : value
    }
    throw chunkBad("a number is not in its shortest form, or beyond 2^48")
  }
}

export const chunkBad = (what: string, cause?: unknown) => new HeadwaterError("CHUNK_BAD", what, { cause })
