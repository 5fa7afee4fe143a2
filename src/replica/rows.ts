/**
 * The projection in memory: every row of a workspace, read from pages at open, never from documents.
 *
 * On disk a row lives in a page of about a thousand, or, when it is newer than its page, in a record of its own in front
 * of it. Reading pages is what makes ten thousand rows open in the time of a JSON.parse; folding the newer rows in is
 * left to idle time, because it rewrites whole pages.
 */

import type { Sizes } from "../base/sizes.ts"
import { type AnyDef, showDefaults } from "../schema/schema.ts"
import { equal, freeze } from "../schema/values.ts"
import type { Store, Write } from "../store/store.ts"
import { keys, readJson, type StoredRow } from "./records.ts"

export type PlainRow = Readonly<Record<string, unknown>> & { readonly id: string }
export interface RowDelta {
  readonly added: string[]
  readonly changed: string[]
  readonly removed: string[]
}
/** What is known of entities outside their changes. */
export interface Joined {
  /** What the relay is still owed of it. */
  pending(entity: string): { readonly fields: readonly string[]; readonly creation: boolean } | undefined
  stale(entity: string): boolean
  /** Whose records are those made before any principal was known. */
  first(): string | null
  /** ms since 1970. */
  now(): number
}

class CollectionRows {
  byId = new Map<string, PlainRow>()
  readonly pageOf = new Map<string, number>()
  /** newer than their page */
  readonly loose = new Set<string>()
  lastPage = -1
  lastPageSize = 0
  #sorted: readonly PlainRow[] = []
  #moved = new Set<string>()
  #sortedValid = false

  /** Shows what another one showed, until its rows are swapped. */
  continue(before: CollectionRows): void {
    this.byId = before.byId
    this.#sorted = before.#sorted
    this.#sortedValid = before.#sortedValid
    this.#moved = before.#moved
  }

  touch(id: string): void {
    this.#moved.add(id)
  }

  /** Live rows by id; the same array until one of them changes. */
  all(): readonly PlainRow[] {
    if (!this.#sortedValid || this.#moved.size > 64) {
      this.#sorted = Object.freeze(sortedById(this.byId))
    } else if (this.#moved.size > 0) {
      const next = [...this.#sorted]
      for (const id of this.#moved) {
        const at = lowerBound(next, id)
        const row = this.byId.get(id)
        const here = next[at]?.id === id ? 1 : 0
        if (row !== undefined && isLive(row)) next.splice(at, here, row)
        else next.splice(at, here)
      }
      this.#sorted = Object.freeze(next)
    }
    this.#moved.clear()
    this.#sortedValid = true
    return this.#sorted
  }
}

export class Rows {
  readonly #collections = new Map<string, CollectionRows>()
  /** What rows do not show yet: who made a pending one, and times that are still to come. */
  readonly #aside = new Map<string, Partial<Mutable>>()
  /** Those with times that are still to come. */
  readonly #early = new Set<string>()
  readonly #workspace: string
  readonly #defs: ReadonlyMap<string, AnyDef>
  readonly #joined: Joined
  readonly #sizes: Sizes

  constructor(workspace: string, defs: ReadonlyMap<string, AnyDef>, joined: Joined, sizes: Sizes) {
    this.#sizes = sizes
    this.#workspace = workspace
    this.#defs = defs
    this.#joined = joined
  }

