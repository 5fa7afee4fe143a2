import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import path from "node:path"
import { afterEach, expect, test, vi } from "vitest"

// Alone in its file: what this test looks for happens once, when a module is first loaded.
afterEach(() => vi.unstubAllGlobals())

test("nothing global is registered by the library, its store or its relay", async () => {
  vi.stubGlobal("WebSocket", undefined) // as on the oldest Node that is supported
  const globals = () => new Map(Reflect.ownKeys(globalThis).map((key) => [key, Reflect.get(globalThis, key)]))
  const listeners = () => new Map(process.eventNames().map((name) => [name, process.listenerCount(name)]))
  globals() // some are made when they are first looked at
  const before = { globals: globals(), listeners: listeners() }
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
  const changed = [...after.globals].filter(([key, value]) => !Object.is(value, before.globals.get(key)))
  expect(after.globals.size).toBe(before.globals.size)
  expect(changed.map(([key]) => String(key))).toEqual([])
  expect(after.listeners).toEqual(before.listeners)
})
