/**
 * Bugs of the replica that were found by reviewing the code. For each, `beforeAll` runs the scenario, and the test says
 * what the result must be.
 */
import { collection, openWorkspace, shape, text } from "headwater"
import { memoryStore } from "headwater/memory"
import { beforeAll, describe, expect, it } from "vitest"
import { replicaOf } from "../../src/app/workspace.ts"
import { type Handle, loadAutomerge, newHandle } from "../../src/document/automerge.ts"
import type { Store } from "../../src/store/store.ts"
import { systemEnv } from "../../src/sync/system.ts"
import { readChange } from "../../src/wire/chunk.ts"
import { limits, type Push } from "../../src/wire/protocol.ts"
import { at } from "../support/foreign.ts"
import { ScriptedRelay } from "../support/scripted-relay.ts"

const notes = collection("notes", shape<{ title?: string; body?: string }>(), { fields: { body: text() } })
const open = (store: Store, relay?: ScriptedRelay, collections = { notes }) =>
  openWorkspace({
    id: "w",
    collections,
    store,
    ...(relay && { env: relay.env, relay: { url: "ws://relay" } }),
  })

/** Lets the relay say who is connected, and that nothing follows this position of the log. */
function greet(relay: ScriptedRelay, principal: string, position: number, more: object = {}): Promise<void> {
  const { message, chunk, ops } = limits
  const introduction = {
    principal,
    access: "write",
    limits: { message, chunk, ops },
    time: relay.now,
    left: 0,
  } as const
  relay.say({ t: "entries", w: "w", items: [], cursor: at(position), level: true, ...introduction, ...more })
  return relay.settle()
}

/** Lets the relay acknowledge a push, and send its entry back as a run of the connection's own push. */
function store(relay: ScriptedRelay, push: Push, position: number): Promise<void> {
  relay.say(
    { t: "ack", w: "w", id: push.id, at: at(position) },
    { t: "entries", w: "w", items: [{ own: push.id, from: 0, to: 1 }], cursor: at(position), level: true },
  )
  return relay.settle()
}

/** Changes a record on a device's disk without the library. */
async function overwrite(disk: Store, key: readonly string[], value: string | Uint8Array | undefined): Promise<void> {
  const release = await disk.claim("somebody else")
  await disk.commit([[key, value]])
  await release()
}

describe.each([
  ["another account on the same device", true],
  ["another account whose relay asks for a change before it names the account", false],
])("%s", (_what, isNamed) => {
  let push: Push

  beforeAll(async () => {
    const relay = new ScriptedRelay()
    const ws = await open(memoryStore(), relay)
    await relay.settle()
    await greet(relay, "alice", 1)
    const { id } = await ws.notes.create({ title: "alice's" })
    await relay.settle()
    await store(relay, relay.last("push"), 2)
    relay.hangUp()
    await relay.pass(2000)
    if (isNamed) {
      await greet(relay, "bob", 2)
      relay.hangUp()
      await relay.pass(5000)
    }
    relay.heard.length = 0
    relay.say({ t: "notice", w: "w", code: "CURSOR_UNKNOWN" })
    await relay.settle()
    relay.say({ t: "want", w: "w", page: [[id, []]] })
    await relay.settle()
    await greet(relay, "bob", 0, { level: undefined, cursor: undefined })
    push = relay.last("push")
    await ws.close()
  })

  it("adopts the first account's changes when the relay has lost its log", () => {
    expect(push.adopt).toBe(true)
    expect(push.entries[0]?.by).toBe("alice")
  })
})

