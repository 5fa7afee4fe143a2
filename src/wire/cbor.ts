/**
 * Writes and reads CBOR (RFC 8949) one value at a time, as far as the wire needs it, in core deterministic encoding
 * (section 4.2.1): shortest heads, definite lengths, sorted keys. `protocol.ts` has the meaning of the values.
 *
 * The code is our own because the wire needs so little of CBOR: a library would make Headwater a third larger in a
 * page. The tests compare the code with the library cborg.
 */
import { HeadwaterError } from "../base/errors.ts"
import { limits } from "./message-types.ts"

/** The major types of CBOR. A value's major type is the upper three bits of its first byte. */
export const Major = { uint: 0, negative: 1, bytes: 2, text: 3, array: 4, map: 5, tag: 6, simple: 7 } as const
export type Major = (typeof Major)[keyof typeof Major]
const NAMES = Object.keys(Major)

/** The first bytes of the simple values that the wire has. */
export const Simple = { false: 0xf4, true: 0xf5, null: 0xf6 } as const

/**
 * Values under unknown keys are skipped, because newer versions may add keys. `SKIPPED`: the most such values of a
 * frame, nested ones included. `DEPTH`: how deep they may be nested.
 */
const SKIPPED = 4096
const DEPTH = 16
/** Keys are ASCII and have fewer bytes than this, so that a key's length fits into its first byte. */
const KEY = 24

/**
 * The common part of `Writer` and `Reader`: limits, and errors that name the map key at which reading or writing
 * failed.
 */
abstract class Side {
  /** The map key that is being written or read. */
  where = "a frame"
  /** How many chunks were counted in the frame so far, and how many bytes they have after decoding. */
  #chunks = 0
  #chunkBytes = 0

