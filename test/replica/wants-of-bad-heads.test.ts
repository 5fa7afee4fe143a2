/** A `want` that names a head which this device has set aside, or which nobody has. */
import { beforeAll, beforeEach, describe, expect, test } from "vitest"
import { replicaOf } from "../../src/app/workspace.ts"
import { genesisOf } from "../../src/document/derived-changes.ts"
import { loadAutomerge } from "../../src/document/entity.ts"
import { type Change, readChange } from "../../src/wire/chunk.ts"
import { at, first, item, next, openLevel, refuse, w } from "../support/foreign.ts"
import { ScriptedRelay } from "../support/scripted-relay.ts"

beforeAll(() => loadAutomerge())

const genesis = () => genesisOf("e", "notes")
/** Makes a change that every replica sets aside because of its `startOp`. A relay of an older version accepted it. */
const badOn = (on: Change) => next(on, 666, { actor: "b".repeat(32), startOp: 2 ** 22 })

let relay: ScriptedRelay
let ws: Awaited<ReturnType<typeof openLevel>>
beforeEach(async () => {
  relay = new ScriptedRelay()
  ws = await openLevel(relay)
  return () => ws.close()
})

/** This device receives an entity whose last two changes are a bad change and a change that depends on it. */
async function withBadHead() {
  const good = next(genesis(), 1)
  const bad = badOn(good)
  const waits = next(bad, 3, { actor: "c".repeat(32), startOp: bad.maxOp + 1 })
  const items = [item("e", [genesis(), good, bad, waits])]
  relay.say({ t: "entries", w, items, cursor: at(2), level: true })
  await relay.pass(200)
  expect([...replicaOf(ws).bad.get("e")!.keys()]).toEqual([bad.hash])
  return { good, bad, waits, items }
}

describe.each(["bad", "waits"] as const)("a head that is here and %s", (which) => {
  test("adds nothing to the outbox in a heal", async () => {
    const { items, ...changes } = await withBadHead()
    relay.hangUp()
    await relay.pass(3000)
    relay.say({ t: "entries", w, items: [], ...first }, { t: "notice", w, code: "CURSOR_UNKNOWN" })
    await relay.settle()
    relay.say({ t: "want", w, page: [["e", [changes[which].hash]]] })
    relay.say({ t: "entries", w, items, cursor: at(3), level: true })
    await relay.pass(200)
    expect([ws.status.pending, replicaOf(ws).state.heal]).toEqual([0, false])
  })

  test("does not delay a refused change of its entity", async () => {
    const changes = await withBadHead()
    await ws.notes.update("e", (draft) => void (draft.title = "mine"))
    await relay.pass(100)
    refuse(relay, relay.last("push"), () => "DEPS_UNKNOWN")
    await relay.pass(100)
    expect(relay.last("have")).toMatchObject({ single: true })
    relay.say({ t: "want", w, page: [["e", [changes[which].hash]]] })
    await relay.pass(100)
    expect(relay.count("push")).toBe(2)
    expect(ws.status.pending).toBe(1)
  })
})

test("a head on the rejected list of this device does not delay a refused change of its entity", async () => {
  await ws.notes.create({ title: "T" }, { id: "e" })
  await relay.pass(100)
  relay.say({ t: "ack", w, id: relay.last("push").id, at: at(2) })
  await ws.notes.update("e", (draft) => void (draft.title = "refused"))
  await relay.pass(100)
  const { hash } = readChange(relay.last("push").entries[0]!.chunks[0]!)
  refuse(relay, relay.last("push"), () => "REJECTED")
  await relay.pass(100)
  await ws.notes.update("e", (draft) => void (draft.title = "mine"))
  await relay.pass(100)
  refuse(relay, relay.last("push"), () => "DEPS_UNKNOWN")
  await relay.pass(100)
  relay.say({ t: "want", w, page: [["e", [hash]]] })
  await relay.pass(100)
  expect([relay.count("push"), ws.status.pending]).toEqual([4, 1])
})

test("a head that nobody sends delays the changes of its entity only until a pull is answered", async () => {
  const good = next(genesis(), 1)
  relay.say({ t: "entries", w, items: [item("e", [genesis(), good])], cursor: at(2), level: true })
  await relay.pass(200)
  await ws.notes.update("e", (draft) => void (draft.title = "mine"))
  await relay.pass(100)
  refuse(relay, relay.last("push"), () => "DEPS_UNKNOWN")
  await relay.pass(100)
  relay.say({ t: "want", w, page: [["e", [good.hash, "ab".repeat(32)]]] })
  const pulls = relay.count("pull")
  await relay.pass(100)
  expect([relay.count("pull") - pulls, relay.count("push")]).toEqual([1, 1])
  relay.say({ t: "entries", w, items: [], cursor: at(2), level: true, ...first })
  await relay.pass(100)
  expect([relay.count("push"), ws.status.pending]).toEqual([2, 1])
})