describe("a change that the disk has damaged, and that the relay sends", () => {
  const seen: { error?: unknown; title?: string | undefined; later?: string | undefined } = {}

  beforeAll(async () => {
    const disk = memoryStore()
    const relay = new ScriptedRelay()
    const ws = await open(disk, relay)
    await relay.settle()
    await greet(relay, "alice", 1)
    const { id } = await ws.notes.create({ title: "one" })
    await relay.settle()
    await store(relay, relay.last("push"), 2)
    await ws.notes.update(id, (draft) => void (draft.title = "two"))
    await relay.settle()
    const { entries } = relay.last("push") // the relay has this push, but its ack is lost
    relay.hangUp()
    await ws.close()
    await overwrite(disk, ["w", "change", id, readChange(entries[0]!.chunks[0]!).hash], new Uint8Array(40))

    const again = await open(disk, relay)
    await relay.pass(3000)
    await greet(relay, "alice", 2, { level: undefined })
    const items = [{ entry: { ...entries[0]!, by: "alice" } }]
    // The device found the damage when it pushed the change, and began a heal. These entries are the answer.
    await greet(relay, "alice", 3, { items })
    await relay.pass(200)
    seen.error = again.status.error
    seen.title = again.notes.get(id)?.title
    await again.close()
    const last = await open(disk)
    seen.later = (await last.notes.read(id))?.title
    await last.close()
  })

  it("is mended by the entry that arrives", () => {
    expect(seen).toEqual({ error: null, title: "two", later: "two" })
  })
})

describe.each([
  ["row", (id: string) => ["w", "row", "notes", id]],
  ["page of rows", () => ["w", "page", "notes", "000001"]],
  ["stale mark", (id: string) => ["w", "stale", id]],
  ["page of the outbox", () => ["w", "outpage", "000001"]],
  ["verdict", (id: string) => ["w", "bad", id, "ff".repeat(32)]],
])("a damaged %s", (_what, keyOf) => {
  let shown: string | undefined

  beforeAll(async () => {
    const disk = memoryStore()
    const ws = await open(disk)
    const { id } = await ws.notes.create({ title: "a", body: "b" })
    await ws.close()
    await overwrite(disk, keyOf(id), "{garbage")
    shown = await open(disk).then(
      async (again) => {
        for (let i = 0; i < 1000 && again.notes.get(id) === undefined; i++) await new Promise(setImmediate)
        const title = again.notes.get(id)?.title
        await again.close()
        return title
      },
      (error) => error.code,
    )
  })

  it("is made again from the changes", () => {
    expect(shown).toBe("a")
  })
})

describe("an app that declares one more collection", () => {
  let stale = 0

  beforeAll(async () => {
    const disk = memoryStore()
    const ws = await open(disk)
    await Promise.all(Array.from({ length: 50 }, (_, i) => ws.notes.create({ title: `n${i}`, body: "b" })))
    await ws.close()
    const tags = collection("tags", shape<{ name?: string }>())
    const again = await openWorkspace({ id: "w", collections: { notes, tags }, store: disk })
    const replica = replicaOf(again)
    await new Promise<void>((resolve) => {
      replica.onCommit(() => {
        stale = Math.max(stale, replica.stale.size)
        if (replica.stale.size === 0) resolve()
      })
    })
    await again.close()
  })

  it("makes no row of another collection stale", () => {
    expect(stale).toBe(0)
  })
})

/**
 * Makes Automerge fail as it does when WebAssembly has no memory left: from call number `calls` of `applyChanges` on.
 * Returns a function that ends this and says how many calls have failed.
 */
function exhaust(calls = 1): () => number {
  const prototype: Handle = Object.getPrototypeOf(newHandle("0".repeat(32)))
  const real = prototype.applyChanges
  let count = 0
  prototype.applyChanges = function (changes) {
    if (changes.length > 0 && ++count >= calls) throw new WebAssembly.RuntimeError("unreachable")
    return real.call(this, changes)
  }
  return () => {
    prototype.applyChanges = real
    return Math.max(0, count - calls + 1)
  }
}

describe("an update while WebAssembly has no memory", () => {
  const seen: { refusal?: string; bad?: number; later?: string; title?: string | undefined; error?: unknown } = {}

  beforeAll(async () => {
    await loadAutomerge()
    const disk = memoryStore()
    const ws = await open(disk)
    const { id } = await ws.notes.create({ title: "precious", body: "ten years of notes" })
    await ws.close()
    const again = await open(disk)
    const restore = exhaust()
    seen.refusal = await update("x").catch((error) => error.code)
    restore()
    seen.bad = (await disk.list(["w", "bad"])).length
    seen.later = await update("y").catch((error) => error.code)
    seen.title = again.notes.get(id)?.title
    seen.error = again.status.error
    await again.close()

    async function update(title: string): Promise<string> {
      await again.notes.update(id, (draft) => void Object.assign(draft, { title, body: title }))
      return "saved"
    }
  })

  it("is refused for now, and no change is marked as bad", () => {
    expect(seen).toEqual({ refusal: "DOCUMENT_FAILED", bad: 0, later: "saved", title: "y", error: null })
  })
})

