/**
 * Histories are folded into pages while a workspace is open. The tests say which changes move and when, which stay
 * loose, what is on the disk after a crash or a failed commit, and how a damaged page is mended.
 */
import { collection, openWorkspace, shape, text } from "headwater"
import { memoryStore } from "headwater/memory"
import { beforeAll, beforeEach, expect, test } from "vitest"
import { replicaOf } from "../../src/app/workspace.ts"
import type { Env } from "../../src/base/env.ts"
import { HeadwaterError } from "../../src/base/errors.ts"
import type { Sizes } from "../../src/base/replica-sizes.ts"
import { loadAutomerge } from "../../src/document/entity.ts"
import { readHistory, readPages } from "../../src/replica/disk/histories.ts"
import { heldIn } from "../../src/replica/disk/history-page.ts"
import { keys } from "../../src/replica/disk/records.ts"
import type { Store, Write } from "../../src/store/store.ts"
import { genesisOf } from "../../src/wire/named-changes.ts"
import { at, first, item, next, w } from "../support/foreign.ts"
import { ScriptedRelay } from "../support/scripted-relay.ts"

beforeAll(() => loadAutomerge())

const notes = collection("notes", shape<{ title?: string; body?: string; n?: number }>(), { fields: { body: text() } })
const tiny: Partial<Sizes> = { looseHistory: 3, historyBlock: 2, historyPage: 200 }
const LONG = 20_000

let relay: ScriptedRelay
beforeEach(() => {
  relay = new ScriptedRelay()
})

async function open(store: Store, sizes: Partial<Sizes> = tiny) {
  const env: Env = { ...relay.env, sizes }
  const ws = await openWorkspace({ id: w, collections: { notes }, store, relay: { url: "ws://relay" }, env })
  await relay.settle()
  return ws
}
type Notes = Awaited<ReturnType<typeof open>>

const level = (position: number, items: Parameters<typeof item>[1] = [], entity = "e") =>
  relay.say({
    t: "entries",
    w,
    items: items.length > 0 ? [item(entity, items)] : [],
    cursor: at(position),
    level: true,
    ...first,
  })

async function acknowledge(position: number): Promise<void> {
  await relay.pass(300)
  relay.say({ t: "ack", w, id: relay.last("push").id, at: at(position) })
  await relay.pass(100)
}

/** Opens a workspace with a note whose creation the relay has stored. */
async function stored(store: Store): Promise<Notes> {
  const ws = await open(store)
  level(1)
  await ws.notes.create({ title: "one", body: "b" }, { id: "e" })
  await acknowledge(2)
  return ws
}

/** Types letters into the note, each acknowledged before the next one. */
async function type(ws: Notes, letters: string, from: number): Promise<void> {
  for (const [i, letter] of [...letters].entries()) {
    await ws.notes.update("e", (draft, edit) => edit.splice("body", draft.body!.length, 0, letter))
    await acknowledge(from + i)
  }
}

async function counts(store: Store): Promise<{ loose: number; paged: number; pages: number }> {
  const pages = await readPages(store, w, "e")
  const paged = pages.reduce((n, { blocks }) => n + [...heldIn(blocks)].length, 0)
  return { loose: (await store.list(keys.changesOf(w, "e"))).length, paged, pages: pages.length }
}

test("a new note is folded when it is quiet, later changes once there are some, and all is there after a restart", async () => {
  const store = memoryStore()
  const ws = await stored(store)
  const who = ws.notes.get("e")
  expect((await counts(store)).loose).toBe(3)
  await relay.pass(3000)
  expect(await counts(store)).toMatchObject({ loose: 0, paged: 3 })
  await type(ws, "xy", 3)
  await relay.pass(3000)
  expect(await counts(store)).toMatchObject({ loose: 2, paged: 3 })
  await type(ws, "zzzz", 5)
  await relay.pass(3000)
  expect(await counts(store)).toMatchObject({ loose: 0, paged: 9 })
  expect((await counts(store)).pages).toBeGreaterThan(1)
  await ws.close()

  const again = await open(store)
  expect(await again.notes.read("e")).toMatchObject({ title: "one", body: "bxyzzzz" })
  await again.notes.update("e", (draft) => void (draft.title = "two"))
  const { $createdBy, $createdAt } = again.notes.get("e")!
  expect([$createdBy, $createdAt]).toEqual([who!.$createdBy, who!.$createdAt])
  await again.close()
})

