/** What a replica reads again after another writer's commit, after a failed commit, or because a record is damaged. */

import { collection, HeadwaterError, openWorkspace, shape, text } from "headwater"
import { memoryStore } from "headwater/memory"
import { expect, test } from "vitest"
import { replicaOf } from "../../src/app/workspace.ts"
import { type Sizes, usualSizes } from "../../src/base/replica-sizes.ts"
import { Touched, touchedSince } from "../../src/replica/disk/commit-journal.ts"
import { keys, type State } from "../../src/replica/disk/records.ts"
import { ConnectionSteps } from "../../src/replica/exchange/connection-steps.ts"
import type { Store } from "../../src/store/store.ts"
import { systemEnv } from "../../src/sync/system.ts"
import { jsonIn } from "../support/record.ts"
import { ScriptedRelay } from "../support/scripted-relay.ts"
import { until } from "../support/until.ts"

const notes = collection("notes", shape<{ title?: string; body?: string }>(), { fields: { body: text() } })
const open = (store: Store, sizes: Partial<Sizes> = {}) =>
  openWorkspace({ id: "w", collections: { notes }, store, env: { ...systemEnv, sizes } })

/** Makes stores that share one disk without a lock. */
async function shared() {
  const disk = memoryStore()
  const release = await disk.claim("everybody")
  const tab = (over: Partial<Store> = {}): Store => ({
    ...disk,
    place: undefined,
    claim: async () => async () => {},
    ...over,
  })
  return { disk, tab, release }
}

const inPages: Partial<Sizes> = { outboxPage: 4, outboxAtOnce: 3, looseOutbox: 4 }

test("the outbox never lacks owed changes while it is read again, or when that fails", async () => {
  const { disk, tab, release } = await shared()
  let fails = 0
  const seen: number[] = []
  const store = tab({
    async list(prefix, options) {
      if (fails > 0 && prefix[1]?.startsWith("out")) {
        seen.push(replicaOf(a).outbox.size)
        if (prefix[1] === "outpage") fails--
        if (prefix[1] === "outpage") throw new HeadwaterError("STORE_FAILED", "it cannot be read")
      }
      return disk.list(prefix, options)
    },
  })
  const a = await open(store, inPages)
  const b = await open(tab(), inPages)
  await a.notes.create({ title: "a" })
  const owed = replicaOf(a).outbox.size
  await Promise.all([1, 2, 3].map((n) => b.notes.create({ title: `b${n}` })))
  expect((await disk.list(keys.outPages("w"))).length).toBeGreaterThan(0)
  fails = 1
  await expect(a.notes.create({ title: "c" })).rejects.toMatchObject({ code: "STORE_FAILED" })
  expect(fails).toBe(0)
  expect(Math.min(...seen)).toBe(owed)
  expect(replicaOf(a).outbox.size).toBeGreaterThanOrEqual(owed)
  await a.notes.create({ title: "d" })
  expect(replicaOf(a).outbox.size).toBe((await disk.list(keys.changes("w"))).length)
  await Promise.all([a.close(), b.close()])
  await release()
})

test("a fold does not overwrite a damaged page of the outbox", async () => {
  const { disk, tab, release } = await shared()
  const a = await open(tab(), { outboxPage: 100, outboxAtOnce: 3, looseOutbox: 2 }) // the page has room for a fold
  await Promise.all([1, 2, 3].map((n) => a.notes.create({ title: `${n}` }, { id: `e${n}` })))
  const pages = await disk.list(keys.outPages("w"))
  expect(pages.length).toBeGreaterThan(0)
  await disk.commit(pages.map(([key]) => [key, "{harmed"]))
  for (const n of [1, 2, 3]) await a.notes.update(`e${n}`, (draft) => void (draft.title += "!"))
  await a.close() // the close folds loose records
  const b = await open(tab())
  const state = jsonIn(await disk.get(keys.state("w"))) as State
  expect(state.heal).toBe(true) // at the next connection, a heal shows which changes the relay lacks
  await b.close()
  await release()
})

test.each(["row", "stale", "state"])(
  "a damaged record (%s) that another writer has saved does not stop this one",
  async (kind) => {
    const { disk, tab, release } = await shared()
    const [a, b] = [await open(tab()), await open(tab())]
    await b.notes.create({ title: "b" }, { id: "e1" })
    const key = { row: keys.row("w", "notes", "e1"), stale: keys.stale("w", "e1"), state: keys.state("w") }[kind]!
    await disk.commit([[key, "{harmed"]])
    // A replica reads the state record again only if the journal names it, or when it reads everything.
    if (kind === "state") replicaOf(a).readEverything()
    await a.notes.create({ title: "a" })
    await until(() => a.notes.get("e1")?.title === "b" && replicaOf(a).stale.size === 0)
    expect(replicaOf(a).state.heal).toBe(kind === "state")
    await Promise.all([a.close(), b.close()])
    await release()
  },
)

