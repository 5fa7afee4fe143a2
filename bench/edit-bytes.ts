/**
 * Breaks down the bytes that one edit costs: on the wire, in the relay's log and its index, and on the device. An edit
 * types a letter or sets a title. Either the relay stores each edit before the next one, or all are made offline.
 */
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import path from "node:path"
import { collection, openWorkspace, type Store, text } from "headwater"
import { nodeStore } from "headwater/node"
import type { AppendedChange, PageEntry } from "../relay/log/contract.ts"
import { openLogs } from "../relay/log/logs.ts"
import { nodeClock } from "../relay/machine/clock.node.ts"
import { nodeDisk } from "../relay/machine/disk.node.ts"
import { readChange } from "../src/wire/chunk.ts"
import { ReceivedChunks } from "../src/wire/received-chunks.ts"
import { countingProxy } from "./proxy.ts"
import { startRelay } from "./servers.ts"

const EDITS = 500
const NOTES = 10
const WORKSPACE = "w"

const folder = mkdtempSync(path.join(tmpdir(), "headwater-bench-"))
const notes = collection("notes", undefined, { fields: { body: text() } })
const open = (store: Store, url?: string) =>
  openWorkspace({ id: WORKSPACE, collections: { notes }, store, ...(url !== undefined && { relay: { url } }) })

/** Bytes of keys and of values that were written, for one kind of record. */
interface Written {
  keys: number
  values: number
}

/** Adds up the bytes that are written to a store, by the kind of record, which is the second part of the key. */
function counting(store: Store, written: Map<string, Written>): Store {
  const commit = store.commit.bind(store)
  return Object.assign(store, {
    commit(...all: Parameters<Store["commit"]>) {
      for (const [key, value] of all[0]) {
        const kind = written.get(key[1]!) ?? { keys: 0, values: 0 }
        written.set(key[1]!, kind)
        kind.keys += key.join(" ").length
        kind.values += value === undefined ? 0 : Buffer.byteLength(value)
      }
      return commit(...all)
    },
  })
}

const edits = {
  "a typed letter": (ws: Awaited<ReturnType<typeof open>>, id: string, i: number) =>
    ws.notes.update(id, (_, edit) => edit.splice("body", i % 1000, 0, "x")),
  "a title that is set": (ws: Awaited<ReturnType<typeof open>>, id: string, i: number) =>
    ws.notes.update(id, (draft) => void (draft["title"] = `title ${i}`)),
} as const

type Costs = Map<string, number>

async function measure(what: keyof typeof edits, live: boolean): Promise<Costs> {
  const at = mkdtempSync(path.join(folder, "run-"))
  const relay = await startRelay(path.join(at, "relay"))
  const proxy = await countingProxy(relay.port)
  const readers = await countingProxy(relay.port)
  const written = new Map<string, Written>()
  const store = counting(nodeStore(path.join(at, "device")), written)
  let ws = await open(store, proxy.url)
  const reader = await open(nodeStore(path.join(at, "reader")), readers.url)
  const made = await Promise.all(
    Array.from({ length: NOTES }, (_, i) => ws.notes.create({ title: `${i}`, body: "word ".repeat(200) })),
  )
  await ws.whenStored()
  await reader.whenSynced()
  if (!live) {
    await ws.close()
    ws = await open(store)
  }
  for (const one of [proxy, readers]) one.reset()
  written.clear()
  for (let i = 0; i < EDITS; i++) {
    await edits[what](ws, made[i % NOTES]!.id, i)
    if (live) await ws.whenStored()
  }
  const device = new Map(Array.from(written, ([kind, bytes]) => [kind, { ...bytes }]))
  if (!live) {
    ws.connect({ url: proxy.url })
    await ws.whenStored()
  }
  await reader.whenSynced()
  const costs: Costs = new Map()
  const cost = (name: string, bytes: number) => costs.set(name, bytes / EDITS)
  cost("wire: from the device", proxy.up.bytes)
  cost("wire: ack and place in the log", proxy.down.bytes)
  cost("wire: to another device", readers.down.bytes)
  await ws.close()
  await reader.close()
  for (const one of [proxy, readers]) one.close()
  await relay.end("SIGTERM")

  const log = await sealed(path.join(at, "relay"), path.join(at, "sealed"))
  cost("chunks: as Automerge has them", log.chunks)
  cost("entry: the chunks in the short form", log.blocks)
  cost("entry: its envelope (entity, collection, principal)", log.entries - log.blocks)
  cost("log: what precedes the entry in its record", log.records - log.entries)
  cost("log: its index, once the segment is sealed", log.index)
  for (const [kind, { keys, values }] of [...device].sort(([, a], [, b]) => b.keys + b.values - a.keys - a.values)) {
    cost(`device: ${kind}, key`, keys)
    cost(`device: ${kind}, value`, values)
  }
  return costs
}

