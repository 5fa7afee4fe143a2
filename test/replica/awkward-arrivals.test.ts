import { memoryStore } from "headwater/memory"
import { beforeAll, expect, test } from "vitest"
import { replicaOf } from "../../src/app/workspace.ts"
import { genesisOf } from "../../src/document/derived-changes.ts"
import { loadAutomerge } from "../../src/document/entity.ts"
import { keys } from "../../src/replica/disk/records.ts"
import { ConnectionSteps } from "../../src/replica/exchange/connection-steps.ts"
import { receiveEntries } from "../../src/replica/exchange/receive-entries.ts"
import type { Key, Store, Value } from "../../src/store/store.ts"
import type { Change } from "../../src/wire/chunk.ts"
import { decodeEntry, encodeEntry, type Item, limits } from "../../src/wire/protocol.ts"
import { at, first, item, next, open, openLevel, refuse, url, w } from "../support/foreign.ts"
import { put } from "../support/hostile.ts"
import { startRelay } from "../support/relay.ts"
import { ScriptedRelay } from "../support/scripted-relay.ts"
import { until } from "../support/until.ts"

// Messages of the relay at an awkward moment: they are incomplete, arrive together with others, contradict the changes
// of this device, or arrive while a record is damaged.
beforeAll(() => loadAutomerge())

test("an id is created in two collections: both devices show the entity of the log", async () => {
  await using relay = await startRelay()
  const a = await open(undefined)
  const b = await open(undefined)
  await a.notes.create({ title: "a note" }, { id: "settings" })
  await b.tasks.create({ title: "a task" }, { id: "settings" })
  b.connect({ url: relay.url })
  await b.whenStored()
  a.connect({ url: relay.url })
  await expect(a.whenStored()).rejects.toMatchObject({ code: "REJECTED" })
  await b.tasks.update("settings", (draft) => void (draft.title = "edited"))
  await b.whenStored()
  await a.whenSynced()
  const shown = (ws: typeof a) => [ws.notes.all(), ws.tasks.all()].map((rows) => rows.map(({ title }) => title))
  expect([shown(a), shown(b)]).toEqual([
    [[], ["edited"]],
    [[], ["edited"]],
  ])
  await a.close()
  await b.close()
})

test("an entity that the log has in another collection leaves no row in the first, also after a restart", async () => {
  const relay = new ScriptedRelay()
  const store = memoryStore()
  let ws = await openLevel(relay, store)
  await ws.notes.create({ title: "a note" }, { id: "settings" })
  await relay.settle()
  const genesis = genesisOf("settings", "tasks")
  refuse(relay, relay.last("push"), (i) => (i === 0 ? "COLLECTION_MISMATCH" : "DEPS_UNKNOWN"))
  relay.say({
    t: "entries",
    w,
    items: [item("settings", [genesis, next(genesis, 7)], "tasks")],
    cursor: at(2),
    level: true,
  })
  await relay.pass(200)
  const shown = () => [ws.notes.all().map(({ title }) => title), ws.tasks.all().map(({ n }) => n)]
  expect(shown()).toEqual([[], [7]])
  await ws.close()
  ws = await openLevel(relay, store)
  expect(shown()).toEqual([[], [7]])
  await ws.close()
})

test("an unsupported entry does not prevent the verdicts on the entries before it", async () => {
  const relay = new ScriptedRelay()
  const store = memoryStore()
  let ws = await openLevel(relay, store)
  const genesis = genesisOf("e", "notes")
  const good = next(genesis, 1)
  const bad = next(good, 666, { actor: "b".repeat(32), startOp: 2 ** 22 })
  relay.say({ t: "entries", w, items: [item("e", [genesis, good])], cursor: at(2), level: true })
  await relay.pass(200)
  const tombstone: Item = { entry: { entity: "f", collection: "notes", kind: "tombstone", chunks: [] } }
  relay.say({ t: "entries", w, items: [item("e", [bad]), tombstone], cursor: at(4), level: true })
  await relay.pass(500)
  await ws.close()
  ws = await open({ url }, store, relay.env)
  await ws.notes.update("e", (draft) => void (draft.title = "mine"))
  await relay.settle()
  relay.say({ t: "entries", w, items: [item("e", [bad])], cursor: at(3), level: true, ...first })
  await relay.pass(500)
  expect([ws.notes.get("e")?.n, [...replicaOf(ws).bad.keys()]]).toEqual([1, ["e"]])
  await ws.close()
})

