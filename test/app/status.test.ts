import { collection, openWorkspace, type Status, shape, text, type Workspace } from "headwater"
import { type MemoryOptions, type MemoryStore, memoryStore } from "headwater/memory"
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest"
import { Entity } from "../../src/document/entity.ts"
import { causalOrder } from "../../src/document/history/graph.ts"
import { keys } from "../../src/replica/disk/records.ts"
import { type Change, readChange } from "../../src/wire/chunk.ts"
import { type Cursor, cursorOf, decodeEntry, type Entry, encode, limits } from "../../src/wire/protocol.ts"
import { ScriptedRelay } from "../support/scripted-relay.ts"

// The status of a workspace, and how often it commits while many changes arrive. Each test says what the relay sends.
const notes = collection("notes", shape<{ title?: string; body?: string }>(), { fields: { body: text() } })
type Notes = Workspace<{ notes: typeof notes }>
const w = "w"
const at = (position: number): Cursor => cursorOf(position, new Uint8Array(8).fill(7))
const START = 1_700_000_000_000
const first = { principal: "ann", access: "write", limits, time: START, left: 0 } as const

let relay: ScriptedRelay
let store: MemoryStore
let ws: Notes
const reopen = async (from: MemoryStore, relayed = true) => {
  store = from
  const way = relayed ? { relay: { url: "ws://relay" } } : {}
  ws = await openWorkspace({ id: w, collections: { notes }, store, env: relay.env, ...way })
  await relay.settle()
  return ws
}
const restart = async () => {
  await ws.close()
  await reopen(store)
}
beforeEach(async () => {
  relay = new ScriptedRelay()
  await reopen(memoryStore())
})
afterEach(() => ws.close())
const entries = (items: readonly Entry[], position: number, more: object = {}) =>
  relay.say({ t: "entries", w, items: items.map((entry) => ({ entry })), cursor: at(position), ...more })
const level = async (position: number, more: object = {}) => {
  entries([], position, { level: true, ...first, time: relay.now, ...more })
  await relay.settle()
}

/** Returns the changes that another device makes in `write`, one change per entry, in causal order. */
const elsewhere = async (write: (other: Notes) => Promise<unknown>): Promise<Entry[]> => {
  const store = memoryStore()
  const other = await openWorkspace({ id: w, collections: { notes }, store, env: relay.env })
  await write(other)
  const records = await store.list(keys.changes(w))
  await other.close()
  const byChange = new Map<Change, Entry>()
  for (const [, value] of records) {
    const entry = decodeEntry(value as Uint8Array)
    byChange.set(readChange(entry.chunks[0]!), { ...entry, by: "bob" })
  }
  return causalOrder([...byChange.keys()]).map((change) => byChange.get(change)!)
}
/** Returns every record on the disk. */
const disk = () => store.list([])

describe("read access", () => {
  beforeEach(async () => {
    entries(await elsewhere((other) => other.notes.create({ title: "theirs", body: "b" }, { id: "a" })), 1, first)
    entries(await elsewhere((other) => other.notes.create({ title: "gone" }, { id: "gone" })), 2)
    await relay.pass(100)
    await ws.notes.delete("gone")
    await relay.settle()
    await level(3, { access: "read" })
    expect(ws.status).toMatchObject({ access: "read", principal: "ann" })
  })
  const writes = {
    create: () => ws.notes.create({ title: "T" }),
    update: () => ws.notes.update("a", (draft) => void (draft.title = "mine")),
    delete: () => ws.notes.delete("a"),
    restore: () => ws.notes.restore("gone"),
  }

  test.each(Object.entries(writes))("refuses %s before anything is saved, shown or sent", async (_, write) => {
    const [before, rows, { pending }] = [await disk(), ws.notes.all(), ws.status]
    const heard = relay.heard.length
    await expect(write()).rejects.toMatchObject({ code: "READ_ONLY" })
    await relay.settle()
    expect(await disk()).toEqual(before)
    expect(ws.notes.all()).toBe(rows)
    expect([ws.status.pending, ws.status.error, relay.heard.length]).toEqual([pending, null, heard])
  })

  test("lasts over a restart without the relay, until the relay grants more", async () => {
    relay.up = false
    await restart()
    expect(ws.status).toMatchObject({ phase: "offline", access: "read", principal: "ann" })
    await expect(writes.create()).rejects.toMatchObject({ code: "READ_ONLY" })
    relay.up = true
    await relay.pass(10_000)
    expect(ws.status.phase).toBe("syncing")
    await level(3)
    await writes.update()
    expect(ws.notes.get("a")?.title).toBe("mine")
  })

  test("leaves reading as it was, and changes of others arrive", async () => {
    entries(await elsewhere((other) => other.notes.create({ title: "new" }, { id: "b" })), 4)
    await relay.pass(100)
    expect([ws.notes.get("b")?.title, (await ws.notes.read("a"))?.body]).toEqual(["new", "b"])
  })

  test("can be granted and withdrawn by a notice during a connection", async () => {
    relay.say({ t: "notice", w, code: "FORBIDDEN", access: "write" })
    await relay.settle()
    await writes.update()
    relay.say({ t: "notice", w, code: "FORBIDDEN", access: "read" })
    await relay.settle()
    expect(ws.status).toMatchObject({ access: "read", error: { code: "FORBIDDEN" } })
    await expect(writes.update()).rejects.toMatchObject({ code: "READ_ONLY" })
  })
})

