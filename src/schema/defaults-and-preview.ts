/** Completes stored fields with the collection's defaults, and returns the start of a field for a preview. */
import type { AnyDef } from "./schema.ts"
import type { Meta } from "./types.ts"
import { own } from "./values.ts"

/**
 * Copies the fields as a row or a draft shows them: with defaults for absent keys, and "" for absent `text()` fields.
 */
export function withDefaults(
  def: AnyDef | undefined,
  stored: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  return def === undefined ? { ...stored } : showDefaults(def, { ...stored })
}

/**
 * Adds the defaults, and "" for absent `text()` fields, to `row` itself. A field that is too long for the row stays
 * absent.
 */
export function showDefaults(def: AnyDef, row: Record<string, unknown>): Record<string, unknown> {
  const long = row["$long"] as object | undefined
  const isAbsent = (key: string) => own(row, key) === undefined && !(long && Object.hasOwn(long, key))
  for (const key in def.defaults) if (isAbsent(key)) row[key] = def.defaults[key]
  for (const key in def.fields) if (isAbsent(key)) row[key] = ""
  return row
}

/**
 * Returns the start of a row's field, without loading the document: at most `max` UTF-16 units, and at most 256 if the
 * field is too long for the row. Never cuts a surrogate pair. Returns "" for an absent field. For a value that is not a
 * string, returns the start of its JSON if it is too long for the row, and otherwise "".
 */
export function preview<R extends Meta>(row: R, field: keyof R & string, max = 256): string {
  const value = own(row, field) ?? row.$long?.[field]?.preview
  return typeof value === "string" ? startOf(value, max) : ""
}

/** Returns the first `max` UTF-16 units, or one unit less if `max` units would cut a surrogate pair. */
export function startOf(value: string, max: number): string {
  if (value.length <= max) return value
  const last = value.charCodeAt(max - 1)
  return value.slice(0, last >= 0xd800 && last <= 0xdbff ? max - 1 : max)
}
