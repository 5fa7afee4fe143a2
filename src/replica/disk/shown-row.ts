/**
 * Makes the row that an app sees from a stored row. Adds defaults, and facts that do not follow from the entity's
 * changes, such as whether the row is pending or stale. Hides values that must not be shown yet. A shown row is frozen.
 */

import { showDefaults } from "../../schema/defaults.ts"
import type { AnyDef } from "../../schema/schema.ts"
import { freeze } from "../../schema/values.ts"
import type { Pending, StoredRow } from "./records.ts"

/** A row as an app sees it: frozen. */
export type PlainRow = Readonly<Hideable>

/** Whether the row's entity is not deleted. A deleted entity keeps its row. */
export const isLive = (row: PlainRow): boolean => row["$deletedAt"] === undefined

/** The facts that a shown row needs besides the stored row. */
export interface Joined {
  /** Returns the facts about the entity's outbox records that its row shows; undefined when there are none. */
  pending(entity: string): Pending | undefined
  /** Whether the row is stale: older than the changes that this replica has of the entity. */
  stale(entity: string): boolean
  /** The principal that is shown as the author of changes made before any principal was known. */
  firstPrincipal(): string | null
  /** ms since 1970, by the relay's clock as far as it is known. */
  now(): number
}

/** A row, with the fields whose values may have to be hidden. Times are ms since 1970. */
interface Hideable {
  [field: string]: unknown
  readonly id: string
  $createdAt: number
  $updatedAt: number
  $deletedAt?: number
  $createdBy?: string | null
  $updatedBy?: string | null
  $deletedBy?: string | null
}

const TIMES = ["$createdAt", "$updatedAt", "$deletedAt"] as const
const NO_FIELDS: readonly string[] = Object.freeze([])

export class ShownRows {
  /**
   * By entity id, the stored values that the entity's row hides for now: authors of changes that are not acknowledged,
   * and times in the future.
   */
  readonly #hidden = new Map<string, Partial<Hideable>>()
  /** Ids of the rows that hide a time in the future. */
  readonly #early = new Set<string>()
  readonly #workspace: string
  readonly #defs: ReadonlyMap<string, AnyDef>
  readonly #joined: Joined

  constructor(workspace: string, defs: ReadonlyMap<string, AnyDef>, joined: Joined) {
    this.#workspace = workspace
    this.#defs = defs
    this.#joined = joined
  }

  /**
   * Makes a stored row into the shown row. `show` changes and freezes the object `stored`, so the caller must not use
   * it again.
   */
  show(collection: string, stored: StoredRow): PlainRow {
    const row: Hideable = stored
    const def = this.#defs.get(collection)
    if (def !== undefined) showDefaults(def, row)
    return this.#join(row)
  }

  /**
   * Makes a shown row again from the same stored row. Call when a fact of `Joined` has changed: for example, a change
   * was acknowledged, or the row has become stale.
   */
  showAgain(row: PlainRow): PlainRow {
    const next: Hideable = { ...row, ...this.#hidden.get(row.id) }
    delete next["$stale"]
    return this.#join(next)
  }

  /** Call when a row no longer exists. */
  forget(id: string): void {
    this.#hidden.delete(id)
    this.#early.delete(id)
  }

  /** Returns the ids of the rows that hide a time (`TIMES`) which was in the future and has now passed. */
  due(): string[] {
    const now = this.#joined.now()
    const hasCome = (id: string) => TIMES.some((key) => (this.#hidden.get(id)?.[key] ?? now + 1) <= now)
    return [...this.#early].filter(hasCome)
  }

  /** Returns in how many ms the next hidden time has passed; undefined when no time is hidden. */
  nextDue(): number | undefined {
    let next = Number.POSITIVE_INFINITY
    for (const id of this.#early) for (const key of TIMES) next = Math.min(next, this.#hidden.get(id)?.[key] ?? next)
    return Number.isFinite(next) ? next - this.#joined.now() : undefined
  }

  #join(row: Hideable): PlainRow {
    const pending = this.#joined.pending(row.id)
    const firstPrincipal = this.#joined.firstPrincipal()
    row["$workspace"] = this.#workspace
    // A time of 0 means that the entity has only derived changes. Every replica makes the same derived changes, so they
    // have no author.
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
   * Hides the author of a pending change, because the relay has not named a principal for it yet. Hides times in the
   * future, because an author's clock may have been ahead.
   */
  #hide(row: Hideable, pending: Pending | undefined): void {
    const hidden: Partial<Hideable> = {}
    if (pending?.creation && typeof row.$createdBy === "string") {
      hidden.$createdBy = row.$createdBy
      row.$createdBy = null
    }
    if (pending !== undefined && typeof row.$updatedBy === "string") {
      hidden.$updatedBy = row.$updatedBy
      row.$updatedBy = null
    }
    if (pending !== undefined && typeof row.$deletedBy === "string") {
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