  /**
   * Counts chunks of the frame. `bytes`: how many bytes these chunks have after decoding. Throws `TOO_LARGE` when all
   * counted chunks of the frame are too many or have too many bytes. Without these limits, a small frame could fill its
   * receiver's memory, or take much of its time.
   */
  unpack(bytes: number, chunks: number) {
    this.#chunkBytes += bytes
    this.#chunks += chunks
    this.bounded(this.#chunkBytes, 0, limits.message)
    this.bounded(this.#chunks, 0, limits.chunks)
  }

  /** Throws `MESSAGE_BAD`. `what`: the rest of the error's sentence, which begins with `where`. */
  fail(what: string, cause?: unknown): never {
    throw new HeadwaterError("MESSAGE_BAD", `${this.where} ${what}`, { cause })
  }

  /** Throws `MESSAGE_BAD` for a length below `least`, `TOO_LARGE` for one above `most`. */
  bounded(length: number, least: number, most: number) {
    if (length < least) this.fail(`has a length of ${length}, at least ${least} is needed`)
    if (length > most) {
      throw new HeadwaterError("TOO_LARGE", `${this.where} has a length of ${length}, at most ${most} is allowed`)
    }
  }
}

/**
 * Every writer writes into this buffer first. Most frames fit into it, so that only their finished copy is allocated.
 * Writers can share the buffer, because writing is synchronous: one writer is done before the next begins.
 */
const scratch = new Uint8Array(2 ** 16)
const encoder = new TextEncoder()
/**
 * Without `ignoreBOM`, the decoder would drop a byte order mark, and two different frames would be the same message.
 */
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
/** A text of fewer bytes than this is read without the decoder, which is faster. */
const SHORT = 64

export class Writer extends Side {
  #bytes = scratch
  #at = 0

  /** Writes the head of a value: its major type and a number, which is a length, a count or the value itself. */
  head(major: Major, n: number) {
    this.#room(9)
    const first = major << 5
    const bytes = this.#bytes
    if (n < 24) bytes[this.#at++] = first | n
    else if (n < 2 ** 8) {
      bytes[this.#at++] = first | 24
      this.#number(n, 1)
    } else if (n < 2 ** 16) {
      bytes[this.#at++] = first | 25
      this.#number(n, 2)
    } else if (n < 2 ** 32) {
      bytes[this.#at++] = first | 26
      this.#number(n, 4)
    } else {
      bytes[this.#at++] = first | 27
      this.#number(n / 2 ** 32, 4)
      this.#number(n, 4)
    }
  }

  /** Begins a map of fewer than 24 keys, which are written next. Returns the place of its head, for `endMap`. */
  beginMap(): number {
    this.head(Major.map, 0)
    return this.#at - 1
  }

  /** Writes into the head of a map how many keys the map has. */
  endMap(head: number, keys: number) {
    this.#bytes[head]! |= keys
  }

  byte(value: number) {
    this.#room(1)
    this.#bytes[this.#at++] = value
  }

  /** Writes a value that is encoded as CBOR already. */
  raw(value: Uint8Array) {
    this.#room(value.length)
    this.#bytes.set(value, this.#at)
    this.#at += value.length
  }

  bytes(value: Uint8Array) {
    this.head(Major.bytes, value.length)
    this.raw(value)
  }

  text(value: string) {
    const start = this.#at
    this.head(Major.text, value.length)
    this.#room(value.length)
    for (let i = 0; i < value.length; i++) {
      const code = value.charCodeAt(i)
      if (code >= 0x80) {
        this.#at = start
        return this.#unicode(value)
      }
      this.#bytes[this.#at++] = code
    }
  }

  #unicode(value: string) {
    const bytes = encoder.encode(value)
    this.head(Major.text, bytes.length)
    this.raw(bytes)
  }

  /** Returns a copy of what was written. Throws `TOO_LARGE` beyond `limits.message`. */
  done(): Uint8Array {
    if (this.#at > limits.message) this.bounded(this.#at, 0, limits.message)
    return this.#bytes.slice(0, this.#at)
  }

  /** Writes the lower `size` bytes of a number, big-endian. */
  #number(n: number, size: number) {
    for (let shift = 8 * (size - 1); shift >= 0; shift -= 8) this.#bytes[this.#at++] = n >>> shift
  }

  #room(size: number) {
    if (this.#at + size <= this.#bytes.length) return
    const larger = new Uint8Array(2 * (this.#at + size))
    larger.set(this.#bytes.subarray(0, this.#at))
    this.#bytes = larger
  }
}

export class Reader extends Side {
  readonly #bytes: Uint8Array
  #at = 0
  /** How many values under unknown keys were skipped. */
  #skipped = 0
  /** The work that `end` does, once the whole frame was read. */
  readonly #afterwards: (() => void)[] = []

  constructor(frame: Uint8Array) {
    super()
    this.bounded(frame.length, 1, limits.message)
    // Not the frame itself, which may be a Buffer of Node: a slice of a Buffer is not a copy, so a chunk would keep the
    // whole frame in memory. A slice of a Uint8Array is a copy.
    this.#bytes = new Uint8Array(frame.buffer, frame.byteOffset, frame.byteLength)
  }

  /**
   * Goes back to the beginning of the frame, so that its values can be read again. Call it only before the first
   * `skip`, `unpack` and `afterwards`, because their effects are not undone.
   */
  rewind() {
    this.#at = 0
  }

  /** Returns the first byte of the next value without taking it. Its upper three bits are the value's major type. */
  peek(): number {
    return this.#bytes[this.#at] ?? this.fail("ends early")
  }

  /**
   * Reads the head of a value that must be of this major type (any but `simple`). Returns the number in the head: a
   * length, a count or the value.
   */
  head(major: Major): number {
    const first = this.peek()
    if (first >> 5 !== major) this.fail(`is of type ${NAMES[first >> 5]} and not ${NAMES[major]}`)
    const info = first & 31
    if (info < 24) {
      this.#at++
      return info
    }
    if (info > 27) this.fail("has an indefinite length")
    const size = 2 ** (info - 24)
    const at = this.#at + 1
    this.#skipBytes(1 + size)
    const n = this.#number(at, size)
    if (n < (size === 1 ? 24 : 2 ** (4 * size))) this.fail("has a head that is not the shortest")
    if (n > Number.MAX_SAFE_INTEGER) this.fail("is a number beyond 2^53 - 1")
    return n
  }

  bytes(): Uint8Array {
    const length = this.head(Major.bytes)
    return this.#bytes.slice(this.#at, this.#skipBytes(length))
  }

  /** Reads a text, which must be UTF-8. */
  text(): string {
    const length = this.head(Major.text)
    const from = this.#at
    const to = this.#skipBytes(length)
    if (length < SHORT) {
      let value = ""
      let at = from
      while (at < to && this.#bytes[at]! < 0x80) value += String.fromCharCode(this.#bytes[at++]!)
      if (at === to) return value
    }
    try {
      return decoder.decode(this.#bytes.subarray(from, to))
    } catch (cause) {
      return this.fail("is not UTF-8", cause)
    }
  }

  /** Reads a map's next key. `last`: the key before it, "" for the first key. Keys must ascend, so none comes twice. */
  key(last: string): string {
    const length = this.peek() - (Major.text << 5)
    const value = length >= 0 && length < KEY ? this.text() : this.fail("is followed by a value that is no key")
    if (value.length !== length) this.fail("is followed by a key that is not ASCII")
    if (length < last.length || (length === last.length && value <= last))
      this.fail("is followed by a key that belongs before it")
    this.where = value
    return value
  }

  /** Reads a simple value whose first byte is one of these. Returns that byte. */
  simple<T extends number>(...allowed: readonly T[]): T {
    const first = this.peek()
    const found = allowed.find((byte) => byte === first)
    if (found === undefined) return this.fail(`begins with byte ${first} and not with ${allowed.join(" or ")}`)
    this.#at++
    return found
  }

  /**
   * Skips a value under an unknown key without making an object for it. The value may be of any kind except a tag. A
   * float must be finite.
   */
  skip(depth = 0) {
    if (depth > DEPTH || ++this.#skipped > SKIPPED) this.fail("has too many or too deeply nested unknown values")
    const major = (this.peek() >> 5) as Major
    if (major === Major.tag) this.fail("has a tag")
    if (major === Major.simple) return this.#skipSimple()
    const n = this.head(major)
    if (major === Major.bytes || major === Major.text) this.#skipBytes(n)
    if (major === Major.array || major === Major.map) {
      for (let left = major === Major.map ? 2 * n : n; left > 0; left--) this.skip(depth + 1)
    }
  }

  #skipSimple() {
    const size = 2 ** ((this.peek() & 31) - 24) // of a float: 2, 4 or 8 bytes after its head
    if (size < 2 || size > 8) return void this.simple(...Object.values(Simple))
    const at = this.#at + 1
    this.#skipBytes(1 + size)
    const view = new DataView(this.#bytes.buffer, this.#bytes.byteOffset + at, size)
    // A half float is finite unless all bits of its exponent are set. (`getFloat16` is missing on some platforms.)
    const finite =
      size === 2
        ? (view.getUint16(0) & 0x7c00) !== 0x7c00
        : Number.isFinite(size === 4 ? view.getFloat32(0) : view.getFloat64(0))
    if (!finite) this.fail("has a float that is not finite")
  }

  /**
   * Puts off work until `end`. Until the whole frame was read, it may still be refused, for example because all its
   * chunks together are too many. Work that was done before would have been in vain.
   */
  afterwards(work: () => void) {
    this.#afterwards.push(work)
  }

  /** Call when the whole frame was read. Throws when bytes are left over; otherwise does the work that was put off. */
  end() {
    if (this.#at < this.#bytes.length) this.fail("is followed by more bytes")
    for (const work of this.#afterwards) work()
  }

  /** Skips `count` bytes. Returns the offset after them. */
  #skipBytes(count: number): number {
    if (count > this.#bytes.length - this.#at) this.fail("ends early")
    this.#at += count
    return this.#at
  }

  #number(at: number, size: number): number {
    let n = 0
    for (let i = at; i < at + size; i++) n = n * 256 + this.#bytes[i]!
    return n
  }
}
