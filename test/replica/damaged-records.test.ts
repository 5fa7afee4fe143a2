/**
 * Change records and outbox records that the disk has damaged or lost. The replica notices it while the workspace is
 * open, or when it is opened again.
 */
import { collection, openWorkspace, shape, text } from "headwater"
import { memoryStore } from "headwater/memory"
import { beforeAll, expect, test } from "vitest"
import { replicaOf } from "../../src/app/workspace.ts"
import { genesisOf, textContainer } from "../../src/document/derived-changes.ts"
import { loadAutomerge } from "../../src/document/entity.ts"
import { heldOf } from "../../src/replica/disk/change-record.ts"
import { keys } from "../../src/replica/disk/records.ts"
import type { Key, Store, Value } from "../../src/store/store.ts"
import { systemEnv } from "../../src/sync/system.ts"
import { at, first, open, openLevel, url, w } from "../support/foreign.ts"
import { ScriptedRelay } from "../support/scripted-relay.ts"

beforeAll(() => loadAutomerge())

const GARBAGE = new Uint8Array([1, 2, 3])

/** Lets the relay acknowledge the last push. */
async function acknowledge(relay: ScriptedRelay, position: number): Promise<void> {
  relay.say({ t: "ack", w, id: relay.last("push").id, at: at(position) })
  await relay.pass(100)
}

/** Changes a record on the disk without the library, while nobody has the store open. */
async function overwrite(store: Store, key: Key, value: Value | undefined): Promise<void> {
  const release = await store.claim(w)
  await store.commit([[key, value]])
  await release()
}

/**
 * Opens a workspace with an edit that the relay has stored. The edit is still in the outbox, because its ack was lost.
 * The edited entity has a live document.
 */
async function unacknowledged() {
  const relay = new ScriptedRelay()
  const store = memoryStore()
  const ws = await openLevel(relay, store, { ...relay.env, sizes: { encodeWrites: false } })
  await ws.notes.create({ title: "one" }, { id: "e" })
  await relay.pass(100)
  await acknowledge(relay, 2)
  await ws.notes.update("e", (draft) => void (draft.title = "two"))
  await relay.pass(100)
  const { hash } = replicaOf(ws).outbox.of("e")[0]!
  relay.hangUp()
  return { relay, store, ws, key: keys.change(w, "e", hash), entries: relay.last("push").entries }
}

test.each([
  ["damages", GARBAGE],
  ["loses", undefined],
])("an owed change whose record the disk %s is saved again from the live document, and is pushed", async (_, value) => {
  const { relay, store, ws, key } = await unacknowledged()
  const before = await store.get(key)
  await store.commit([[key, value]])
  relay.heard.length = 0
  await relay.pass(5000)
  relay.say({ t: "entries", w, items: [], cursor: at(2), level: true, ...first })
  await relay.pass(100)
  expect(await store.get(key)).toEqual(before)
  await acknowledge(relay, 3)
  expect([ws.status.pending, ws.status.error, relay.count("have")]).toEqual([0, null, 0])
  await ws.close()
})

test("a change that arrives mends its damaged record, even if the live document has the change already", async () => {
  const { relay, store, ws, key, entries } = await unacknowledged()
  await store.commit([[key, GARBAGE]])
  const replica = replicaOf(ws)
  await replica.step([], (tx) => tx.markBad("e", key[3]!, { code: "CHUNK_BAD", automerge: "", damaged: true }))
  await relay.pass(5000)
  relay.say({
    t: "entries",
    w,
    items: [{ entry: { ...entries[0]!, by: "ann" } }],
    cursor: at(3),
    level: true,
    ...first,
  })
  await relay.pass(200)
  expect([replica.bad.size, ws.status.error]).toEqual([0, null])
  await ws.close()
  const again = await openLevel(relay, store)
  expect(await again.notes.read("e")).toMatchObject({ title: "two" })
  await again.close()
})

test("the device asks for an owed change that the disk has lost, reports it, and does not call it stored", async () => {
  const { relay, store, ws, key } = await unacknowledged()
  await ws.close()
  await overwrite(store, key, undefined)
  const again = await openLevel(relay, store)
  await relay.pass(1000)
  expect([again.status.pending, again.status.error?.code, relay.last("have").page.length]).toEqual([1, "CHUNK_BAD", 1])
  expect(again.status.error?.message).toMatch(/the disk has damaged/)
  await again.close()
})

