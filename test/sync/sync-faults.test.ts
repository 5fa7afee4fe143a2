import { collection, openWorkspace, shape, text, type Workspace } from "headwater"
import { memoryStore } from "headwater/memory"
import { afterEach, beforeAll, beforeEach, expect, test } from "vitest"
import { replicaOf } from "../../src/app/workspace.ts"
import { loadAutomerge } from "../../src/document/entity.ts"
import { keys } from "../../src/replica/disk/records.ts"
import { cursorOf, limits, type Push } from "../../src/wire/protocol.ts"
import { note } from "../support/relay.ts"
import { ScriptedRelay } from "../support/scripted-relay.ts"

// A device whose disk fails at an awkward moment, with a relay that does everything right.
const notes = collection("notes", shape<{ title?: string; body?: string }>(), { fields: { body: text() } })
const w = "w"
const at = (position: number) => cursorOf(position, new Uint8Array(8).fill(7))
const first = { principal: "ann", access: "write", limits, time: 1_700_000_000_000, left: 0 } as const
type StoreStep = "open" | "get" | "list" | "write" | "commit" | "committed" | "close"

let relay: ScriptedRelay
let store: ReturnType<typeof memoryStore>
let ws: Workspace<{ notes: typeof notes }>
let failNext: StoreStep | undefined
const reopen = async () => {
  ws = await openWorkspace({ id: w, collections: { notes }, store, relay: { url: "ws://r" }, env: relay.env })
  await relay.settle()
}
const level = (position: number) =>
  relay.say({ t: "entries", w, items: [], cursor: at(position), level: true, ...first })
const ack = (push: Push, position: number) => relay.say({ t: "ack", w, id: push.id, at: at(position) })
/** A store in memory that fails once, at the step that `failNext` names. */
const failingStore = () =>
  memoryStore({
    step(step) {
      if (step !== failNext) return
      failNext = undefined
      throw new Error("the disk says no")
    },
  })
beforeAll(() => loadAutomerge())
beforeEach(async () => {
  relay = new ScriptedRelay()
  failNext = undefined
  store = failingStore()
  await reopen()
  level(1)
  await ws.notes.create({ title: "T" }, { id: "a" })
  await relay.settle()
})
afterEach(() => ws.close())

test("a heal does not end when reading what the relay wants has failed", async () => {
  ack(relay.last("push"), 2)
  await relay.settle()
  relay.say({ t: "notice", w, code: "CURSOR_UNKNOWN" })
  await relay.settle()
  failNext = "list"
  relay.say({ t: "want", w, page: [["a", []]] }, { t: "entries", w, items: [], cursor: at(0), level: true, ...first })
  await relay.settle()
  expect(replicaOf(ws).state.heal).toBe(true)
  await relay.pass(2000)
  expect(relay.heard.slice(-2).map(({ t }) => t)).toEqual(["have", "pull"])
})

test.each(["before", "at", "after"])(
  "the end of a heal that failed %s its want is not taken for the end of the next heal",
  async (when) => {
    ack(relay.last("push"), 2)
    await relay.settle()
    const item = { entry: { ...note("b", "b".repeat(32)), by: "bob" } }
    const end = { t: "entries", w, items: [], cursor: at(0), level: true, ...first } as const
    relay.say({ t: "notice", w, code: "CURSOR_UNKNOWN" })
    await relay.settle()
    if (when === "after") relay.say({ t: "want", w, page: [] })
    await relay.settle()
    failNext = when === "at" ? "list" : "commit"
    if (when === "after") relay.say({ t: "entries", w, items: [item], ...first })
    else if (when === "at") relay.say({ t: "want", w, page: [["a", []]] })
    else relay.say({ t: "notice", w, code: "QUOTA", access: "read" })
    await relay.pass(100)
    expect(failNext).toBe(undefined)
    await relay.pass(2000)
    expect(relay.count("have")).toBe(2)
    // The rest of the relay's messages for the first heal arrive late, because the line is slow.
    if (when === "before") relay.say({ t: "want", w, page: [] })
    if (when !== "after") relay.say({ t: "entries", w, items: [item], ...first })
    relay.say(end)
    await relay.pass(100)
    expect(replicaOf(ws).state).toMatchObject({ heal: true, cursor: Buffer.from(at(1)).toString("hex") })
    relay.say({ t: "want", w, page: [] }, { t: "entries", w, items: [item], ...first }, end)
    await relay.pass(100)
    expect(replicaOf(ws).state).toMatchObject({ heal: false, cursor: Buffer.from(at(0)).toString("hex") })
    expect(await store.list(keys.changesOf(w, "b"))).not.toEqual([])
  },
)