test("what an earlier session has left loose is folded some seconds after the opening", async () => {
  const store = memoryStore()
  const ws = await stored(store)
  expect((await counts(store)).loose).toBe(3)
  await ws.close()
  const again = await open(store)
  await relay.pass(LONG)
  expect(await counts(store)).toMatchObject({ loose: 0, paged: 3 })
  await again.close()
})

test("changes that the relay has not stored stay loose", async () => {
  const store = memoryStore()
  const ws = await stored(store)
  await relay.pass(3000)
  await type(ws, "abc", 3)
  await ws.notes.update("e", (draft) => void (draft.title = "unsent"))
  await relay.pass(LONG)
  expect(await counts(store)).toMatchObject({ loose: 1, paged: 6 })
  expect(ws.status.pending).toBe(1)
  await acknowledge(6)
  await type(ws, "de", 7)
  await relay.pass(3000)
  expect(await counts(store)).toMatchObject({ loose: 0, paged: 9 })
  await ws.close()
})

test("changes that wait for others, and bad ones, stay loose; the others move", async () => {
  const store = memoryStore()
  const ws = await open(store)
  const genesis = genesisOf("e", "notes")
  const one = next(genesis, 1)
  const missing = next(one, 2, { seq: 2 })
  const waits = next(missing, 3, { seq: 3 })
  const bad = next(genesis, 4, { actor: "b".repeat(32), startOp: 9 })
  const worse = next(bad, 5, { actor: "b".repeat(32), seq: 3, startOp: 10 })
  level(1, [genesis, one, waits, worse])
  await relay.pass(LONG)
  const { loose, paged } = await counts(store)
  expect([loose, paged]).toEqual([2, 2])
  level(2, [missing])
  await relay.pass(LONG)
  expect(ws.notes.get("e")).toMatchObject({ n: 3 })
  await ws.close()
})

test("who pushed a change, and whether it was adopted, is the same after a fold", async () => {
  const store = memoryStore()
  const ws = await open(store, {}) // all changes fit into one block
  const genesis = genesisOf("e", "notes")
  const one = next(genesis, 1)
  const once = new Uint8Array(16).fill(3)
  const [entry] = [item("e", [genesis, one])].map((one) => ("entry" in one ? one.entry : undefined))
  relay.say({
    t: "entries",
    w,
    items: [
      { entry: { ...entry!, by: "bob", adopted: true } },
      { entry: { ...entry!, chunks: [next(one, 2, { seq: 2, time: 1_700_000_009 }).chunk], by: "cid", once } },
    ],
    cursor: at(1),
    level: true,
    ...first,
  })
  await relay.pass(400)
  const before = await readHistory(store, w, "e")
  await relay.pass(LONG)
  const after = await readHistory(store, w, "e")
  expect((await counts(store)).loose).toBe(0)
  const words = ({ held }: typeof after) =>
    [...held].map(([hash, { by, adopted, once }]) => [hash, by, adopted, once && [...once]]).sort()
  expect(words(after)).toEqual(words(before))
  expect(ws.notes.get("e")).toMatchObject({ $createdBy: "bob", $updatedBy: "cid" })
  await ws.close()
})

// ── crashes and failures ─────────────────────────────────────────────────────────────────────────────────────────────

/** Makes a store on `disk` that counts the commits that fold. `fail`: whether such a commit fails, and when. */
function watched(disk: Store, fail: (fold: number) => "before" | "after" | undefined) {
  let folds = 0
  const store: Store = {
    claim: (workspace) => disk.claim(workspace),
    get: (key) => disk.get(key),
    list: (prefix, options) => disk.list(prefix, options),
    async commit(writes, options) {
      const how = writes.some(([key]) => key[1] === "history") ? fail(++folds) : undefined
      const error = new HeadwaterError("STORE_FAILED", "the disk fails")
      if (how === "before") throw error
      await disk.commit(writes, options)
      if (how === "after") throw error
    },
  }
  return { store, folds: () => folds }
}

