/**
 * The part of CBOR (RFC 8949) that the wire uses, written and read one value at a time, in core deterministic encoding:
 * shortest heads, definite lengths, sorted keys. `protocol.ts` says what the values mean.
 *
 * Reading is built on cborg's tokenizer, which survived every hostile message that was tried on it.
 */
import { Type as Major, type Token, Tokenizer } from "cborg"
import { HeadwaterError } from "../base/errors.ts"
import { limits } from "./messages.ts"

export { Major }

/**
 * How many values under unknown keys a frame may have, and how deep they may be nested. They are skipped, because newer
 * versions may add keys.
 */
const SKIPPED = 4096
const DEPTH = 16
/** Keys are ASCII and shorter than this many bytes, so that their length fits into their first byte. */
const KEY = 24

/** Options for cborg: whatever deterministic encoding or the wire does not have is an error. */
const STRICT = {
  strict: true,
  allowIndefinite: false,
  allowUndefined: false,
  allowInfinity: false,
  allowNaN: false,
  allowBigInt: false,
}

/** The common part of `Writer` and `Reader`: errors that name the map key at which they failed. */
abstract class Side {
  /** The map key that is being written or read. */
  where = "a frame"

  /** Throws `MESSAGE_BAD`. `what`: the rest of a sentence that begins with the key. */
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
 * Every writer begins in this buffer. Most frames fit into it, so the finished copy is their only allocation. Writers
 * can share it, because one is done before the next begins: nothing here is asynchronous.
 */
const scratch = new Uint8Array(2 ** 16)
const utf8 = new TextEncoder()

export class Writer extends Side {
  #bytes = scratch
  #at = 0

  /** Writes the head of a value: its major type and a number, which is a length, a count or the value itself. */
  head(major: number, n: number) {
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

  byte(value: number) {
    this.#room(1)
    this.#bytes[this.#at++] = value
  }

  /** Writes a value that is CBOR already. */
  raw(value: Uint8Array) {
    this.#room(value.length)
    this.#bytes.set(value, this.#at)
    this.#at += value.length
  }

  bytes(value: Uint8Array) {
    this.head(2, value.length)
    this.raw(value)
  }

  text(value: string) {
    const start = this.#at
    this.head(3, value.length)
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
    const bytes = utf8.encode(value)
    this.head(3, bytes.length)
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
  readonly #tokens: Tokenizer
  #skipped = 0

  constructor(frame: Uint8Array) {
    super()
    this.bounded(frame.length, 1, limits.message)
    // The slices that cborg makes of a Uint8Array are copies, so a chunk does not keep its frame in memory; those of a
    // Node Buffer would share its memory.
    this.#bytes = new Uint8Array(frame.buffer, frame.byteOffset, frame.byteLength)
    this.#tokens = new Tokenizer(this.#bytes, STRICT)
  }

  /** Returns the first byte of the next value without taking it. Its upper three bits are the value's major type. */
  peek(): number {
    return this.#bytes[this.#tokens.pos()] ?? this.fail("ends early")
  }

  next(major?: Major): Token {
    let token: Token
    try {
      token = this.#tokens.next()
    } catch (cause) {
      this.fail("is not deterministic CBOR", cause)
    }
    if (major && token.type !== major) this.fail(`is of type ${token.type.name} and not ${major.name}`)
    return token
  }

  /**
   * Reads a text. Bytes that are not UTF-8 become U+FFFD, which no field allows. A byte order mark is refused here,
   * because the decoder drops it, and two different frames would be one message.
   */
  text(): string {
    const { value, encodedLength } = this.next(Major.string)
    if (encodedLength !== sizeOfText(value.length) && encodedLength !== sizeOfText(utf8.encode(value).length)) {
      this.fail("begins with a byte order mark")
    }
    return value
  }

  /** Reads a map's next key. `last`: the key before it, "" for the first. Keys must ascend, so none comes twice. */
  key(last: string): string {
    const { value, encodedLength } = this.next(Major.string)
    if (encodedLength !== value.length + 1 || value.length >= KEY) this.fail("is followed by a text that is no key")
    if (value.length < last.length || (value.length === last.length && value <= last))
      this.fail("is followed by a key that belongs before it")
    this.where = value
    return value
  }

  /** Skips a value under an unknown key without building it. It may be of any kind but a tag. */
  skip(depth = 0) {
    if (depth > DEPTH || ++this.#skipped > SKIPPED) this.fail("has more values than are passed over")
    const { type, value } = this.next()
    if (type === Major.tag) this.fail("has a tag")
    if (type === Major.array || type === Major.map) {
      for (let left = type === Major.map ? 2 * value : value; left > 0; left--) this.skip(depth + 1)
    }
  }

  /** Throws when more bytes follow. */
  end() {
    if (!this.#tokens.done()) this.fail("is followed by more bytes")
  }
}

/** Bytes of an encoded text, head included. */
const sizeOfText = (bytes: number) => bytes + (bytes < 24 ? 1 : bytes < 2 ** 8 ? 2 : bytes < 2 ** 16 ? 3 : 5)
