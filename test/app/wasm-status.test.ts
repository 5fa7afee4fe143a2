import { memoryStore } from "headwater/memory"
import { expect, test, vi } from "vitest"
import { HeadwaterError } from "../../src/base/errors.ts"
import { open } from "../support/foreign.ts"

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
  ws = await open(undefined, store)
  await expect(ws.notes.read(id)).rejects.toMatchObject({ code: "WASM_FAILED" })
  expect(ws.status.error?.code).toBe("WASM_FAILED")
  away = false
  expect(await ws.notes.read(id)).toMatchObject({ title: "T" })
  expect(ws.status.error).toBe(null)
  await ws.close()
})
