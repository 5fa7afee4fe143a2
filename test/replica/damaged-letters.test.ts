/**
 * Records in which the disk has damaged a single letter, so that they are still JSON of the right shape, and a record
 * whose key is damaged. A replica must notice the damage.
 */
import { collection, openWorkspace, shape } from "headwater"
import { memoryStore } from "headwater/memory"
import { expect, test } from "vitest"
import { keys } from "../../src/replica/disk/records.ts"
import type { Key, Store, Value, Write } from "../../src/store/store.ts"
import { startRelay } from "../support/relay.ts"
import { until } from "../support/until.ts"

const notes = collection("notes", shape<{ title: string }>())
const open = (store: Store, url?: string) =>
  openWorkspace({ id: "w", collections: { notes }, store, relay: url === undefined ? undefined : { url } })

/** One commit writes the rows and the outbox records of this many notes as pages. */
const IN_PAGES = 300

/** Returns a store with notes that no relay has. */
async function withNotes(count: number): Promise<Store> {
  const store = memoryStore()
  const ws = await open(store)
  await Promise.all(Array.from({ length: count }, (_, i) => ws.notes.create({ title: `title ${i}` }, { id: `n${i}` })))
  await ws.close()
  return store
}

/** Changes records while nobody has the store open. `change` returns the writes that damage a record. */
async function harm(store: Store, kind: string, change: (key: Key, value: string) => Write[]): Promise<void> {
  const release = await store.claim("w")
  const [key, value] = (await store.list(["w"])).find(([key]) => key[1] === kind) as [Key, Value]
  await store.commit(change(key, String(value)))
  await release()
}

/** Returns a `change` for `harm` that overwrites the letters behind the first `text` of a record. */
const letters = (text: string, replacement: string) => (key: Key, value: string) => {
  const from = value.indexOf(text) + text.length
  expect(from).toBeGreaterThan(text.length)
  const harmed = value.slice(0, from) + replacement + value.slice(from + replacement.length)
  expect(harmed).not.toBe(value)
  return [[key, harmed]] as Write[]
}

/** Connects to an empty relay until `whenStored` resolves. Returns how many notes another device then gets from it. */
async function notesAfterStored(store: Store): Promise<number> {
  await using relay = await startRelay()
  const ws = await open(store, relay.url)
  await ws.whenStored()
  const other = await open(memoryStore(), relay.url)
  await other.whenSynced()
  const count = other.notes.all().length
  expect([ws.status.pending, ws.status.error]).toEqual([0, null])
  await Promise.all([ws.close(), other.close()])
  return count
}

test("a line of an outbox page that names another kind of changes does not make its changes count as stored", async () => {
  const store = await withNotes(IN_PAGES)
  await harm(store, "outpage", letters("\\nn17 ", "1"))
  expect(await notesAfterStored(store)).toBe(IN_PAGES)
})

test("a damaged hash in an outbox page is not waited for as a change that does not exist", async () => {
  const store = await withNotes(IN_PAGES)
  await harm(store, "outpage", letters("\\nn17 0 1 ", "zzzz"))
  expect(await notesAfterStored(store)).toBe(IN_PAGES)
})

test("an outbox record whose key the disk has damaged is dropped, and the change that has lost it is pushed", async () => {
  const store = await withNotes(1)
  await harm(store, "out", (key, value) => [
    [key, undefined],
    [keys.out("w", key[2] as string, `${"f".repeat(8)}${key[3]?.slice(8)}`), value],
  ])
  expect(await notesAfterStored(store)).toBe(1)
})

test("a record whose key no store takes any more, because the disk has damaged the key, stops no write", async () => {
  const store = await withNotes(1)
  const stray: [Key, Value] = [["w", "row", "notes", "n\ufffd"], "{}"]
  const list: Store["list"] = async (prefix, options) => {
    const found = await store.list(prefix, options)
    return prefix[1] === "row" ? [...found, stray] : found
  }
  const ws = await open({ ...store, list })
  await ws.notes.create({ title: "another" })
  expect(ws.notes.all()).toHaveLength(2)
  await ws.close()
})

test.each([
  ["row", 1],
  ["page", IN_PAGES],
])("a damaged letter in a %s is not shown: the row is made again", async (kind, count) => {
  const store = await withNotes(count)
  await harm(store, kind, letters('"title":"', "T"))
  const ws = await open(store)
  await until(() => ws.notes.all().length === count && !ws.notes.all().some(({ $stale }) => $stale), ws)
  expect(ws.notes.all().filter(({ title }) => !/^title \d+$/.test(title))).toEqual([])
  await ws.close()
})
