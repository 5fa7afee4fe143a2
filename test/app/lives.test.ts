/** A page that opens, closes and opens again waits for itself; only another owner is in the way. */
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import path from "node:path"
import { collection, openWorkspace, shape } from "headwater"
import { memoryStore } from "headwater/memory"
import { nodeStore } from "headwater/node"
import { afterAll, describe, expect, test } from "vitest"
import type { Store } from "../../src/store/store.ts"

const notes = collection("notes", shape<{ title?: string }>())
const open = (store: object, signal?: AbortSignal) =>
  openWorkspace({ id: "w", collections: { notes }, store, ...(signal && { signal }) })

const folder = await mkdtemp(path.join(tmpdir(), "headwater-lives-"))
const memory = memoryStore()
afterAll(() => rm(folder, { recursive: true }))
const stores: [string, () => Store][] = [
  ["one memory store", () => memory],
  ["a node store made anew each time", () => nodeStore(folder)],
]

describe.each(stores)("%s", (_name, store) => {
  test("opens again while it is still being closed", async () => {
    const first = await open(store())
    const { id } = await first.notes.create({ title: "kept" })
    const closing = first.close()
    const second = await open(store())
    expect(second.notes.get(id)?.title).toBe("kept")
    await closing
    await second.close()
  })

  test("opens again while an opening is under way that is closed as soon as it is done", async () => {
    const first = open(store())
    const closed = first.then((ws) => ws.close())
    const second = await open(store())
    await closed
    await second.close()
  })

  test("opens again while an aborted opening is being undone", async () => {
    const aborting = new AbortController()
    const first = open(store(), aborting.signal)
    first.catch(() => {}) // it is looked at below
    aborting.abort(new Error("unmounted"))
    const second = await open(store())
    await expect(first).rejects.toThrow("unmounted")
    await second.close()
  })

  test("three openings in a row, each closed when it is open, all get their turn", async () => {
    const all = await Promise.all([1, 2, 3].map(() => open(store()).then((ws) => ws.close().then(() => true))))
    expect(all).toEqual([true, true, true])
  })

  test("says STORE_IN_USE of one that stays open", async () => {
    const first = await open(store())
    await expect(open(store())).rejects.toMatchObject({ code: "STORE_IN_USE" })
    await first.close()
    await (await open(store())).close()
  })
})
