/** Completes stored fields with the defaults of their collection. */
import type { AnyDef } from "./schema.ts"
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
