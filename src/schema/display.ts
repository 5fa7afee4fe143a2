/** Shows stored fields: adds the collection's defaults, and gives long texts by their start. */
import type { AnyDef } from "./schema.ts"
import type { Meta } from "./types.ts"
import { own } from "./values.ts"

/**
 * A copy of the fields as a row or a draft shows them: with defaults for absent keys, and "" for absent `text()`
 * fields.
 */
export function withDefaults(
  def: AnyDef | undefined,
  stored: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  return def === undefined ? { ...stored } : showDefaults(def, { ...stored })
}

/**
 * Adds the defaults, and "" for absent `text()` fields, to the row itself. A text that is too long for the row stays
 * absent.
 */
export function showDefaults(def: AnyDef, row: Record<string, unknown>): Record<string, unknown> {
  const long = row["$long"] as object | undefined
  for (const key in def.defaults) if (own(row, key) === undefined) row[key] = def.defaults[key]
  for (const key in def.fields) {
    if (own(row, key) === undefined && !(long && Object.hasOwn(long, key))) row[key] = ""
  }
  return row
}

/**
 * The start of a text field, short or long, without loading the document: at most `max` UTF-16 units (of a text that is
 * too long for the row at most 256), never half a surrogate pair. "" for a field that is absent or not a string.
 */
export function preview<R extends Meta>(row: R, field: keyof R & string, max = 256): string {
  const value = own(row, field) ?? row.$long?.[field]?.preview
  return typeof value === "string" ? startOf(value, max) : ""
}

/** The first `max` UTF-16 units, one less where that would cut a surrogate pair. */
export function startOf(value: string, max: number): string {
  if (value.length <= max) return value
  const last = value.charCodeAt(max - 1)
  return value.slice(0, last >= 0xd800 && last <= 0xdbff ? max - 1 : max)
}