test("a change that this session has made, pushed and lost to the disk is saved again when a heal brings it", async () => {
  const relay = new ScriptedRelay()
  const store = memoryStore()
  const ws = await openLevel(relay, store)
  await ws.notes.create({ title: "one" }, { id: "e" })
  await relay.pass(100)
  await acknowledge(relay, 2)
  await ws.notes.update("e", (draft) => void (draft.title = "two"))
  await relay.pass(100)
  const [edit] = relay.last("push").entries
  const { hash } = replicaOf(ws).outbox.of("e")[0]!
  await acknowledge(relay, 3)
  expect(replicaOf(ws).documents.has("e")).toBe(false)
  const key = keys.change(w, "e", hash)
  const before = await store.get(key)
  await store.commit([[key, GARBAGE]])
  await ws.notes.read("e")
  await relay.pass(100)
  expect([relay.count("have"), await store.get(key)]).toEqual([1, undefined])
  relay.say({ t: "want", w, page: [] }, { t: "entries", w, items: [], ...first })
  const items = [{ entry: { ...edit!, by: "ann" } }]
  relay.say({ t: "entries", w, items, cursor: at(3), level: true })
  await relay.pass(1000)
  expect([await store.get(key), replicaOf(ws).state.heal]).toEqual([before, false])
  expect(await ws.notes.read("e")).toMatchObject({ title: "two" })
  await ws.close()
})

test("a damaged key of a change keeps nobody from reading and editing its entity", async () => {
  const { relay, store, ws } = await unacknowledged()
  await relay.pass(5000)
  relay.say({ t: "entries", w, items: [], cursor: at(2), level: true, ...first })
  await relay.pass(100)
  await acknowledge(relay, 3)
  const strange: Key = [w, "change", "e", "ab"]
  await store.commit([[strange, GARBAGE]])
  const { commit } = store
  store.commit = (writes, options) => {
    if (writes.some(([key]) => key[3] === "ab")) throw new TypeError("no store takes this key")
    return commit(writes, options)
  }
  replicaOf(ws).documents.drop("e")
  expect(await ws.notes.read("e")).toMatchObject({ title: "two" })
  expect(await ws.notes.update("e", (draft) => void (draft.title = "three"))).toMatchObject({ title: "three" })
  expect(replicaOf(ws).state.heal).toBe(false)
  await ws.close()
})

test("a damaged change that the relay does not have either is asked for once, not with a heal a minute", async () => {
  const { relay, store, ws, key } = await unacknowledged()
  await relay.pass(5000)
  relay.say({ t: "entries", w, items: [], cursor: at(2), level: true, ...first })
  await relay.pass(100)
  await acknowledge(relay, 3)
  await ws.close()
  await overwrite(store, key, GARBAGE)
  const again = await openLevel(relay, store)
  relay.heard.length = 0
  for (let i = 0; i < 10; i++) {
    await again.notes.read("e")
    await relay.pass(1000)
    if (i === 0) relay.say({ t: "want", w, page: [] })
    relay.say({ t: "entries", w, items: [], cursor: at(4 + i), level: true, ...first })
    await relay.pass(60_000)
  }
  expect([relay.count("have"), again.status.phase, replicaOf(again).state.heal]).toEqual([1, "live", false])
  expect(await again.notes.read("e")).toMatchObject({ title: "one" })
  await again.close()
})

test("a failure that is not about the bytes of a record does not mark it as damaged", async () => {
  const { store, ws, key } = await unacknowledged()
  const record = (await store.get(key)) as Uint8Array
  await ws.close()
  expect(heldOf(record, key[3]!)).toBeDefined()
  expect(heldOf(record.subarray(1), key[3]!)).toBeUndefined()
  const unreadable = Object.defineProperty(record.slice(), "buffer", {
    get: () => {
      throw new RangeError("Array buffer allocation failed")
    },
  })
  expect(() => heldOf(unreadable, key[3]!)).toThrow("Array buffer allocation failed")
})

const texts = collection("notes", shape<{ title?: string; body?: string }>(), { fields: { body: text() } })
const openTexts = (store: Store) => openWorkspace({ id: w, collections: { notes: texts }, store })

