/** Acks that arrive shortly before a connection ends. They stay true without it, so the device saves them. */
import { memoryStore } from "headwater/memory"
import { beforeAll, expect, test } from "vitest"
import { genesisOf } from "../../src/document/derived-changes.ts"
import { loadAutomerge } from "../../src/document/entity.ts"
import { at, item, openLevel, w } from "../support/foreign.ts"
import { ScriptedRelay } from "../support/scripted-relay.ts"

beforeAll(() => loadAutomerge())

let relay: ScriptedRelay
let gate = Promise.resolve()
let release = () => {}

/** Opens a workspace and pushes a note. Then entries of another device arrive, and their commit waits for `release`. */
async function pushedOnSlowDisk() {
  relay = new ScriptedRelay()
  gate = Promise.resolve()
  const ws = await openLevel(relay, memoryStore({ step: (step) => (step === "commit" ? gate : undefined) }))
  await ws.notes.create({ title: "mine" }, { id: "m" })
  await relay.pass(100)
  gate = new Promise((resolve) => {
    release = resolve
  })
  relay.say({ t: "entries", w, items: [item("x", [genesisOf("x", "notes")])], cursor: at(2), level: true })
  return ws
}
const acknowledge = () => relay.say({ t: "ack", w, id: relay.last("push").id, at: at(3) })

test("an ack that waits behind a commit when the connection breaks is saved", async () => {
  const ws = await pushedOnSlowDisk()
  await relay.settle()
  acknowledge()
  await relay.settle()
  relay.hangUp()
  release()
  await relay.settle()
  expect(ws.status.pending).toBe(0)
  await ws.close()
})

test("an ack that waits for the end of a pause when the workspace closes is saved", async () => {
  const ws = await pushedOnSlowDisk()
  await relay.pass(400) // the commit of the batch is slow, so that a pause follows it
  release()
  await relay.settle()
  acknowledge()
  await relay.settle()
  await ws.close()
  expect(ws.status.pending).toBe(0)
})
