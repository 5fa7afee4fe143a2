import { beforeAll, expect, test } from "vitest"
import { replicaOf } from "../../src/app/workspace.ts"
import { type Handle, loadAutomerge, newHandle } from "../../src/document/automerge.ts"
import { readChange } from "../../src/wire/chunk.ts"
import { at, item, next, openLevel, refuse, w } from "../support/foreign.ts"
import { ScriptedRelay } from "../support/scripted-relay.ts"

beforeAll(() => loadAutomerge())

/** Makes every `applyChanges` throw until the returned function is called. */
function fail(): () => void {
  const prototype: Handle = Object.getPrototypeOf(newHandle())
  const real = prototype.applyChanges
  prototype.applyChanges = () => {
    throw new WebAssembly.RuntimeError("unreachable")
  }
  return () => {
    prototype.applyChanges = real
  }
}

test("a refused change leaves the row, also if the document can't be made at that time and other changes wait", async () => {
  const relay = new ScriptedRelay()
  const ws = await openLevel(relay, undefined, { ...relay.env, sizes: { readRows: false } })
  await ws.notes.create({ title: "kept" }, { id: "e" })
  await relay.pass(100)
  const created = relay.last("push")
  const last = readChange(created.entries[0]!.chunks.at(-1)!)
  const missing = next(last, 1)
  const waits = next(missing, 2, { seq: 2 })
  relay.say({ t: "ack", w, id: created.id, at: at(2) })
  relay.say({ t: "entries", w, items: [item("e", [waits])], cursor: at(3), level: true })
  await relay.pass(100)
  expect(replicaOf(ws).stale.get("e")).toEqual({ suspects: [waits.hash], waiting: true })
  await ws.notes.update("e", (draft) => void (draft.title = "refused"))
  await relay.pass(100)

  const restore = fail()
  refuse(relay, relay.last("push"), () => "REJECTED")
  await relay.settle()
  restore()
  expect(replicaOf(ws).documentFailure?.code).toBe("DOCUMENT_FAILED")
  expect(replicaOf(ws).stale.get("e")).toEqual({ suspects: [waits.hash], waiting: false })
  await relay.pass(20_000)
  expect(ws.notes.get("e")).toMatchObject({ title: "kept" })
  expect(replicaOf(ws).stale.get("e")).toEqual({ suspects: [waits.hash], waiting: true })
  relay.say({ t: "entries", w, items: [item("e", [missing])], cursor: at(4), level: true })
  await relay.pass(100)
  expect(ws.notes.get("e")).toMatchObject({ title: "kept", n: 2 })
  await ws.close()
})
