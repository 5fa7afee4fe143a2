/**
 * A connection ends while the disk is slow. Its messages are saved before those of the next connection, or not at all.
 * They no longer change what the device knows of the relay: principal, cursor, refusals and progress.
 */
import { memoryStore } from "headwater/memory"
import { beforeAll, beforeEach, expect, test } from "vitest"
import { replicaOf } from "../../src/app/workspace.ts"
import { loadAutomerge } from "../../src/document/automerge.ts"
import { genesisOf } from "../../src/document/derived-changes.ts"
import { ConnectionSteps } from "../../src/replica/exchange/connection-steps.ts"
import { receiveEntries } from "../../src/replica/exchange/receive-entries.ts"
import type { Store, Write } from "../../src/store/store.ts"
import { EntryBatches } from "../../src/sync/entry-batches.ts"
import { at, first, item, next, open, openLevel, refuse, url, w } from "../support/foreign.ts"
import { ScriptedRelay } from "../support/scripted-relay.ts"

let relay: ScriptedRelay
let commits = Promise.resolve()
/** Ends the wait that `holdCommits` has begun. */
let release = () => {}

/** Makes a store whose commits wait from `holdCommits` until `release`. */
const slowStore = () => memoryStore({ step: (step) => (step === "commit" ? commits : undefined) })

function holdCommits(): void {
  commits = new Promise((resolve) => {
    release = resolve
  })
}

const entry = (id: string) => item(id, [genesisOf(id, "notes")])
const level = (position: number, more: object = {}) =>
  relay.say({ t: "entries", w, items: [], cursor: at(position), level: true, ...more })

beforeAll(() => loadAutomerge()) // takes longer than `relay.settle` waits

beforeEach(() => {
  commits = Promise.resolve()
  relay = new ScriptedRelay()
  relay.answer = (message) => (message.t === "ping" ? [{ t: "pong" }] : [])
})

test("entries that wait when another account connects do not make the unsent changes that account's own", async () => {
  const ws = await openLevel(relay, slowStore())
  await ws.notes.create({ title: "ann's" }) // pushed as ann, and never acknowledged
  await relay.settle()
  void ws.whenSynced().catch(() => {}) // pulls once more
  await relay.settle()
  holdCommits()
  level(2, { items: [entry("x1")] })
  await relay.settle()
  level(3, { items: [entry("x2")], ...first }) // waits until the entries before it are committed
  await relay.pass(400)
  ws.connect({ url, token: "bob" })
  await relay.settle()
  level(3, { ...first, principal: "bob" })
  await relay.settle()
  const heard = relay.heard.length
  release()
  await relay.pass(600) // longer than any pause between two batches
  expect(ws.status).toMatchObject({ principal: "bob", others: [{ principal: "ann" }] })
  await ws.notes.create({ title: "bob's" }, { id: "bobs" })
  await relay.settle()
  const pushes = relay.heard.slice(heard).filter((message) => message.t === "push")
  expect(pushes.flatMap(({ entries }) => entries.map(({ entity }) => entity))).toEqual(["bobs"])
  await ws.close()
})

test("entries whose step has not begun when their connection ends name no principal and no cursor", async () => {
  const ws = await open({ url }, slowStore(), relay.env)
  await relay.settle()
  holdCommits()
  const written = ws.notes.create({ title: "T" })
  await relay.settle()
  level(7, first)
  await relay.settle()
  ws.disconnect()
  release()
  await written
  await relay.settle()
  expect(replicaOf(ws).state).toMatchObject({ principal: null, cursor: null })
  await ws.close()
})

test("entries that come to the replica after their connection has ended are dropped", async () => {
  const ws = await open(undefined)
  const steps = new ConnectionSteps(replicaOf(ws))
  steps.end()
  const received = { items: [entry("x")], cursor: at(1), level: true, principal: "ann" }
  expect(await receiveEntries(steps, received)).toMatchObject({ again: [], settled: [] })
  expect([replicaOf(ws).state.principal, replicaOf(ws).stale.size]).toEqual([null, 0])
  await ws.close()
})

/** Begins a heal while the entries of x1 are being committed and those of x2 wait. */
async function healWhileEntriesWait(ws: object): Promise<void> {
  holdCommits()
  level(2, { items: [entry("x1")] })
  await relay.settle()
  level(3, { items: [entry("x2")] }) // waits until the entries before it are committed
  const damaged = replicaOf(ws).step([], (tx) => {
    tx.state = { ...tx.state, heal: true }
  })
  await relay.pass(400) // the commit of the batch is slow, so that a pause follows it
  release()
  await damaged
}

