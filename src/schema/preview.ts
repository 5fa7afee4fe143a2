/** Returns the start of a field, for a list of rows. */
import type { Meta } from "./types.ts"
import { own } from "./values.ts"

/** The most UTF-16 units of a preview. A row has a preview in place of each field that is too long for the row. */
export const PREVIEW_UNITS = 256

/**
 * Returns the start of a row's field, from the row alone: at most `max` UTF-16 units, and at most 256 if the field is
 * too long for the row. Never cuts a surrogate pair. Returns "" for an absent field. Of a value that is not a string,
 * returns the start of its JSON if the value is too long for the row, and "" otherwise.
 */
export function preview<R extends Meta>(row: R, field: keyof R & string, max = PREVIEW_UNITS): string {
  const value = own(row, field) ?? row.$long?.[field]?.preview
  return typeof value === "string" ? startOf(value, max) : ""
}

/** Returns the first `max` UTF-16 units, or one unit less if `max` units would cut a surrogate pair. */
export function startOf(value: string, max: number): string {
  if (value.length <= max) return value
  const last = value.charCodeAt(max - 1)
  return value.slice(0, last >= 0xd800 && last <= 0xdbff ? max - 1 : max)
}
