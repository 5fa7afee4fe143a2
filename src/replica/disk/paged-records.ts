/**
 * Records of one kind (rows of a collection, or the outbox) on the disk. Most records are in pages: about a thousand
 * records in one value, so that ten thousand records open in the time of a JSON.parse. A record that is newer than its
 * page is loose: it has a key of its own, and it replaces the record in the page. A loose `null` says that the record
 * in the page is gone. Loose records are folded into pages in idle time, because a fold rewrites whole pages.
 *
 * The class `Paged` knows where each record is, and how many records of each page are not gone. `rows.ts` and
 * `outbox.ts` have the content of the records.
 */
import { listAt } from "../../base/maps.ts"
import type { Key, Store, Value, Write } from "../../store/store.ts"

/** How records of one kind are kept on the disk: their keys and their encoding. */
export interface PageFormat<R> {
  pageKey(page: number): Key
  recordKey(id: string): Key
  /** The prefix of every loose record's key. */
  readonly loosePrefix: Key
  /** Returns the id in the key of a loose record. */
  idOf(key: Key): string
  readPage(value: Value | undefined, key: Key): Iterable<readonly [id: string, record: R]>
  writePage(records: Iterable<R>, key: Key): string
  /** Reads a loose value. `null`: the record is gone. */
  readRecord(value: Value, key: Key): R | null
  /** Encodes a loose value. `null`: the record is gone. */
  writeRecord(record: R | null, key: Key): string
}

export interface PageSizes {
  /** Records in one page. */
  readonly page: number
  /** A commit with this many new records or more writes them as pages at once. */
  readonly atOnce: number
  /** This many loose records make a fold due. With many pages, more are needed (`#mostLoose`). */
  readonly loose: number
  /** Pages that one fold rewrites at most. */
  readonly folded: number
}

/** Writes for a commit, and a function to call once they are on the disk. */
export interface Plan {
  readonly writes: Write[]
  done(): void
}

/**
 * `#mostLoose` is `sizes.loose` times a factor. The factor is `LOOSE_BY_PAGE` times the number of pages, but at least 1
 * and at most `LOOSE_AT_MOST`.
 */
const LOOSE_BY_PAGE = 1 / 4
const LOOSE_AT_MOST = 16

export class Paged<R> {
  readonly #format: PageFormat<R>
  readonly #sizes: PageSizes
  /** The page of each record that is in a page, even if a loose value replaces the record. */
  readonly #pageOf = new Map<string, number>()
  /** The ids of the loose values. True: the value is `null`, so the record is gone. */
  readonly #loose = new Map<string, boolean>()
  /** How many loose values are not `null`. */
  #looseRecords = 0
  /** Ids of loose `null`s of which no page has the record. They remain when the disk has damaged that page. */
  readonly #needless = new Set<string>()
  /** How many records of each page are not gone, by page number. */
  readonly #counts = new Map<number, number>()

  constructor(format: PageFormat<R>, sizes: PageSizes) {
    this.#format = format
    this.#sizes = sizes
  }

  // ── what the disk says ────────────────────────────────────────────────────────────────────────────────────────────

  /** Call when a page with `count` records was read or written. */
  addPage(page: number, count: number): void {
    this.#counts.set(page, count)
  }

  /** Call when a record was read from a page or written to it. */
  place(id: string, page: number): void {
    this.#needless.delete(id)
    this.#pageOf.set(id, page)
  }

  /** Call before these pages are read again. Forgets which records are in them. */
  forgetPages(pages: ReadonlySet<number>): void {
    for (const page of pages) this.#counts.delete(page)
    if (pages.size > 0) for (const [id, at] of this.#pageOf) if (pages.has(at)) this.#pageOf.delete(id)
  }

  pageOf(id: string): number | undefined {
    return this.#pageOf.get(id)
  }

  /**
   * Call when a loose value was read or written. `gone`: the value is `null`. If the record is in a page, call `place`
   * before this.
   */
  setLoose(id: string, gone: boolean): void {
    const page = this.#pageOf.get(id)
    const before = this.#loose.get(id)
    if (before === false) this.#looseRecords--
    if (!gone) this.#looseRecords++
    this.#loose.set(id, gone)
    if (gone && page === undefined) this.#needless.add(id)
    else this.#needless.delete(id)
    if (page !== undefined) this.#count(page, Number(!gone) - Number(before !== true))
  }

  /** Forgets the loose value of this id, if there is one. */
  dropLoose(id: string): void {
    const gone = this.#loose.get(id)
    if (gone === undefined) return
    this.#loose.delete(id)
    this.#needless.delete(id)
    if (!gone) this.#looseRecords--
    const page = this.#pageOf.get(id)
    if (gone && page !== undefined) this.#count(page, 1)
  }

  /** Whether this record has a loose value, which replaces the record in its page. */
  isLoose(id: string): boolean {
    return this.#loose.has(id)
  }

  #count(page: number, by: number): void {
    this.#counts.set(page, (this.#counts.get(page) ?? 0) + by)
  }