test("damage that a failed update has found is found again by the next update", async () => {
  const store = memoryStore()
  const a = await open(store)
  await a.notes.create({ title: "one" }, { id: "e1" })
  await a.notes.update("e1", (draft) => void (draft.title = "two"))
  const harmed = [...replicaOf(a).outbox.of("e1")].at(-1)!.hash
  await a.close()
  const release = await store.claim("w")
  await store.commit([[keys.change("w", "e1", harmed), new Uint8Array([1, 2, 3])]])
  await release()
  const b = await open(store)
  const refuse = () => {
    throw new Error("no")
  }
  await expect(b.notes.update("e1", refuse)).rejects.toThrow("no")
  expect(replicaOf(b).bad.size).toBe(0)
  await b.notes.update("e1", (draft) => void (draft.title = "three"))
  expect(replicaOf(b).bad.get("e1")?.get(harmed)).toMatchObject({ damaged: true })
  await b.close()
})

test("steps behind a message that failed are rejected with its error, which is not a failure of the disk", async () => {
  const a = await open(memoryStore())
  const steps = new ConnectionSteps(replicaOf(a))
  const refusal = new HeadwaterError("PROTOCOL_VERSION", "too new")
  const first = steps.step([], () => {
    throw refusal
  })
  const second = steps.step([], () => "done")
  expect(await Promise.allSettled([first, second])).toEqual([
    { status: "rejected", reason: refusal },
    { status: "rejected", reason: refusal },
  ])
  expect(replicaOf(a).failure).toBe(null)
  await a.close()
})

test("a failed step of a connection is run again if another writer was first", async () => {
  const { tab, release } = await shared()
  const [a, b] = [await open(tab()), await open(tab())]
  const steps = new ConnectionSteps(replicaOf(a))
  await b.notes.create({ title: "b" })
  let runs = 0
  const first = steps.step([], (tx) => {
    tx.state = { ...tx.state, lastSyncedAt: 1 }
    if (runs++ === 0) throw new HeadwaterError("DOCUMENT_FAILED", "not now")
  })
  const second = a.notes.create({ title: "a" }) // makes the commit of the group fail with STORE_MOVED
  await Promise.all([first, second])
  expect([runs, replicaOf(a).state.lastSyncedAt]).toEqual([2, 1])
  await Promise.all([a.close(), b.close()])
  await release()
})

test("a commit that always fails with STORE_MOVED is not repeated for ever", async () => {
  const store = memoryStore()
  let lies = false
  const commit: Store["commit"] = async (writes, options) => {
    if (lies) throw new HeadwaterError("STORE_MOVED", "so it says")
    await store.commit(writes, options)
  }
  const a = await open({ ...store, commit })
  lies = true
  await expect(a.notes.create({ title: "a" })).rejects.toMatchObject({ code: "STORE_FAILED" })
  lies = false
  await a.notes.create({ title: "b" })
  await a.close()
})

test("the journal names the entities of new outbox pages, and each row and page of a usual fold", () => {
  const { journalNames, looseRows, foldedPages } = usualSizes
  const owed = Touched.by([[keys.outPage("w", 1), "{}"]], ["e1"]).record(1, journalNames)
  expect(owed).toEqual({ n: 1, o: true, e: ["e1"] })
  const rows = Array.from({ length: looseRows }, (_, i) => [keys.row("w", "notes", `e${i}`), undefined] as const)
  const pages = Array.from({ length: foldedPages }, (_, i) => [keys.page("w", "notes", i), "[]"] as const)
  expect(Touched.by([...rows, ...pages], []).record(1, journalNames).all).toBe(undefined)
  const out = Array.from({ length: 2000 }, (_, i) => [keys.out("w", `e${i}`, "1".repeat(64)), undefined] as const)
  expect(Touched.by([...out, [keys.outPage("w", 1), "{}"]], []).record(1, journalNames)).toEqual({ n: 1, o: true })
})

test.each(["null", "{}", "7", '{"n":1,"e":7}', '{"n":1,"r":{"notes":null}}', '{"n":1,"p":{"notes":1}}'])(
  "after a journal record that is %s, everything is read again",
  async (value) => {
    const store = memoryStore()
    const release = await store.claim("w")
    await store.commit([[keys.journal("w", 1), value]])
    const touched = await touchedSince(store, "w", 0, { n: 1, value: "1", isDamaged: false }, usualSizes)
    expect(touched.everything).toBe(true)
    await release()
  },
)

test("a replica that failed to open does not retry the disk beside the next replica", async () => {
  const relay = new ScriptedRelay() // only its clock is used here
  const inner = memoryStore()
  const a = await openWorkspace({ id: "w", collections: { notes }, store: inner, env: relay.env })
  await a.notes.create({ title: "a" }, { id: "e1" })
  await a.close()
  const release = await inner.claim("other") // keeps the memory store open between the openings
  await inner.commit([[keys.row("w", "notes", "e1"), "{harmed"]])
  let fails = true
  let commits = 0
  const aborted = new AbortController()
  const commit: Store["commit"] = async (writes, options) => {
    commits++
    aborted.abort(new Error("given up"))
    if (fails) throw new HeadwaterError("STORE_FAILED", "not now")
    await inner.commit(writes, options)
  }
  const store = { ...inner, commit }
  const { signal } = aborted
  const opened = openWorkspace({ id: "w", collections: { notes }, store, env: relay.env, signal })
  await expect(opened).rejects.toThrow("given up")
  fails = false
  const before = commits
  expect(before).toBe(1)
  await relay.pass(20_000)
  expect(commits).toBe(before)
  const b = await openWorkspace({ id: "w", collections: { notes }, store, env: relay.env })
  await relay.pass(1000)
  expect(b.notes.get("e1")?.title).toBe("a")
  await b.close()
  await release()
})
