/** Damaged changes that an entity's document needs from its beginning: its genesis, and the container of a text. */
import { collection, openWorkspace, shape, text } from "headwater"
import { memoryStore } from "headwater/memory"
import { beforeAll, expect, test } from "vitest"
import { replicaOf } from "../../src/app/workspace.ts"
import { genesisOf, textContainer } from "../../src/document/derived-changes.ts"
import { loadAutomerge } from "../../src/document/entity.ts"
import { keys } from "../../src/replica/disk/records.ts"
import type { Store, Value } from "../../src/store/store.ts"
import { readChange } from "../../src/wire/chunk.ts"
import { at, first, item, open, openLevel, url, w } from "../support/foreign.ts"
import { ScriptedRelay } from "../support/scripted-relay.ts"

beforeAll(() => loadAutomerge())

const GARBAGE = new Uint8Array([1, 2, 3])
const texts = collection("notes", shape<{ title?: string; body?: string }>(), { fields: { body: text() } })
const openTexts = (store: Store) => openWorkspace({ id: w, collections: { notes: texts }, store })
const genesis = genesisOf("e", "notes")
const body = textContainer("e", genesis, "body")

/** Changes a record on the disk while nobody has the store open. */
async function overwrite(store: Store, hash: string, value: Value | undefined): Promise<void> {
  const release = await store.claim(w)
  const key = keys.change(w, "e", hash)
  expect(await store.get(key)).toBeDefined()
  await store.commit([[key, value]])
  await release()
}

test.each([
  ["genesis", genesis.hash],
  ["container of a text", body.hash],
])("a damaged %s is made again without a relay, whether the entity is read or edited", async (_, hash) => {
  const store = memoryStore()
  const ws = await openTexts(store)
  await ws.notes.create({ title: "T", body: "old" }, { id: "e" })
  await ws.close()

  await overwrite(store, hash, GARBAGE)
  const reader = await openTexts(store)
  expect(await reader.notes.read("e")).toMatchObject({ title: "T", body: "old" })
  await reader.close()

  await overwrite(store, hash, new Uint8Array())
  const writer = await openTexts(store)
  expect(await writer.notes.update("e", (draft) => void (draft.body += "er"))).toMatchObject({ body: "older" })
  expect([replicaOf(writer).bad.size, replicaOf(writer).state.heal]).toEqual([0, false])
  await writer.close()

  const last = await openTexts(store)
  expect(await last.notes.read("e")).toMatchObject({ title: "T", body: "older" })
  await last.close()
})

test.each([
  ["damages", GARBAGE],
  ["loses", undefined],
])("a creation whose genesis the disk %s before the relay had it is pushed whole", async (_, value) => {
  const relay = new ScriptedRelay()
  const store = memoryStore()
  const ws = await open(undefined, store)
  await ws.notes.create({ title: "T" }, { id: "e" })
  await ws.close()
  await overwrite(store, genesis.hash, value)
  const again = await openLevel(relay, store)
  const pushed = relay.last("push").entries.flatMap(({ chunks }) => chunks.map((chunk) => readChange(chunk)))
  expect(pushed.map(({ hash }) => hash)).toContain(genesis.hash)
  expect([pushed.length, again.status.error]).toEqual([2, null])
  await again.close()
})

test("an edit that fails because of a lost change is DOCUMENT_FAILED, and the relay is asked for the change", async () => {
  const relay = new ScriptedRelay()
  const store = memoryStore()
  const ws = await openLevel(relay, store)
  await ws.notes.create({ title: "T" }, { id: "e" })
  await relay.pass(100)
  const { id, entries } = relay.last("push")
  relay.say({ t: "ack", w, id, at: at(2) })
  await relay.pass(100)
  await ws.close()
  await overwrite(store, genesis.hash, undefined)

  const again = await open({ url }, store, relay.env)
  await relay.settle()
  relay.say({ t: "entries", w, items: [], cursor: at(2), level: true, ...first })
  await relay.pass(100)
  const edit = () => again.notes.update("e", (draft) => void (draft.title = "U"))
  await expect(edit()).rejects.toMatchObject({ code: "DOCUMENT_FAILED", entity: "e" })
  await relay.pass(100)
  expect(again.notes.get("e")?.title).toBe("T")
  expect(relay.count("have")).toBe(1)
  relay.say({ t: "want", w, page: [] })
  const changes = entries.flatMap(({ chunks }) => chunks.map((chunk) => readChange(chunk)))
  relay.say({ t: "entries", w, items: [item("e", changes)], cursor: at(2), level: true, ...first })
  await relay.pass(100)
  expect((await edit()).title).toBe("U")
  await again.close()
})