test.each(["before", "after"] as const)(
  "a fold whose commit fails %s it is written loses nothing, whichever one",
  async (how) => {
    let folds = 1
    for (let failing = 1; failing <= folds; failing++) {
      relay = new ScriptedRelay()
      const disk = memoryStore()
      const { store, folds: done } = watched(disk, (n) => (n === failing ? how : undefined))
      const ws = await stored(store)
      await relay.pass(3000)
      await type(ws, "abcd", 3)
      await relay.pass(LONG)
      await relay.pass(200_000) // after a failed fold, the next fold begins minutes later
      folds = done()
      expect(await ws.notes.read("e")).toMatchObject({ body: "babcd" })
      await ws.close()
      const again = await open(disk)
      expect(await again.notes.read("e")).toMatchObject({ body: "babcd" })
      expect((await readHistory(disk, w, "e")).held.size).toBe(7)
      await again.close()
    }
    expect(folds).toBeGreaterThan(1)
  },
)

test("a note that is in pages and in loose records at once, as a disk may leave it, is read and folded", async () => {
  const store = memoryStore()
  const ws = await stored(store)
  const loose = await store.list(keys.changesOf(w, "e"))
  await relay.pass(3000)
  await ws.close()
  const release = await store.claim(w)
  await store.commit(loose.slice(1).map(([key, value]): Write => [key, value]))
  await release()
  const again = await open(store)
  expect(await again.notes.read("e")).toMatchObject({ title: "one", body: "b" })
  await relay.pass(LONG)
  expect(await counts(store)).toEqual({ loose: 0, paged: 3, pages: 1 })
  await again.close()
})

test("another writer on the same store follows a fold, and loses no edit by it", async () => {
  const disk = memoryStore()
  const release = await disk.claim("everybody")
  const shared = (): Store => ({ ...disk, claim: async () => async () => {} })
  const a = await stored(shared())
  const b = await openWorkspace({ id: w, collections: { notes }, store: shared(), env: { ...relay.env, sizes: tiny } })
  expect(await b.notes.read("e")).toMatchObject({ body: "b" })
  await relay.pass(3000)
  expect(await counts(disk)).toMatchObject({ loose: 0 })
  await b.notes.update("e", (draft, edit) => edit.splice("body", draft.body!.length, 0, "!"))
  await a.notes.update("e", (draft, edit) => edit.splice("body", draft.body!.length, 0, "?"))
  expect(a.notes.get("e")!.body).toBe("b!?")
  expect((await readHistory(disk, w, "e")).held.size).toBe(5)
  await Promise.all([a.close(), b.close()])
  await release()
})

// ── damage ───────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Flips a byte in each page of the note. `whole`: empties the pages instead. */
async function harm(store: Store, whole: boolean): Promise<void> {
  for (const [key, value] of await store.list(keys.historyOf(w, "e"))) {
    const bytes = (value as Uint8Array).slice()
    bytes[20]! ^= 255
    await store.commit([[key, whole ? new Uint8Array() : bytes]])
  }
}

test.each([true, false])(
  "a damaged page is asked for once, and mended by what arrives (the whole page: %s)",
  async (whole) => {
    const store = memoryStore()
    const genesis = genesisOf("e", "notes")
    const one = next(genesis, 1)
    const all = [genesis, one, next(one, 2, { seq: 2 }), next(next(one, 2, { seq: 2 }), 3, { seq: 3 })]
    const ws = await open(store)
    level(1, all)
    await relay.pass(LONG)
    expect(await counts(store)).toMatchObject({ loose: 0, paged: 4 })
    await ws.close()
    const release = await store.claim(w)
    await harm(store, whole)
    await release()

    const again = await open(store)
    level(1)
    await again.notes.read("e")
    await relay.pass(5000)
    expect(replicaOf(again).state.heal).toBe(true)
    expect(relay.count("have")).toBeGreaterThan(0)
    const { damages } = replicaOf(again).state
    relay.say({ t: "entries", w, items: [item("e", all)], cursor: at(2), level: true, heal: "end", ...first } as never)
    await relay.pass(LONG)
    expect(again.notes.get("e")).toMatchObject({ n: 3 })
    expect(replicaOf(again).state.damages).toBe(damages)
    expect((await readHistory(store, w, "e")).held.size).toBe(4)
    await again.close()
  },
)