describe("an app update during which WebAssembly has no memory", () => {
  const NOTES = 20
  const seen = { failures: 0, during: 0, after: 0, bad: 0 }

  beforeAll(async () => {
    await loadAutomerge()
    const disk = memoryStore()
    const ws = await open(disk)
    await Promise.all(Array.from({ length: NOTES }, (_, i) => ws.notes.create({ title: `n${i}`, body: "b" })))
    await ws.close()
    const fields = { body: text(), summary: text() }
    const next = {
      notes: collection("notes", shape<{ title?: string; body?: string; summary?: string }>(), { fields }),
    }
    const env = { ...systemEnv, sizes: { readRows: false } } // only Automerge makes rows
    const openNext = () => openWorkspace({ id: "w", collections: next, store: disk, env })
    const restore = exhaust(10)
    const during = await openNext()
    await new Promise((resolve) => setTimeout(resolve, 200)) // meanwhile the rows are made again, or Automerge fails
    seen.during = during.notes.all().length
    seen.failures = restore()
    await during.close()
    const after = await openNext()
    await new Promise((resolve) => setTimeout(resolve, 200))
    seen.after = after.notes.all().length
    seen.bad = (await disk.list(["w", "bad"])).length
    await after.close()
  })

  it("shows every note, both at that time and after a restart", () => {
    expect(seen).toEqual({ failures: expect.any(Number), during: NOTES, after: NOTES, bad: 0 })
    expect(seen.failures).toBeGreaterThan(0)
  })
})

describe("an id that is created again after the relay has refused its first change", () => {
  const seen: { stored?: string; refused?: boolean } = {}

  beforeAll(async () => {
    const relay = new ScriptedRelay()
    const ws = await open(memoryStore(), relay)
    await relay.settle()
    await greet(relay, "alice", 1)
    await ws.notes.create({ title: "today" }, { id: "today" })
    await relay.settle()
    const first = relay.last("push")
    const hashes = first.entries[0]!.chunks.map((chunk) => readChange(chunk).hash)
    for (const hash of hashes)
      relay.say({ t: "reject", w: "w", id: first.id, entity: "today", hash, code: "TOO_LARGE" })
    relay.say({ t: "ack", w: "w", id: first.id })
    await relay.settle()
    await ws.notes.create({ title: "today, shorter" }, { id: "today" })
    await relay.settle()
    const stored = ws.whenStored().then(
      () => "stored",
      (error) => error.code,
    )
    await store(relay, relay.last("push"), 3)
    seen.stored = await stored
    seen.refused = replicaOf(ws).rejected.get("today")?.has(hashes[0]!) === true
    await ws.close()
  })

  it("is stored, and its first change is no longer on the rejected list", () => {
    expect(seen).toEqual({ stored: "stored", refused: false })
  })
})

describe("a want that names a head which is not known here", () => {
  const EDITS = 50
  let pending = 0

  beforeAll(async () => {
    const relay = new ScriptedRelay()
    const ws = await open(memoryStore(), relay)
    await relay.settle()
    await greet(relay, "alice", 1)
    const { id } = await ws.notes.create({ body: "" })
    for (let i = 0; i < EDITS; i++) await ws.notes.update(id, (_draft, edit) => edit.splice("body", i, 0, "x"))
    for (let i = 0; i < 20 && ws.status.pending > 0; i++) {
      for (const push of relay.heard.splice(0)) if (push.t === "push") await store(relay, push, 2 + i)
      await relay.settle()
    }
    expect(ws.status.pending).toBe(0)
    relay.hangUp()
    await relay.pass(3000)
    relay.say({ t: "notice", w: "w", code: "CURSOR_UNKNOWN" })
    await relay.settle()
    relay.say({ t: "want", w: "w", page: [[id, ["ab".repeat(32)]]] })
    await relay.settle()
    pending = ws.status.pending
    await ws.close()
  })

  it("does not bring the whole history back into the outbox", () => {
    expect(pending).toBeLessThan(EDITS)
  })
})
