/** Helpers for bytes: 64-bit and LEB128 numbers, memory that grows, and a Uint8Array as a Buffer. */

export function writeU64(bytes: Buffer, value: number, at: number): void {
  bytes.writeUInt32BE(Math.floor(value / 2 ** 32), at)
  bytes.writeUInt32BE(value % 2 ** 32, at + 4)
}

export const readU64 = (bytes: Buffer, at: number): number =>
  bytes.readUInt32BE(at) * 2 ** 32 + bytes.readUInt32BE(at + 4)

/** Writes a number below 2^53 in LEB128, in the shortest form. Returns the offset after it. */
export function writeUleb(bytes: Buffer, value: number, at: number): number {
  let rest = value
  let end = at
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes[end++] = (rest % 0x80) | 0x80
  bytes[end++] = rest
  return end
}

/** Returns a Buffer on the same memory. */
export const asBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** Memory that grows at its end. Read `bytes` again after each `reserve`, which may replace the buffer. */
export class GrowingBytes {
  bytes: Buffer
  length = 0

  constructor(capacity: number) {
    this.bytes = Buffer.allocUnsafeSlow(capacity)
  }

  /** Appends `length` bytes with any content, and returns the index of the first. */
  reserve(length: number): number {
    const at = this.length
    this.length += length
    if (this.length > this.bytes.length) {
      const more = Buffer.allocUnsafeSlow(Math.max(this.length, Math.ceil(this.bytes.length * 1.5)))
      this.bytes.copy(more, 0, 0, at)
      this.bytes = more
    }
    return at
  }

  /** The appended bytes, without the unused memory after them. */
  get filled(): Buffer {
    return this.bytes.subarray(0, this.length)
  }
}
