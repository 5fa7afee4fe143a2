/**
 * The kinds of values in the tables of `protocol.ts`. Writing and reading check a value by the same rule: they throw
 * `MESSAGE_BAD` for a value that is not of its kind, and `TOO_LARGE` for one that is too long.
 */

import { HeadwaterError } from "../base/errors.ts"
import { bytesOfHex, hex } from "../base/hash.ts"
import { Major, Reader, Simple, Writer } from "./cbor.ts"
import { limits } from "./message-types.ts"

/** How one kind of value is checked, written and read. */
export interface Type<T> {
  write(out: Writer, value: T): void
  read(input: Reader): T
}

export function write<T>(type: Type<T>, value: T): Uint8Array {
  const out = new Writer()
  type.write(out, value)
  return out.done()
}

export function read<T>(type: Type<T>, bytes: Uint8Array): T {
  const input = new Reader(bytes)
  const value = type.read(input)
  input.end()
  return value
}

// ── single values ────────────────────────────────────────────────────────────────────────────────────────────────────

/** A text that `allowed` accepts. `otherwise`: the end of the error's sentence for any other text ("is not a name"). */
export const text = (allowed: { test(value: string): boolean }, otherwise: string): Type<string> => ({
  write: (out, value) => (typeof value === "string" && allowed.test(value) ? out.text(value) : out.fail(otherwise)),
  read(input) {
    const value = input.text()
    return allowed.test(value) ? value : input.fail(otherwise)
  },
})

/**
 * A text of 1 to `most` characters that is the same after encoding to UTF-8 and decoding again: so it has no lone
 * surrogates and no byte order marks. It has no control characters either, and no U+FFFD, with which decoders replace
 * invalid bytes.
 */
export const printable = (most: number) =>
  text(new RegExp(`^[^\\p{Cc}\\p{Cs}\\uFEFF\\uFFFD]{1,${most}}$`, "u"), "is not a name")

export const oneOf = <T extends string>(...words: readonly T[]): Type<T> => ({
  write: (out, value) => (words.includes(value) ? out.text(value) : out.fail(`is not ${words.join(" or ")}`)),
  read(input) {
    const value = input.text()
    return words.find((word) => word === value) ?? input.fail(`is not ${words.join(" or ")}`)
  },
})

export const bytes = (least: number, most = least): Type<Uint8Array> => ({
  write(out, value) {
    out.bounded(value.length, least, most)
    out.bytes(value)
  },
  read(input) {
    const value = input.bytes()
    input.bounded(value.length, least, most)
    return value
  },
})

/** `size` bytes on the wire, and hexadecimal digits in memory. */
export const digits = (size: number): Type<string> => ({
  write(out, value) {
    if (value.length !== 2 * size || !/^[0-9a-f]+$/.test(value)) out.fail(`is not ${2 * size} hexadecimal digits`)
    out.bytes(bytesOfHex(value))
  },
  read: (input) => hex(bytes(size).read(input)),
})

export const uint = (most: number = Number.MAX_SAFE_INTEGER): Type<number> => ({
  write(out, value) {
    if (!Number.isInteger(value) || value < 0 || value > most) out.fail(`is not an integer up to ${most}`)
    out.head(Major.uint, value)
  },
  read(input) {
    const value = input.head(Major.uint)
    return value <= most ? value : input.fail(`is not an integer up to ${most}`)
  },
})

/** A flag: true when it is set, absent otherwise. */
export const yes: Type<true> = {
  write: (out, value) => (value === true ? out.byte(Simple.true) : out.fail("is not true")),
  read(input) {
    input.simple(Simple.true)
    return true
  },
}
export const bool: Type<boolean> = {
  write: (out, value) =>
    typeof value === "boolean" ? out.byte(value ? Simple.true : Simple.false) : out.fail("is not true or false"),
  read: (input) => input.simple(Simple.false, Simple.true) === Simple.true,
}
export const orNull = <T>(type: Type<T>): Type<T | null> => ({
  write: (out, value) => (value === null ? out.byte(Simple.null) : type.write(out, value)),
  read(input) {
    if (input.peek() !== Simple.null) return type.read(input)
    input.simple(Simple.null)
    return null
  },
})

