/**
 * A page of an entity's history: many changes in one value, in the short form. A page consists of blocks, and each
 * block can be read alone. So a damaged byte costs the changes of one block only, and a fold that adds changes to a
 * page leaves its full blocks as they are.
 *
 * `page = (uleb length of the block | block)*`
 * `block = check (8 bytes) | uleb length of the words | words | chunks in the short form (wire/short-chunks.ts)`
 *
 * The words are JSON: `[collection, runs]`. A run is `[count, by, adopted, once]`: the number of successive changes
 * with the same facts (`Held`), and these facts: `by` or null, 1 if adopted and 0 if not, `once` in hex or null.
 * `check` covers the key of the page, the words, and the hash of each change. So a block that fits its check has
 * exactly the changes that were written, and is under the key of its entity.
 */
import { HeadwaterError } from "../../base/errors.ts"
import { bytesOfHex, hex, sha256 } from "../../base/hash.ts"
import type { Key, Value } from "../../store/store.ts"
import { readChange } from "../../wire/chunk.ts"
import { Bytes } from "../../wire/leb128.ts"
import { BytesWriter } from "../../wire/leb128-writer.ts"
import { encodeChunks, makeChunks, openBlock } from "../../wire/short-chunks.ts"
import type { Held } from "./change-record.ts"

type Run = readonly [count: number, by: string | null, adopted: 0 | 1, once: string | null]

/** A block of a page. */
export interface HistoryBlock {
  /** The block as it is in the page. */
  readonly bytes: Uint8Array
  /**
   * The changes of the block, in the order in which they were written; undefined when the disk has damaged the block.
   */
  readonly held: readonly Held[] | undefined
}

const CHECK = 8
/** The fewest bytes of a block. */
const SHORTEST = CHECK + 2
const utf8 = new TextEncoder()
const strictText = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

/** Encodes a block of the page under `key`. Changes take fewer bytes if they are passed in causal order. */
export function writeBlock(key: Key, held: readonly Held[]): HistoryBlock {
  const collection = held[0]?.collection ?? ""
  const words = JSON.stringify([collection, runsOf(held)])
  const owner = { entity: key[2] ?? "", collection }
  const out = new BytesWriter()
  out.bytes(checkOf(key, words, held))
  const text = utf8.encode(words)
  out.uleb(text.length)
  out.bytes(text)
  out.bytes(
    encodeChunks(
      owner,
      held.map(({ change }) => change.chunk),
    ),
  )
  return { bytes: out.written(), held }
}

/** Makes a page of these blocks. */
export function joinBlocks(blocks: readonly HistoryBlock[]): Uint8Array {
  const page = new BytesWriter()
  for (const { bytes } of blocks) {
    page.uleb(bytes.length)
    page.bytes(bytes)
  }
  return page.written().slice()
}

/**
 * Reads a page. When the length of a block is damaged, the rest of the page counts as one damaged block. Throws a
 * failure that does not show damage, such as a lack of memory.
 */
export function readPage(key: Key, value: Value): HistoryBlock[] {
  if (typeof value === "string" || value.length === 0) return [{ bytes: new Uint8Array(), held: undefined }]
  const blocks: HistoryBlock[] = []
  const page = new Bytes(value, 0)
  while (!page.done) {
    const from = page.at
    const block = orDamaged(() => page.slice(page.uleb()))
    // Without `SHORTEST`, a page that the disk has overwritten with zeros would have a block for each byte.
    const bytes = block !== undefined && block.length >= SHORTEST ? block : value.subarray(from)
    blocks.push({ bytes, held: orDamaged(() => readBlock(key, bytes)) })
    if (bytes.length + from === value.length) break
  }
  return blocks
}

function readBlock(key: Key, bytes: Uint8Array): Held[] | undefined {
  const block = new Bytes(bytes, 0)
  const check = block.slice(CHECK)
  const words = strictText.decode(block.slice(block.uleb()))
  const [collection, runs] = JSON.parse(words) as [string, Run[]]
  if (typeof collection !== "string") return undefined
  const made = makeChunks({ entity: key[2] ?? "", collection }, openBlock(bytes.subarray(block.at)))
  const changes = made.map(({ chunk, change }) => ({ change: change ?? readChange(chunk), collection }))
  const isWhole = checkOf(key, words, changes).every((byte, i) => byte === check[i])
  return isWhole ? withRuns(changes, runs) : undefined
}

/** Calls `read`. Returns undefined when it fails in a way that shows damage to the bytes. */
function orDamaged<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch (error) {
    const isDamage = error instanceof HeadwaterError || error instanceof SyntaxError || error instanceof TypeError
    if (isDamage) return undefined
    throw error
  }
}

function checkOf(key: Key, words: string, held: readonly Held[]): Uint8Array {
  const hashes = held.map(({ change }) => change.hash).join("")
  return bytesOfHex(sha256(utf8.encode([...key, words, hashes].join("\n"))).slice(0, 2 * CHECK))
}

function runsOf(held: readonly Held[]): Run[] {
  const runs: [...Run][] = []
  let before: Held | undefined
  for (const one of held) {
    const last = runs.at(-1)
    if (last !== undefined && before !== undefined && saySame(before, one)) last[0]++
    else runs.push([1, one.by ?? null, one.adopted ? 1 : 0, one.once ? hex(one.once) : null])
    before = one
  }
  return runs
}

/** Whether two changes have the same `by`, `adopted` and `once`. */
export const saySame = (a: Held, b: Held): boolean =>
  a.by === b.by && a.adopted === b.adopted && (a.once && hex(a.once)) === (b.once && hex(b.once))

/** Adds to each change the facts of its run. */
function withRuns(changes: readonly Pick<Held, "change" | "collection">[], runs: readonly Run[]): Held[] {
  const held: Held[] = []
  let at = 0
  for (const [count, by, adopted, once] of runs) {
    const origin = {
      by: by ?? undefined,
      adopted: adopted === 1 ? (true as const) : undefined,
      once: once === null ? undefined : bytesOfHex(once),
    }
    for (const end = at + count; at < end; at++) held.push({ ...(changes[at] as (typeof changes)[number]), ...origin })
  }
  return held
}

/** Yields the changes of all blocks that can be read. */
export function* heldIn(blocks: readonly HistoryBlock[]): Generator<Held> {
  for (const { held } of blocks) if (held !== undefined) yield* held
}
