/**
 * Writes bytes in order, with the numbers of Automerge's format: LEB128 (https://en.wikipedia.org/wiki/LEB128), shortest
 * form only. `wire/leb128.ts` reads them.
 */

const utf8 = new TextEncoder()

/** Bytes that grow as they are written. Numbers are exact up to 2^53. */
export class Output {
  #bytes: Uint8Array
  #length = 0

  /** Writes into `room` as long as the bytes fit into it. Nobody else may write there until the bytes were copied. */
  constructor(room: Uint8Array) {
    this.#bytes = room
  }

  get length(): number {
    return this.#length
  }

  /** Returns the bytes that were written, without copying them. */
  written(): Uint8Array {
    return this.#bytes.subarray(0, this.#length)
  }

  byte(value: number): void {
    this.#reserve(1)
    this.#bytes[this.#length++] = value
  }

  raw(bytes: Uint8Array): void {
    this.#reserve(bytes.length)
    this.#bytes.set(bytes, this.#length)
    this.#length += bytes.length
  }

  /** Writes an unsigned number. */
  uleb(value: number): void {
    let rest = value
    for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) this.byte((rest % 0x80) | 0x80)
    this.byte(rest)
  }

  /** Writes a signed number. */
  sleb(value: number): void {
    let rest = value
    for (; rest < -0x40 || rest >= 0x40; rest = Math.floor(rest / 0x80))
      this.byte((((rest % 0x80) + 0x80) & 0x7f) | 0x80)
    this.byte(rest & 0x7f)
  }

  /** Writes 8 bytes, the lowest first. */
  float64(value: number): void {
    this.#reserve(8)
    new DataView(this.#bytes.buffer, this.#bytes.byteOffset).setFloat64(this.#length, value, true)
    this.#length += 8
  }

  /** Writes a text in UTF-8. */
  utf8(text: string): void {
    this.#reserve(3 * text.length)
    this.#length += utf8.encodeInto(text, this.#bytes.subarray(this.#length)).written
  }

  #reserve(room: number): void {
    if (this.#length + room <= this.#bytes.length) return
    const bytes = new Uint8Array(Math.max(2 * this.#bytes.length, this.#length + room))
    bytes.set(this.written())
    this.#bytes = bytes
  }
}
