/**
 * Plans the writes that move loose changes of an entity into its pages, and the writes that take changes out of its
 * pages.
 *
 * Changes are added to the newest page until it is full, then to new pages. To add changes, a fold rewrites only the
 * newest page, and encodes only its last block again. So a long history is not rewritten because it grows.
 */
import type { Sizes } from "../../base/replica-sizes.ts"
import type { Key, Store, Write } from "../../store/store.ts"
import type { Hash } from "../../wire/protocol.ts"
import { type Held, heldOf } from "./change-record.ts"
import { type HistoryPage, isDamaged, pageOf, readPages } from "./histories.ts"
import { type HistoryBlock, heldIn, joinBlocks, saySame, writeBlock } from "./history-page.ts"
import { keys, pageNumber } from "./records.ts"

type FoldSizes = Pick<Sizes, "historyPage" | "historyBlock">

/** The most bytes of chunks in a block, unless it has one change only. */
const BLOCK_BYTES = 2 ** 15

export interface Fold {
  readonly writes: readonly Write[]
  /** How many changes move into pages. */
  readonly changes: number
  /** Bytes of the chunks of these changes. */
  readonly bytes: number
  /** Whether more changes of the entity may move that did not fit into this fold. */
  readonly isPart: boolean
}

/** The most bytes of chunks, and the most changes, that one fold moves, because one commit saves the fold. */
const FOLD_BYTES = 2 ** 20
const FOLD_CHANGES = 1024

/**
 * Plans a fold of the loose changes for which `mayMove` returns true. Returns "damaged", with nothing to write, when a
 * page that the fold has to read is damaged: a rewritten page would lack the changes of its damaged blocks.
 */
export async function foldHistory(
  store: Store,
  w: string,
  entity: string,
  mayMove: (hash: Hash) => boolean,
  sizes: FoldSizes,
): Promise<Fold | "damaged"> {
  const all: Held[] = []
  for (const [key, value] of await store.list(keys.changesOf(w, entity))) {
    const hash = key[3] ?? ""
    const held = mayMove(hash) ? heldOf(value, hash) : undefined // a damaged change stays loose
    if (held !== undefined) all.push(held)
  }
  if (all.length === 0) return { writes: [], changes: 0, bytes: 0, isPart: false }
  all.sort((a, b) => a.change.startOp - b.change.startOp || (a.change.hash < b.change.hash ? -1 : 1))
  const loose = oldest(all)
  let pages = (await store.list(keys.historyOf(w, entity), { limit: 1 })).map(pageOf)
  if (pages[0] !== undefined && beginsBefore(loose, pages[0])) pages = await readPages(store, w, entity)
  if (pages.some(isDamaged)) return "damaged"

  const byHash = new Map(loose.map((held) => [held.change.hash, held]))
  const paged = new Set(pages.flatMap(({ blocks }) => [...heldIn(blocks)].map(({ change }) => change.hash)))
  const added = loose.filter(({ change }) => !paged.has(change.hash))
  const writes: Write[] = loose.map(({ change }) => [keys.change(w, entity, change.hash), undefined])
  const rewritten = rewrite(pages, (held) => {
    const again = byHash.get(held.change.hash)
    return again === undefined || saySame(again, held) ? held : again // `again` has the latest entry's facts
  })
  for (const { key, blocks } of rewritten) writes.push([key, joinBlocks(blocks)])
  if (added.length > 0) {
    const newest = rewritten.find(({ key }) => key === pages[0]?.key) ?? pages[0]
    writes.push(...addTo(newest, added, (page) => keys.history(w, entity, page), sizes))
  }
  return { writes, changes: loose.length, bytes: chunkBytes(loose), isPart: loose.length < all.length }
}

/** Returns the first of these changes: as many as fit into one fold, but at least one. */
function oldest(held: readonly Held[]): readonly Held[] {
  let bytes = 0
  let count = 0
  for (const { change } of held) {
    bytes += change.chunk.length
    if (count > 0 && (bytes > FOLD_BYTES || count === FOLD_CHANGES)) break
    count++
  }
  return held.slice(0, count)
}

