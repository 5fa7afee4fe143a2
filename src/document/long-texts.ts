/** Leaves long texts out of rows: a list of many entities would otherwise keep all their texts in memory. */

import { utf8Length } from "../base/utf8.ts"
import { startOf } from "../schema/defaults-and-preview.ts"
import { type AnyDef, isText } from "../schema/schema.ts"

/** A row lacks a `text()` field with more UTF-8 bytes than this, and has a preview of the text instead. */
const LONG = 4096
/** UTF-16 units of a preview. */
const PREVIEW = 256

/** What a row has in place of each long text, by field. `length`: that of the text, in UTF-16 units. */
export interface LongTexts {
  readonly [field: string]: { readonly preview: string; readonly length: number }
}

/** Removes the long texts from a row's fields. Returns what the row has in their place. */
export function takeLongTexts(fields: Record<string, unknown>, def: AnyDef | undefined): LongTexts {
  const long: Record<string, LongTexts[string]> = {}
  for (const key of Object.keys(def?.fields ?? {})) {
    const value = fields[key]
    if (typeof value !== "string" || !isText(def, key) || !isLong(value)) continue
    long[key] = { length: value.length, preview: startOf(value, PREVIEW) }
    delete fields[key]
  }
  return long
}

/** Whether a text has more than `LONG` bytes in UTF-8. A UTF-16 unit takes one to three of them. */
const isLong = (text: string): boolean => text.length > LONG || (text.length * 3 > LONG && utf8Length(text) > LONG)
