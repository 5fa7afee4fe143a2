import { isBytes } from "../base/realms.ts"
import type { Key, Value } from "./store.ts"

/**
 * A key is encoded as one string: its parts, joined by U+0001, which sorts below every character of a part. So the
 * strings have the order that the contract gives to keys, by code unit and by byte: a shorter key before its
 * extensions, and "a" before "a b".
 */
const joint = "\u0001"
const aboveJoint = "\u0002"
const abovePrintable = "\u007f"
const part = /^[ -~]{1,256}$/

export function encodeKey(key: Key): string {
  if (key.length === 0) throw new TypeError("a key has at least one part; this one has none")
  for (const p of key) {
    if (typeof p !== "string" || !part.test(p)) {
      throw new TypeError(`a part of a key is 1 to 256 printable ASCII characters, not ${JSON.stringify(p)}`)
    }
  }
  return key.join(joint)
}

export const decodeKey = (encoded: string): Key => encoded.split(joint)

/** The bounds of `list` over encoded keys. A range has either `gt` or `gte`. */
export interface Range {
  readonly gt?: string
  readonly gte?: string
  readonly lt: string
}

export function rangeOf(prefix: Key, after: Key | undefined): Range {
  const whole = prefix.length === 0
  const gte = whole ? " " : encodeKey(prefix) + joint
  const lt = whole ? abovePrintable : encodeKey(prefix) + aboveJoint
  const gt = after && encodeKey(after)
  return gt !== undefined && gt >= gte ? { gt, lt } : { gte, lt }
}

export function checkValue(value: Value): void {
  if (typeof value === "string" || isBytes(value)) return
  throw new TypeError(`a value is a string or a Uint8Array, not ${Object.prototype.toString.call(value)}`)
}

/** Copies a value. Bytes get a buffer of their own. */
export function copyOf(value: Value | undefined): Value | undefined {
  if (value === undefined) return undefined
  checkValue(value)
  return typeof value === "string" ? value : new Uint8Array(value)
}

export function sameValue(a: Value | undefined, b: Value | undefined): boolean {
  if (!isBytes(a) || !isBytes(b)) return a === b
  return a.length === b.length && a.every((byte, i) => byte === b[i])
}
