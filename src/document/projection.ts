/** Makes the row that is stored: a function of the entity's changes, byte for byte the same on every replica. */

import { startOf } from "../schema/display.ts"
import { type AnyDef, isText } from "../schema/schema.ts"
import type { Entity } from "./entity.ts"

/** UTF-8 bytes of the longest `text()` field that a row has. */
const LONG = 4096
/** UTF-16 units of a longer one that the row has instead. */
const PREVIEW = 256

/**
 * The part of a row that is stored, keys sorted at every depth. It lacks the defaults, which `withDefaults` adds when
 * it is read, and what other records say: who wrote it, and what is pending.
 */
export interface ProjectedRow {
  readonly id: string
  // Times are ms since 1970, 0 when no change has one.
  readonly $createdAt: number
  readonly $updatedAt: number
  readonly $deletedAt?: number
  readonly $conflicts: readonly string[]
  readonly $long?: { readonly [key: string]: { readonly preview: string; readonly length: number } }
  readonly [field: string]: unknown
}

/** `def`: undefined for a collection that this app does not know; the row then has all texts, however long. */
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

/** Stored rows are made again when this has changed: with another projection, or other `text()` fields. */
export function projectionVersion({ fields }: AnyDef): string {
  const kinds = Object.entries(fields).map(([name, { kind }]) => `${name}:${kind}`)
  return ["1", ...kinds.sort()].join(" ")
}

function sorted(row: Record<string, unknown>): Record<string, unknown> {
  const result: Record<string, unknown> = {}
  for (const key of Object.keys(row).sort()) result[key] = row[key]
  return result
}

/**
 * Whether a text has more than `LONG` bytes in UTF-8. They are counted only if its length in UTF-16 units leaves it
 * open.
 */
function isLong(text: string): boolean {
  if (text.length > LONG) return true
  if (text.length * 3 <= LONG) return false
  let bytes = text.length
  for (let i = 0; i < text.length && bytes <= LONG; i++) {
    const unit = text.charCodeAt(i)
    // Each half of a surrogate pair stands for two of the pair's four bytes; other units have three from U+0800 on.
    if (unit >= 0x80) bytes += unit < 0x800 || (unit >= 0xd800 && unit <= 0xdfff) ? 1 : 2
  }
  return bytes > LONG
}
