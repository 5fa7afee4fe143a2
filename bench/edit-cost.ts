/**
 * Measures what one edit costs in bytes: on the wire, in the relay's log and on the device, part by part. 20 notes get
 * 1,000 edits in turn: once each edit is stored before the next, and once all of them wait for a connection.
 */
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import path from "node:path"
import { collection, openWorkspace, text } from "headwater"
import { memoryStore } from "headwater/memory"
import { figure } from "./figures.ts"
import { countingProxy } from "./proxy.ts"
import { endAll, startRelay } from "./servers.ts"

const NOTES = 20
const EDITS = 1_000
const WORDS = ["a", "few", "letters", "and ", "so"]

type Store = ReturnType<typeof memoryStore>
/** A store in memory that adds up the bytes of keys and values that are written to it, by kind of record. */
function countingStore(written: Map<string, number>): Store {
  const store = memoryStore()
  const { commit } = store
  return Object.assign(store, {
    commit(writes: Parameters<Store["commit"]>[0], options?: Parameters<Store["commit"]>[1]) {
      for (const [key, value] of writes) {
        const kind = key[1] ?? ""
        const bytes = key.join(" ").length + (value === undefined ? 0 : Buffer.byteLength(value))
        written.set(kind, (written.get(kind) ?? 0) + bytes)
      }
      return commit.call(store, writes, options)
    },
  })
}

const notes = collection("notes", undefined, { fields: { body: text() } })
const folder = mkdtempSync(path.join(tmpdir(), "headwater-bench-"))
const body = "some words of a note that somebody edits ".repeat(12)
let state = 1
const below = (n: number) => {
  state = (state * 48271) % 2147483647
  return state % n
}

/** Bytes of all files below a folder. */
function bytesBelow(at: string): number {
  let bytes = 0
  for (const name of readdirSync(at, { recursive: true, encoding: "utf8" })) {
    const found = statSync(path.join(at, name))
    if (found.isFile()) bytes += found.size
  }
  return bytes
}

async function run(name: string, waiting: boolean): Promise<void> {
  const data = path.join(folder, name)
  const relay = await startRelay(data)
  const proxy = await countingProxy(relay.port)
  const written = new Map<string, number>()
  const id = "0190c0de-0000-7000-8000-000000000001"
  const collections = { notes }
  const store = countingStore(written)
  const open = (url: string | undefined) => openWorkspace({ id, collections, store, ...(url && { relay: { url } }) })
  let ws = await open(proxy.url)
  const ids: string[] = []
  for (let n = 0; n < NOTES; n++) ids.push((await ws.notes.create({ title: `note ${n}`, body })).id)
  await ws.whenStored()
  if (waiting) {
    await ws.close()
    ws = await open(undefined)
  }
  const reader = waiting
    ? undefined
    : await openWorkspace({ id, collections, store: memoryStore(), relay: { url: relay.url } })
  await reader?.whenSynced()
  proxy.reset()
  written.clear()
  const logBefore = bytesBelow(data)
  for (let n = 0; n < EDITS; n++) {
    await ws.notes.update(ids[n % NOTES]!, (draft, edit) => {
      if (n % 10 === 9) draft["title"] = `title ${n}`
      else edit.splice("body", below(body.length), 0, WORDS[below(WORDS.length)]!)
    })
    if (!waiting) await ws.whenStored()
  }
  const device = new Map(written)
  if (waiting) {
    await ws.close()
    ws = await open(proxy.url)
    await ws.whenStored()
  }
  const per = (bytes: number) => [bytes / EDITS]
  figure(`${name}: bytes to the relay`, per(proxy.up.bytes), " B")
  figure(`${name}: bytes from the relay (acks and runs)`, per(proxy.down.bytes), " B")
  figure(`${name}: bytes of the relay's log`, per(bytesBelow(data) - logBefore), " B")
  for (const [kind, bytes] of device) figure(`${name}: bytes written on the device as ${kind}`, per(bytes), " B")
  proxy.reset()
  const other = await openWorkspace({ id, collections, store: memoryStore(), relay: { url: proxy.url } })
  await other.whenSynced()
  figure(`${name}: bytes to a new device, creation included`, per(proxy.down.bytes), " B")
  await other.close()
  await reader?.close()
  await ws.close()
  proxy.close()
}

await run("one by one", false)
await run("waiting", true)
await endAll()
rmSync(folder, { recursive: true })
