/** Makes the row that is saved: a function of the entity's changes, byte for byte the same on every replica. */

import type { Fields } from "../schema/draft.ts"
import type { AnyDef } from "../schema/schema.ts"
import type { Facts } from "./facts.ts"
import { type LongFields, takeLongFields } from "./long-field-previews.ts"
import type { FieldWrite } from "./writing.ts"

/**
 * The part of a saved row that follows from the entity's changes alone, keys sorted at every depth. It lacks the
 * principals that pushed the changes, the defaults, and everything about pending changes.
 */
export interface ProjectedRow {
  readonly id: string
  // Times are ms since 1970; 0 when no change has a time.
  readonly $createdAt: number
  readonly $updatedAt: number
  readonly $deletedAt?: number
  readonly $conflicts: readonly string[]
  readonly $long?: LongFields
  readonly [field: string]: unknown
}

/** The source of a row: an `Entity`, or a `Reader` that has read the same changes. */
export interface Content {
  readonly id: string
  readonly facts: Facts
  whole(def: AnyDef | undefined): Readonly<Fields>
}

/**
 * Makes the row of an entity. `def` is undefined for a collection that this app does not know; the row then has all
 * fields, however long.
 */
export function project(content: Content, def: AnyDef | undefined): ProjectedRow {
  return rowOf(content.id, content.whole(def), content.facts, def)
}

/**
 * Makes the row of an entity that was just created with these writes, without a document: the same row as `project`
 * would make. `time`: when the entity was created, in s.
 */
export function projectCreated(
  id: string,
  writes: readonly FieldWrite[],
  time: number,
  def: AnyDef | undefined,
): ProjectedRow {
  const fields: Fields = {}
  for (const write of writes) if (write.do !== "delete") fields[write.key] = write.value
  return rowOf(id, fields, { createdAt: time * 1000, updatedAt: time * 1000 }, def)
}

function rowOf(id: string, fields: Readonly<Fields>, facts: Facts, def: AnyDef | undefined): ProjectedRow {
  const { createdAt, updatedAt, deletedAt } = facts
  const row: Record<string, unknown> = { ...fields }
  const long = def === undefined ? {} : takeLongFields(row)
  Object.assign(row, { id, $createdAt: createdAt, $updatedAt: updatedAt, $conflicts: [] })
  if (deletedAt !== undefined) row["$deletedAt"] = deletedAt
  if (Object.keys(long).length > 0) row["$long"] = sorted(long)
  return sorted(row) as ProjectedRow
}

/**
 * Returns the version of a collection's rows. It consists of a number, which is raised when the code that makes rows
 * changes, and the collection's `text()` fields. A saved row of another version is made again.
 */
export function projectionVersion({ fields }: AnyDef): string {
  const kinds = Object.entries(fields).map(([name, { kind }]) => `${name}:${kind}`)
  return ["2", ...kinds.sort()].join(" ")
}

function sorted(row: Record<string, unknown>): Record<string, unknown> {
  const result: Record<string, unknown> = {}
  for (const key of Object.keys(row).sort()) result[key] = row[key]
  return result
}