  async load(store: Store): Promise<void> {
    for (const [key, value] of await store.list(keys.pages(this.#workspace))) {
      const collection = this.of(key[2] ?? "")
      const page = Number(key[3])
      const rows = readJson<StoredRow[]>(value, key)
      for (const row of rows) {
        collection.byId.set(row.id, this.#join(key[2] ?? "", row))
        collection.pageOf.set(row.id, page)
      }
      if (page >= collection.lastPage) {
        collection.lastPage = page
        collection.lastPageSize = rows.length
      }
    }
    for (const [key, value] of await store.list(keys.rows(this.#workspace))) {
      const row = readJson<StoredRow | null>(value, key)
      const collection = this.of(key[2] ?? "")
      const id = key[3] ?? ""
      if (row === null) collection.byId.delete(id)
      else collection.byId.set(id, this.#join(key[2] ?? "", row))
      collection.loose.add(id)
    }
  }

  of(collection: string): CollectionRows {
    let rows = this.#collections.get(collection)
    if (rows === undefined) this.#collections.set(collection, (rows = new CollectionRows()))
    return rows
  }

  names(): Iterable<string> {
    return this.#collections.keys()
  }

  collectionOf(id: string): string | undefined {
    for (const [name, rows] of this.#collections) if (rows.byId.has(id)) return name
    return undefined
  }

  /** The row, deleted ones included. */
  get(collection: string, id: string): PlainRow | undefined {
    return this.#collections.get(collection)?.byId.get(id)
  }

  /** The record that makes a row (undefined: the entity is gone) durable: a page may still hold an older one. */
  write(collection: string, id: string, stored: StoredRow | undefined): Write {
    return [keys.row(this.#workspace, collection, id), JSON.stringify(stored ?? null)]
  }

  /** A committed row takes effect. */
  set(collection: string, id: string, stored: StoredRow | undefined, delta: RowDelta): void {
    const rows = this.of(collection)
    rows.loose.add(id)
    if (stored === undefined) {
      this.#aside.delete(id)
      this.#early.delete(id)
    }
    this.#swap(rows, id, stored && this.#join(collection, stored), delta)
  }

  /** What is joined to the row has changed: it was acknowledged, or went stale. */
  rejoin(collection: string, id: string, delta: RowDelta): void {
    const rows = this.of(collection)
    const row = rows.byId.get(id)
    if (row === undefined) return
    const next: Record<string, unknown> = { ...row, ...this.#aside.get(id) }
    delete next["$stale"]
    this.#swap(rows, id, this.#finish(next as StoredRow), delta)
  }

  /** Rows of which a time has come that they did not show before. */
  showDue(deltaOf: (collection: string) => RowDelta): void {
    const now = this.#joined.now()
    for (const id of [...this.#early]) {
      const aside = this.#aside.get(id)
      const collection = TIMES.some((key) => (aside?.[key] ?? now + 1) <= now) ? this.collectionOf(id) : undefined
      if (collection !== undefined) this.rejoin(collection, id, deltaOf(collection))
    }
  }

  /** In how many ms the first of them comes; undefined when none is to come. */
  nextDue(): number | undefined {
    let first = Number.POSITIVE_INFINITY
    for (const id of this.#early) for (const key of TIMES) first = Math.min(first, this.#aside.get(id)?.[key] ?? first)
    return Number.isFinite(first) ? first - this.#joined.now() : undefined
  }

  /** Goes on from an older reading of the same disk: rows that look as they did are the same objects. */
  continue(before: Rows, deltaOf: (collection: string) => RowDelta): void {
    for (const name of new Set([...before.names(), ...this.names()])) {
      const rows = this.of(name)
      const now = rows.byId
      rows.continue(before.of(name))
      const delta = deltaOf(name)
      for (const id of new Set([...rows.byId.keys(), ...now.keys()])) this.#swap(rows, id, now.get(id), delta)
    }
  }

  /** Rows that wait to be folded into pages. */
  loose(): number {
    let n = 0
    for (const rows of this.#collections.values()) n += rows.loose.size
    return n
  }

  get foldDue(): boolean {
    return this.loose() >= this.#sizes.looseRows
  }

  /**
   * The writes that fold loose rows into pages, and what to call once they are committed. A few pages at a time: each is
   * rewritten whole. Disk to disk, so that nothing joined in memory can find its way into a page.
   */
  async fold(store: Store): Promise<{ writes: Write[]; done: () => void } | undefined> {
    for (const [name, rows] of this.#collections) {
      if (rows.loose.size === 0) continue
      const plan = planFold(rows, this.#sizes)
      const writes: Write[] = []
      const loose = new Map(
        (await store.list(keys.rowsOf(this.#workspace, name))).map(([key, row]) => [key[3] ?? "", row]),
      )
      for (const [page, ids] of plan.pages) {
        const key = keys.page(this.#workspace, name, page)
        const value = await store.get(key)
        const content = new Map(
          (value === undefined ? [] : readJson<StoredRow[]>(value, key)).map((row) => [row.id, row]),
        )
        for (const id of ids) {
          const own = keys.row(this.#workspace, name, id)
          const newer = loose.get(id)
          const row = newer === undefined ? undefined : readJson<StoredRow | null>(newer, own)
          if (row === null) content.delete(id)
          else if (row !== undefined) content.set(id, row)
          writes.push([own, undefined])
        }
        writes.push([key, JSON.stringify([...content.values()])])
      }
      return {
        writes,
        done: () => {
          for (const [page, ids] of plan.pages) {
            for (const id of ids) {
              rows.loose.delete(id)
              rows.pageOf.set(id, page)
            }
          }
          rows.lastPage = plan.lastPage
          rows.lastPageSize = plan.lastPageSize
        },
      }
    }
    return undefined
  }

  /** A row that looks as before stays the object that it is: `all()` changes only with what subscribers are told. */
  #swap(rows: CollectionRows, id: string, next: PlainRow | undefined, delta: RowDelta): void {
    const before = rows.byId.get(id)
    if (equal(before, next)) return
    if (next === undefined) rows.byId.delete(id)
    else rows.byId.set(id, next)
    const was = before !== undefined && isLive(before)
    const is = next !== undefined && isLive(next)
    if (was || is) rows.touch(id)
    if (was && is) delta.changed.push(id)
    else if (is) delta.added.push(id)
    else if (was) delta.removed.push(id)
  }

  #join(collection: string, stored: StoredRow): PlainRow {
    const row = stored as Record<string, unknown>
    const def = this.#defs.get(collection)
    if (def !== undefined) showDefaults(def, row)
    return this.#finish(row as StoredRow)
  }

  #finish(stored: StoredRow): PlainRow {
    const row = stored as Mutable & Record<string, unknown>
    const pending = this.#joined.pending(row.id)
    const first = this.#joined.first()
    row["$workspace"] = this.#workspace
    row["$createdBy"] ??= first
    row["$updatedBy"] ??= first
    if (row["$deletedAt"] !== undefined) row["$deletedBy"] ??= first
    row["$sync"] = pending === undefined ? "stored" : "saved"
    row["$pending"] = pending !== undefined
    row["$dirtyFields"] = pending?.fields ?? NONE
    if (this.#joined.stale(row.id)) row["$stale"] = true
    this.#hide(row, pending)
    return freeze(row)
  }

  /**
   * Until the relay has named a principal for the pending change, the row names nobody. Whoever wrote it may have had a clock
   * that was ahead: the row shows no time that is still to come.
   */
  #hide(row: Mutable, pending: { readonly creation: boolean } | undefined): void {
    const aside: Partial<Mutable> = {}
    if (pending !== undefined) {
      if (pending.creation && row.$createdBy !== null) {
        aside.$createdBy = row.$createdBy
        row.$createdBy = null
      }
      if (row.$updatedBy !== null) {
        aside.$updatedBy = row.$updatedBy
        row.$updatedBy = null
      }
      if (row.$deletedBy !== undefined && row.$deletedBy !== null) {
        aside.$deletedBy = row.$deletedBy
        row.$deletedBy = null
      }
    }
    const now = this.#joined.now()
    this.#early.delete(row.id)
    for (const key of TIMES) {
      const time = row[key]
      if (time === undefined || time <= now) continue
      aside[key] = time
      row[key] = now
      this.#early.add(row.id)
    }
    if (Object.keys(aside).length > 0) this.#aside.set(row.id, aside)
    else if (this.#aside.size > 0) this.#aside.delete(row.id)
  }
}

/** What a row may have to show otherwise for a while. */
interface Mutable {
  readonly id: string
  $createdAt: number
  $updatedAt: number
  $deletedAt?: number
  $createdBy: string | null
  $updatedBy: string | null
  $deletedBy?: string | null
}

const TIMES = ["$createdAt", "$updatedAt", "$deletedAt"] as const
const NONE: readonly string[] = Object.freeze([])
const isLive = (row: PlainRow): boolean => row["$deletedAt"] === undefined
/** Pages come nearly in order where ids grow with time, so the sort is often left out. */
function sortedById(rows: ReadonlyMap<string, PlainRow>): PlainRow[] {
  const live: PlainRow[] = []
  let last = ""
  let inOrder = true
  for (const [id, row] of rows) {
    if (!isLive(row)) continue
    if (id < last) inOrder = false
    last = id
    live.push(row)
  }
  return inOrder ? live : live.sort((a, b) => (a.id < b.id ? -1 : 1))
}

function lowerBound(rows: readonly PlainRow[], id: string): number {
  let low = 0
  let high = rows.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((rows[middle] as PlainRow).id < id) low = middle + 1
    else high = middle
  }
  return low
}

/** Which loose rows go to which page: back to their own, or to the last one while it has room. */
function planFold(rows: CollectionRows, { rowPage, foldedPages: most }: Sizes) {
  const pages = new Map<number, string[]>()
  let { lastPage, lastPageSize } = rows
  for (const id of [...rows.loose].sort()) {
    let page = rows.pageOf.get(id)
    if (page === undefined) {
      const full = lastPage < 0 || lastPageSize >= rowPage
      page = full ? lastPage + 1 : lastPage
      if (!pages.has(page) && pages.size >= most) continue
      if (full) {
        lastPage++
        lastPageSize = 0
      }
      lastPageSize++
    }
    const ids = pages.get(page)
    if (ids !== undefined) ids.push(id)
    else if (pages.size < most) pages.set(page, [id])
  }
  return { pages, lastPage, lastPageSize }
}
