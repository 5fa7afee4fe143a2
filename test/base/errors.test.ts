import { readFileSync } from "node:fs"
import {
  type Code,
  codes,
  collection,
  HeadwaterError,
  openWorkspace,
  relayConnection,
  type Token,
  text,
  type Workspace,
} from "headwater"
import { type MemoryOptions, memoryStore } from "headwater/memory"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { z } from "zod"
import { replicaOf } from "../../src/app/workspace.ts"
import type { Env, Socket } from "../../src/base/env.ts"
import { hex } from "../../src/base/hash.ts"
import { keys } from "../../src/replica/disk/records.ts"
import { readChange } from "../../src/wire/chunk.ts"
import { cursorOf, type Entry, limits } from "../../src/wire/protocol.ts"
import { jsonIn, jsonWrite } from "../support/record.ts"
import { ScriptedRelay } from "../support/scripted-relay.ts"

test("every error code has its heading in docs/errors.md, and no other heading stands there", () => {
  const page = readFileSync(new URL("../../docs/errors.md", import.meta.url), "utf8")
  const headings = [...page.matchAll(/^### (\w+)$/gm)].map(([, code]) => code)
  expect([...headings].sort()).toEqual([...codes].sort())
})

test("an error carries its code, its details and its cause", () => {
  const cause = new Error("disk")
  const error = new HeadwaterError("STORE_FAILED", "no", { entity: "a", field: "b", retryAt: 5, cause })
  expect(error).toMatchObject({
    name: "HeadwaterError",
    code: "STORE_FAILED",
    entity: "a",
    field: "b",
    retryAt: 5,
    cause,
  })
  expect(error.message).toBe("STORE_FAILED: no")
})

const Note = z.object({ title: z.string().max(10), body: z.string().default(""), n: z.number().optional() })
const notes = collection("notes", Note, { fields: { body: text() } })
const later = collection(
  "later",
  Note.refine(async () => true),
)
const collections = { notes, later }
const w = "w"
const at = (position: number) => cursorOf(position, new Uint8Array(8).fill(7))
const first = { principal: "ann", access: "write", limits, time: 1_700_000_000_000, left: 0 } as const

let relay: ScriptedRelay
let step: MemoryOptions["step"]
let store: ReturnType<typeof memoryStore>
let ws: Workspace<typeof collections>
const opened = async (token?: Token) => {
  ws = await openWorkspace({ id: w, collections, store, env: relay.env, relay: { url: "ws://relay", token } })
  await relay.settle()
}
const level = async (position: number, more: object = {}) => {
  relay.say({ t: "entries", w, items: [], cursor: at(position), level: true, ...first, ...more })
  await relay.settle()
}
beforeEach(async () => {
  relay = new ScriptedRelay()
  step = undefined
  store = memoryStore({ step: (name) => step?.(name) })
  await opened()
  await level(1)
  await ws.notes.create({ title: "kept", body: "b" }, { id: "a" })
})
afterEach(() => ws.close())
/** Returns the changes of the last push. */
const pushed = () =>
  relay
    .last("push")
    .entries.flatMap(({ entity, chunks }) => chunks.map((chunk) => ({ entity, hash: readChange(chunk).hash })))
const refuse = async (code: Code, more: object = {}) => {
  const [change] = pushed()
  relay.say({ t: "reject", w, id: relay.last("push").id, ...change!, code, ...more })
  await relay.settle()
}

describe("an error names the entity, field or issue that it is about:", () => {
  const cases: [Code, object, () => unknown][] = [
    ["ENTITY_EXISTS", { entity: "a" }, () => ws.notes.create({ title: "T" }, { id: "a" })],
    ["ENTITY_NOT_FOUND", { entity: "x" }, () => ws.notes.update("x", () => {})],
    ["ENTITY_NOT_FOUND", { entity: "x" }, () => ws.notes.delete("x")],
    ["ENTITY_NOT_FOUND", { entity: "x" }, () => ws.notes.restore("x")],
    ["ENTITY_NOT_FOUND", { entity: "a" }, () => ws.later.delete("a")], // "a" is in another collection
    ["ENTITY_DELETED", { entity: "a" }, () => ws.notes.delete("a").then(() => ws.notes.update("a", () => {}))],
    ["ID_INVALID", {}, () => ws.notes.create({ title: "T" }, { id: "a b" })],
    [
      "NAME_MISMATCH",
      {},
      () => openWorkspace({ id: "v", store, collections: { notes: later } as never, env: relay.env }),
    ],
    [
      "SCHEMA_ISSUES",
      { field: "title", issues: [expect.objectContaining({ path: ["title"] })] },
      () => ws.notes.create({ title: "much too long" }),
    ],
    [
      "SCHEMA_ISSUES",
      { field: "title", issues: [expect.objectContaining({ path: ["title"] })] },
      () => ws.notes.update("a", (draft) => void (draft.title = "much too long")),
    ],
    ["SCHEMA_ASYNC", {}, () => ws.later.create({ title: "T" })],
    ["UPDATE_ASYNC", {}, () => ws.notes.update("a", async () => {})],
    [
      "EDIT_MIXED",
      { field: "body" },
      () =>
        ws.notes.update("a", (draft, edit) => {
          draft.body = "x"
          edit.splice("body", 0, 0, "y")
        }),
    ],
    ["SPLICE_RANGE", { field: "body" }, () => ws.notes.update("a", (_, edit) => edit.splice("body", 9, 0, "y"))],
    [
      "FIELD_KIND",
      { field: "title" },
      () => ws.notes.update("a", (_, edit) => edit.splice("title" as never, 0, 0, "y")),
    ],
    ["VALUE_UNSUPPORTED", { field: "n" }, () => ws.notes.update("a", (draft) => void (draft.n = 2 ** 60))],
    ["TOO_LARGE", {}, () => ws.notes.update("a", (draft) => void (draft.body = "x".repeat(2 ** 21)))],
    ["STORE_IN_USE", {}, () => openWorkspace({ id: w, collections, store, env: relay.env })],
    [
      "CLOSED",
      {},
      async () => {
        const closed = relayConnection({ url: "ws://relay" })
        await closed.close()
        ws.connect(closed)
      },
    ],
  ]

  test.each(cases)("%s %j", async (code, details, provoke) => {
    const before = await ws.notes.read("a")
    const error = await Promise.resolve()
      .then(provoke)
      .catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(HeadwaterError)
    const { entity, field, issues } = error as HeadwaterError
    expect({ code: (error as HeadwaterError).code, entity, field, issues }).toEqual({ code, ...details })
    expect((error as Error).message).toMatch(new RegExp(`^${code}: .{10,}`))
    if (code !== "ENTITY_DELETED") expect(await ws.notes.read("a")).toEqual(before)
  })
})

test("STORE_FAILED has the disk's error as its cause, and the next write tries again", async () => {
  const cause = new Error("the disk is full")
  step = (name) => {
    if (name === "commit") throw cause
  }
  const write = () => ws.notes.update("a", (draft) => void (draft.title = "U"))
  await expect(write()).rejects.toMatchObject({ code: "STORE_FAILED", cause })
  expect(ws.notes.get("a")?.title).toBe("kept")
  step = undefined
  expect((await write()).title).toBe("U")
})

test.each([
  ["1", [keys.state(w), JSON.stringify({ cursor: null, format: 1 })]],
  ["2", jsonWrite(keys.state(w), { cursor: null, format: 2 })],
] as const)(
  "STORE_FORMAT refuses to open what a version of format %s wrote, and overwrites none of it",
  async (_, old) => {
    await ws.close()
    const release = await store.claim("another")
    const state = await store.get(keys.state(w))
    await store.commit([old])
    const before = await store.list([])
    await expect(opened()).rejects.toMatchObject({ code: "STORE_FORMAT" })
    expect(await store.list([])).toEqual(before)
    await store.commit([[keys.state(w), state]])
    await release()
    await opened()
  },
)

test("STORE_FORMAT refuses to open what a newer version wrote, and overwrites none of it", async () => {
  await ws.close()
  const release = await store.claim("another")
  const state = jsonIn(await store.get(keys.state(w)))
  await store.commit([jsonWrite(keys.state(w), { ...state, format: state.format + 1 })])
  const before = await store.list([])
  await expect(opened()).rejects.toMatchObject({ code: "STORE_FORMAT" })
  expect(await store.list([])).toEqual(before)
  await store.commit([jsonWrite(keys.state(w), state)])
  await release()
  await opened()
})

test("every write to any row fails with READ_ONLY and saves nothing", async () => {
  await level(2, { access: "read" })
  const before = await store.list([])
  const writes = [
    () => ws.notes.create({ title: "T" }),
    () => ws.notes.create({ title: "T" }, { id: "a" }),
    () => ws.notes.update("a", () => {}),
    () => ws.notes.update("nobody", () => {}),
    () => ws.notes.delete("a"),
    () => ws.notes.restore("a"),
  ]
  for (const write of writes) await expect(write()).rejects.toMatchObject({ code: "READ_ONLY" })
  expect(await store.list([])).toEqual(before)
})

describe("PROTOCOL_VERSION", () => {
  test.each([4406, 1002])("is the error after a close with %i, and the relay is dialled again", async (code) => {
    await ws.close()
    let socket: Socket | undefined
    const dial: Env["dial"] = (...args) => (socket = relay.env.dial(...args))
    ws = await openWorkspace({ id: w, collections, store, env: { ...relay.env, dial }, relay: { url: "ws://relay" } })
    await relay.settle()
    socket?.onclose?.(code, "")
    expect(ws.status).toMatchObject({ phase: "offline", error: { code: "PROTOCOL_VERSION" } })
    expect(ws.status.retryAt).toBeGreaterThan(relay.now)
    await ws.notes.update("a", (draft) => void (draft.title = "offline"))
  })

  test("is the error after an entry of an unsupported kind, and the cursor stays before that entry", async () => {
    const { pending } = ws.status
    const tombstone: Entry = {
      entity: "gone",
      collection: "notes",
      kind: "tombstone",
      chunks: [],
      mac: new Uint8Array(32),
    }
    relay.say({ t: "entries", w, items: [{ entry: tombstone }], cursor: at(9), ...first })
    await relay.pass(100)
    expect(ws.status).toMatchObject({ phase: "syncing", error: { code: "PROTOCOL_VERSION", entity: "gone" }, pending })
    await relay.pass(1000)
    expect(replicaOf(ws).state.cursor).toBe(hex(at(1)))
    expect(ws.notes.get("a")?.title).toBe("kept")
  })
})

describe("TOKEN_EXPIRED", () => {
  test("of a change keeps it in the outbox until a later try", async () => {
    const [change] = pushed()
    await refuse("TOKEN_EXPIRED", { retryIn: 5000 })
    relay.say({ t: "ack", w, id: relay.last("push").id, at: at(2) })
    await relay.settle()
    expect(ws.status).toMatchObject({ phase: "live", error: { code: "TOKEN_EXPIRED", entity: "a" } })
    expect(ws.status.pending).toBeGreaterThan(0)
    const pushes = relay.count("push")
    await relay.pass(4000)
    expect(relay.count("push")).toBe(pushes)
    await relay.pass(1500)
    expect(relay.count("push")).toBe(pushes + 1)
    expect(pushed()).toContainEqual(change)
  })

  test("of a connection makes the next dial ask for another token", async () => {
    await ws.close()
    const asked: string[] = []
    await opened(({ reason }) => {
      asked.push(reason)
      return `token ${asked.length}`
    })
    relay.say({ t: "notice", code: "TOKEN_EXPIRED" })
    await relay.settle()
    expect(ws.status.error?.code).toBe("TOKEN_EXPIRED")
    relay.hangUp()
    await relay.pass(1000)
    expect(asked).toEqual(["open", "refused"])
    await level(1)
    expect(ws.status).toMatchObject({ phase: "live", error: null })
  })
})

describe("the relay's", () => {
  test.each(["QUOTA", "RATE", "LOG_FAILED", "FORBIDDEN"] as const)("%s is shown and keeps the outbox", async (code) => {
    const { pending } = ws.status
    await refuse(code, { retryIn: 5000 })
    expect(ws.status).toMatchObject({ phase: "live", pending, error: { code, entity: "a" } })
    expect(ws.notes.get("a")?.title).toBe("kept")
  })

  test("refusal for good is REJECTED in status and in whenStored, and the refused note is no longer shown", async () => {
    const stored = expect(ws.whenStored()).rejects.toMatchObject({ code: "REJECTED" })
    await refuse("CHUNK_BAD")
    await stored
    expect(ws.status).toMatchObject({ pending: 0, error: { code: "REJECTED", entity: "a" } })
    expect(ws.notes.get("a")).toBeUndefined()
  })

  test("silence is RELAY_UNREACHABLE, with the time of the next dial in status", async () => {
    relay.silent = true
    relay.hangUp()
    expect(ws.status).toMatchObject({ error: { code: "RELAY_UNREACHABLE" }, retryAt: relay.now + 1000 })
    await relay.pass(1000 + 15_000)
    expect(ws.status).toMatchObject({ phase: "offline", error: { code: "RELAY_UNREACHABLE" } })
  })
})
