import { collection, openWorkspace, shape, text, type Workspace } from "headwater"
import { memoryStore } from "headwater/memory"
import { headsOf } from "headwater/testing"
import { describe, expect, test, vi } from "vitest"
import { replicaOf } from "../../src/app/workspace.ts"
import { keys, type StaleRecord } from "../../src/replica/disk/records.ts"
import type { Store } from "../../src/store/store.ts"
import { jsonIn, jsonWrite } from "../support/record.ts"
import { ScriptedRelay } from "../support/scripted-relay.ts"

const notes = collection("notes", shape<{ title?: string; body?: string; n?: number }>(), {
  fields: { body: text() },
  defaults: { n: 7 },
})
type Notes = Workspace<{ notes: typeof notes }>
const opened = (store: Store, relay = new ScriptedRelay()): Promise<Notes> =>
  openWorkspace({ id: "w", collections: { notes }, store, env: relay.env })

/** Makes a store. Each call of `fail` makes one more of the next commits fail, before or after it takes effect. */
function failing() {
  const plan: ("before" | "after")[] = []
  const store = memoryStore({
    step(step) {
      if (step === "commit" && plan[0] === "before") fail()
      if (step === "committed" && plan[0] === "after") fail()
    },
  })
  const fail = () => {
    plan.shift()
    throw new Error("the disk is full")
  }
  return { store, fail: (when: "before" | "after") => plan.push(when) }
}

describe("a commit that fails", () => {
  test.each(["before", "after"] as const)(
    "%s it takes effect rejects its writes, and shows what is saved",
    async (when) => {
      const { store, fail } = failing()
      const ws = await opened(store)
      const { id } = await ws.notes.create({ title: "saved", body: "b" })
      const { actor } = replicaOf(ws)
      const heard: string[] = []
      ws.notes.subscribe((_, delta) => heard.push(...delta.changed))
      fail(when)
      const failed = ws.notes.update(id, (draft) => void (draft.title = "not"))
      await expect(failed).rejects.toMatchObject({ code: "STORE_FAILED", cause: expect.anything() })
      const there = when === "after" ? "not" : "saved"
      expect(ws.notes.get(id)?.title).toBe(there)
      expect(ws.status).toMatchObject({ phase: "error", error: { code: "STORE_FAILED" } })
      expect(replicaOf(ws).actor).not.toBe(actor)
      expect(heard).toEqual(when === "after" ? [id] : [])
      await ws.notes.update(id, (_, edit) => edit.splice("body", 1, 0, "!"))
      expect(ws.notes.get(id)).toMatchObject({ title: there, body: "b!" })
      expect(ws.status).toMatchObject({ phase: "local", error: null })
      await ws.close()
      const again = await opened(store)
      expect(again.notes.get(id)).toMatchObject({ title: there, body: "b!" })
      await again.close()
    },
  )

  test("does not affect rows, lists and subscribers that it has not changed", async () => {
    const { store, fail } = failing()
    const ws = await opened(store)
    await ws.notes.create({ title: "a" }, { id: "a" })
    await ws.notes.create({ title: "b" }, { id: "b" })
    const all = ws.notes.all()
    let heard = 0
    ws.notes.subscribe(() => void heard++)
    fail("before")
    await expect(ws.notes.update("a", (draft) => void (draft.title = "not"))).rejects.toThrow("STORE_FAILED")
    expect(ws.notes.all()).toBe(all)
    fail("after")
    await expect(ws.notes.update("a", (draft) => void (draft.title = "yes"))).rejects.toThrow("STORE_FAILED")
    expect(ws.notes.all()[1]).toBe(all[1])
    expect([heard, ws.notes.get("a")?.title]).toEqual([1, "yes"])
    await ws.close()
  })

  test("also rejects later writes to the same entities that are waiting, and no others", async () => {
    const { store, fail } = failing()
    const ws = await opened(store)
    const [a, b] = [
      await ws.notes.create({ title: "a" }, { id: "a" }),
      await ws.notes.create({ title: "b" }, { id: "b" }),
    ]
    fail("before")
    const first = ws.notes.update(a.id, (draft) => void (draft.title = "1"))
    await Promise.resolve() // the group has begun, so the next writes wait behind it
    await Promise.resolve()
    const behind = ws.notes.update(a.id, (draft) => void (draft.title = "2"))
    const other = ws.notes.update(b.id, (draft) => void (draft.title = "3"))
    const settled = await Promise.allSettled([first, behind, other])
    expect(settled.map(({ status }) => status)).toEqual(["rejected", "rejected", "fulfilled"])
    expect(ws.notes.all().map(({ title }) => title)).toEqual(["a", "3"])
    await ws.close()
  })

  test("never gives two changes the same actor and seq, whatever the disk does", async () => {
    const { store, fail } = failing()
    const ws = await opened(store)
    const { id } = await ws.notes.create({ body: "" })
    for (let i = 0; i < 20; i++) {
      if (i % 3 === 0) fail(i % 2 === 0 ? "before" : "after")
      await ws.notes.update(id, (_, edit) => edit.splice("body", 0, 0, String(i % 10))).catch(() => {})
    }
    await ws.close()
    const again = await opened(store) // the update below hydrates, and hydration throws on a duplicate (actor, seq)
    await again.notes.update(id, (draft) => void (draft.title = "alive"))
    expect(again.notes.get(id)?.title).toBe("alive")
    await again.close()
  })
})

