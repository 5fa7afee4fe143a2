/** Adds the defaults of a collection to the fields of an entity. */
import type { AnyDef } from "./schema.ts"
import { own } from "./values.ts"

/**
 * Copies the fields, and adds the defaults of absent keys and "" for absent `text()` fields, as rows and drafts show
 * them.
 */
export function withDefaults(
  def: AnyDef | undefined,
  stored: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  return def === undefined ? { ...stored } : showDefaults(def, { ...stored })
}

/**
 * Adds the same defaults to `row` itself. A field that is too long for the row, and is therefore in `$long`, stays
 * absent.
 */
export function showDefaults(def: AnyDef, row: Record<string, unknown>): Record<string, unknown> {
  const long = row["$long"] as object | undefined
  const isAbsent = (key: string) => own(row, key) === undefined && !(long && Object.hasOwn(long, key))
  for (const key in def.defaults) if (isAbsent(key)) row[key] = def.defaults[key]
  for (const key in def.fields) if (isAbsent(key)) row[key] = ""
  return row
}
