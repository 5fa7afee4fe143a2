/**
 * Leaves long fields out of rows. Otherwise a list of many entities would keep all their long fields in memory, and
 * each edit of another field would write the long field to the disk again.
 */

import { utf8Length } from "../base/utf8.ts"
import { PREVIEW_UNITS, startOf } from "../schema/preview.ts"

/** A field with more UTF-8 bytes than this is long: its row has a preview in place of the field. */
const LONG = 4096

/**
 * The previews that a row has in place of its long fields, by the field's name. The preview of a value that is not a
 * string is the start of its JSON. `length`: UTF-16 units of the whole string or JSON.
 */
export interface LongFields {
  readonly [field: string]: { readonly preview: string; readonly length: number }
}

/** Removes the long fields from a row that has no `$` fields yet. Returns their previews. */
export function takeLongFields(fields: Record<string, unknown>): LongFields {
  const long: Record<string, LongFields[string]> = {}
  for (const [key, value] of Object.entries(fields)) {
    if (typeof value !== "string" && (typeof value !== "object" || value === null)) continue
    const string = typeof value === "string" ? value : JSON.stringify(value)
    if (!isLong(string)) continue
    long[key] = { length: string.length, preview: startOf(string, PREVIEW_UNITS) }
    delete fields[key]
  }
  return long
}

/**
 * Whether a string has more than `LONG` bytes in UTF-8. A UTF-16 unit takes one to three bytes, so the bytes of most
 * strings need not be counted.
 */
const isLong = (string: string): boolean =>
  string.length > LONG || (string.length * 3 > LONG && utf8Length(string) > LONG)