describe("rows", () => {
  test("are folded into pages when idle, and are the same after the next open", async () => {
    const relay = new ScriptedRelay()
    const store = memoryStore()
    const ws = await opened(store, relay)
    await Promise.all(Array.from({ length: 1500 }, (_, i) => ws.notes.create({ title: `n${i}` })))
    await relay.pass(20_000)
    const release = await store.claim("other")
    expect(await store.list(keys.rows("w"))).toHaveLength(0)
    expect(await store.list(keys.pages("w"))).toHaveLength(3) // one page for each group of steps
    expect(await store.list(keys.outbox("w"))).toHaveLength(0)
    const [one, two] = ws.notes.all()
    await ws.notes.update(one!.id, (draft) => void (draft.title = "newer than its page"))
    await ws.notes.delete(two!.id)
    const rows = ws.notes.all()
    const { pending } = ws.status
    await ws.close()
    const again = await opened(store, relay)
    expect(again.notes.all()).toEqual(rows)
    expect(again.status.pending).toBe(pending)
    await again.close()
    await release()
  })

  test("show defaults, which are never written, and show absent texts as empty", async () => {
    const store = memoryStore()
    const ws = await opened(store)
    const row = await ws.notes.create({ title: "T" })
    expect([row.n, row.body]).toEqual([7, ""])
    await ws.notes.update(row.id, (draft) => void (draft.title = `${draft.title}${draft.n}`))
    const record = await store.get(keys.row("w", "notes", row.id))
    expect(jsonIn(record)).not.toHaveProperty("n")
    await ws.close()
  })

  test("of an older projection are shown as stale, and made again", async () => {
    const store = memoryStore()
    const ws = await opened(store)
    const { id } = await ws.notes.create({ title: "T" })
    await ws.close()
    const release = await store.claim("test")
    const row = jsonIn(await store.get(keys.row("w", "notes", id)))
    await store.commit([jsonWrite(keys.row("w", "notes", id), { ...row, title: "an older row" })])
    await release()
    const withSummary = collection("notes", shape<{ title?: string; body?: string; summary?: string }>(), {
      fields: { body: text(), summary: text() },
    })
    const other = await openWorkspace({ id: "w", collections: { notes: withSummary }, store })
    expect(other.notes.get(id)).toMatchObject({ title: "an older row" })
    for (let i = 0; i < 100 && other.notes.get(id)?.title !== "T"; i++) {
      if (i > 10) expect(other.notes.get(id)?.$stale).toBe(true) // the marks are set in the first turns
      await new Promise(setImmediate)
    }
    expect(other.notes.get(id)).toMatchObject({ title: "T" })
    await other.close()
  })

  test("that are stale survive a crash and are projected by the next session", async () => {
    const store = memoryStore()
    const ws = await opened(store)
    const { id } = await ws.notes.create({ title: "T" })
    await ws.close()
    const release = await store.claim("test")
    const row = jsonIn(await store.get(keys.row("w", "notes", id)))
    const mark: StaleRecord = { suspects: [], waiting: false }
    await store.commit([
      jsonWrite(keys.row("w", "notes", id), { ...row, title: "an older row" }),
      jsonWrite(keys.stale("w", id), mark),
    ])
    await release()
    const again = await opened(store)
    expect(again.notes.get(id)).toMatchObject({ title: "an older row", $stale: true })
    for (let i = 0; i < 100 && again.notes.get(id)?.$stale; i++) await new Promise(setImmediate)
    expect(again.notes.get(id)?.title).toBe("T")
    expect(again.notes.get(id)).not.toHaveProperty("$stale")
    await again.close()
  })
})

test("a store of a newer format is refused and left alone", async () => {
  const store = memoryStore()
  const release = await store.claim("test")
  await store.commit([jsonWrite(keys.state("w"), { format: 99 })])
  await release()
  await expect(opened(store)).rejects.toMatchObject({ code: "STORE_FORMAT" })
  // Not STORE_IN_USE, because the first opening has released its claim.
  await expect(opened(store)).rejects.toMatchObject({ code: "STORE_FORMAT" })
})

test("two sessions of one device never share an actor", async () => {
  const store = memoryStore()
  const actors = new Set<string>()
  for (let i = 0; i < 3; i++) {
    const ws = await openWorkspace({ id: "w", collections: { notes }, store })
    actors.add(replicaOf(ws).actor)
    await ws.notes.create({ title: String(i) }, { id: `n${i}` })
    expect(Object.keys(await headsOf(ws))).toHaveLength(i + 1)
    await ws.close()
  }
  expect(actors.size).toBe(3)
})

test("a listener of commits that throws fails no commit, and the listeners behind it are called", async () => {
  const error = vi.spyOn(console, "error").mockImplementation(() => {})
  const ws = await opened(memoryStore())
  const thrown = new Error("a defect")
  let calls = 0
  const replica = replicaOf(ws)
  replica.onCommit(() => {
    throw thrown
  })
  replica.onCommit(() => calls++)
  const { id } = await ws.notes.create({ title: "saved" })
  expect([ws.notes.get(id)?.title, ws.status.error, calls]).toEqual(["saved", null, 1])
  await ws.notes.update(id, (draft) => void (draft.title = "goes on"))
  expect(error.mock.calls).toEqual([[thrown], [thrown]])
  await ws.close()
  error.mockRestore()
})
