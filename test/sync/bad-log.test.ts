/**
 * One log of a relay fails. Its workspace waits until the log is mended, and the other workspaces of the connection go
 * on.
 */
import { createHash } from "node:crypto"
import { rmSync, writeFileSync } from "node:fs"
import path from "node:path"
import { collection, openWorkspace, type Relay, relayConnection, shape, type Workspace } from "headwater"
import { memoryStore } from "headwater/memory"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { replicaOf } from "../../src/app/workspace.ts"
import type { Env } from "../../src/base/env.ts"
import { systemEnv } from "../../src/sync/system.ts"
import { hashOf } from "../../src/wire/chunk.ts"
import type { RelayMessage } from "../../src/wire/protocol.ts"
import { at, first } from "../support/foreign.ts"
import { startRelay, type TestRelay } from "../support/relay.ts"
import { ScriptedRelay } from "../support/scripted-relay.ts"
import { until } from "../support/until.ts"

const notes = collection("notes", shape<{ title: string }>())
type Notes = Workspace<{ notes: typeof notes }>
const opened: Notes[] = []
async function open(id: string, relay: Relay, env: Env = systemEnv): Promise<Notes> {
  const ws = await openWorkspace({ id, collections: { notes }, store: memoryStore(), relay, env })
  opened.push(ws)
  return ws
}
afterEach(async () => {
  for (const ws of opened.splice(0)) await ws.close()
})

/** Writes a note and waits until the relay has stored it. */
async function store(ws: Notes, title: string): Promise<void> {
  await ws.notes.create({ title })
  await ws.whenStored()
}
const failed = ({ status }: Notes) => status.error?.code === "LOG_FAILED" && status.error.retryAt !== undefined

describe("two workspaces share a connection to a real relay, and the log of one", () => {
  let relay: TestRelay
  let connection: Relay
  let dials: number
  const env: Env = {
    ...systemEnv,
    dial: (...call) => {
      dials++
      return systemEnv.dial(...call)
    },
  }
  const nameOf = (workspace: string) => createHash("sha256").update(workspace).digest("hex")
  beforeEach(async () => {
    dials = 0
    relay = await startRelay({ sizes: { retryMs: 100, recentBytes: 0 } })
    connection = relayConnection({ url: relay.url })
  })
  afterEach(() => relay[Symbol.asyncDispose]())

  test("cannot be opened: the other goes on, and the first is served once its log can be opened", async () => {
    const folder = path.join(relay.folder, nameOf("bad"))
    writeFileSync(folder, "not a folder")
    const [bad, good] = [await open("bad", connection, env), await open("good", connection, env)]
    await bad.notes.create({ title: "waits" })
    await until(() => failed(bad), bad)
    await store(good, "stored")
    expect(good.status).toMatchObject({ phase: "live", pending: 0, error: null })
    expect(bad.status).toMatchObject({ phase: "syncing", connected: true, pending: 2 })
    rmSync(folder)
    await bad.whenStored()
    await bad.whenSynced()
    expect(bad.status).toMatchObject({ phase: "live", pending: 0, error: null })
    await store(good, "goes on")
    expect(dials).toBe(1)
  })

  test("cannot be written: the other goes on, and the first one's changes are stored once that is mended", async () => {
    const [bad, good] = [await open("bad", connection, env), await open("good", connection, env)]
    await store(bad, "before")
    relay.disk.break(nameOf("bad"))
    await bad.notes.create({ title: "waits" })
    await until(() => failed(bad), bad)
    await store(good, "stored")
    expect(bad.status).toMatchObject({ connected: true, pending: 2 })
    relay.disk.mend()
    await bad.whenStored() // the retry of the push may come before or after the retry of the pull
    await bad.whenSynced()
    expect(bad.status).toMatchObject({ pending: 0, error: null })
    expect(dials).toBe(1)
  })

  test("cannot be read: the other goes on, and the first gets its entries once that is mended", async () => {
    const writer = await open("bad", relayConnection({ url: relay.url }))
    await store(writer, "one")
    relay.disk.break(nameOf("bad"))
    const [bad, good] = [await open("bad", connection, env), await open("good", connection, env)]
    await until(() => failed(bad), bad)
    await store(good, "stored")
    expect(bad.notes.all()).toEqual([])
    relay.disk.mend()
    await bad.whenSynced()
    expect(bad.notes.all()).toMatchObject([{ title: "one" }])
    expect(bad.status).toMatchObject({ phase: "live", error: null })
    expect(dials).toBe(1)
  })
})

