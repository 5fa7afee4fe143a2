/** A workspace is opened with a damaged record while the disk takes no writes. */
import { memoryStore } from "headwater/memory"
import { beforeAll, expect, test } from "vitest"
import { replicaOf } from "../../src/app/workspace.ts"
import { loadAutomerge } from "../../src/document/entity.ts"
import { keys } from "../../src/replica/disk/records.ts"
import type { Key } from "../../src/store/store.ts"
import { at, first, open, url, w } from "../support/foreign.ts"
import { ScriptedRelay } from "../support/scripted-relay.ts"

beforeAll(() => loadAutomerge())

/** A store with two notes that no relay has, all in pages, and a disk that takes no writes while `full.is`. */
async function closed() {
  const full = { is: false }
  const store = memoryStore({
    step(step) {
      if (full.is && step === "commit") throw new Error("no space left")
    },
  })
  const relay = new ScriptedRelay()
  const env = { ...relay.env, sizes: { looseRows: 1, looseOutbox: 1 } }
  const ws = await open(undefined, store, env)
  for (const id of ["a", "b"]) await ws.notes.create({ title: id }, { id })
  const [owed] = replicaOf(ws).outbox.of("a")
  await ws.close() // moves the loose records into pages
  return { full, store, relay, env, hash: owed!.hash }
}

type Closed = Awaited<ReturnType<typeof closed>>
const DAMAGED = "{damaged"
const firstOf = async ({ store }: Closed, prefix: Key) => (await store.list(prefix))[0]![0]
const kinds: [string, (made: Closed) => Key | Promise<Key>][] = [
  ["state", () => keys.state(w)],
  ["page", (made) => firstOf(made, keys.pages(w))],
  ["row", () => keys.row(w, "notes", "a")],
  ["outbox page", (made) => firstOf(made, keys.outPages(w))],
  ["outbox record", ({ hash }) => keys.out(w, "a", hash)],
  ["mark", () => keys.stale(w, "a")],
  ["verdict", ({ hash }) => keys.bad(w, "a", hash)],
]

test.each(kinds)(
  "a record of the kind %s does not keep a workspace from opening, and is made again when there is room",
  async (kind, keyOf) => {
    const made = await closed()
    const { full, store, relay, env } = made
    const release = await store.claim(w)
    const key = await keyOf(made)
    await store.commit([[key, DAMAGED]])
    await release()
    full.is = true
    const ws = await open({ url }, store, env)
    const titles = () => ws.notes.all().map(({ title }) => title)
    expect([ws.status.phase, ws.status.error?.code]).toEqual(["error", "STORE_FAILED"])
    expect(titles()).toEqual(kind === "page" ? [] : ["a", "b"]) // the rows are in the page
    await expect(ws.notes.update("b", (draft) => void (draft.n = 1))).rejects.toMatchObject({ code: "STORE_FAILED" })
    let stored = false
    const waits = ws.whenStored().then(() => (stored = true))
    await relay.pass(20_000)
    expect([await store.get(key), ws.status.error?.code, stored]).toEqual([DAMAGED, "STORE_FAILED", false])
    full.is = false
    await relay.pass(10_000)
    expect([titles(), ws.status.error?.code, stored]).toEqual([["a", "b"], undefined, false])
    expect(await store.get(key)).not.toBe(DAMAGED)
    expect(replicaOf(ws).isDamaged).toBe(false)
    await Promise.all([ws.close(), expect(waits).rejects.toMatchObject({ code: "CLOSED" })])
  },
)

test("the first write after there is room is saved, and rests on the records that are made again before it", async () => {
  const made = await closed()
  const { full, store, env } = made
  const release = await store.claim(w)
  const key = await firstOf(made, keys.pages(w))
  await store.commit([[key, DAMAGED]])
  await release()
  full.is = true
  const ws = await open(undefined, store, env)
  full.is = false
  await ws.notes.update("a", (draft) => void (draft.n = 1))
  expect(ws.notes.get("a")).toMatchObject({ title: "a", n: 1 })
  expect(ws.status.error).toBe(null)
  await ws.close()
  const again = await open(undefined, store, env)
  expect(again.notes.all().map(({ title, n }) => [title, n])).toEqual([
    ["a", 1],
    ["b", undefined],
  ])
  await again.close()
})

test("what was on a damaged page of the outbox goes out once the relay wants it, and whenStored waits for that", async () => {
  const made = await closed()
  const { full, store, relay, env } = made
  const release = await store.claim(w)
  await store.commit([[await firstOf(made, keys.outPages(w)), DAMAGED]])
  await release()
  full.is = true
  const ws = await open({ url }, store, env)
  await relay.settle()
  let stored = false
  const waits = ws.whenStored().then(() => (stored = true))
  await relay.pass(10_000)
  expect([relay.last("have").page.map(([entity]) => entity), stored]).toEqual([["a", "b"], false])
  full.is = false
  await relay.pass(10_000)
  expect([replicaOf(ws).isDamaged, replicaOf(ws).state.heal, stored]).toEqual([false, true, false])
  const page = ["a", "b"].map((id) => [id, []] as const)
  relay.say({ t: "want", w, page }, { t: "entries", w, items: [], ...first })
  relay.say({ t: "entries", w, items: [], cursor: at(2), level: true, ...first })
  await relay.pass(1000)
  const push = relay.last("push")
  expect([push.entries.map(({ entity }) => entity), stored]).toEqual([["a", "b"], false])
  relay.say({ t: "ack", w, id: push.id, at: at(3) })
  await relay.pass(100)
  await waits
  await ws.close()
})