// ── lists, tuples and records ────────────────────────────────────────────────────────────────────────────────────────

/**
 * A list of `least` to `most` elements. `parts` returns how many parts one element has, as `limits.parts` counts them.
 * All elements together may have at most `limits.parts` parts. The parts are counted while the list is read, so that
 * reading stops as soon as there are too many.
 */
export const list = <T>(
  type: Type<T>,
  most: number,
  least = 0,
  parts: (one: T) => number = () => 0,
): Type<readonly T[]> => ({
  write(out, value) {
    out.bounded(value.length, least, most)
    out.head(Major.array, value.length)
    let sum = 0
    for (const one of value) {
      type.write(out, one)
      sum = within(sum + parts(one))
    }
  },
  read(input) {
    const length = input.head(Major.array)
    input.bounded(length, least, most)
    const value: T[] = []
    let sum = 0
    while (value.length < length) {
      const one = type.read(input)
      sum = within(sum + parts(one))
      value.push(one)
    }
    return value
  },
})

function within(parts: number): number {
  if (parts <= limits.parts) return parts
  throw new HeadwaterError("TOO_LARGE", `a message has more than ${limits.parts} parts: send it as several`)
}

type Each<T extends readonly unknown[]> = { readonly [K in keyof T]: Type<T[K]> }

export const tuple = <T extends readonly unknown[]>(...types: Each<T>): Type<T> => ({
  write(out, value) {
    out.head(Major.array, types.length)
    for (const [i, type] of types.entries()) type.write(out, value[i])
  },
  read(input) {
    if (input.head(Major.array) !== types.length) input.fail(`is not ${types.length} values`)
    const value: readonly unknown[] = types.map((type) => type.read(input))
    return value as T
  },
})

interface Optional<T> {
  readonly optional: Type<T>
}
export const optional = <T>(type: Type<T>): Optional<T> => ({ optional: type })

/** Has a type for each key of T and for no other key. The type is optional if the key is optional in T. */
export type Fields<T> = {
  readonly [K in keyof T]-?: Partial<Pick<T, K>> extends Pick<T, K> ? Optional<Required<T>[K]> : Type<T[K]>
}

/** A map with these keys. Other keys are skipped when it is read. */
export function record<T extends object>(fields: Fields<T>): Type<T> {
  const given: [string, Type<unknown> | Optional<unknown>][] = Object.entries(fields)
  const sorted = given
    .sort(([a], [b]) => a.length - b.length || (a < b ? -1 : 1))
    .map(([key, field]) => {
      const required = !("optional" in field)
      return { key, name: encodedKey(key), type: required ? field : field.optional, required }
    })
  const byKey = new Map(sorted.map((field) => [field.key, field]))
  const needed = sorted.filter((field) => field.required).length
  return {
    write(out, value) {
      const present = value as Record<string, unknown>
      const head = out.beginMap()
      let count = 0
      for (const { key, name, type, required } of sorted) {
        const one = present[key]
        if (one === undefined && !required) continue
        out.where = key
        if (one === undefined) out.fail("is missing")
        out.raw(name)
        type.write(out, one)
        count++
      }
      out.endMap(head, count)
    },
    read(input) {
      const value: Record<string, unknown> = {}
      let missing = needed
      let last = ""
      for (let left = input.head(Major.map); left > 0; left--) {
        last = input.key(last)
        const field = byKey.get(last)
        if (!field) {
          input.skip()
          continue
        }
        value[last] = field.type.read(input)
        if (field.required) missing--
      }
      if (missing > 0) input.fail("ends a map that lacks a key")
      return value as T
    },
  }
}

function encodedKey(key: string): Uint8Array {
  const out = new Writer()
  out.text(key)
  return out.done()
}