test("a refused change that this device has also judged as bad ends no connection", async () => {
  const relay = new ScriptedRelay()
  const ws = await openLevel(relay)
  const genesis = genesisOf("e", "notes")
  const good = next(genesis, 1)
  const bad = next(good, 666, { actor: "b".repeat(32), startOp: 2 ** 22 })
  relay.say({ t: "entries", w, items: [item("e", [genesis, good, bad])], cursor: at(2), level: true })
  relay.say({ t: "want", w, page: [["e", []]] })
  await relay.pass(500)
  expect([...replicaOf(ws).bad.keys()]).toEqual(["e"])
  const push = relay.last("push")
  relay.say({ t: "reject", w, id: push.id, entity: "e", hash: bad.hash, code: "START_OP" })
  relay.say({ t: "ack", w, id: push.id, at: at(3) })
  await relay.settle()
  expect(ws.status).toMatchObject({ connected: true, pending: 0 })
  expect([...replicaOf(ws).rejected.keys()]).toEqual(["e"]) // otherwise whenStored would report the change as stored
  await ws.close()
})

test("a change that was judged in the group in which its entity arrived stays out of later documents", async () => {
  const ws = await open(undefined)
  const replica = replicaOf(ws)
  const genesis = genesisOf("e", "notes")
  const good = next(genesis, 1)
  const bad = next(good, 666, { actor: "b".repeat(32), startOp: 2 ** 22 })
  const items = [item("e", [genesis, good, bad])]
  const received = receiveEntries(new ConnectionSteps(replica), { items, cursor: at(2), level: true })
  expect(await ws.notes.read("e")).toMatchObject({ n: 1 }) // in the group of steps in which the entries arrive
  await received
  expect([...(replica.bad.get("e")?.keys() ?? [])]).toEqual([bad.hash])
  replica.documents.drop("e")
  expect(await ws.notes.read("e")).toMatchObject({ n: 1 })
  await ws.close()
})

test("a damaged record of one entity does not delay other entities", async () => {
  const relay = new ScriptedRelay()
  const store = memoryStore()
  let ws = await openLevel(relay, store)
  const genesis = genesisOf("a1", "notes")
  const one = next(genesis, 1)
  relay.say({ t: "entries", w, items: [item("a1", [genesis, one])], cursor: at(2), level: true })
  await relay.pass(200)
  await ws.close()
  await overwrite(store, keys.change(w, "a1", one.hash), () => new Uint8Array([1, 2, 3]))
  ws = await openLevel(relay, store)
  const other = genesisOf("b1", "notes")
  const items = [item("a1", [next(one, 2, { seq: 2 })]), item("b1", [other, next(other, 7)])]
  relay.say({ t: "entries", w, items, cursor: at(4), level: true })
  await relay.pass(9000)
  expect(ws.notes.get("b1")?.n).toBe(7)
  await ws.close()
})

test("after a connection as another principal, writes belong to that principal", async () => {
  const relay = new ScriptedRelay()
  const ws = await openLevel(relay)
  relay.hangUp()
  await relay.pass(1000)
  relay.say({ t: "entries", w, items: [], cursor: at(1), level: true, ...first, principal: "bob" })
  await undefined // at the end of this turn the message becomes a step
  const { id } = await ws.notes.create({ title: "T" }) // in the same group of steps as the message
  await relay.settle()
  expect(
    replicaOf(ws)
      .outbox.of(id)
      .map(({ principal }) => principal),
  ).toEqual(["bob", "bob"])
  expect(relay.count("push")).toBe(1)
  await ws.close()
})