test("a further want that answers a have of an earlier heal is not taken for the answer to the next have", async () => {
  const wanted = { t: "want", w, page: [["a", []]] } as const
  ack(relay.last("push"), 2)
  await relay.settle()
  relay.say({ t: "notice", w, code: "CURSOR_UNKNOWN" })
  await relay.settle()
  failNext = "list"
  relay.say({ ...wanted, more: true })
  await relay.pass(2000)
  expect(relay.count("have")).toBe(2)
  const end = { t: "entries", w, items: [], cursor: at(0), level: true, ...first } as const
  relay.say({ ...wanted, page: [] }, { t: "entries", w, items: [], ...first }, end)
  await relay.pass(100)
  expect(replicaOf(ws).state).toMatchObject({ heal: true, cursor: Buffer.from(at(1)).toString("hex") })
  relay.say({ ...wanted, more: true }, { ...wanted, page: [] }, { t: "entries", w, items: [], ...first }, end)
  await relay.pass(100)
  expect(replicaOf(ws).state).toMatchObject({ heal: false, cursor: Buffer.from(at(0)).toString("hex") })
})

test("whenStored resolves although the commit of the ack was reported as failed", async () => {
  const stored = ws.whenStored()
  failNext = "committed"
  ack(relay.last("push"), 2)
  await relay.pass(100)
  await stored
  expect(ws.status.pending).toBe(0)
})

test("a heal mark saved by a commit that was reported as failed is not removed by the next commit", async () => {
  failNext = "committed"
  relay.say({ t: "notice", w, code: "CURSOR_UNKNOWN" })
  await relay.settle()
  await ws.notes.create({ title: "next" })
  expect(replicaOf(ws).state.heal).toBe(true)
  await relay.pass(2000)
  expect(relay.heard.filter(({ t }) => t === "have").length).toBeGreaterThan(0)
})

test("the status shows that a disk works again, even if nothing is written", async () => {
  failNext = "commit"
  await expect(ws.notes.create({ title: "no" })).rejects.toMatchObject({ code: "STORE_FAILED" })
  expect(ws.status).toMatchObject({ phase: "error", error: { code: "STORE_FAILED" } })
  await relay.pass(4000)
  failNext = "commit"
  await relay.pass(2000)
  expect(ws.status.phase).toBe("error")
  await relay.pass(5000)
  expect(ws.status).toMatchObject({ phase: "live", error: null })
})

test("rows that could not be projected are projected later", async () => {
  await ws.close()
  await reopen()
  level(1)
  const [entry] = relay.last("push").entries
  await ws.close()
  store = failingStore()
  await reopen()
  relay.say({ t: "entries", w, items: [{ entry: { ...entry!, by: "bob" } }], cursor: at(1), level: true, ...first })
  for (let i = 0; i < 200 && replicaOf(ws).stale.size === 0; i++) await Promise.resolve()
  failNext = "commit"
  await relay.settle()
  await relay.pass(10_000)
  expect(ws.notes.get("a")?.title).toBe("T")
})

test("a relay that never completes a dial is given up", async () => {
  relay.silent = true
  relay.hangUp()
  await relay.pass(20_000)
  expect(ws.status).toMatchObject({ connected: false, error: { code: "RELAY_UNREACHABLE" } })
  expect(relay.dials.length).toBeGreaterThan(2)
})

test("an opening that was aborted leaves nothing behind that writes", async () => {
  const aborted = new AbortController()
  const other = memoryStore()
  const opening = openWorkspace({ id: w, collections: { notes }, store: other, env: relay.env, signal: aborted.signal })
  aborted.abort(new Error("enough"))
  await expect(opening).rejects.toThrow("enough")
  const again = await openWorkspace({ id: w, collections: { notes }, store: other, env: relay.env })
  await again.close()
})

test("a collection may have any name", async () => {
  const env = collection("env", shape<{ a: number }>())
  const release = collection("release", shape<{ a: number }>())
  const other = await openWorkspace({ id: w, collections: { env, release }, store: memoryStore() })
  await other.env.create({ a: 1 }, { id: "x" })
  await other.release.create({ a: 2 }, { id: "y" })
  expect([other.env.get("x")?.a, other.release.get("y")?.a]).toEqual([1, 2])
  await other.close()
})
