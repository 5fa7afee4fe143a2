/**
 * The projection in memory: every row of a workspace, by collection. When the workspace opens, rows are read from the
 * disk and not made from documents. `paged-records.ts` knows where stored rows are on the disk; `shown-row.ts` makes
 * shown rows from stored rows.
 */

import type { Sizes } from "../../base/replica-sizes.ts"
import type { AnyDef } from "../../schema/schema.ts"
import { equal } from "../../schema/values.ts"
import type { Store, Value } from "../../store/store.ts"
import { writeJson } from "./checked-json.ts"
import { Paged, type PageFormat, type Plan } from "./paged-records.ts"
import { keys, type NoteDamaged, readCache, readJson, type StoredRow } from "./records.ts"
import { isLive, type Joined, type PlainRow, ShownRows } from "./shown-row.ts"
import { SortedRows } from "./sorted-rows.ts"

export interface RowDelta {
  readonly added: string[]
  readonly changed: string[]
  readonly removed: string[]
}

/** New stored rows, by entity. `row` is undefined when the entity is gone. */
export type NewRows = ReadonlyMap<string, { readonly collection: string; readonly row: StoredRow | undefined }>

/** The rows and the pages of one collection that another writer has changed. */
export interface MovedRows {
  readonly ids: Iterable<string>
  readonly pages: Iterable<number>
}

interface CollectionRows {
  /** All shown rows, including those of deleted entities. */
  readonly byId: SortedRows
  readonly paged: Paged<StoredRow>
}

export class Rows {
  readonly #collections = new Map<string, CollectionRows>()
  readonly #shown: ShownRows
  readonly #workspace: string
  readonly #sizes: Sizes

  constructor(workspace: string, defs: ReadonlyMap<string, AnyDef>, joined: Joined, sizes: Sizes) {
    this.#workspace = workspace
    this.#shown = new ShownRows(workspace, defs, joined)
    this.#sizes = sizes
  }

  // ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────────

  of(collection: string): SortedRows {
    return this.#collection(collection).byId
  }

  names(): Iterable<string> {
    return this.#collections.keys()
  }

