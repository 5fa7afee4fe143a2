/**
 * From a stored row to the row that an app sees: defaults and what is known outside the entity's changes are joined to it,
 * and what must not show yet is hidden. A row that is shown is frozen.
 */

import { showDefaults } from "../../schema/display.ts"
import type { AnyDef } from "../../schema/schema.ts"
import { freeze } from "../../schema/values.ts"
import type { Pending, StoredRow } from "./records.ts"

export type PlainRow = Readonly<Record<string, unknown>> & { readonly id: string }

/** Whether the entity is there for an app: a deleted one keeps its row. */
export const isLive = (row: PlainRow): boolean => row["$deletedAt"] === undefined

/** What is known of entities outside their changes. */
export interface Joined {
  /** What the relay is still owed of the entity. */
  pending(entity: string): Pending | undefined
  /** The entity's row is older than what is held of it. */
  stale(entity: string): boolean
  /** Who owns the records made before any principal was known. */
  firstPrincipal(): string | null
  /** ms since 1970, by the relay's clock as far as it is known. */
  now(): number
}

/** The fields that a shown row may have to hide. Times are ms since 1970. */
interface Hideable {
  readonly id: string
  $createdAt: number
  $updatedAt: number
  $deletedAt?: number
  $createdBy: string | null
  $updatedBy: string | null
  $deletedBy?: string | null
}

const TIMES = ["$createdAt", "$updatedAt", "$deletedAt"] as const
const NO_FIELDS: readonly string[] = Object.freeze([])

export class ShownRows {
  /** Stored values that a shown row hides for now: the author of a change that is not acknowledged, and times to come. */
  readonly #hidden = new Map<string, Partial<Hideable>>()
  /** Rows that hide a time that is still to come. */
  readonly #early = new Set<string>()
  readonly #workspace: string
  readonly #defs: ReadonlyMap<string, AnyDef>
  readonly #joined: Joined

  constructor(workspace: string, defs: ReadonlyMap<string, AnyDef>, joined: Joined) {
    this.#workspace = workspace
    this.#defs = defs
    this.#joined = joined
  }

  /** Shows a stored row, which becomes the shown one: it must not be used for anything else. */
  show(collection: string, stored: StoredRow): PlainRow {
    const row = stored as Record<string, unknown>
    const def = this.#defs.get(collection)
    if (def !== undefined) showDefaults(def, row)
    return this.#join(row as unknown as Hideable & Record<string, unknown>)
  }

  /** Shows a row anew, because what is joined to it has changed: it was acknowledged, or is stale now. */
  showAgain(row: PlainRow): PlainRow {
    const next: Record<string, unknown> = { ...row, ...this.#hidden.get(row.id) }
    delete next["$stale"]
    return this.#join(next as unknown as Hideable & Record<string, unknown>)
  }

  /** The row is gone. */
  forget(id: string): void {
    this.#hidden.delete(id)
    this.#early.delete(id)
  }

  /** Rows that hide a time that has come by now. */
  due(): string[] {
    const now = this.#joined.now()
    const hasCome = (id: string) => TIMES.some((key) => (this.#hidden.get(id)?.[key] ?? now + 1) <= now)
    return [...this.#early].filter(hasCome)
  }

  /** In how many ms the next hidden time comes; undefined when none is hidden. */
  nextDue(): number | undefined {
    let next = Number.POSITIVE_INFINITY
    for (const id of this.#early) for (const key of TIMES) next = Math.min(next, this.#hidden.get(id)?.[key] ?? next)
    return Number.isFinite(next) ? next - this.#joined.now() : undefined
  }

  #join(row: Hideable & Record<string, unknown>): PlainRow {
    const pending = this.#joined.pending(row.id)
    const firstPrincipal = this.#joined.firstPrincipal()
    row["$workspace"] = this.#workspace
    // Without a time no change has an author: only derived changes, which everybody makes alike, are here.
    if (row.$createdAt > 0) row.$createdBy ??= firstPrincipal
    if (row.$updatedAt > 0) row.$updatedBy ??= firstPrincipal
    if (row.$deletedAt !== undefined) row.$deletedBy ??= firstPrincipal
    row["$sync"] = pending === undefined ? "stored" : "saved"
    row["$pending"] = pending !== undefined
    row["$dirtyFields"] = pending?.fields ?? NO_FIELDS
    if (this.#joined.stale(row.id)) row["$stale"] = true
    this.#hide(row, pending)
    return freeze(row)
  }

  /**
   * Until the relay has named a principal for the pending change, the row names nobody. The clock of whoever wrote it may
   * have been ahead: the row shows no time that is still to come.
   */
  #hide(row: Hideable, pending: Pending | undefined): void {
    const hidden: Partial<Hideable> = {}
    if (pending?.creation && row.$createdBy !== null) {
      hidden.$createdBy = row.$createdBy
      row.$createdBy = null
    }
    if (pending !== undefined && row.$updatedBy !== null) {
      hidden.$updatedBy = row.$updatedBy
      row.$updatedBy = null
    }
    if (pending !== undefined && row.$deletedBy !== undefined && row.$deletedBy !== null) {
      hidden.$deletedBy = row.$deletedBy
      row.$deletedBy = null
    }
    const now = this.#joined.now()
    this.#early.delete(row.id)
    for (const key of TIMES) {
      const time = row[key]
      if (time === undefined || time <= now) continue
      hidden[key] = time
      row[key] = now
      this.#early.add(row.id)
    }
    if (Object.keys(hidden).length > 0) this.#hidden.set(row.id, hidden)
    else if (this.#hidden.size > 0) this.#hidden.delete(row.id)
  }
}