test("entries that wait when damage begins a heal are saved, because later entries may depend on them", async () => {
  const ws = await openLevel(relay, slowStore())
  await healWhileEntriesWait(ws)
  await relay.pass(1000)
  expect([relay.count("have"), ws.notes.get("x1")?.id, ws.notes.get("x2")?.id]).toEqual([1, "x1", "x2"])
  await ws.close()
})

test("batches that have ended hand on nothing, whatever comes later", async () => {
  let handedOn = 0
  const batches = new EntryBatches(relay.env, () => void handedOn++)
  const message = { t: "entries", w, items: [entry("x")], level: true } as const
  batches.add(message, 1000)
  await undefined
  batches.add(message, 1000)
  await undefined
  relay.now += 400
  batches.end()
  batches.committed(0)
  await relay.pass(1000)
  batches.add(message, 1000)
  batches.handOn()
  await undefined
  expect(handedOn).toBe(1)
})

test("a refusal that is handled after the connection has ended is not shown", async () => {
  const ws = await openLevel(relay, slowStore())
  await ws.notes.create({ title: "T" })
  await relay.settle()
  const push = relay.last("push")
  refuse(relay, push, () => "ACTOR_BOUND")
  await relay.settle()
  const again = relay.last("push")
  expect(again.adopt).toBe(true)
  holdCommits()
  const other = ws.notes.create({ title: "another" }) // its commit is under way
  await relay.settle()
  refuse(relay, again, () => "ACTOR_BOUND") // for an `adopt` this is a refusal for now
  await relay.settle()
  ws.disconnect()
  release()
  await other
  await relay.settle()
  expect(ws.status).toMatchObject({ phase: "offline", error: null })
  await relay.pass(60_000)
  expect(ws.status.error).toBeNull()
  await ws.close()
})

test("an ack that is handled after its connection has ended is no progress of the next connection", async () => {
  relay.luck = 0.999
  const ws = await openLevel(relay, slowStore())
  const waits: number[] = []
  for (let i = 0; i < 4; i++) {
    await ws.notes.create({ title: `${i}` })
    await relay.settle()
    holdCommits()
    relay.say({ t: "ack", w, id: relay.last("push").id, at: at(1) })
    await relay.settle()
    const [from, dials] = [relay.now, relay.dials.length]
    relay.hangUp()
    while (relay.dials.length === dials) await relay.pass(100)
    waits.push(Math.round((relay.now - from) / 1000))
    await relay.settle()
    release() // the next connection is open by now
    await relay.settle()
    level(1, first)
    await relay.settle()
  }
  expect(waits).toEqual([1, 2, 4, 8])
  await ws.close()
})

test.each([
  ["together with the first step of the heal", {}],
  ["alone", { group: 1 }],
])(
  "entries that wait when damage begins a heal and cannot be saved, %s, are told of and come again",
  async (_, sizes) => {
    const disk = slowStore()
    let failures = 0
    const isFailing = ([key]: Write) => key[1] === "change" && key[2] === "x2" && failures === 0
    const store: Store = {
      ...disk,
      commit: async (writes, options) => {
        if (writes.some(isFailing)) {
          failures++
          throw new Error("the disk said no")
        }
        return disk.commit(writes, options)
      },
    }
    const ws = await openLevel(relay, store, { ...relay.env, sizes })
    const told: unknown[] = []
    ws.onStatus(({ error }) => told.push(error?.code))
    await healWhileEntriesWait(ws)
    await relay.pass(100)
    expect([failures, ws.status.error?.code, told.includes("STORE_FAILED")]).toEqual([1, "STORE_FAILED", true])
    // The relay sends this change before it reads the `have`. The change depends on the genesis that was not saved.
    const later = item("x2", [next(genesisOf("x2", "notes"), 5)])
    level(4, { items: [later] })
    await relay.pass(5000) // longer than the wait after a first failure
    const have = relay.heard.flatMap((message) => (message.t === "have" ? message.page.map(([id]) => id) : []))
    expect(have).toEqual(["x1"])
    relay.say({ t: "want", w, page: [] }, { t: "entries", w, items: [entry("x2"), later], ...first })
    level(4, first)
    await relay.pass(10_000)
    expect(ws.notes.all().map(({ id, n }) => [id, n])).toEqual([
      ["x1", undefined],
      ["x2", 5],
    ])
    expect([ws.status.phase, ws.status.error, replicaOf(ws).state.heal]).toEqual(["live", null, false])
    await ws.close()
  },
)