test("a waiting change is not lost when the session takes a fresh actor", async () => {
  const relay = new ScriptedRelay()
  const ws = await openLevel(relay)
  const genesis = genesisOf("e", "notes")
  const one = next(genesis, 1)
  const two = next(one, 2, { seq: 2 })
  const three = next(two, 3, { seq: 3 })
  relay.say({ t: "entries", w, items: [item("e", [genesis, one])], cursor: at(2), level: true })
  await relay.pass(200)
  relay.hangUp()
  await relay.pass(1000)
  relay.say({ t: "entries", w, items: [item("e", [three])], cursor: at(3), level: true, ...first, principal: "bob" })
  await relay.pass(200)
  relay.say({ t: "entries", w, items: [item("e", [two])], cursor: at(4), level: true })
  await relay.pass(200)
  expect(replicaOf(ws).stale.has("e")).toBe(false)
  expect(await ws.notes.read("e")).toMatchObject({ n: 3 })
  const live = await replicaOf(ws).step([], (tx) => replicaOf(ws).documents.live("e", tx))
  expect(live?.changes.size).toBe(4)
  await ws.close()
})

test("an entity with the most heads that a relay accepts, and one more on this device, does not stop a heal", async () => {
  await using before = await startRelay()
  await using after = await startRelay()
  const genesis = genesisOf("e", "notes")
  const entry = ({ chunk }: Change) => ({ entity: "e", collection: "notes", kind: "change" as const, chunks: [chunk] })
  const wire = await before.dial()
  wire.pull()
  await wire.level()
  await wire.ack(wire.push([entry(genesis)]))
  const ws = await open({ url: before.url })
  await ws.whenSynced()
  ws.disconnect()
  await ws.notes.update("e", (draft) => void (draft.title = "mine"))
  const pushes = Array.from({ length: limits.heads }, (_, i) => {
    const actor = i.toString(16).padStart(32, "0")
    return wire.push([entry(next(genesis, i, { actor, ops: [put({ key: `k${i}` })] }))])
  })
  await Promise.all(pushes.map((push) => wire.ack(push)))
  ws.connect()
  await ws.whenSynced()
  expect(Object.keys(ws.notes.get("e") ?? {}).filter((key) => /^k/.test(key)).length).toBe(limits.heads)
  ws.connect({ url: after.url }) // the second relay has nothing, so a heal follows
  await ws.whenSynced()
  expect(ws.status).toMatchObject({ phase: "live", complete: true })
  await ws.close()
})

test("a step that fails halfway changes nothing, and the other steps of its group are saved", async () => {
  const relay = new ScriptedRelay()
  const store = memoryStore()
  let ws = await openLevel(relay, store)
  const genesis = genesisOf("e", "notes")
  const failing = replicaOf(ws).step([], (tx) => {
    tx.hold("e", { change: genesis, collection: "notes" })
    throw new Error("the disk could not be read")
  })
  const beside = ws.notes.create({ title: "T" })
  await expect(failing).rejects.toThrow("the disk could not be read")
  expect((await beside).title).toBe("T")
  await ws.notes.create({ title: "U" })
  await ws.close()
  ws = await openLevel(relay, store)
  expect([
    ws.notes
      .all()
      .map(({ title }) => title)
      .sort(),
    await store.get(keys.change(w, "e", genesis.hash)),
  ]).toEqual([["T", "U"], undefined])
  await ws.close()
})

/** Makes the store of a closed workspace with an entity of three changes. The record of the second one is damaged. */
async function damaged() {
  const relay = new ScriptedRelay()
  const store = memoryStore()
  const ws = await openLevel(relay, store)
  const genesis = genesisOf("e", "notes")
  const one = next(genesis, 1)
  const two = next(one, 2, { seq: 2 })
  relay.say({ t: "entries", w, items: [item("e", [genesis, one, two])], cursor: at(2), level: true })
  await relay.pass(200)
  await ws.close()
  await overwrite(store, keys.change(w, "e", one.hash), () => new Uint8Array([1, 2, 3]))
  return { relay, store, genesis, one, two }
}

/** Changes a record on the disk without the library, while nobody has the store open. */
async function overwrite(store: Store, key: Key, by: (value: Uint8Array) => Value | undefined): Promise<void> {
  const release = await store.claim(w)
  await store.commit([[key, by((await store.get(key)) as Uint8Array)]])
  await release()
}

/** Lets the relay answer a `have` with the changes that the device lacks, and say that nothing more follows. */
async function givesBack(relay: ScriptedRelay, ...lacking: readonly Change[]): Promise<void> {
  relay.say({ t: "want", w, page: [] }, { t: "entries", w, items: [item("e", lacking)], ...first })
  relay.say({ t: "entries", w, items: [], cursor: at(3), level: true })
  await relay.pass(200)
}

