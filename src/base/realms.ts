/**
 * Recognises values that may come from another realm, as in a test whose page has its own globals. `instanceof` says
 * false of such a value.
 */

const tagOf = (value: unknown): string => Object.prototype.toString.call(value)

export const isBytes = (value: unknown): value is Uint8Array => tagOf(value) === "[object Uint8Array]"

export const isDate = (value: unknown): value is Date => tagOf(value) === "[object Date]"
