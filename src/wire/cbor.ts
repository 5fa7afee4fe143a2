/**
 * The part of CBOR (RFC 8949) that the wire uses, written and read one value at a time, in core deterministic encoding:
 * shortest heads, definite lengths, sorted keys. What the values mean is `protocol.ts`.
 *
 * Reading rests on cborg's tokenizer, which survived every hostile message that was tried on it.
 */
import { Type as Major, type Token, Tokenizer } from "cborg"
import { HeadwaterError } from "../base/errors.ts"
import { limits } from "./messages.ts"

export { Major }

/** What frames of newer versions may hold of unknown keys before skipping them becomes work. */
const SKIPPED = 4096
const DEPTH = 16
/** Keys are shorter than this and ASCII, so that their first byte holds their length. */
const KEY = 24

const STRICT = {
  strict: true,
  allowIndefinite: false,
  allowUndefined: false,
  allowInfinity: false,
  allowNaN: false,
  allowBigInt: false,
}

/** Both sides name the key at which they failed. */
abstract class Side {
  /** The map key that is being written or read. */
  where = "a frame"

  fail(what: string, cause?: unknown): never {
    throw new HeadwaterError("MESSAGE_BAD", `${this.where} ${what}`, { cause })
  }

  bounded(length: number, least: number, most: number) {
    if (length < least) this.fail(`has a length of ${length}, ${least} is the least`)
    if (length > most)
      throw new HeadwaterError("TOO_LARGE", `${this.where} has a length of ${length}, ${most} is allowed`)
  }
}

/** Most frames fit into this, so only their copy is allocated. One writer at a time: nothing here waits. */
const scratch = new Uint8Array(2 ** 16)
const utf8 = new TextEncoder()

export class Writer extends Side {
  #bytes = scratch
  #at = 0

  /** The first byte of a value and the number that belongs to it: a length, a count, or the value itself. */
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

  /** Bytes that are CBOR already. */
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

  done(): Uint8Array {
    if (this.#at > limits.message) this.bounded(this.#at, 0, limits.message)
    return this.#bytes.slice(0, this.#at)
  }

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
    // Slices of a Node Buffer share its memory; those of a Uint8Array are copies, so a chunk does not keep its frame.
    this.#bytes = new Uint8Array(frame.buffer, frame.byteOffset, frame.byteLength)
    this.#tokens = new Tokenizer(this.#bytes, STRICT)
  }

  /** The first byte of the next value: its major type in the upper three bits. */
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

  /** What is not UTF-8 shows as U+FFFD; a byte order mark would be dropped in silence, and two frames be one message. */
  text(): string {
    const { value, encodedLength } = this.next(Major.string)
    if (encodedLength !== sizeOfText(value.length) && encodedLength !== sizeOfText(utf8.encode(value).length)) {
      this.fail("begins with a byte order mark")
    }
    return value
  }

  /** A map's next key; keys ascend, so none comes twice. */
  key(last: string): string {
    const { value, encodedLength } = this.next(Major.string)
    if (encodedLength !== value.length + 1 || value.length >= KEY) this.fail("is followed by no key")
    if (value.length < last.length || (value.length === last.length && value <= last))
      this.fail("is followed by a key that belongs before it")
    this.where = value
    return value
  }

  /** Passes over a value of any kind but a tag. */
  skip(depth = 0) {
    if (depth > DEPTH || ++this.#skipped > SKIPPED) this.fail("holds more than may be ignored")
    const { type, value } = this.next()
    if (type === Major.tag) this.fail("has a tag")
    if (type === Major.array || type === Major.map) {
      for (let left = type === Major.map ? 2 * value : value; left > 0; left--) this.skip(depth + 1)
    }
  }

  end() {
    if (!this.#tokens.done()) this.fail("is followed by more bytes")
  }
}

const sizeOfText = (bytes: number) => bytes + (bytes < 24 ? 1 : bytes < 2 ** 8 ? 2 : bytes < 2 ** 16 ? 3 : 5)
