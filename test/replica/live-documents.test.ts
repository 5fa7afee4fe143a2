import { expect, test } from "vitest"
import { replicaOf } from "../../src/app/workspace.ts"
import { collection, openWorkspace, shape, text } from "../../src/index.ts"
import { memoryStore } from "../../src/store/memory.ts"
import type { Store } from "../../src/store/store.ts"
import { systemEnv } from "../../src/sync/system.ts"

const notes = collection("notes", shape<{ title: string; body?: string }>(), { fields: { body: text() } })

/** Keeps no changes in memory after a creation, so that each hydration reads them from the disk. */
const env = { ...systemEnv, sizes: { arrivals: 0 } }

/** Opens a workspace, and counts the documents that it hydrates: each reads the changes of one entity. */
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
  return { ws, hydrated, live }
}

test("a note is made without a document, and hydrated when it is first edited or read", async () => {
  const { ws, hydrated, live } = await opened()
  const ids: string[] = []
  for (let i = 0; i < 3; i++) ids.push((await ws.notes.create({ title: `${i}`, body: "x" })).id)
  expect(live(ids)).toEqual([])
  expect(hydrated).toEqual([])
  await ws.notes.update(ids[0] as string, (draft) => void (draft.title = "edited"))
  expect(await ws.notes.read(ids[1] as string)).toMatchObject({ title: "1", body: "x" })
  expect(live(ids)).toEqual(ids.slice(0, 2))
  expect(hydrated).toEqual(ids.slice(0, 2))
  await ws.close()
})

test("a hundred notes that are edited in turn stay live", async () => {
  const { ws, hydrated, live } = await opened()
  const ids: string[] = []
  for (let i = 0; i < 100; i++) ids.push((await ws.notes.create({ title: "T", body: "hello world ".repeat(80) })).id)
  const edit = async (title: string) => {
    hydrated.length = 0
    for (const id of ids) await ws.notes.update(id, (draft) => void (draft.title = title))
  }
  await edit("once")
  expect(hydrated).toEqual(ids)
  await edit("twice")
  expect(hydrated).toEqual([])
  expect(live(ids).length).toBe(100)
  await ws.close()
})

test("the least recently used documents are freed when all together take more than they may", async () => {
  const { ws, hydrated, live } = await opened(600_000)
  const ids: string[] = []
  for (let i = 0; i < 5; i++) ids.push((await ws.notes.create({ title: `${i}`, body: "x".repeat(1000) })).id)
  for (const id of ids) await ws.notes.read(id)
  expect(live(ids)).toEqual(ids.slice(2))
  hydrated.length = 0
  await ws.notes.update(ids[2] as string, (draft) => void (draft.title = "again"))
  await ws.notes.update(ids[0] as string, (draft) => void (draft.title = "again"))
  expect(hydrated).toEqual([ids[0]])
  expect(live(ids)).toEqual([ids[0], ids[2], ids[4]])
  await ws.close()
})

test("a document that grows makes others go, and one that is too large by itself stays while it is the last used", async () => {
  const { ws, hydrated, live } = await opened(1_000_000)
  const small = (await ws.notes.create({ title: "small", body: "x" })).id
  const large = (await ws.notes.create({ title: "large", body: "" })).id
  await ws.notes.read(small)
  for (let i = 0; i < 10; i++)
    await ws.notes.update(large, (_draft, edit) => edit.splice("body", 0, 0, "y".repeat(1000)))
  expect(live([small, large])).toEqual([large])
  expect(hydrated).toEqual([small, large])
  await ws.notes.update(small, (draft) => void (draft.title = "again"))
  expect(live([small, large])).toEqual([small])
  await ws.close()
})

test("of documents that no edit has used, those that were used least recently go first", async () => {
  const { ws, hydrated } = await opened()
  const { id } = await ws.notes.create({ title: "read again and again" })
  for (let i = 0; i < 100; i++) {
    const other = await ws.notes.create({ title: `${i}` })
    await ws.notes.read(other.id)
    await ws.notes.read(id)
  }
  expect(hydrated.filter((one) => one === id)).toEqual([id])
  await ws.close()
})
