/**
 * A program opens a workspace while an earlier opening of its own is being closed. The new opening waits for the close.
 * It fails with `STORE_IN_USE` only when the workspace stays open.
 */
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import path from "node:path"
import { collection, openWorkspace, relayConnection, shape } from "headwater"
import { indexedDBStore } from "headwater/indexeddb"
import { memoryStore } from "headwater/memory"
import { nodeStore } from "headwater/node"
import { afterAll, describe, expect, test } from "vitest"
import { unlessAborted } from "../../src/app/abortable-opening.ts"
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

/** Makes a store whose disk does not answer before `answer` is called. */
function silentStore() {
  let answer = () => {}
  const answered = new Promise<void>((resolve) => {
    answer = resolve
  })
  return { store: memoryStore({ step: (step) => (step === "open" ? answered : undefined) }), answer }
}

test("an aborted opening rejects at once although the disk does not answer, and so does one behind it", async () => {
  const { store, answer } = silentStore()
  for (const why of ["the first was unmounted", "the second was unmounted"]) {
    const aborting = new AbortController()
    const opening = open(store, aborting.signal)
    const settled = opening.then(
      () => "open",
      (error: Error) => error.message,
    )
    await new Promise(setImmediate)
    aborting.abort(new Error(why))
    const waited = new Promise((resolve) => setImmediate(() => resolve("still waiting")))
    expect(await Promise.race([settled, waited])).toBe(why)
  }
  answer()
  const ws = await open(store) // waits until both openings are undone
  await ws.close()
})

test("an opening that succeeds in the turn in which it is aborted is closed again", async () => {
  const aborting = new AbortController()
  let finish = (_: string) => {}
  const opening = new Promise<string>((resolve) => {
    finish = resolve
  })
  const undone: string[] = []
  const result = unlessAborted(opening, aborting.signal, (workspace) => undone.push(workspace))
  finish("workspace")
  aborting.abort(new Error("unmounted"))
  await expect(result).rejects.toThrow("unmounted")
  expect(undone).toEqual(["workspace"])
})

test("a signal that is aborted once the workspace is open changes nothing", async () => {
  const aborting = new AbortController()
  const ws = await open(memoryStore(), aborting.signal)
  aborting.abort()
  expect((await ws.notes.create({ title: "T" })).title).toBe("T")
  await ws.close()
})
