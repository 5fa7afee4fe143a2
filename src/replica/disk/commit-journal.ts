/**
 * The journal: a ring of records, one for each of the last commits, that name what the commit touched. Another writer
 * on the same store (a second tab), or this writer after a failed commit, reads the journal. It then reads again only
 * the records that the journal names.
 *
 * A journal record is JSON. `n`: the number of the commit. `e`: the entities that the commit touched. `r`: the rows, by
 * collection; the entities of these rows are touched, too. `p`: the pages of rows, by collection. `o`: pages of the
 * outbox. `s`: the state record. `all`, in place of all fields but `n`: the commit touched more than a record may name.
 */

import type { Sizes } from "../../base/replica-sizes.ts"
import type { Key, Store, Value, Write } from "../../store/store.ts"
import { parseJson, writeJson } from "./checked-json.ts"
import { keys } from "./records.ts"

type JournalSizes = Pick<Sizes, "journal" | "journalNames">

interface JournalRecord {
  readonly n: number
  readonly all?: true
  readonly e?: readonly string[]
  readonly r?: Readonly<Record<string, readonly string[]>>
  readonly p?: Readonly<Record<string, readonly number[]>>
  readonly o?: true
  readonly s?: true
}

/** Everything that one or several commits have touched. */
export class Touched {
  /** Entities of which a row, a change, an outbox record, a mark or a verdict was written. */
  readonly entities = new Set<string>()
  readonly rows = new Map<string, Set<string>>()
  readonly rowPages = new Map<string, Set<number>>()
  outboxPages = false
  state = false
  /** True when a commit touched more than a journal record may name, or when the journal lacks a commit's record. */
  everything = false

  /**
   * Finds from the keys of a commit's `writes` what the commit touches. `owed`: the entities of which outbox records
   * were added or removed. The keys of outbox records are ignored: new records may go into pages at once, and a fold
   * moves records without changing them.
   */
  static by(writes: readonly Write[], owed: Iterable<string>): Touched {
    const touched = new Touched()
    for (const [key] of writes) touched.#add(key)
    for (const entity of owed) touched.entities.add(entity)
    return touched
  }

  #add([, kind, name = "", id = ""]: Key): void {
    switch (kind) {
      case "row":
        this.entities.add(id)
        return void inner(this.rows, name).add(id)
      case "page":
        return void inner(this.rowPages, name).add(Number(id))
      case "outpage":
        this.outboxPages = true
        return
      case "state":
        this.state = true
        return
      case "out":
      case "commit":
      case "journal":
        return
      default:
        this.entities.add(name)
    }
  }

  get size(): number {
    let n = this.entities.size
    for (const pages of this.rowPages.values()) n += pages.size
    return n
  }

  record(n: number, most: number): JournalRecord {
    if (this.everything || this.size > most) return { n, all: true }
    const rows = [...this.rows].map(([name, ids]) => [name, [...ids]] as const)
    const ofRows = new Set(rows.flatMap(([, ids]) => ids))
    const entities = [...this.entities].filter((entity) => !ofRows.has(entity))
    const pages = [...this.rowPages].map(([name, numbers]) => [name, [...numbers]] as const)
    return {
      n,
      ...(entities.length > 0 && { e: entities }),
      ...(rows.length > 0 && { r: Object.fromEntries(rows) }),
      ...(pages.length > 0 && { p: Object.fromEntries(pages) }),
      ...(this.outboxPages && { o: true }),
      ...(this.state && { s: true }),
    }
  }

  add({ all, e = [], r = {}, p = {}, o, s }: JournalRecord): void {
    this.everything ||= all === true
    for (const entity of e) this.entities.add(entity)
    for (const [name, ids] of Object.entries(r)) {
      for (const id of ids) {
        this.entities.add(id)
        inner(this.rows, name).add(id)
      }
    }
    for (const [name, pages] of Object.entries(p)) for (const page of pages) inner(this.rowPages, name).add(page)
    this.outboxPages ||= o === true
    this.state ||= s === true
  }
}

/** Makes the writes that give a commit the number `n` and note what it touches. */
export function journalWrites(
  w: string,
  n: number,
  { writes, owed }: { readonly writes: readonly Write[]; readonly owed: Iterable<string> },
  sizes: JournalSizes,
): Write[] {
  const record = Touched.by(writes, owed).record(n, sizes.journalNames)
  const key = keys.journal(w, n % sizes.journal)
  return [
    [keys.commit(w), String(n)],
    [key, writeJson(key, record)],
  ]
}

/**
 * The commit record. `n`: the number of the last commit, 0 before the first. `value`: the value on the disk, which the
 * next commit expects.
 */
export interface LastCommit {
  readonly n: number
  readonly value: Value | undefined
  /**
   * Whether the record is damaged. Then the replica reads everything again, and its next commit writes a new record.
   */
  readonly isDamaged: boolean
}

/** Reads the commit record. When it is damaged, the journal says which commit was the last. */
export async function lastCommit(store: Store, w: string): Promise<LastCommit> {
  const value = await store.get(keys.commit(w))
  if (typeof value === "string" && /^\d{1,15}$/.test(value)) return { n: Number(value), value, isDamaged: false }
  const records = (await store.list(keys.journals(w))).map(([key, value]) => readRecord(key, value)?.n ?? 0)
  return { n: Math.max(0, ...records), value, isDamaged: value !== undefined }
}

/** Reads from the journal everything that the commits `from` + 1 to `to` have touched. */
export async function touchedSince(
  store: Store,
  w: string,
  from: number,
  { n: to, isDamaged }: LastCommit,
  sizes: JournalSizes,
): Promise<Touched> {
  const touched = new Touched()
  if (isDamaged || to < from || to - from > sizes.journal) touched.everything = true
  // If the records together name more than this, reading everything is quicker than reading each named record.
  const most = 4 * sizes.journalNames
  for (let n = from + 1; n <= to && !touched.everything; n++) {
    const key = keys.journal(w, n % sizes.journal)
    const record = readRecord(key, await store.get(key))
    if (record?.n === n) touched.add(record)
    else touched.everything = true
    if (touched.size > most) touched.everything = true
  }
  return touched
}

/** Reads a journal record; undefined when it is damaged. */
function readRecord(key: Key, value: Value | undefined): JournalRecord | undefined {
  const record = parseJson(key, value) as JournalRecord | null | undefined
  return record && isWhole(record) ? record : undefined
}

/** Whether a journal record has the fields that `Touched.add` and `touchedSince` read. */
function isWhole({ n, e = [], r = {}, p = {} }: JournalRecord): boolean {
  return Number.isInteger(n) && [e, ...Object.values(r), ...Object.values(p)].every(Array.isArray)
}

function inner<T>(map: Map<string, Set<T>>, name: string): Set<T> {
  let set = map.get(name)
  if (set === undefined) map.set(name, (set = new Set()))
  return set
}
