import { memoryStore } from "headwater/memory"
import { expect, test, vi } from "vitest"
import { HeadwaterError } from "../../src/base/errors.ts"
import { genesisOf } from "../../src/document/derived-changes.ts"
import { systemEnv } from "../../src/sync/system.ts"
import { at, item, next, open, openLevel, w } from "../support/foreign.ts"
import { put } from "../support/hostile.ts"
import { ScriptedRelay } from "../support/scripted-relay.ts"

let away = false
vi.mock("../../src/document/automerge.ts", async (original) => {
  const real = await original<typeof import("../../src/document/automerge.ts")>()
  const loadAutomerge = async (wasm?: URL) => {
    if (away) throw new HeadwaterError("WASM_FAILED", "no network")
    return real.loadAutomerge(wasm)
  }
  return { ...real, loadAutomerge }
})

test("status no longer shows WASM_FAILED once Automerge has been loaded", async () => {
  const store = memoryStore()
  let ws = await open(undefined, store)
  const { id } = await ws.notes.create({ title: "T" })
  await ws.close()
  away = true
  ws = await open(undefined, store, { ...systemEnv, sizes: { encodeWrites: false } })
  const edit = () => ws.notes.update(id, (draft) => void (draft.title = "U"))
  await expect(edit()).rejects.toMatchObject({ code: "WASM_FAILED" })
  expect(ws.status.error?.code).toBe("WASM_FAILED")
  away = false
  await edit()
  expect(await ws.notes.read(id)).toMatchObject({ title: "U" })
  expect(ws.status.error).toBe(null)
  await ws.close()
})

test("while Automerge cannot be loaded, the rows that need no document are shown, and the others once it is", async () => {
  away = false
  const relay = new ScriptedRelay()
  const ws = await openLevel(relay)
  const names = ["e0", "e1", "e2", "e3"]
  const items = names.map((name, i) => {
    const genesis = genesisOf(name, "notes")
    // The reader declines changes with an empty key, so these notes need a document.
    const more = i % 2 === 0 ? { ops: [put({ key: "n", value: i }), put({ key: "" })] } : {}
    return item(name, [genesis, next(genesis, i, more)])
  })
  away = true
  relay.say({ t: "entries", w, items, cursor: at(2), level: true })
  await relay.pass(1000)
  expect(names.map((name) => ws.notes.get(name)?.n)).toEqual([undefined, 1, undefined, 3])
  expect(ws.status.error?.code).toBe("WASM_FAILED")
  away = false
  await relay.pass(6000)
  expect(names.map((name) => ws.notes.get(name)?.n)).toEqual([0, 1, 2, 3])
  expect(ws.status.error).toBe(null)
  await ws.close()
})
