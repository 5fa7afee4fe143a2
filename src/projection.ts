import type { Entity } from "./entity.ts"
import type { AnyDef } from "./schema.ts"

/** The part of a row that is a function of the entity's changes: what is stored. Keys sorted at every depth. */
export interface StoredRow {
  readonly id: string
  readonly $createdAt: number
  readonly $updatedAt: number
  readonly $deletedAt?: number
  readonly $conflicts: readonly string[]
  readonly $long?: { readonly [key: string]: { readonly preview: string; readonly length: number } }
  readonly [field: string]: unknown
}

export declare function project(entity: Entity, def: AnyDef | undefined): StoredRow
/** Rows made by another version are made again: says which fields of which collection are text. */
export declare function projectionVersion(defs: Iterable<AnyDef>): string
