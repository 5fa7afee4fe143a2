/** Workspaces that begin to use a socket which other workspaces keep open, leave it, and connect again. */
import { collection, openWorkspace, type Relay, relayConnection, shape, type Workspace } from "headwater"
import { memoryStore } from "headwater/memory"
import { afterEach, expect, test } from "vitest"
import type { Env } from "../../src/base/env.ts"
import { keys, readState, refuseDamaged } from "../../src/replica/disk/records.ts"
import type { Store } from "../../src/store/store.ts"
import { systemEnv } from "../../src/sync/system.ts"
import { cursorOf, limits, position } from "../../src/wire/protocol.ts"
import { note, startRelay } from "../support/relay.ts"
import { ScriptedRelay } from "../support/scripted-relay.ts"
import { until } from "../support/until.ts"

const notes = collection("notes", shape<{ title: string }>())
const opened: Workspace<{ notes: typeof notes }>[] = []
async function open(id: string, relay: Relay | { url: string }, more: { store?: Store; env?: object } = {}) {
  const ws = await openWorkspace({ id, collections: { notes }, store: memoryStore(), relay, ...more })
  opened.push(ws)
  return ws
}
afterEach(async () => {
  for (const ws of opened.splice(0)) await ws.close()
})

/** Makes a network whose relay accepts every dial and sends nothing. */
function bare() {
  const relay = new ScriptedRelay()
  return { env: relay.env, settle: () => relay.settle() }
}
const at = (position: number) => cursorOf(position, new Uint8Array(8).fill(7))
const first = { principal: "ann", access: "write", limits, time: 1_700_000_000_000, left: 0 } as const

test("a late ack of a workspace's earlier session stands for no push of its new session", async () => {
  await using relay = await startRelay()
  const shared = relayConnection({ url: relay.url })
  const home = await open("home", shared)
  const ws = await open("w", shared)
  await ws.notes.create({ title: "first" })
  await ws.whenStored()
  const log = await relay.log("w")
  relay.disk.hold()
  await ws.notes.create({ title: "A" })
  await until(() => log.appended === 2)
  ws.disconnect()
  await ws.notes.create({ title: "B" })
  ws.connect()
  await until(() => log.appended === 3)
  let stored = false
  void ws.whenStored().then(() => (stored = true))
  relay.disk.release()
  relay.disk.hold() // so the first of the two entries is flushed, and the second is not
  await until(() => position(log.end) === 2)
  await home.whenSynced()
  expect([stored, ws.status.pending > 0]).toEqual([false, true])
  relay.disk.release()
  await until(() => stored) // looks every few ms, because no event tells that the promise has resolved
  expect(position(log.end)).toBe(3)
})

test("a workspace that comes back does not miss entries that were sent to it while it was gone", async () => {
  const relay = new ScriptedRelay()
  const { env } = relay
  const shared = relayConnection({ url: "ws://relay" })
  await open("home", shared, { env })
  const store = memoryStore()
  const ws = await open("w", shared, { env, store })
  await relay.settle()
  relay.say({ t: "entries", w: "w", items: [], cursor: at(10), level: true, ...first })
  await relay.settle()
  const entry = (id: string, actor: string) => ({ entry: { ...note(id, actor.repeat(32)), by: "bob" } })
  ws.disconnect()
  relay.say({ t: "entries", w: "w", items: [entry("e11", "a")], cursor: at(11), level: true })
  const before = relay.dials.length
  const sayAsBefore = relay.mouth()
  ws.connect()
  await relay.settle()
  sayAsBefore({ t: "entries", w: "w", items: [entry("e12", "b")], cursor: at(12), level: true })
  await relay.pass(200)
  expect((await readState(store, "w", refuseDamaged))?.cursor).toBe(Buffer.from(at(10)).toString("hex"))
  expect(await store.list(keys.changesOf("w", "e12"))).toEqual([])
  expect(relay.dials.length).toBe(before + 1)
})

test("a workspace that is opened again on a new store is sent everything", async () => {
  await using relay = await startRelay()
  const shared = relayConnection({ url: relay.url })
  await open("home", shared)
  const one = await open("w", shared)
  await one.notes.create({ title: "mine" })
  await one.whenStored()
  await one.close()
  const two = await open("w", shared)
  await two.whenSynced()
  expect(two.notes.all().map(({ title }) => title)).toEqual(["mine"])
})

test("more workspaces may come and go than a relay allows on one socket", async () => {
  await using relay = await startRelay()
  const shared = relayConnection({ url: relay.url })
  let sockets = 0
  const env: Env = {
    ...systemEnv,
    dial: (...call) => {
      sockets++
      return systemEnv.dial(...call)
    },
  }
  const home = await open("home", shared, { env })
  const socketsBefore: number[] = []
  for (let i = 0; i < limits.workspaces + 4; i++) {
    socketsBefore.push(sockets)
    const ws = await openWorkspace({ id: `w${i}`, collections: { notes }, store: memoryStore(), relay: shared, env })
    await ws.whenSynced()
    expect(ws.status).toMatchObject({ phase: "live", complete: true, error: null })
    await ws.close()
  }
  // The first workspace beyond the limit gets a second socket, and `home`, which stays open, moves to it.
  expect(socketsBefore.indexOf(2)).toBe(limits.workspaces)
  expect(sockets).toBe(2)
  await home.notes.create({ title: "still served" })
  await home.whenStored()
  expect(home.status).toMatchObject({ phase: "live", pending: 0, error: null })
})

test("a closed connection rejects whenStored and whenSynced of its workspaces", async () => {
  const { env, settle } = bare()
  const shared = relayConnection({ url: "ws://relay" })
  const ws = await open("w", shared, { env })
  await ws.notes.create({ title: "owed" })
  const waits = [ws.whenStored(), ws.whenSynced()].map((wait) => wait.catch(({ code }) => code))
  await shared.close()
  await settle()
  expect(await Promise.all(waits)).toEqual(["CLOSED", "CLOSED"])
  await expect(ws.whenStored()).rejects.toMatchObject({ code: "CLOSED" })
  expect(() => ws.connect(shared)).toThrow("closed")
  ws.connect({ url: "ws://relay" })
  await settle()
  expect(ws.status.phase).toBe("syncing")
})

test("a connect that throws leaves the workspace as it was", async () => {
  const { env, settle } = bare()
  const shared = relayConnection({ url: "ws://relay" })
  await open("w", shared, { env })
  const ws = await open("w", { url: "ws://relay" }, { env })
  await settle()
  expect(() => ws.connect(shared)).toThrow("is open on this relay connection already")
  expect(ws.status).toMatchObject({ phase: "syncing", connected: true })
  ws.disconnect()
  ws.connect()
  await settle()
  expect(ws.status).toMatchObject({ phase: "syncing", connected: true })
})
