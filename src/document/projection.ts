/** From a live entity to the row that is stored: a function of its changes, byte for byte the same on every replica. */

import { startOf } from "../schema/display.ts"
import { type AnyDef, isText } from "../schema/schema.ts"
import type { Entity } from "./entity.ts"

/** UTF-8 bytes beyond which a `text()` field is not in the row. */
const LONG = 4096
/** UTF-16 units of it that the row shows instead. */
const PREVIEW = 256

/**
 * The part of a row that is stored; keys sorted at every depth. Defaults are not in it (`withDefaults` joins them when it
 * is read), nor is what other records say: who wrote it, what is pending.
 */
export interface ProjectedRow {
  readonly id: string
  /** ms since 1970, 0 when no change has a time; so `$updatedAt` */
  readonly $createdAt: number
  readonly $updatedAt: number
  readonly $deletedAt?: number
  readonly $conflicts: readonly string[]
  readonly $long?: { readonly [key: string]: { readonly preview: string; readonly length: number } }
  readonly [field: string]: unknown
}

/** The row of an entity. `def` undefined: a collection that this app does not know; its texts are then all in the row. */
export function project(entity: Entity, def: AnyDef | undefined): ProjectedRow {
  const { createdAt, updatedAt, deletedAt } = entity.facts
  const meta = { id: entity.id, $createdAt: createdAt, $updatedAt: updatedAt, $conflicts: [] }
  const row: Record<string, unknown> = { ...entity.whole(def), ...meta }
  if (deletedAt !== undefined) row["$deletedAt"] = deletedAt
  const long: Record<string, unknown> = {}
  for (const key of Object.keys(def?.fields ?? {})) {
    const value = row[key]
    if (typeof value !== "string" || !isText(def, key) || !isLong(value)) continue
    long[key] = { length: value.length, preview: startOf(value, PREVIEW) }
    delete row[key]
  }
  if (Object.keys(long).length > 0) row["$long"] = sorted(long)
  return sorted(row) as ProjectedRow
}

/** Stored rows are made again when this differs: another projection, or other fields declared `text()`. */
export function projectionVersion(defs: Iterable<AnyDef>): string {
  const texts = [...defs].map(({ name, fields }) => `${name}:${Object.keys(fields).sort().join(",")}`)
  return ["1", ...texts.sort()].join(" ")
}

function sorted(row: Record<string, unknown>): Record<string, unknown> {
  const result: Record<string, unknown> = {}
  for (const key of Object.keys(row).sort()) result[key] = row[key]
  return result
}

/** Whether it takes more than `LONG` bytes in UTF-8; a UTF-16 unit takes at most three. */
function isLong(text: string): boolean {
  if (text.length > LONG) return true
  if (text.length * 3 <= LONG) return false
  let bytes = text.length
  for (let i = 0; i < text.length && bytes <= LONG; i++) {
    const unit = text.charCodeAt(i)
    // Half a pair is two bytes of the pair's four, anything else above U+07FF is three.
    if (unit >= 0x80) bytes += unit < 0x800 || (unit >= 0xd800 && unit <= 0xdfff) ? 1 : 2
  }
  return bytes > LONG
}
