import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import path from "node:path"
import { afterEach, expect, test, vi } from "vitest"

// This test has a file of its own, because a module could register globals only when it is loaded for the first time.
afterEach(() => vi.unstubAllGlobals())

test("nothing global is registered by the library, its store or its relay", async () => {
  vi.stubGlobal("WebSocket", undefined) // the oldest supported Node has none
  const globals = () => new Map(Reflect.ownKeys(globalThis).map((key) => [key, Reflect.get(globalThis, key)]))
  const listeners = () => new Map(process.eventNames().map((name) => [name, process.listenerCount(name)]))
  globals() // reads all globals once, because Node makes some of them at the first access
  const before = { globals: globals(), listeners: listeners() }
  const steady = [...globals()].filter(([key, value]) => Object.is(value, before.globals.get(key))).map(([key]) => key)
  const folder = mkdtempSync(path.join(tmpdir(), "headwater-globals-"))
  const { collection, openWorkspace, text } = await import("headwater")
  const { nodeStore } = await import("headwater/node")
  const { createRelay } = await import("headwater-relay")
  const relay = await createRelay({ port: 0, data: path.join(folder, "relay") })
  const notes = collection("notes", undefined, { fields: { body: text() } })
  const ws = await openWorkspace({
    id: "w",
    collections: { notes },
    store: nodeStore(path.join(folder, "device")),
    relay: { url: relay.url },
  })
  await ws.notes.create({ body: "hello" })
  await ws.whenStored()
  const after = { globals: globals(), listeners: listeners() }
  await ws.close()
  await relay.close()
  rmSync(folder, { recursive: true, force: true })
  const changed = steady.filter((key) => !Object.is(after.globals.get(key), before.globals.get(key)))
  const added = [...after.globals.keys()].filter((key) => !before.globals.has(key))
  expect([...added, ...changed].map(String)).toEqual([])
  expect(after.listeners).toEqual(before.listeners)
})