describe("status", () => {
  test("shows the last access and principal that the relay sent, also after a restart without the relay", async () => {
    expect(ws.status).toMatchObject({ access: null, principal: null })
    await level(1, { access: "admin", principal: "root" })
    expect(ws.status).toMatchObject({ access: "admin", principal: "root" })
    relay.up = false
    await restart()
    expect(ws.status).toMatchObject({ phase: "offline", access: "admin", principal: "root" })
  })

  test("is complete for ever once this device has held everything that the relay had", async () => {
    relay.up = false
    await restart()
    expect(ws.status.complete).toBe(false) // a new device, offline
    relay.up = true
    await relay.pass(10_000)
    const [one, ...more] = await elsewhere((other) => other.notes.create({ title: "T" }, { id: "a" }))
    entries([one!], 1, first)
    await relay.pass(100)
    expect(ws.status.complete).toBe(false)
    relay.up = false
    await restart()
    expect(ws.status.complete).toBe(false) // the device has only the first change of the note
    relay.up = true
    await relay.pass(10_000)
    entries(more, 2, { level: true, ...first })
    await relay.pass(100)
    expect(ws.status.complete).toBe(true)
    relay.up = false
    await restart()
    expect(ws.status).toMatchObject({ phase: "offline", complete: true })
    relay.up = true
    await relay.pass(10_000)
    entries(await elsewhere((other) => other.notes.create({ title: "newer" }, { id: "b" })), 3, first)
    await relay.pass(100)
    expect(ws.status).toMatchObject({ phase: "syncing", complete: true })
  })

  test("shows when this device was last level, also after a restart; an ack does not change that time", async () => {
    expect(ws.status.lastSyncedAt).toBeNull()
    await relay.pass(500)
    await level(1)
    expect(ws.status.lastSyncedAt).toBe(START + 500)
    await ws.notes.create({ title: "T" })
    await relay.pass(500)
    relay.say({ t: "ack", w, id: relay.last("push").id, at: at(2) })
    await relay.settle()
    expect(ws.status).toMatchObject({ pending: 0, lastSyncedAt: START + 500 })
    relay.up = false
    await restart()
    expect(ws.status.lastSyncedAt).toBe(START + 500)
    relay.up = true
    await relay.pass(10_000)
    const now = relay.now
    await level(2)
    expect(ws.status.lastSyncedAt).toBe(now)
  })

  test("shows how many of the bytes that the relay announced have arrived during a catch-up", async () => {
    const items = await elsewhere(async (other) => {
      for (let i = 0; i < 4; i++) await other.notes.create({ body: "x".repeat(1000 * i) })
    })
    const weight = (some: readonly Entry[]) => {
      const message = { t: "entries", w, cursor: at(1) } as const
      const frame = (of: readonly Entry[]) => encode({ ...message, items: of.map((entry) => ({ entry })) }).length
      return frame(some) - frame([])
    }
    const left = weight(items)
    const seen: Status["progress"][] = []
    ws.onStatus(({ progress }) => seen.push(progress))
    expect(ws.status.progress).toBeNull()
    const thirds = [items.slice(0, 3), items.slice(3, 6), items.slice(6)]
    let done = 0
    for (const [i, part] of thirds.entries()) {
      const last = part === thirds.at(-1)
      entries(part, i + 1, { ...(i === 0 && { ...first, left }), ...(last && { level: true }) })
      await relay.pass(100)
      done += weight(part)
      if (last) continue
      expect(ws.status.progress?.total).toBe(left)
      expect(Math.abs(ws.status.progress!.done - done)).toBeLessThan(10) // CBOR's array headers differ in length
    }
    expect(ws.status.progress).toBeNull()
    expect(seen.map((progress) => progress === null)).toContain(false)
    entries([], 4, { ...first, left: 5000 })
    await relay.settle()
    expect(ws.status.progress).toEqual({ done: 0, total: 5000, toShow: 0 })
    relay.hangUp()
    expect(ws.status.progress).toBeNull()
  })

  test("is live only once all rows are shown, and says until then how many entities are still to show", async () => {
    const NOTES = 300
    const items = await elsewhere((other) =>
      Promise.all(Array.from({ length: NOTES }, (_, i) => other.notes.create({ title: `${i}` }))),
    )
    const seen: (readonly [phase: string, toShow: number | undefined, shown: number])[] = []
    ws.onStatus(({ phase, progress }) => seen.push([phase, progress?.toShow, ws.notes.all().length]))
    entries(items, 1, { ...first, level: true })
    await relay.pass(2000)
    const [live, ...more] = seen.filter(([phase]) => phase === "live")
    expect([live, more]).toEqual([["live", undefined, NOTES], []])
    const waiting = seen.filter(([, toShow = 0]) => toShow > 0)
    expect(waiting[0]).toEqual(["syncing", NOTES, 0]) // the first commit has the changes, and later ones have the rows
    expect(waiting.length).toBeGreaterThan(1)
    for (const [phase, toShow, shown] of waiting) expect([phase, toShow]).toEqual(["syncing", NOTES - shown])
  })

  test("shows when the relay will be dialled again, and the dial comes at that time", async () => {
    await level(1)
    expect(ws.status.retryAt).toBeNull()
    relay.up = false
    relay.hangUp()
    expect(ws.status.retryAt).toBe(relay.now + 1000)
    await relay.pass(999)
    expect(relay.dials).toHaveLength(1)
    const due = ws.status.retryAt
    await relay.pass(1)
    expect(relay.dials.at(-1)).toBe(due)
    expect(ws.status.retryAt).toBe(relay.now + 2000)
    ws.disconnect()
    expect(ws.status).toMatchObject({ retryAt: null, phase: "offline" })
    await relay.pass(10 * 60_000)
    expect(relay.dials).toHaveLength(2)
  })

  test("shows RATE with the time at which to try again", async () => {
    await level(1)
    relay.say({ t: "notice", w, code: "RATE", retryIn: 5000 })
    await relay.settle()
    expect(ws.status.error).toMatchObject({ code: "RATE", retryAt: relay.now + 5000 })
    await level(1)
    expect(ws.status.error).toBeNull()
    const { id } = await ws.notes.create({ title: "T" })
    await relay.settle()
    const push = relay.last("push")
    const hash = readChange(push.entries[0]!.chunks[0]!).hash
    relay.say({ t: "reject", w, id: push.id, entity: id, hash, code: "RATE", retryIn: 5000 })
    await relay.settle()
    expect(ws.status.error).toMatchObject({ code: "RATE", entity: id, retryAt: relay.now + 5000 })
  })

  test("changes when the message of an error changes, though its code is the same", async () => {
    const said: unknown[] = []
    ws.onStatus(({ error }) => said.push(error?.message))
    relay.hangUp(1001)
    await relay.pass(1000)
    relay.hangUp(4408)
    await relay.settle()
    expect(said).toEqual([
      expect.stringContaining("(1001)"),
      expect.stringContaining("(1001)"), // while dialling
      undefined, // connected
      expect.stringContaining("(4408)"),
    ])
    const { error } = ws.status
    await relay.settle()
    expect(ws.status.error).toBe(error)
  })

  test("does not reach a listener that left after the change but before the call", async () => {
    const heard: string[] = []
    const off = ws.onStatus(() => heard.push("left"))
    ws.onStatus(() => heard.push("stays"))
    relay.hangUp()
    off()
    await relay.settle()
    expect(heard).toEqual(["stays"])
  })

  test("reaches a function twice that was added twice, and once after one of the two was removed", async () => {
    let told = 0
    const listener = () => told++
    const off = ws.onStatus(listener)
    ws.onStatus(listener)
    relay.hangUp()
    await relay.settle()
    expect(told).toBe(2)
    off()
    ws.disconnect()
    await relay.settle()
    expect(told).toBe(3)
  })

  test("passes through every phase: local, connecting, syncing, live, offline, error", async () => {
    await ws.close()
    let full = false
    const step: MemoryOptions["step"] = (name) => {
      if (full && name === "commit") throw new Error("the disk is full")
    }
    await reopen(memoryStore({ step }), false)
    const phases = [ws.status.phase]
    ws.onStatus(({ phase, connected }) => {
      if (phase !== phases.at(-1)) phases.push(phase)
      expect(connected).toBe(phase === "syncing" || phase === "live" || phase === "error")
    })
    ws.connect({ url: "ws://relay" })
    await relay.settle()
    await level(1)
    entries(await elsewhere((other) => other.notes.create({ title: "T" }, { id: "a" })), 2)
    await relay.pass(100)
    await level(2)
    full = true
    await expect(ws.notes.create({ title: "T" })).rejects.toMatchObject({ code: "STORE_FAILED" })
    expect(ws.status).toMatchObject({ phase: "error", error: { code: "STORE_FAILED" } })
    full = false
    await ws.notes.create({ title: "T" })
    expect(ws.status).toMatchObject({ phase: "live", error: null })
    relay.hangUp()
    relay.silent = true
    await relay.pass(1000)
    ws.disconnect()
    await relay.settle()
    expect(phases).toEqual(
      "local connecting syncing live syncing live error live offline connecting offline".split(" "),
    )
  })
})

