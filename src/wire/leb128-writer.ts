/** Writes bytes in order, and numbers as in Automerge's format. `leb128.ts` reads them. */

const utf8 = new TextEncoder()

/** Writes into a buffer that grows when it is full. */
export class BytesWriter {
  #bytes: Uint8Array
  #length = 0

  /** Writes into `room` as long as the bytes fit. No other code may write into `room` until the bytes were copied. */
  constructor(room: Uint8Array = new Uint8Array(256)) {
    this.#bytes = room
  }

  /** How many bytes were written: the offset of the next byte. Set it to go on writing at another offset. */
  get length(): number {
    return this.#length
  }
  set length(length: number) {
    this.#length = length
  }

  /** Returns the bytes that were written, without copying them. Later writes may change them. */
  written(): Uint8Array {
    return this.#bytes.subarray(0, this.#length)
  }

  byte(value: number): void {
    this.#reserve(1)
    this.#bytes[this.#length++] = value
  }

  bytes(value: Uint8Array): void {
    this.#reserve(value.length)
    this.#bytes.set(value, this.#length)
    this.#length += value.length
  }

  /** Writes an unsigned number up to 2^53 in LEB128, in the shortest form. */
  uleb(value: number): void {
    let rest = value
    for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) this.byte((rest % 0x80) | 0x80)
    this.byte(rest)
  }

  /** Writes a signed number within 2^53 in LEB128, in the shortest form. */
  sleb(value: number): void {
    let rest = value
    for (; rest < -0x40 || rest >= 0x40; rest = Math.floor(rest / 0x80))
      this.byte((((rest % 0x80) + 0x80) & 0x7f) | 0x80)
    this.byte(rest & 0x7f)
  }

  /** Writes a number as a float of 8 bytes, the lowest byte first. */
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
    const larger = new Uint8Array(Math.max(2 * this.#bytes.length, this.#length + room))
    larger.set(this.written())
    this.#bytes = larger
  }
}