const chunkBytes = (held: readonly Held[]): number => held.reduce((sum, { change }) => sum + change.chunk.length, 0)

/**
 * Whether one of these changes, the oldest first, may also be in an older page than this page. A change that is in a
 * page becomes loose again when it arrives again, because the relay was restored or replaced. The answer is a guess
 * from operation counters. If it is wrong, a change gets into two pages: this costs some bytes, and the change is then
 * read from the newer page.
 */
function beginsBefore([first]: readonly Held[], { blocks }: HistoryPage): boolean {
  const startOp = (first as Held).change.startOp
  for (const { change } of heldIn(blocks)) if (change.startOp < startOp) return false
  return true
}

/** Plans the writes that add changes to the newest page and, once it is full, to new pages. */
function addTo(
  newest: HistoryPage | undefined,
  added: readonly Held[],
  keyOf: (page: number) => Key,
  sizes: FoldSizes,
): Write[] {
  const writes: Write[] = []
  let page = newest === undefined ? 0 : pageNumber(newest.key)
  let blocks = [...(newest?.blocks ?? [])]
  if (bytesOf(blocks) >= sizes.historyPage) {
    page++
    blocks = []
  }
  let left = [...added]
  const last = blocks.at(-1)?.held
  if (last !== undefined && last.length < sizes.historyBlock) {
    blocks.pop()
    left = [...last, ...left]
  }
  while (left.length > 0) {
    if (bytesOf(blocks) >= sizes.historyPage) {
      writes.push([keyOf(page++), joinBlocks(blocks)])
      blocks = []
    }
    const some = left.splice(0, blockLength(left, sizes.historyBlock))
    blocks.push(writeBlock(keyOf(page), some))
  }
  writes.push([keyOf(page), joinBlocks(blocks)])
  return writes
}

const bytesOf = (blocks: readonly HistoryBlock[]): number => blocks.reduce((sum, { bytes }) => sum + bytes.length, 0)

/** How many of these changes the next block gets: at most `most`, all of one collection, up to `BLOCK_BYTES`. */
function blockLength(held: readonly Held[], most: number): number {
  let bytes = 0
  let n = 0
  for (const { change, collection } of held) {
    bytes += change.chunk.length
    if (n > 0 && (n === most || bytes > BLOCK_BYTES || collection !== held[0]?.collection)) break
    n++
  }
  return n
}

/** Plans the writes that take changes out of these pages. `damaged`: takes out every damaged block, too. */
export function takeOut(
  pages: readonly HistoryPage[],
  hashes: ReadonlySet<Hash>,
  { damaged }: { readonly damaged: boolean },
): Write[] {
  const left = rewrite(pages, (held) => (hashes.has(held.change.hash) ? undefined : held), damaged)
  return left.map(({ key, blocks }) => [key, blocks.length === 0 ? undefined : joinBlocks(blocks)])
}

/**
 * Replaces each change by `next(held)`, or removes it if `next` returns undefined. `damaged`: removes damaged blocks,
 * which otherwise stay as they are. Returns only the pages that differ from before.
 */
function rewrite(
  pages: readonly HistoryPage[],
  next: (held: Held) => Held | undefined,
  damaged = false,
): HistoryPage[] {
  const rewritten: HistoryPage[] = []
  for (const { key, blocks } of pages) {
    let isSame = true
    const after = blocks.flatMap((block) => {
      if (block.held === undefined) {
        if (damaged) isSame = false
        return damaged ? [] : [block]
      }
      const held = block.held.flatMap((one) => next(one) ?? [])
      if (held.length === block.held.length && held.every((one, i) => one === block.held?.[i])) return [block]
      isSame = false
      return held.length === 0 ? [] : [writeBlock(key, held)]
    })
    if (!isSame) rewritten.push({ key, blocks: after })
  }
  return rewritten
}
