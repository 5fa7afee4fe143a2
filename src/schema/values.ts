/** The values that a field can have: JSON that every replica reads alike. */
import { HeadwaterError } from "../base/errors.ts"

/**
 * How many levels a value may have. Deeper values are refused, because every replica reads values recursively, and its
 * stack may be small.
 */
export const DEPTH = 64

const loneSurrogate = /\p{Surrogate}/u
const { isWellFormed } = String.prototype as { isWellFormed?(this: string): boolean }
/** Whether a text has a lone surrogate. `isWellFormed` is quicker, but browsers from before 2024 may lack it. */
const hasLoneSurrogate: (text: string) => boolean =
  isWellFormed === undefined ? (text) => loneSurrogate.test(text) : (text) => !isWellFormed.call(text)

/** Whether a key belongs to rows (`id`, `$…`) or documents (`@…`). */
export const isReserved = (key: string): boolean => key === "id" || key[0] === "$" || key[0] === "@"

/**
 * Whether a key of a document's root is a field. Another tool may write the keys `id` and `$x`. They are no fields,
 * because a row uses these names for its metadata.
 */
export const isFieldKey = (key: string): boolean => !isReserved(key) && key !== "__proto__"

/** Whether an app can give a field this name. */
export const isUserKey = (key: string): boolean => isFieldKey(key) && !hasLoneSurrogate(key)

/**
 * Makes a deep copy in plain objects and arrays, with sorted keys and without the keys whose value is `undefined`.
 *
 * Throws `VALUE_UNSUPPORTED`, with `field`, for anything that is not JSON: NaN, infinities, bigint, integers beyond
 * 2^53-1, lone surrogates, the key `__proto__`, `undefined` in an array, functions, symbols, dates and other class
 * instances, cycles, more than 64 levels.
 */
export function plainCopy(value: unknown, field: string): unknown {
  return copy(value, field, [])
}

function copy(value: unknown, field: string, path: object[]): unknown {
  switch (typeof value) {
    case "string":
      return checkedText(value, field)
    case "boolean":
      return value
    case "number":
      if (Number.isFinite(value) && (!Number.isInteger(value) || Number.isSafeInteger(value)))
        return value === 0 ? 0 : value // -0 becomes 0, as in JSON
      throw unsupported(field, `the number ${value}`)
    case "object":
      if (value === null) return value
      break
    default:
      throw unsupported(field, value === undefined ? "undefined" : `a ${typeof value}`)
  }
  if (path.includes(value)) throw unsupported(field, "a value that contains itself")
  if (path.length === DEPTH) throw unsupported(field, `more than ${DEPTH} levels`)
  path.push(value)
  const result = Array.isArray(value) ? copyArray(value, field, path) : copyObject(value, field, path)
  path.pop()
  return result
}

function copyArray(value: readonly unknown[], field: string, path: object[]): unknown[] {
  const result: unknown[] = []
  for (let i = 0; i < value.length; i++) result.push(copy(value[i], field, path))
  return result
}

function copyObject(value: object, field: string, path: object[]): Record<string, unknown> {
  const prototype = Object.getPrototypeOf(value)
  // Not `prototype === Object.prototype`, because a plain object may come from another realm (an iframe, a test
  // runner's sandbox).
  if (prototype !== null && Object.getPrototypeOf(prototype) !== null) {
    throw unsupported(field, `an instance of ${prototype.constructor?.name ?? "a class"}`)
  }
  const result: Record<string, unknown> = {}
  for (const key of Object.keys(value).sort()) {
    const item = (value as Record<string, unknown>)[key]
    if (key === "__proto__" || hasLoneSurrogate(key)) throw unsupported(field, `the key ${JSON.stringify(key)}`)
    if (item !== undefined) result[key] = copy(item, field, path)
  }
  return result
}

/** Returns the text. Throws `VALUE_UNSUPPORTED` when the text has a lone surrogate, which UTF-8 cannot encode. */
export function checkedText(value: string, field: string): string {
  if (hasLoneSurrogate(value)) throw unsupported(field, "a lone surrogate")
  return value
}

const unsupported = (field: string, what: string) =>
  new HeadwaterError("VALUE_UNSUPPORTED", `${field} cannot hold ${what}`, { field })

/**
 * Returns the value under the object's own key, never an inherited value, because a field may be called `constructor`.
 */
export function own(fields: Readonly<Record<string, unknown>>, key: string): unknown {
  return Object.hasOwn(fields, key) ? fields[key] : undefined
}

/** Whether this is a promise or any other object with a `then` function, of any realm. */
export const isThenable = (value: unknown): value is PromiseLike<unknown> =>
  typeof value === "object" && value !== null && "then" in value && typeof value.then === "function"

/**
 * Freezes a plain value at every depth. Skips a part that is frozen already, because all parts of a frozen part are
 * frozen: the library never freezes a value without its parts.
 */
export function freeze<T>(value: T): T {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) return value
  for (const key in value) freeze(value[key])
  return Object.freeze(value)
}

/** Deep equality of plain values. */
export function equal(a: unknown, b: unknown): boolean {
  if (a === b) return true
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false
  if (Array.isArray(a)) {
    if (!Array.isArray(b) || a.length !== b.length) return false
    for (let i = 0; i < a.length; i++) if (!equal(a[i], b[i])) return false
    return true
  }
  if (Array.isArray(b)) return false
  return equalObjects(a as Record<string, unknown>, b as Record<string, unknown>)
}

function equalObjects(a: Record<string, unknown>, b: Record<string, unknown>): boolean {
  const keys = Object.keys(a)
  if (keys.length !== Object.keys(b).length) return false
  for (const key of keys) if (!Object.hasOwn(b, key) || !equal(a[key], b[key])) return false
  return true
}
