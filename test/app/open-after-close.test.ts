/**
 * A program that opens a workspace while its own earlier opening is being closed waits for the close. It gets
 * `STORE_IN_USE` only when somebody keeps the workspace open.
 */
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import path from "node:path"
import { collection, openWorkspace, relayConnection, shape } from "headwater"
import { indexedDBStore } from "headwater/indexeddb"
import { memoryStore } from "headwater/memory"
import { nodeStore } from "headwater/node"
import { afterAll, describe, expect, test } from "vitest"
import type { Store } from "../../src/store/store.ts"
import { ScriptedRelay } from "../support/scripted-relay.ts"
import { newBrowser } from "../support/store/fixtures.ts"

const notes = collection("notes", shape<{ title?: string }>())
const open = (store: object, signal?: AbortSignal) =>
  openWorkspace({ id: "w", collections: { notes }, store, ...(signal && { signal }) })

const folder = await mkdtemp(path.join(tmpdir(), "headwater-lives-"))
const memory = memoryStore()
newBrowser()
afterAll(() => rm(folder, { recursive: true }))
const stores: [string, () => Store][] = [
  ["one memory store", () => memory],
  ["a node store made anew each time", () => nodeStore(folder)],
  ["an IndexedDB store made anew each time", () => indexedDBStore("lives")],
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

  test("opens again while an earlier opening has not finished and will be closed at once", async () => {
    const first = open(store())
    const closed = first.then((ws) => ws.close())
    const second = await open(store())
    await closed
    await second.close()
  })

  test("opens again while an aborted opening is being undone", async () => {
    const aborting = new AbortController()
    const first = open(store(), aborting.signal)
    first.catch(() => {}) // the rejection is checked below
    aborting.abort(new Error("unmounted"))
    const second = await open(store())
    await expect(first).rejects.toThrow("unmounted")
    await second.close()
  })

  test("three openings at once, each closed as soon as it is open, all succeed", async () => {
    const all = await Promise.all([1, 2, 3].map(() => open(store()).then((ws) => ws.close().then(() => true))))
    expect(all).toEqual([true, true, true])
  })

  test("rejects with STORE_IN_USE while the first opening stays open", async () => {
    const first = await open(store())
    await expect(open(store())).rejects.toMatchObject({ code: "STORE_IN_USE" })
    await first.close()
    await (await open(store())).close()
  })
})

test("opens with another store on a relay connection that the closing workspace has not left yet", async () => {
  const relay = new ScriptedRelay()
  const connection = relayConnection({ url: "ws://relay" })
  const mount = () =>
    openWorkspace({ id: "w", collections: { notes }, store: memoryStore(), relay: connection, env: relay.env })
  const first = mount()
  const unmounted = first.then((ws) => ws.close())
  const second = await mount()
  await unmounted
  await expect(mount()).rejects.toMatchObject({ code: "STORE_IN_USE" })
  const closing = second.close()
  await (await mount()).close()
  await closing
  await connection.close()
})

test.each(["rejects", "throws"])("an opening that fails, and whose release %s, blocks no later one", async (how) => {
  const real = memoryStore()
  let fails = true
  const store: Store = {
    ...real,
    list: (...call) => (fails ? Promise.reject(new Error("list")) : real.list(...call)),
    get: (...call) => (fails ? Promise.reject(new Error("list")) : real.get(...call)),
    async claim(workspace) {
      const release = await real.claim(workspace)
      return () => {
        const released = release()
        if (!fails) return released
        if (how === "throws") throw new Error("release")
        return released.then(() => Promise.reject(new Error("release")))
      }
    },
  }
  await expect(open(store)).rejects.toThrow("list")
  fails = false
  await (await open(store)).close()
})
