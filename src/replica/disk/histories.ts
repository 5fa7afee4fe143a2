/**
 * The changes of an entity on the disk. A new change is loose: it is a record of its own (`change-record.ts`). Idle
 * work moves loose changes into the pages of the entity (`history-page.ts`, `fold-history.ts`). A change may be in both
 * places: when a change that is in a page arrives once more, it also gets a loose record, until the next fold.
 *
 * Loose records are always read before pages. A change only ever moves from a loose record to a page, so a change that
 * another writer moves between the two readings is read twice instead of never.
 */
import { listAt } from "../../base/maps.ts"
import type { Key, Store, Value } from "../../store/store.ts"
import type { Hash } from "../../wire/protocol.ts"
import { type Held, heldOf } from "./change-record.ts"
import { type HistoryBlock, heldIn, readPage } from "./history-page.ts"
import { keys } from "./records.ts"

/** A page of an entity's history as it is on the disk. */
export interface HistoryPage {
  readonly key: Key
  readonly blocks: readonly HistoryBlock[]
}

/** All changes of an entity that the disk has. */
export interface SavedHistory {
  /** The changes that can be read. */
  readonly held: ReadonlyMap<Hash, Held>
  /** Hashes of the loose records that cannot be read and whose change is in no page. */
  readonly unreadable: readonly Hash[]
  /** The newest page first. */
  readonly pages: readonly HistoryPage[]
}

export async function readHistory(store: Store, w: string, entity: string): Promise<SavedHistory> {
  const loose = await store.list(keys.changesOf(w, entity))
  return historyOf(loose, await readPages(store, w, entity))
}

const isHash = (text: string): boolean => /^[0-9a-f]{64}$/.test(text)

function historyOf(loose: readonly [Key, Value][], pages: readonly HistoryPage[]): SavedHistory {
  const held = new Map<Hash, Held>()
  const unread: Hash[] = []
  for (const [key, value] of loose) {
    const hash = key[3] ?? ""
    const one = heldOf(value, hash)
    if (one === undefined && !isHash(hash)) continue // a damaged key names no change, and perhaps no store takes it
    if (one === undefined) unread.push(hash)
    else held.set(hash, one)
  }
  for (const { blocks } of pages) {
    for (const one of heldIn(blocks)) if (!held.has(one.change.hash)) held.set(one.change.hash, one)
  }
  return { held, unreadable: unread.filter((hash) => !held.has(hash)), pages }
}

/** Reads the pages of an entity, the newest first. */
export async function readPages(store: Store, w: string, entity: string): Promise<HistoryPage[]> {
  return (await store.list(keys.historyOf(w, entity))).map(pageOf)
}

export const pageOf = ([key, value]: [Key, Value]): HistoryPage => ({ key, blocks: readPage(key, value) })

export const isDamaged = ({ blocks }: HistoryPage): boolean => blocks.some(({ held }) => held === undefined)

/**
 * Reads these changes; leaves out changes that cannot be read. Reads the pages of an entity only if it has no readable
 * loose record of one of these changes, and then once.
 */
export async function readChanges(
  store: Store,
  w: string,
  wanted: readonly { readonly entity: string; readonly hash: Hash }[],
): Promise<Map<Hash, Held>> {
  const found = new Map<Hash, Held>()
  const values = await Promise.all(wanted.map(({ entity, hash }) => store.get(keys.change(w, entity, hash))))
  const elsewhere = new Map<string, Hash[]>()
  for (const [i, { entity, hash }] of wanted.entries()) {
    const held = heldOf(values[i], hash)
    if (held === undefined) listAt(elsewhere, entity).push(hash)
    else found.set(hash, held)
  }
  for (const [entity, hashes] of elsewhere) {
    const missing = new Set(hashes)
    for (const { blocks } of await readPages(store, w, entity)) {
      for (const held of heldIn(blocks)) if (missing.delete(held.change.hash)) found.set(held.change.hash, held)
    }
  }
  return found
}

/** The history of one entity, with the entity's id. */
export interface EntityHistory extends SavedHistory {
  readonly entity: string
}

/** How many pages are read at once: a page has some 8 kB. */
const PAGES_AT_ONCE = 32

/**
 * Reads the histories of all entities, in the order of their ids. Each round reads `records` loose records, and then
 * the pages of the same entities, in this order for the reason at the top of this file. The last read of pages may also
 * return pages of later entities: the next round reads them again.
 */
export async function* histories(store: Store, w: string, records: number): AsyncGenerator<EntityHistory> {
  let after: Key | undefined
  let last = "" // every entity up to this one was yielded
  for (let isEnd = false; !isEnd; ) {
    const loose = await store.list(keys.changes(w), { limit: records, ...(after && { after }) })
    isEnd = loose.length < records
    // The last entity may have more loose records than this list, so all its loose records are read below.
    const until = isEnd ? undefined : (loose.at(-1)?.[0][2] as string)
    const byEntity = new Map<string, [Key, Value][]>()
    for (const record of loose) listAt(byEntity, record[0][2] ?? "").push(record)
    if (until !== undefined) byEntity.set(until, await store.list(keys.changesOf(w, until)))
    const paged = pagesBehind(store, w, last, until)
    let next = await paged.next()
    for (const entity of [...byEntity.keys(), undefined]) {
      for (
        ;
        next.value !== undefined && (entity === undefined || next.value.entity < entity);
        next = await paged.next()
      )
        yield { entity: next.value.entity, ...historyOf([], next.value.pages) }
      if (entity === undefined) break
      const isPaged = next.value?.entity === entity
      yield { entity, ...historyOf(byEntity.get(entity) ?? [], (isPaged && next.value?.pages) || []) }
      if (isPaged) next = await paged.next()
    }
    if (until === undefined) return
    last = until
    after = [...keys.changesOf(w, until), AFTER_ALL_HASHES]
  }
}

/** As the last part of a key, sorts after every hash and every page's number. */
const AFTER_ALL_HASHES = "~"

/**
 * Reads, entity by entity, the pages of the entities after `behind`, up to and including `until` (undefined: the last).
 */
async function* pagesBehind(
  store: Store,
  w: string,
  behind: string,
  until: string | undefined,
): AsyncGenerator<{ entity: string; pages: HistoryPage[] }, undefined> {
  let after: Key | undefined = behind === "" ? undefined : [...keys.historyOf(w, behind), AFTER_ALL_HASHES]
  let entity = ""
  let pages: HistoryPage[] = []
  for (;;) {
    const records = await store.list(keys.histories(w), { limit: PAGES_AT_ONCE, ...(after && { after }) })
    for (const record of records) {
      after = record[0]
      const of = after[2] ?? ""
      if (of !== entity && pages.length > 0) {
        yield { entity, pages }
        pages = []
      }
      if (until !== undefined && of > until) return
      entity = of
      pages.push(pageOf(record))
    }
    if (records.length < PAGES_AT_ONCE) break
  }
  if (pages.length > 0) yield { entity, pages }
}
