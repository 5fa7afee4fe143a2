import { memoryStore } from "headwater/memory"
import { beforeEach, expect, test } from "vitest"
import { replicaOf } from "../../src/app/workspace.ts"
import { HeadwaterError } from "../../src/base/errors.ts"
import { genesisOf } from "../../src/document/derived-changes.ts"
import type { Store } from "../../src/store/store.ts"
import { at, first, item, next, openLevel, w } from "../support/foreign.ts"
import { ScriptedRelay } from "../support/scripted-relay.ts"

let relay: ScriptedRelay
let fails = false
let store: Store
let ws: Awaited<ReturnType<typeof openLevel>>

const genesis = genesisOf("e", "notes")
const good = next(genesis, 1)
const later = next(good, 2, { seq: 2 })

beforeEach(async () => {
  relay = new ScriptedRelay()
  const disk = memoryStore()
  const commit: Store["commit"] = (batch, options) =>
    fails ? Promise.reject(new HeadwaterError("STORE_FAILED", "no space")) : disk.commit(batch, options)
  store = { ...disk, commit }
  ws = await openLevel(relay, store)
  return () => ws.close()
})

/** Marks that the replica must heal, as it does when its disk is damaged. The heal begins on the same connection. */
const damage = () =>
  replicaOf(ws).step([], (tx) => {
    tx.state = { ...tx.state, heal: true }
  })

/** Before the relay reads the last `have`, it sends an entry whose deps are not saved. Then it answers all `have`s. */
async function healAmidEntries(): Promise<void> {
  expect(relay.dials).toHaveLength(1)
  relay.say({ t: "entries", w, items: [item("e", [later])], cursor: at(3), level: true })
  await relay.pass(1000)
  expect(await store.list([w, "change"])).toEqual([])
  const haves = relay.count("have")
  for (let i = 0; i < haves; i++) relay.say({ t: "want", w, page: [] })
  relay.say({ t: "entries", w, items: [item("e", [genesis, good, later])], ...first })
  relay.say({ t: "entries", w, items: [], cursor: at(3), level: true })
  await relay.pass(1000)
  expect(ws.notes.get("e")).toMatchObject({ n: 2 })
}

test("a heal after a failed commit saves no change without those that it depends on", async () => {
  await damage()
  await relay.pass(100)
  expect(relay.count("have")).toBe(1)
  fails = true
  relay.say({ t: "entries", w, items: [item("e", [genesis, good])], cursor: at(2) })
  await relay.pass(100)
  fails = false
  for (let i = 0; i < 100 && relay.count("have") === 1; i++) await relay.pass(100)
  expect(relay.count("have")).toBe(2)
  await healAmidEntries()
})

test("a heal saves no change of which the deps came before its `have` was sent", async () => {
  await damage()
  relay.say({ t: "entries", w, items: [item("e", [genesis, good])], cursor: at(2) })
  await relay.pass(100)
  expect(relay.count("have")).toBe(1)
  await healAmidEntries()
})
