import { expect, test } from "vitest"
import { replicaOf } from "../../src/app/workspace.ts"
import { collection, openWorkspace, shape, text } from "../../src/index.ts"
import { memoryStore } from "../../src/store/memory.ts"
import type { Store } from "../../src/store/store.ts"
import { systemEnv } from "../../src/sync/system.ts"

const notes = collection("notes", shape<{ title: string; body?: string }>(), { fields: { body: text() } })

/** Keeps no changes in memory after a creation, so that each hydration reads them from the disk. */
const env = { ...systemEnv, sizes: { arrivals: 0 } }

/**
 * Opens a workspace. `hydrated`: the entities whose changes were listed on the disk, which each hydration does once.
 * `live` returns those of the given entities whose documents are live.
 */
async function opened(documentBytes?: number) {
  const real = memoryStore()
  const hydrated: string[] = []
  const store: Store = {
    ...real,
    list(prefix, options) {
      if (prefix[1] === "change" && prefix[2] !== undefined) hydrated.push(prefix[2])
      return real.list(prefix, options)
    },
  }
  const ws = await openWorkspace({ id: "w", collections: { notes }, store, documentBytes, env })
  const live = (ids: readonly string[]) => ids.filter((id) => replicaOf(ws).documents.has(id))
  /** Uses the document of an entity, and edits nothing. */
  const use = async (id: string) => {
    await replicaOf(ws).step([], (tx) => replicaOf(ws).documents.live(id, tx))
    await new Promise(setImmediate) // documents are evicted after the step
  }
  return { ws, hydrated, live, use }
}

test("a note is made and read without a document, and hydrated when its text is first edited", async () => {
  const { ws, hydrated, live } = await opened()
  const ids: string[] = []
  for (let i = 0; i < 3; i++) ids.push((await ws.notes.create({ title: `${i}`, body: "x" })).id)
  expect(live(ids)).toEqual([])
  expect(hydrated).toEqual([])
  await ws.notes.update(ids[0] as string, (draft) => void (draft.body = "edited"))
  expect(await ws.notes.read(ids[1] as string)).toMatchObject({ title: "1", body: "x" })
  expect(live(ids)).toEqual(ids.slice(0, 1))
  await ws.close()
})

test("the note that was read last is hydrated soon, because it will probably be edited", async () => {
  const { ws, live } = await opened()
  const ids: string[] = []
  for (let i = 0; i < 3; i++) ids.push((await ws.notes.create({ title: `${i}`, body: "x" })).id)
  for (const id of ids) await ws.notes.read(id)
  expect(live(ids)).toEqual([])
  await expect.poll(() => live(ids), { timeout: 20_000 }).toEqual(ids.slice(2))
  await ws.close()
})

test("an edit of a long field is told although the row shows its start and length only", async () => {
  const { ws } = await opened()
  const { id } = await ws.notes.create({ title: `${"x".repeat(5000)}1` })
  let told = 0
  ws.notes.subscribe(() => void told++)
  const before = ws.notes.get(id)
  await ws.notes.update(id, (draft) => void (draft.title = `${"x".repeat(5000)}2`))
  await Promise.resolve()
  expect([told, ws.notes.get(id) === before]).toEqual([1, false])
  await ws.close()
})

test("a read says the same with and without a document, for a text that is too long for its row, too", async () => {
  const { ws, use, live } = await opened()
  const { id } = await ws.notes.create({ title: "T", body: "x".repeat(9000) })
  const without = await ws.notes.read(id)
  expect([without?.body?.length, live([id])]).toEqual([9000, []])
  await use(id)
  expect(await ws.notes.read(id)).toEqual(without)
  expect(live([id])).toEqual([id])
  await ws.close()
})

test("the documents of a hundred notes that are edited in turn stay live", async () => {
  const { ws, hydrated, live } = await opened()
  const ids: string[] = []
  for (let i = 0; i < 100; i++) ids.push((await ws.notes.create({ title: "T", body: "hello world ".repeat(80) })).id)
  const edit = async (title: string) => {
    hydrated.length = 0
    for (const id of ids) await ws.notes.update(id, (draft) => void (draft.body = title))
  }
  await edit("once")
  expect(hydrated).toEqual(ids)
  await edit("twice")
  expect(hydrated).toEqual([])
  expect(live(ids).length).toBe(100)
  await ws.close()
})

test("the least recently used documents are evicted when all together exceed the limit", async () => {
  const { ws, hydrated, live, use } = await opened(600_000)
  const ids: string[] = []
  for (let i = 0; i < 5; i++) ids.push((await ws.notes.create({ title: `${i}`, body: "x".repeat(1000) })).id)
  for (const id of ids) await use(id)
  expect(live(ids)).toEqual(ids.slice(2))
  hydrated.length = 0
  await ws.notes.update(ids[2] as string, (draft) => void (draft.body += "again"))
  await ws.notes.update(ids[0] as string, (draft) => void (draft.body += "again"))
  expect(hydrated).toEqual([ids[0]])
  expect(live(ids)).toEqual([ids[0], ids[2], ids[4]])
  await ws.close()
})

test("a growing document evicts others, and one that alone exceeds the limit stays until another is used", async () => {
  const { ws, hydrated, live, use } = await opened(1_000_000)
  const small = (await ws.notes.create({ title: "small", body: "x" })).id
  const large = (await ws.notes.create({ title: "large", body: "" })).id
  await use(small)
  for (let i = 0; i < 10; i++)
    await ws.notes.update(large, (_draft, edit) => edit.splice("body", 0, 0, "y".repeat(1000)))
  expect(live([small, large])).toEqual([large])
  expect(hydrated).toEqual([small, large])
  await ws.notes.update(small, (draft) => void (draft.body = "again"))
  expect(live([small, large])).toEqual([small])
  await ws.close()
})

test("among documents that were never edited, the least recently used are evicted first", async () => {
  const { ws, hydrated, use } = await opened()
  const { id } = await ws.notes.create({ title: "used again and again" })
  for (let i = 0; i < 100; i++) {
    const other = await ws.notes.create({ title: `${i}` })
    await use(other.id)
    await use(id)
  }
  expect(hydrated.filter((one) => one === id)).toEqual([id])
  await ws.close()
})