  get #nextPage(): number {
    return Math.max(0, ...this.#counts.keys()) + 1
  }

  // ── a commit ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Plans the writes that save these records. A record that is undefined is gone. Many new records, as after an import
   * or a heal, are written as pages.
   */
  plan(changes: ReadonlyMap<string, R | undefined>): Plan {
    const writes: Write[] = []
    const fresh: [string, R][] = []
    const loosened: [string, boolean][] = []
    const dropped: string[] = []
    for (const [id, record] of changes) {
      if (record === undefined) {
        if (this.#pageOf.has(id)) {
          writes.push(this.#writeLoose(id, null))
          loosened.push([id, true])
        } else if (this.#loose.has(id)) {
          writes.push([this.#format.recordKey(id), undefined])
          dropped.push(id)
        }
      } else if (this.#pageOf.has(id) || this.#loose.has(id)) {
        writes.push(this.#writeLoose(id, record))
        loosened.push([id, false])
      } else fresh.push([id, record])
    }
    const pages = new Map<number, [string, R][]>()
    if (fresh.length < this.#sizes.atOnce) {
      for (const [id, record] of fresh) {
        writes.push(this.#writeLoose(id, record))
        loosened.push([id, false])
      }
    } else {
      const sorted = fresh.sort((a, b) => (a[0] < b[0] ? -1 : 1))
      let page = this.#nextPage
      for (let at = 0; at < sorted.length; at += this.#sizes.page) {
        pages.set(page++, sorted.slice(at, at + this.#sizes.page))
      }
    }
    for (const [page, records] of pages) {
      const key = this.#format.pageKey(page)
      const content = records.map(([, record]) => record)
      writes.push([key, this.#format.writePage(content, key)])
    }
    return {
      writes,
      done: () => {
        for (const [id, gone] of loosened) this.setLoose(id, gone)
        for (const id of dropped) this.dropLoose(id)
        for (const [page, records] of pages) {
          this.addPage(page, records.length)
          for (const [id] of records) this.place(id, page)
        }
      },
    }
  }

  #writeLoose(id: string, record: R | null): Write {
    const key = this.#format.recordKey(id)
    return [key, this.#format.writeRecord(record, key)]
  }

  // ── folding ───────────────────────────────────────────────────────────────────────────────────────────────────────

  get foldDue(): boolean {
    if (this.#looseRecords >= this.#mostLoose || this.#needless.size > 0) return true
    for (const count of this.#counts.values()) if (count === 0) return true
    return false
  }

  /**
   * How many loose records make a fold due. A fold rewrites whole pages, so it costs less per record when more records
   * of a page are loose. So this number grows with the number of pages. It has an upper bound, because loose records
   * are read one by one when the workspace opens.
   */
  get #mostLoose(): number {
    const { loose } = this.#sizes
    const byPages = Math.min(LOOSE_AT_MOST, LOOSE_BY_PAGE * this.#counts.size)
    return loose * Math.max(1, byPages)
  }

  /**
   * Plans a fold: loose records go into a few pages, which are rewritten whole, and empty pages are removed. Reads the
   * records from the disk, so that no value that exists only in memory gets into a page. Returns undefined when there
   * is nothing to fold.
   */
  async fold(store: Store): Promise<Plan | undefined> {
    const moves = this.#chooseFold()
    const needless = [...this.#needless].slice(0, this.#sizes.loose)
    if (moves.size === 0 && needless.length === 0) return undefined
    const writes = needless.map((id): Write => [this.#format.recordKey(id), undefined])
    const contents = new Map<number, ReadonlyMap<string, R>>()
    const loose = await this.#readLoose(store, [...moves.values()].flat())
    for (const [page, ids] of moves) {
      const key = this.#format.pageKey(page)
      const content = this.#counts.get(page) ? new Map(this.#format.readPage(await store.get(key), key)) : new Map()
      for (const id of ids) {
        const record = loose.get(id)
        if (record === null) content.delete(id)
        else if (record !== undefined) content.set(id, record)
        writes.push([this.#format.recordKey(id), undefined])
      }
      writes.push([key, content.size === 0 ? undefined : this.#format.writePage(content.values(), key)])
      contents.set(page, content)
    }
    const done = () => {
      for (const id of needless) this.dropLoose(id)
      for (const [page, ids] of moves) {
        const content = contents.get(page) as ReadonlyMap<string, R>
        for (const id of ids) {
          this.dropLoose(id)
          if (content.has(id)) this.place(id, page)
          else this.#pageOf.delete(id)
        }
        if (content.size === 0) this.#counts.delete(page)
        else this.addPage(page, content.size)
      }
    }
    return { writes, done }
  }

  /**
   * Chooses the page for each loose record that this fold moves: the page that has the record or, for a new record, the
   * last page until that is full, and then new pages.
   */
  #chooseFold(): Map<number, string[]> {
    const moves = new Map<number, string[]>()
    const most = this.#sizes.folded
    for (const [page, count] of this.#counts) if (count === 0 && moves.size < most) moves.set(page, [])
    if (this.#looseRecords >= this.#mostLoose) this.#chooseRecords(moves, most)
    // If the page of a loose `null` is rewritten, the `null` goes, too: the new page does not have the record.
    for (const [id, gone] of this.#loose) {
      const page = this.#pageOf.get(id)
      if (gone && page !== undefined) moves.get(page)?.push(id)
    }
    return moves
  }

  #chooseRecords(moves: Map<number, string[]>, most: number): void {
    let last = this.#nextPage - 1
    let room = last === 0 ? 0 : this.#sizes.page - (this.#counts.get(last) ?? 0)
    // One fold moves at most `loose` records, so that one journal record can name them. If far more records are loose,
    // it moves all records above `#mostLoose`.
    const records = Math.max(this.#sizes.loose, this.#looseRecords - this.#mostLoose)
    for (const id of this.#inFoldingOrder().slice(0, records)) {
      let page = this.#pageOf.get(id)
      if (page === undefined) {
        const next = room > 0 ? last : last + 1
        if (!moves.has(next) && moves.size >= most) continue
        if (next !== last) room = this.#sizes.page
        last = page = next
        room--
      }
      const ids = moves.get(page)
      if (ids !== undefined) ids.push(id)
      else if (moves.size < most) moves.set(page, [id])
    }
  }

  /**
   * Returns the ids of loose records in the order in which they are folded. New records come first, because they all go
   * to the last page. Then come the records of the page with the most loose records, and so on: a page is rewritten
   * whole, so it should take in many records at once.
   */
  #inFoldingOrder(): string[] {
    const byPage = new Map<number | undefined, string[]>()
    for (const [id, gone] of this.#loose) if (!gone) listAt(byPage, this.#pageOf.get(id)).push(id)
    const fresh = byPage.get(undefined) ?? []
    byPage.delete(undefined)
    const paged = [...byPage.values()].sort((a, b) => b.length - a.length)
    return [...fresh.sort(), ...paged.flat()]
  }

  async #readLoose(store: Store, ids: readonly string[]): Promise<Map<string, R | null>> {
    const { recordKey, idOf, readRecord, loosePrefix } = this.#format
    const read = new Map<string, R | null>()
    // If the fold needs more than a quarter of the loose records, one `list` of all is quicker than a `get` for each.
    if (ids.length * 4 > this.#loose.size) {
      const wanted = new Set(ids)
      for (const [key, value] of await store.list(loosePrefix)) {
        if (wanted.has(idOf(key))) read.set(idOf(key), readRecord(value, key))
      }
      return read
    }
    const values = await Promise.all(ids.map((id) => store.get(recordKey(id))))
    for (const [i, id] of ids.entries()) {
      const value = values[i]
      if (value !== undefined) read.set(id, readRecord(value, recordKey(id)))
    }
    return read
  }
}
