/**
 * Recognises bytes and dates that may come from another realm: a JavaScript environment with globals of its own, such
 * as the page of a test. `instanceof` is false for a value of another realm.
 */

const tagOf = (value: unknown): string => Object.prototype.toString.call(value)

export const isBytes = (value: unknown): value is Uint8Array => tagOf(value) === "[object Uint8Array]"

export const isDate = (value: unknown): value is Date => tagOf(value) === "[object Date]"