describe("a notice of LOG_FAILED for one workspace", () => {
  let relay: ScriptedRelay
  let bad: Notes
  let good: Notes
  const level = (w: string): RelayMessage => ({ t: "entries", w, items: [], cursor: at(1), level: true, ...first })
  const pulls = (w: string) => relay.heard.filter((message) => message.t === "pull" && message.w === w).length
  beforeEach(async () => {
    relay = new ScriptedRelay()
    const connection = relayConnection({ url: "ws://relay" })
    bad = await open("bad", connection, relay.env)
    good = await open("good", connection, relay.env)
    await relay.settle()
    relay.say(level("bad"), level("good"))
    await relay.pass(100)
  })

  test("makes it pull again after retryIn, then after twice as long, and disturbs no other one", async () => {
    const failed: RelayMessage = { t: "notice", w: "bad", code: "LOG_FAILED", retryIn: 4000 }
    expect([pulls("bad"), pulls("good")]).toEqual([1, 1])
    relay.say(failed)
    await relay.pass(3900)
    expect(bad.status).toMatchObject({ phase: "syncing", connected: true, error: { code: "LOG_FAILED" } })
    expect(good.status).toMatchObject({ phase: "live", error: null })
    expect(pulls("bad")).toBe(1)
    await relay.pass(200)
    expect(pulls("bad")).toBe(2)
    relay.say(failed)
    await relay.pass(7900)
    expect(pulls("bad")).toBe(2)
    await relay.pass(200)
    expect(pulls("bad")).toBe(3)
    relay.say(level("bad"))
    await relay.pass(100)
    expect(bad.status).toMatchObject({ phase: "live", error: null })
    expect([pulls("good"), relay.dials.length]).toEqual([1, 1])
  })

  test("in a heal makes it begin a new heal, which the late end of the former one does not end", async () => {
    relay.say({ t: "notice", w: "bad", code: "CURSOR_UNKNOWN" })
    await relay.settle()
    relay.say({ t: "want", w: "bad", page: [] }, { t: "notice", w: "bad", code: "LOG_FAILED", retryIn: 1000 })
    await relay.pass(1100)
    expect(relay.count("have")).toBe(2)
    const healed: RelayMessage = { t: "entries", w: "bad", items: [], cursor: at(5), level: true, ...first }
    relay.say(healed)
    await relay.pass(100)
    expect(replicaOf(bad).state.heal).toBe(true)
    relay.say({ t: "want", w: "bad", page: [] }, { t: "entries", w: "bad", items: [], ...first }, healed)
    await relay.pass(100)
    expect(replicaOf(bad).state.heal).toBe(false)
    expect(bad.status).toMatchObject({ phase: "live", error: null })
  })

  test("makes it push again what was under way, and ignore an ack that comes late", async () => {
    await bad.notes.create({ title: "owed" })
    await relay.settle()
    const { id } = relay.last("push")
    relay.say({ t: "notice", w: "bad", code: "LOG_FAILED", retryIn: 1000 }, { t: "ack", w: "bad", id, at: at(2) })
    await relay.pass(500)
    expect(bad.status.pending).toBe(2)
    await relay.pass(600)
    relay.say(level("bad"))
    await relay.settle()
    expect(relay.count("push")).toBe(2)
    relay.say({ t: "ack", w: "bad", id: relay.last("push").id, at: at(2) })
    await relay.settle()
    expect(bad.status).toMatchObject({ pending: 0, error: null })
  })
})

test("an ack for a push that was refused is no progress, so the wait for the relay goes on doubling", async () => {
  const relay = new ScriptedRelay()
  relay.answer = (message) => {
    if (message.t === "pull") return [{ t: "entries", w: "w", items: [], cursor: at(1), level: true, ...first }]
    if (message.t !== "push") return []
    const { id, entries } = message
    const rejects = entries.flatMap(({ entity, chunks }) =>
      chunks.map(
        (chunk): RelayMessage => ({ t: "reject", w: "w", id, entity, hash: hashOf(chunk), code: "LOG_FAILED" }),
      ),
    )
    return [...rejects, { t: "ack", w: "w", id }, 1001]
  }
  const ws = await open("w", relayConnection({ url: "ws://relay" }), relay.env)
  await ws.notes.create({ title: "owed" })
  await relay.pass(10 * 60_000)
  expect(relay.dials.length).toBeLessThan(15)
  expect(ws.status.pending).toBe(2)
})
