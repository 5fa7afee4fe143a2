/**
 * Reads columns of a change run by run, and accepts only the encoding that Automerge writes. Automerge keeps operations
 * and not bytes, and encodes the operations again when it saves a document. A change that came in another encoding
 * would then have other bytes and another hash.
 *
 * A run-length encoded column (https://automerge.org/automerge-binary-format-spec) consists of runs of equal values,
 * literals (values that differ from their neighbours) and runs of nulls. Automerge makes each of them as long as it
 * can. It leaves out a column that has only nulls, but keeps the nulls at a column's end.
 */

import type { Bytes } from "../../wire/leb128.ts"
import { decline } from "./declined.ts"
import { textOf } from "./utf8.ts"

/** Types of columns. In a column of differences, each value is written as its difference from the value before it. */
export const NUMBERS = 0
export const DIFFERENCES = 1
export const TEXTS = 2

/** Kinds of `#part`, the part of the column that was read last. */
const NOTHING = 0
const RUN = 1
const LITERAL = 2
const NULLS = 3

/**
 * How many nulls an absent column has: more than a change may have operations. Not `Infinity`, because the JavaScript
 * engine is faster with whole numbers.
 */
const ENDLESS = 2 ** 30

/** Reads one run-length encoded column. Throws `Declined` or `CHUNK_BAD` when Automerge would not write the column. */
export class Runs {
  /** False when the next `left` values are nulls; true when none of them is. */
  there = false
  /**
   * How many of the next values are alike: equal, or each larger by `step` than the one before. 0 at the column's end.
   */
  left = 0
  /** The next value, if the column has numbers. */
  value = 0
  /** The next value, if the column has texts. */
  text = ""
  step = 0
  readonly #bytes: Bytes | undefined
  readonly #type: number
  readonly #nullable: boolean
  #part = NOTHING
  /** How many values of the present literal come after the next value. */
  #literals = 0
  /** The last value that was passed. The next difference is added to it. */
  #base = 0

  private constructor(bytes: Bytes | undefined, type: number, nullable: boolean) {
    this.#bytes = bytes
    this.#type = type
    this.#nullable = nullable
    if (bytes !== undefined) this.#next()
    else if (nullable) this.left = ENDLESS
  }

  /**
   * `bytes`: undefined when the change has no such column. Then a nullable column has only nulls, and any other column
   * has no values.
   */
  static of(bytes: Bytes | undefined, type: number, nullable: boolean): Runs {
    if (bytes === undefined) return nullable ? Runs.#NULLS : Runs.#NOTHING
    return new Runs(bytes, type, nullable)
  }

  static readonly #NULLS = new Runs(undefined, NUMBERS, true)
  static readonly #NOTHING = new Runs(undefined, NUMBERS, false)

  /** Passes the next `count` values, at most `left`. */
  pass(count: number): void {
    if (this.#bytes === undefined) return
    this.left -= count
    if (this.#type === DIFFERENCES && this.there) {
      this.#base += count * this.step
      this.value = this.#base + this.step
    }
    if (this.left === 0) this.#next()
  }

  /** Declines unless all values of the column were passed. */
  end(): void {
    if (this.#bytes !== undefined && this.left > 0) decline("a column is longer than the change")
  }

  #next(): void {
    const bytes = this.#bytes as Bytes
    if (this.#literals > 0) {
      this.#literals--
      this.left = 1
      this.#read(true)
      return
    }
    if (bytes.done) return
    const length = bytes.sleb()
    if (length > 1) {
      this.left = length
      this.#read(this.#part === RUN || this.#part === LITERAL)
      this.#part = RUN
    } else if (length < 0) {
      if (this.#part === LITERAL) decline("a literal follows a literal")
      this.left = 1
      this.#literals = -length - 1
      this.#read(this.#part === RUN)
      this.#part = LITERAL
    } else if (length === 0) {
      this.#nulls(bytes.uleb())
    } else decline("a run of one value")
  }

  #nulls(count: number): void {
    if (!this.#nullable) decline("a null where there is always a value")
    if (count === 0 || this.#part === NULLS) decline("a run of nulls is empty or follows another one")
    if (this.#part === NOTHING && this.#bytes?.done) decline("a column of nulls")
    this.#part = NULLS
    this.left = count
    this.there = false
  }

  /**
   * Reads a value. `unlike`: whether to decline a value that equals the last one, because equal neighbours form a run.
   */
  #read(unlike: boolean): void {
    const bytes = this.#bytes as Bytes
    this.there = true
    let same: boolean
    if (this.#type === TEXTS) {
      const last = this.text
      const length = bytes.uleb()
      const from = bytes.at
      bytes.skip(length)
      this.text = textOf(bytes.bytes, from, bytes.at)
      same = this.text === last
    } else if (this.#type === NUMBERS) {
      const last = this.value
      this.value = bytes.uleb()
      same = this.value === last
    } else {
      const last = this.step
      this.step = bytes.sleb()
      this.value = this.#base + this.step
      same = this.step === last
    }
    if (unlike && same) decline("equal neighbours are not one run")
  }
}

/** Reads a column of flags: how many are false, how many then are true, and so on. Declines as `Runs` does. */
export class Flags {
  value = true
  /** How many of the next flags are equal; 0 at the column's end. */
  left = 0
  readonly #bytes: Bytes | undefined

  constructor(bytes: Bytes | undefined) {
    this.#bytes = bytes
    if (bytes === undefined) return
    this.#next()
    if (this.left === 0) this.#next() // the first flag is true
  }

  pass(count: number): void {
    this.left -= count
    if (this.left === 0 && !this.#bytes?.done) {
      this.#next()
      if (this.left === 0) decline("a run of no flags")
    }
  }

  end(): void {
    if (this.left > 0) decline("a column is longer than the change")
  }

  #next(): void {
    this.left = (this.#bytes as Bytes).uleb()
    this.value = !this.value
  }
}