  collectionOf(id: string): string | undefined {
    for (const [name, { byId }] of this.#collections) if (byId.has(id)) return name
    return undefined
  }

  /** Returns the shown row of an entity, even of a deleted one. */
  get(collection: string, id: string): PlainRow | undefined {
    return this.#collections.get(collection)?.byId.get(id)
  }

  #collection(name: string): CollectionRows {
    let rows = this.#collections.get(name)
    if (rows === undefined) {
      const { rowPage: page, rowsAtOnce: atOnce, looseRows: loose, foldedPages: folded } = this.#sizes
      const paged = new Paged(formatOf(this.#workspace, name), { page, atOnce, loose, folded })
      this.#collections.set(name, (rows = { byId: new SortedRows(), paged }))
    }
    return rows
  }

  // ── from the disk ─────────────────────────────────────────────────────────────────────────────────────────────────

  /** Reads and shows all rows. Calls `note` for each damaged record, and goes on without that record. */
  async load(store: Store, note: NoteDamaged): Promise<void> {
    // Loose rows are read first: a row that another writer folds meanwhile is then read twice instead of never.
    const loose = await store.list(keys.rows(this.#workspace))
    for (const [key, value] of await store.list(keys.pages(this.#workspace))) {
      const [, , name = "", page] = key
      const { byId, paged } = this.#collection(name)
      const rows = readCache<StoredRow[]>(value, key, note)
      if (rows === undefined) continue
      for (const row of rows) {
        byId.set(row.id, this.#shown.show(name, row))
        paged.place(row.id, Number(page))
      }
      paged.addPage(Number(page), rows.length)
    }
    for (const [key, value] of loose) {
      const [, , name = "", id = ""] = key
      const { byId, paged } = this.#collection(name)
      const row = readCache<StoredRow | null>(value, key, note)
      if (row === undefined) continue
      if (row === null) byId.delete(id)
      else byId.set(id, this.#shown.show(name, row))
      paged.setLoose(id, row === null)
    }
  }

  /**
   * Reads again the rows and pages (`moved`) that another writer has changed. Returns a function that shows the rows
   * that were read.
   */
  async readAgain(store: Store, name: string, moved: MovedRows, note: NoteDamaged): Promise<(delta: RowDelta) => void> {
    const pages = new Map<number, StoredRow[]>()
    const loose = new Map<string, StoredRow | null>()
    for (const page of moved.pages) {
      const key = keys.page(this.#workspace, name, page)
      const value = await store.get(key)
      pages.set(page, (value === undefined ? undefined : readCache<StoredRow[]>(value, key, note)) ?? [])
    }
    for (const id of moved.ids) {
      const key = keys.row(this.#workspace, name, id)
      const value = await store.get(key)
      const row = value === undefined ? undefined : readCache<StoredRow | null>(value, key, note)
      if (row !== undefined) loose.set(id, row)
    }
    return (delta) => this.#applyMoved(name, moved.ids, pages, loose, delta)
  }

  #applyMoved(
    name: string,
    ids: Iterable<string>,
    pages: ReadonlyMap<number, readonly StoredRow[]>,
    looseRows: ReadonlyMap<string, StoredRow | null>,
    delta: RowDelta,
  ): void {
    const { byId, paged } = this.#collection(name)
    const inPages = new Map<string, StoredRow>()
    for (const id of ids) paged.dropLoose(id) // before `forgetPages`, because `dropLoose` corrects counts of pages
    paged.forgetPages(new Set(pages.keys()))
    for (const [page, rows] of pages) {
      for (const row of rows) {
        inPages.set(row.id, row)
        paged.place(row.id, page)
      }
      if (rows.length > 0) paged.addPage(page, rows.length)
    }
    for (const id of ids) {
      const loose = looseRows.get(id)
      if (loose !== undefined) paged.setLoose(id, loose === null)
      const stored = loose === undefined ? inPages.get(id) : (loose ?? undefined)
      inPages.delete(id)
      // The row is in a page that was not read again, so the shown row stays.
      if (loose === undefined && stored === undefined && paged.pageOf(id) !== undefined) continue
      this.#swap(byId, id, stored && this.#shown.show(name, stored), delta)
    }
    for (const [id, stored] of inPages) {
      if (!paged.isLoose(id)) this.#swap(byId, id, this.#shown.show(name, stored), delta)
    }
  }

  // ── a commit ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Plans the writes that save these rows. The plan's `done` notes where the rows are on the disk. It does not show
   * them: call `show` for each row.
   */
  plan(rows: NewRows): Plan {
    const changes = new Map<string, Map<string, StoredRow | undefined>>()
    const add = (name: string, id: string, row: StoredRow | undefined) => {
      const of = changes.get(name)
      if (of === undefined) changes.set(name, new Map([[id, row]]))
      else of.set(id, row)
    }
    for (const [id, { collection, row }] of rows) {
      const was = this.collectionOf(id)
      if (was !== undefined && was !== collection) add(was, id, undefined) // the entity has moved to another collection
      add(collection, id, row)
    }
    const plans = [...changes].map(([name, of]) => this.#collection(name).paged.plan(of))
    return {
      writes: plans.flatMap(({ writes }) => writes),
      done: () => {
        for (const { done } of plans) done()
      },
    }
  }

  /** Shows a row that was committed, or removes it if `stored` is undefined. */
  show(id: string, collection: string, stored: StoredRow | undefined, deltaOf: (collection: string) => RowDelta): void {
    const was = this.collectionOf(id)
    if (was !== undefined && was !== collection) this.#swap(this.of(was), id, undefined, deltaOf(was))
    if (stored === undefined) this.#shown.forget(id)
    this.#swap(this.of(collection), id, stored && this.#shown.show(collection, stored), deltaOf(collection))
  }

  /**
   * Makes a shown row again from the same stored row. Call when a fact of `Joined` has changed: for example, a change
   * was acknowledged, or the row has become stale.
   */
  showAgain(collection: string, id: string, delta: RowDelta): void {
    const rows = this.of(collection)
    const row = rows.get(id)
    if (row !== undefined) this.#swap(rows, id, this.#shown.showAgain(row), delta)
  }

  /** Shows the times that rows have hidden because they were in the future, and that have passed now. */
  showDue(deltaOf: (collection: string) => RowDelta): void {
    for (const id of this.#shown.due()) {
      const collection = this.collectionOf(id)
      if (collection !== undefined) this.showAgain(collection, id, deltaOf(collection))
    }
  }

  /** Returns in how many ms the next hidden time has passed; undefined when no time is hidden. */
  nextDue(): number | undefined {
    return this.#shown.nextDue()
  }

  /**
   * Takes over the row objects of `before`, an older reading of the same disk: a row with the same content keeps its
   * object. Notes in the deltas which rows differ.
   */
  continue(before: Rows, deltaOf: (collection: string) => RowDelta): void {
    for (const name of new Set([...before.names(), ...this.names()])) {
      const { byId, paged } = this.#collection(name)
      const old = before.of(name)
      const delta = deltaOf(name)
      this.#collections.set(name, { byId: old, paged })
      for (const id of new Set([...old.ids(), ...byId.ids()])) this.#swap(old, id, byId.get(id), delta)
    }
  }

  // ── folding ───────────────────────────────────────────────────────────────────────────────────────────────────────

  get foldDue(): boolean {
    for (const { paged } of this.#collections.values()) if (paged.foldDue) return true
    return false
  }

  /** Plans a fold of the loose rows of one collection into pages; undefined when no fold is due. */
  async fold(store: Store): Promise<Plan | undefined> {
    for (const { paged } of this.#collections.values()) if (paged.foldDue) return paged.fold(store)
    return undefined
  }

  /**
   * Replaces a shown row, and notes the change in `delta`. A row whose content is the same keeps its object, so
   * `SortedRows.all` returns another array only when subscribers are told. A row with a long field always counts as
   * changed: it shows only the start and the length of that field, which may be the same after an edit.
   */
  #swap(rows: SortedRows, id: string, next: PlainRow | undefined, delta: RowDelta): void {
    const before = rows.get(id)
    if (next?.$long === undefined && equal(before, next)) return
    if (next === undefined) rows.delete(id)
    else rows.set(id, next)
    const was = before !== undefined && isLive(before)
    const is = next !== undefined && isLive(next)
    if (was && is) delta.changed.push(id)
    else if (is) delta.added.push(id)
    else if (was) delta.removed.push(id)
  }
}

const formatOf = (workspace: string, name: string): PageFormat<StoredRow> => ({
  pageKey: (page) => keys.page(workspace, name, page),
  recordKey: (id) => keys.row(workspace, name, id),
  loosePrefix: keys.rowsOf(workspace, name),
  idOf: (key) => key[3] ?? "",
  readPage: (value: Value | undefined, key) => readJson<StoredRow[]>(value, key).map((row) => [row.id, row] as const),
  writePage: (rows, key) => writeJson(key, [...rows]),
  readRecord: (value, key) => readJson<StoredRow | null>(value, key),
  writeRecord: (row, key) => writeJson(key, row),
})