test("making a damaged derived change again removes its verdict, and changes that waited for it are shown", async () => {
  const store = memoryStore()
  const ws = await openTexts(store)
  await ws.notes.create({ title: "T" }, { id: "e" })
  await ws.notes.update("e", (draft) => void (draft.body = "old"))
  await ws.close()
  const { hash } = textContainer("e", genesisOf("e", "notes"), "body")
  await overwrite(store, keys.change(w, "e", hash), GARBAGE)

  const again = await openTexts(store)
  // Earlier versions marked the damaged change in this way, and did not make it again.
  await replicaOf(again).step([], (tx) => {
    tx.markBad("e", hash, { code: "CHUNK_BAD", automerge: "", damaged: true })
    tx.markStale("e", { suspects: [], waiting: false })
  })
  expect((await again.notes.read("e"))?.body).toBe("")
  expect(replicaOf(again).bad.get("e")?.get(hash)).toMatchObject({ damaged: true })
  await again.notes.update("e", (_draft, edit) => edit.splice("body", 0, 0, "new"))
  expect(replicaOf(again).bad.size).toBe(0)
  const body = (await again.notes.read("e"))?.body
  expect([...body!.replace("new", "")].join("")).toBe("old")
  expect(again.notes.get("e")?.body).toBe(body)
  await again.close()
  const last = await openTexts(store)
  expect(await last.notes.read("e")).toMatchObject({ title: "T", body })
  await last.close()
})

test("a change of another principal whose outbox record is damaged is pushed with its author's name", async () => {
  const relay = new ScriptedRelay()
  const store = memoryStore()
  let ws = await openLevel(relay, store) // connected as ann
  await ws.notes.create({ title: "ann's" }, { id: "e" })
  const owed = replicaOf(ws).outbox.of("e")
  relay.hangUp()
  await relay.pass(5000)
  relay.say({ t: "entries", w, items: [], cursor: at(1), level: true, ...first, principal: "bob" })
  await relay.pass(100)
  await ws.close()
  for (const { hash } of owed) await overwrite(store, keys.out(w, "e", hash), "{garbage")
  relay.heard.length = 0
  ws = await open({ url }, store, relay.env)
  await relay.settle()
  relay.say({ t: "entries", w, items: [], cursor: at(1), level: true, ...first, principal: "bob" })
  await relay.pass(100)
  const { adopt, entries } = relay.last("push")
  expect([adopt, entries.map(({ by }) => by), ws.status.pending]).toEqual([true, ["ann"], owed.length])
  await ws.close()
})

test("an own change whose outbox record is damaged is pushed as an own change", async () => {
  const { relay, store, ws, key } = await unacknowledged()
  await ws.close()
  await overwrite(store, keys.out(w, "e", key[3]!), "{garbage")
  relay.heard.length = 0
  const again = await openLevel(relay, store)
  expect([relay.last("push").adopt, relay.last("push").entries.map(({ by }) => by)]).toEqual([undefined, [undefined]])
  await again.close()
})

test.each([
  ["loses", undefined, true],
  ["loses", undefined, false],
  ["damages", GARBAGE, true],
  ["damages", GARBAGE, false],
])("a session of which the disk %s a change never uses its (actor, seq) again", async (_, value, encodeWrites) => {
  const store = memoryStore()
  const ws = await open(undefined, store, { ...systemEnv, sizes: { encodeWrites } })
  await ws.notes.create({ title: "one" }, { id: "e" })
  await ws.notes.update("e", (draft) => void (draft.title = "two"))
  const numbers = async () =>
    (await store.list(keys.changesOf(w, "e"))).flatMap(([key, value]) => {
      const held = heldOf(value as Uint8Array, key[3] ?? "")
      return held === undefined ? [] : [`${held.change.actor} ${held.change.seq}`]
    })
  const before = await numbers()
  const [last] = replicaOf(ws).outbox.of("e").slice(-1)
  await store.commit([[keys.change(w, "e", last?.hash ?? ""), value]])
  replicaOf(ws).documents.drop("e")
  await ws.notes.update("e", (draft) => void (draft.title = "three"))
  const made = (await numbers()).filter((number) => !before.includes(number))
  expect(made).toHaveLength(1) // otherwise the new change has the actor and seq of the lost one
  await ws.close()
})

// The relay has acknowledged the change, so the change is not owed. The workspace is opened without a relay.
test("a row shows what can still be read of an entity whose last change is damaged and may never come back", async () => {
  const { relay, store, ws } = await unacknowledged()
  await relay.pass(5000)
  relay.say({ t: "entries", w, items: [], cursor: at(2), level: true, ...first })
  await relay.pass(100)
  const { hash } = replicaOf(ws).outbox.of("e")[0]!
  await acknowledge(relay, 3)
  await ws.close()
  await overwrite(store, keys.change(w, "e", hash), GARBAGE)
  const again = await open(undefined, store)
  expect(again.notes.get("e")?.title).toBe("two")
  expect(await again.notes.read("e")).toMatchObject({ title: "one" })
  expect(again.notes.get("e")).toMatchObject({ title: "one" })
  expect(replicaOf(again).state.heal).toBe(true)
  expect(replicaOf(again).stale.size).toBe(0)
  await again.close()
})
