/** Writes bytes in order, with the numbers of Automerge's format. `leb128.ts` reads them. */

/** Bytes that grow as they are written. */
export class BytesWriter {
  #bytes: Uint8Array
  #at = 0

  /** `room`: how many bytes are expected; more are possible. */
  constructor(room = 256) {
    this.#bytes = new Uint8Array(room)
  }

  /** How many bytes were written. A caller that sets it decides where the next byte goes. */
  get length(): number {
    return this.#at
  }
  set length(length: number) {
    this.#at = length
  }

  byte(value: number): void {
    this.#room(1)
    this.#bytes[this.#at++] = value
  }

  bytes(value: Uint8Array): void {
    this.#room(value.length)
    this.#bytes.set(value, this.#at)
    this.#at += value.length
  }

  /** Writes an unsigned number below 2^53 in LEB128, in the shortest form. */
  uleb(value: number): void {
    let rest = value
    for (; rest >= 128; rest = Math.floor(rest / 128)) this.byte((rest % 128) | 128)
    this.byte(rest)
  }

  /** Writes a signed number within 2^48 in LEB128, in the shortest form. */
  sleb(value: number): void {
    let rest = value
    for (; rest < -64 || rest >= 64; rest = Math.floor(rest / 128))
      this.byte((rest - 128 * Math.floor(rest / 128)) | 128)
    this.byte(rest & 127)
  }

  /** Returns what was written, without copying it. Nothing may be written afterwards. */
  done(): Uint8Array {
    return this.#bytes.subarray(0, this.#at)
  }

  #room(size: number): void {
    if (this.#at + size <= this.#bytes.length) return
    const larger = new Uint8Array(2 * (this.#at + size))
    larger.set(this.#bytes.subarray(0, this.#at))
    this.#bytes = larger
  }
}