test("the device asks for a change that the disk has lost if another change depends on it", async () => {
  const { relay, store, genesis, one, two } = await damaged()
  await overwrite(store, keys.change(w, "e", one.hash), () => undefined)
  const ws = await openLevel(relay, store)
  await ws.notes.update("e", (draft) => void (draft.title = "mine"))
  await relay.pass(1000)
  expect(relay.last("have").page).toEqual([["e", [genesis.hash]]])
  await givesBack(relay, one, two)
  expect(ws.notes.get("e")).toMatchObject({ n: 2, title: "mine" })
  expect([replicaOf(ws).state.heal, replicaOf(ws).stale.size]).toEqual([false, 0])
  await ws.close()
})

test("the device asks for a damaged change at the next connection", async () => {
  const { relay, store, genesis, one, two } = await damaged()
  const ws = await openLevel(relay, store)
  await ws.notes.update("e", (draft) => void (draft.title = "mine"))
  relay.hangUp()
  await relay.pass(1000)
  expect(relay.last("have").page).toEqual([["e", [genesis.hash]]])
  await givesBack(relay, one, two)
  expect(ws.notes.get("e")).toMatchObject({ n: 2, title: "mine" })
  await ws.close()
})

test("the device asks for a damaged change on the connection that is open", async () => {
  const { relay, store, genesis, one, two } = await damaged()
  const ws = await openLevel(relay, store)
  await ws.notes.update("e", (draft) => void (draft.title = "mine"))
  await relay.pass(1000)
  expect(relay.last("have").page).toEqual([["e", [genesis.hash]]])
  // If the pull came first, entries that the relay sends before it reads the `have` would use up the new credit. The
  // device ignores these entries.
  expect(relay.heard.slice(-2).map(({ t }) => t)).toEqual(["have", "pull"])
  await givesBack(relay, one, two)
  expect(ws.notes.get("e")).toMatchObject({ n: 2, title: "mine" })
  expect(replicaOf(ws).state.heal).toBe(false)
  await ws.close()
})

/** Makes a store with two notes that were never pushed. `spoil` changes the record of the last change of note a1. */
async function spoilt(spoil: (value: Uint8Array) => Uint8Array) {
  const store = memoryStore()
  const ws = await open(undefined, store)
  await ws.notes.create({ title: "one" }, { id: "a1" })
  await ws.notes.create({ title: "two" }, { id: "b1" })
  const key = keys.change(w, "a1", replicaOf(ws).outbox.of("a1").at(-1)!.hash)
  await ws.close()
  await overwrite(store, key, spoil)
  return store
}
function flipped(value: Uint8Array): Uint8Array {
  const entry = decodeEntry(value)
  const chunk = entry.chunks[0]!.slice()
  chunk[chunk.length - 1]! ^= 1
  return encodeEntry({ ...entry, chunks: [chunk] })
}

test.each([
  ["is garbage", () => new Uint8Array([1, 2, 3])],
  ["has a bit flipped", flipped],
])(
  "an owed change whose record %s delays no other change, is reported, and is never called stored",
  async (_, spoil) => {
    await using relay = await startRelay()
    const ws = await open({ url: relay.url }, await spoilt(spoil))
    await until(() => ws.status.error?.code === "CHUNK_BAD" && ws.status.pending === 1, ws)
    expect(ws.status).toMatchObject({ phase: "live", error: { entity: "a1" } })
    await expect(ws.whenStored({ signal: AbortSignal.timeout(300) })).rejects.toMatchObject({ name: "TimeoutError" })
    await ws.close()
  },
)

test("a heal brings a damaged change back", async () => {
  const { relay, store, genesis, one, two } = await damaged()
  const ws = await open({ url }, store, relay.env)
  await relay.settle()
  relay.say({ t: "entries", w, items: [], ...first }, { t: "notice", w, code: "CURSOR_UNKNOWN" })
  await relay.settle()
  expect(relay.last("have").page).toEqual([["e", [genesis.hash]]])
  relay.say({ t: "entries", w, items: [item("e", [genesis, one, two])], cursor: at(2), level: true })
  await relay.pass(200)
  await ws.notes.update("e", (draft) => void (draft.title = "mine"))
  expect(await ws.notes.read("e")).toMatchObject({ n: 2, title: "mine" })
  await ws.close()
})