test("a damaged page of a note that is open is written again from its document, and nothing is asked for", async () => {
  const store = memoryStore()
  const ws = await stored(store)
  await type(ws, "abc", 3)
  await relay.pass(3000)
  expect((await counts(store)).paged).toBe(6)
  await harm(store, true)
  const replica = replicaOf(ws)
  expect(replica.documents.has("e")).toBe(true)
  await replica.step([], async (tx) => void (await replica.documents.saved.held("e", tx)))
  expect(replica.state.heal).toBe(false)
  expect((await readHistory(store, w, "e")).held.size).toBe(6)
  await ws.close()
  const again = await open(store)
  expect(await again.notes.read("e")).toMatchObject({ body: "babc" })
  await again.close()
})

test("damage to a page of a closed note begins a heal, and what can be read stays in the page", async () => {
  const store = memoryStore()
  const ws = await stored(store)
  await relay.pass(3000)
  await harm(store, false)
  const replica = replicaOf(ws)
  replica.documents.drop("e")
  const left = (await readHistory(store, w, "e")).held
  expect(left.size).toBe(1)
  await replica.step([], async (tx) => void (await replica.documents.saved.held("e", tx)))
  expect([replica.state.heal, replica.state.damages, replica.stale.has("e")]).toEqual([true, 1, true])
  const [page] = await readPages(store, w, "e")
  expect([...heldIn(page!.blocks)].map(({ change }) => change.hash)).toEqual([...left.keys()])
  expect(page!.blocks.every(({ held }) => held !== undefined)).toBe(true)
  await ws.close()
})

// ── changes in pages that are needed again ───────────────────────────────────────────────────────────────────────────

test("a relay that has lost a note gets it back from its pages", async () => {
  const store = memoryStore()
  const ws = await stored(store)
  await type(ws, "abc", 3)
  await relay.pass(3000)
  expect((await counts(store)).loose).toBe(0)
  await ws.close()
  const again = await open(store)
  relay.heard.length = 0
  relay.say({ t: "entries", w, items: [], ...first }, { t: "notice", w, code: "CURSOR_UNKNOWN" })
  await relay.pass(300)
  expect(relay.last("have").page[0]![0]).toBe("e")
  relay.say({ t: "want", w, page: [["e", []]] })
  await relay.pass(1000)
  const chunks = relay.heard
    .flatMap((message) => (message.t === "push" ? message.entries : []))
    .flatMap((e) => e.chunks)
  expect(chunks).toHaveLength(6)
  await again.close()
})

test("a change in a page that is given back and refused leaves the page for the rejected list", async () => {
  const store = memoryStore()
  const ws = await stored(store)
  await type(ws, "abc", 3)
  await relay.pass(3000)
  const replica = replicaOf(ws)
  const { held } = await readHistory(store, w, "e")
  const last = [...held.values()].map(({ change }) => change).sort((a, b) => b.startOp - a.startOp)[0]!
  await replica.step([], (tx) => replica.authorship.giveBack("e", last, tx))
  await relay.pass(1000)
  relay.say({ t: "reject", w, id: relay.last("push").id, entity: "e", hash: last.hash, code: "TOO_LARGE" })
  relay.say({ t: "ack", w, id: relay.last("push").id })
  await relay.pass(1000)
  expect(ws.notes.get("e")).toMatchObject({ body: "bab" })
  expect((await readHistory(store, w, "e")).held.has(last.hash)).toBe(false)
  expect(await store.list(keys.rejectedOf(w, "e"))).toHaveLength(1)
  await ws.close()
})
