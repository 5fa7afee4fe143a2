/**
 * Writes columns in Automerge's run-length encodings (https://automerge.org/automerge-binary-format-spec, "Column value
 * encodings"). Two equal neighbours form a run, and single values between runs form one literal. Automerge chooses the
 * same runs, and any other choice would be wrong, because all replicas must write the same bytes.
 */

import { utf8Length } from "../../base/utf8.ts"
import type { BytesWriter } from "../../wire/leb128-writer.ts"

/** A column of numbers or texts; null where an operation has no value. */
export class Runs<T extends number | string> {
  /** The value of each run; two neighbours are never equal. */
  readonly #values: (T | null)[] = []
  /** How many values each run has. */
  readonly #times: number[] = []
  readonly #write: (out: BytesWriter, value: T) => void

  /** `write` writes one value. */
  constructor(write: (out: BytesWriter, value: T) => void) {
    this.#write = write
  }

  add(value: T | null, times = 1): void {
    if (times === 0) return
    const last = this.#values.length - 1
    if (last >= 0 && this.#values[last] === value) {
      this.#times[last]! += times
      return
    }
    this.#values.push(value)
    this.#times.push(times)
  }

  /** Whether no operation has a value. Automerge omits such a column. */
  get empty(): boolean {
    return this.#values.length === 0 || (this.#values.length === 1 && this.#values[0] === null)
  }

  write(out: BytesWriter): void {
    for (let at = 0; at < this.#values.length; ) {
      const end = this.#literalEnd(at)
      if (end > at) {
        out.sleb(at - end)
        for (; at < end; at++) this.#write(out, this.#values[at] as T)
        continue
      }
      const value = this.#values[at] as T | null
      const times = this.#times[at++]!
      if (value === null) {
        out.byte(0)
        out.uleb(times)
      } else {
        out.sleb(times)
        this.#write(out, value)
      }
    }
  }

  /**
   * Returns the index of the run behind the literal that begins at the run `at`: the next run that is null or repeats a
   * value. Returns `at` when no literal begins there, because that run is null or repeats a value itself.
   */
  #literalEnd(at: number): number {
    let end = at
    while (this.#times[end] === 1 && this.#values[end] !== null) end++
    return end
  }
}

export const writeNumber = (out: BytesWriter, value: number): void => out.uleb(value)

/** Writes a text behind its length in bytes. */
export function writeText(out: BytesWriter, text: string): void {
  out.uleb(utf8Length(text))
  out.utf8(text)
}

/**
 * A column of numbers, each written as its difference from the number before it. Nulls in between are skipped when the
 * difference is computed.
 */
export class Deltas {
  readonly #runs = new Runs<number>((out, step) => out.sleb(step))
  #last = 0

  add(value: number | null): void {
    this.#runs.add(value === null ? null : value - this.#last)
    if (value !== null) this.#last = value
  }

  /** Adds `times` numbers, each larger by one than the number before it. */
  count(times: number): void {
    this.#runs.add(1, times)
    this.#last += times
  }

  get empty(): boolean {
    return this.#runs.empty
  }

  write(out: BytesWriter): void {
    this.#runs.write(out)
  }
}

/** A column of flags, written as lengths of runs: how many are false, how many then are true, and so on. */
export class Flags {
  /** The only column of flags is that of the insertion flags, which Automerge never omits. */
  readonly empty = false
  readonly #times = [0]
  #value = false

  add(value: boolean, times = 1): void {
    if (value !== this.#value && times > 0) {
      this.#value = value
      this.#times.push(0)
    }
    this.#times[this.#times.length - 1]! += times
  }

  write(out: BytesWriter): void {
    for (const times of this.#times) out.uleb(times)
  }
}
