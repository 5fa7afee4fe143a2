import { randomBytes } from "node:crypto"
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import path from "node:path"
import type { Key, Store, Value } from "headwater"
import { memoryStore } from "headwater/memory"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { HEADER_BYTES } from "../../relay/log/segment/header.ts"
import { readChange } from "../../src/wire/chunk.ts"
import type { Entry, Hash } from "../../src/wire/protocol.ts"
import { type Notes, openNotes, view, WORKSPACE } from "../support/load.ts"
import { endAll, startRelay } from "../support/processes.ts"
import { Wire } from "../support/wire.ts"

const long = process.env["HEADWATER_LONG"] === "1"
const folder = mkdtempSync(path.join(tmpdir(), "headwater-flip-"))

afterAll(async () => {
  await endAll()
  rmSync(folder, { recursive: true, force: true })
})

/** A relay's data folder, and what a replica that holds all of its log has. */
interface Original {
  readonly data: string
  /** The entries in the order of the log, each as the hashes of its changes. */
  readonly entries: readonly (readonly Hash[])[]
  readonly records: readonly (readonly [Key, Value])[]
  readonly rows: ReturnType<typeof view>
  readonly files: readonly { readonly name: string; readonly size: number }[]
}

async function make(name: string, write: (ws: Notes) => Promise<void>): Promise<Original> {
  const data = path.join(folder, name)
  const relay = await startRelay(data)
  const store = memoryStore()
  const ws = await openNotes(store, relay.url)
  await write(ws)
  await ws.whenStored()
  await ws.whenSynced()
  const rows = view(ws)
  await ws.close()
  const entries = await served(relay.url)
  await relay.end("SIGTERM")
  const names = readdirSync(data, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  const files = names
    .map((entry) => path.join(path.relative(data, entry.parentPath), entry.name))
    .filter((file) => /\.(log|idx)$/.test(file))
    .map((file) => ({ name: file, size: readFileSync(path.join(data, file)).length }))
  return { data, entries, records: await recordsOf(store), rows, files }
}

async function recordsOf(store: Store): Promise<[Key, Value][]> {
  const release = await store.claim(WORKSPACE)
  const records = await store.list([])
  await release()
  return records
}

async function storeWith(records: Original["records"]): Promise<Store> {
  const store = memoryStore()
  const release = await store.claim(WORKSPACE)
  await store.commit(records)
  await release()
  return store
}

/**
 * Returns the entries that the relay sends to a new replica. If the relay finds damage while it sends them, pulls again
 * from the start.
 */
async function served(url: string): Promise<Hash[][]> {
  const wire = await Wire.dial(url)
  wire.pull(WORKSPACE, null, { credit: Number.MAX_SAFE_INTEGER })
  const answer = await Promise.race([
    wire.level(WORKSPACE),
    wire.take("notice", (told) => told.code === "CURSOR_UNKNOWN"),
  ])
  wire.close()
  if ("code" in answer) return served(url)
  const hashes = ({ chunks }: Entry) => chunks.map((chunk) => readChange(chunk).hash)
  return answer.flatMap(({ items }) => items.flatMap((item) => ("entry" in item ? [hashes(item.entry)] : [])))
}

interface Harm {
  readonly file: string
  readonly at: number
  /** The bits of the byte at `at` that are flipped. Without `bits` the file is cut off at `at`. */
  readonly bits?: number
}
let copies = 0

/**
 * Runs a relay on a damaged copy of the data. Then a replica that holds all changes gives back the lost ones. Returns
 * how many entries the relay had lost.
 */
async function heal(original: Original, { file, at, bits }: Harm): Promise<number> {
  const data = path.join(folder, `copy-${++copies}`)
  cpSync(original.data, data, { recursive: true })
  const damaged = path.join(data, file)
  if (bits === undefined) truncateSync(damaged, at)
  else {
    const bytes = readFileSync(damaged)
    bytes[at]! ^= bits
    writeFileSync(damaged, bytes)
  }

  const relay = await startRelay(data)
  const left = await served(relay.url)
  // The relay serves only entries of the original log, each at most once and in the order of the log.
  const names = original.entries.map(String)
  const places = left.map((entry) => names.indexOf(String(entry)))
  expect(places).toEqual([...new Set(places)].filter((place) => place >= 0).sort((a, b) => a - b))
  const lost = names.length - places.length
  const atTheEnd = places.length === (places.at(-1) ?? -1) + 1
  if (bits === undefined) expect(atTheEnd).toBe(true)
  else expect(lost).toBeLessThanOrEqual(1)

  // A replica that has pulled more than the relay still has notices the loss, and gives back the lost changes.
  const holder = await openNotes(await storeWith(original.records), relay.url)
  await holder.whenSynced({ signal: AbortSignal.timeout(60_000) })
  await holder.whenStored({ signal: AbortSignal.timeout(60_000) })
  expect(view(holder)).toEqual(original.rows)
  await holder.close()

  // Then the relay has every entry again.
  const again = await served(relay.url)
  expect(new Set(again.flat())).toEqual(new Set(original.entries.flat()))
  expect(await relay.end("SIGTERM")).toEqual({ code: 0, signal: null })
  // The relay reports damage. It cannot report a cut, because a log that is cut off looks like a log that is shorter.
  if (lost > 0 && bits !== undefined) expect(relay.stderr).toContain('"event":"log.')
  rmSync(data, { recursive: true })
  return lost
}

/** Runs `heal` for each of these harms, two at a time. Returns after how many of them an entry was lost. */
async function healAll(original: Original, harms: readonly Harm[]): Promise<number> {
  const left = [...harms]
  let losses = 0
  const worker = async () => {
    for (let harm = left.pop(); harm; harm = left.pop()) {
      try {
        if ((await heal(original, harm)) > 0) losses++
      } catch (cause) {
        throw new Error(
          `with ${harm.bits ? `bits ${harm.bits} of` : "the file cut at"} byte ${harm.at} of ${harm.file}`,
          { cause },
        )
      }
    }
  }
  await Promise.all([worker(), worker()])
  return losses
}

const random = (below: number) => Math.floor(Math.random() * below)
const anyBits = () => 1 + random(255)
/**
 * Returns the offsets at which a file is damaged. In a long run these are all offsets, but only every 32nd between the
 * two copies of the header. In a short run they are `share` random offsets, most of them in records.
 */
function positions(size: number, share: number): number[] {
  if (!long)
    return Array.from({ length: share }, (_, i) =>
      i % 8 === 0 ? random(HEADER_BYTES) : HEADER_BYTES + random(size - HEADER_BYTES),
    )
  const isEmpty = (at: number) => at >= 128 && at < 4096
  return Array.from({ length: size }, (_, at) => at).filter((at) => !isEmpty(at) || at % 32 === 0)
}

describe("a small log", () => {
  let original: Original
  beforeAll(async () => {
    original = await make("small", async (ws) => {
      for (let note = 0; note < 3; note++) {
        const { id } = await ws.notes.create({ title: `n${note}`, body: "hello" })
        await ws.notes.update(id, (_, edit) => edit.splice("body", 5, 0, " world"))
        await ws.whenStored()
      }
    })
    expect(original.entries.length).toBeGreaterThan(3)
  })

  it("survives any flipped byte: it is noticed, the rest is served, and the lost entry is given back", async () => {
    const harms = original.files.flatMap(({ name, size }) =>
      positions(size, 40).map((at) => ({ file: name, at, bits: anyBits() })),
    )
    const losses = await healAll(original, harms)
    expect(losses).toBeGreaterThan(0)
    console.log(
      `${harms.length} flipped bytes of a log of ${original.entries.length} entries: ${losses} lost one, 0 for good`,
    )
  })

  it("survives a cut at any byte: it is noticed, the rest is served, and lost entries are given back", async () => {
    const harms = original.files.flatMap(({ name, size }) => positions(size, 20).map((at) => ({ file: name, at })))
    const losses = await healAll(original, harms)
    expect(losses).toBeGreaterThan(0)
    console.log(
      `${harms.length} cut files of a log of ${original.entries.length} entries: ${losses} lost some, 0 for good`,
    )
  })
})

describe("a log with a sealed segment and its index", () => {
  it("survives flipped bytes in each of its files", async () => {
    const original = await make("large", async (ws) => {
      // Deflating halves these titles, and still 600 of them fill a segment.
      const title = () => randomBytes(30_000).toString("hex")
      await Promise.all(Array.from({ length: 600 }, () => ws.notes.create({ title: title(), body: "" })))
    })
    expect(original.files.map(({ name }) => path.extname(name)).sort()).toEqual([".idx", ".log", ".log"])
    const harms = original.files.flatMap(({ name, size }) =>
      Array.from({ length: long ? 20 : 2 }, () => ({ file: name, at: random(size), bits: anyBits() })),
    )
    const losses = await healAll(original, harms)
    console.log(
      `${harms.length} flipped bytes of a log of ${original.entries.length} entries: ${losses} lost one, 0 for good`,
    )
  })
})