/** Bytes that the edits have added to a relay's log. */
interface LogBytes {
  /** The chunks as Automerge encodes them. */
  readonly chunks: number
  /** The same chunks in the short form. */
  readonly blocks: number
  readonly entries: number
  readonly records: number
  readonly index: number
}

/**
 * Appends the edits of a relay's log to a new log, whose segment is then sealed, because only a sealed segment has an
 * index on the disk. A real relay seals a segment of 20,000 entries.
 */
async function sealed(from: string, to: string): Promise<LogBytes> {
  const common = { disk: nodeDisk, clock: nodeClock, report() {} }
  const before = await openLogs({ folder: from, ...common })
  const log = await before.open(WORKSPACE)
  const entries: PageEntry[] = []
  for (let position = 0; position < log.appended; position = entries.at(-1)!.position) {
    entries.push(...(await log.since(position, 2 ** 20)).entries)
  }
  // The first entries create the notes, one entry for each note.
  const edited = entries.slice(NOTES)
  const sum = (list: readonly number[]) => list.reduce((total, bytes) => total + bytes, 0)

  const after = await openLogs({ folder: to, ...common, sizes: { segmentEntries: edited.length - 1 } })
  const copy = await after.open(WORKSPACE)
  for (const { entry, bytes } of edited) {
    await copy.flushed(copy.append(entry, entry.chunks.map(changeOf), bytes))
  }
  await copy.close()
  await after.close()
  await log.close()
  await before.close()
  const size = (folder: string, end: string) =>
    sum(
      readdirSync(folder, { recursive: true, encoding: "utf8" })
        .filter((name) => name.endsWith(end))
        .map((name) => statSync(path.join(folder, name)).size),
    )
  return {
    chunks: sum(edited.flatMap(({ entry }) => entry.chunks.map((chunk) => chunk.length))),
    blocks: sum(edited.map(({ entry }) => ReceivedChunks.blockOf(entry.chunks, entry)?.length ?? 0)),
    entries: sum(edited.map(({ bytes }) => bytes.length)),
    records: size(to, ".log"),
    index: size(to, ".idx"),
  }
}

function changeOf(chunk: Uint8Array): AppendedChange {
  const { hash, actor, seq, startOp, ops, deps } = readChange(chunk)
  return { hash, actor, seq, startOp, maxOp: startOp + ops - 1, deps, binds: true }
}

const names = Object.keys(edits) as (keyof typeof edits)[]
const columns: { readonly title: string; readonly costs: Costs }[] = []
for (const what of names) {
  for (const live of [true, false]) {
    const costs = await measure(what, live)
    columns.push({ title: `${what}, ${live ? "each stored before the next" : `${EDITS} made offline`}`, costs })
  }
}
rmSync(folder, { recursive: true })
console.log(
  `| bytes of ${EDITS} edits of ${NOTES} notes in turn, for each | ${columns.map(({ title }) => title).join(" | ")} |`,
)
console.log(`| --- ${"| ---: ".repeat(columns.length)}|`)
for (const name of new Set(columns.flatMap(({ costs }) => [...costs.keys()]))) {
  console.log(`| ${name} | ${columns.map(({ costs }) => (costs.get(name) ?? 0).toFixed(1)).join(" | ")} |`)
}
process.exit(0)