describe("a stream of what others write", () => {
  /** How long a commit takes, ms. */
  let commitMs = 0
  let commits = 0
  beforeEach(async () => {
    commitMs = 0
    await ws.close()
    const step = (name: string) => {
      if (name === "committed") commits++
      return name === "commit" && commitMs > 0
        ? new Promise<void>((done) => relay.env.after(commitMs, done))
        : undefined
    }
    await reopen(memoryStore({ step }))
  })

  // Sends one change every 10 ms.
  const stream = async (changes: readonly Entry[]) => {
    for (const [i, entry] of changes.entries()) {
      entries([entry], 10 + i)
      await relay.pass(10)
    }
    await relay.pass(100)
  }

  test("is applied to an open document in one call per commit and as long a pause, saved and told of as often", async () => {
    const written = await elsewhere(async (other) => {
      await other.notes.create({ body: "" }, { id: "a" })
      await Promise.all(
        Array.from({ length: 100 }, () => other.notes.update("a", (_, edit) => edit.splice("body", 0, 0, "x"))),
      )
    })
    const changes = written.slice(-100)
    entries(written.slice(0, -100), 1, { level: true, ...first })
    await relay.pass(100)
    await ws.notes.read("a")
    await relay.pass(2000) // long enough for all idle work
    let told = 0
    let longest = 0
    let since = relay.now
    ws.notes.subscribe(() => {
      told++
      longest = Math.max(longest, relay.now - since)
      since = relay.now
    })
    const receive = vi.spyOn(Entity.prototype, "receive")
    commits = 0
    commitMs = 25
    since = relay.now
    await stream(changes)
    const calls = receive.mock.calls.length
    receive.mockRestore()
    expect(ws.notes.get("a")?.body).toHaveLength(100)
    expect(told).toBeGreaterThanOrEqual(10)
    expect(told).toBeLessThanOrEqual(21)
    expect(calls).toBe(told)
    expect(longest).toBeLessThanOrEqual(100)
    expect(commits - told).toBeLessThanOrEqual(2) // idle work may commit twice
  })

  test.each([
    ["in one commit per entry, while a commit takes next to no time", 0, 1],
    ["in one commit per 50 ms, while a commit takes 25 ms", 25, 5],
  ])("of many documents comes %s", async (_, takes, perCommit) => {
    await level(1)
    const changes = await elsewhere((other) =>
      Promise.all(Array.from({ length: 50 }, (_, i) => other.notes.create({ title: `${i}` }))),
    )
    await relay.pass(100)
    const commit = vi.spyOn(store, "commit")
    entries([changes[0]!], 9)
    await relay.settle()
    expect(commit).toHaveBeenCalled()
    commit.mockClear()
    commitMs = takes
    const cursors = () => commit.mock.calls.filter(([writes]) => writes.some(([key]) => key[1] === "state")).length
    await stream(changes.slice(1))
    expect(ws.notes.all()).toHaveLength(50)
    const arrived = changes.length - 1 // as many entries as `stream` sends, one every 10 ms
    expect(Math.abs(cursors() - arrived / perCommit)).toBeLessThanOrEqual(2)
  })
})
