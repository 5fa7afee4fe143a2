import { subscribe, unsubscribe } from "node:diagnostics_channel"
import { mkdtempSync, rmSync } from "node:fs"
import type { Socket } from "node:net"
import { tmpdir } from "node:os"
import path from "node:path"
import { collection, openWorkspace, relayConnection, text } from "headwater"
import { nodeStore } from "headwater/node"
import { createRelay } from "headwater-relay"
import { afterEach, beforeEach, expect, test } from "vitest"
import { z } from "zod"
import { until } from "../support/until.ts"

// The whole way of a keystroke from device to device, with LevelDB, sockets and segment files.
const notes = collection("notes", z.object({ title: z.string(), body: z.string().default("") }), {
  fields: { body: text() },
})
const tasks = collection("tasks", z.object({ done: z.boolean() }))
let folder: string
let ends: (() => Promise<unknown>)[]
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), "headwater-line-"))
  ends = []
})
afterEach(async () => {
  for (const end of ends.reverse()) await end()
  rmSync(folder, { recursive: true, force: true })
})
const relayOn = async (port = 0) => {
  const relay = await createRelay({ host: "127.0.0.1", port, data: path.join(folder, "relay") })
  ends.push(() => relay.close())
  return relay
}
const device = async (name: string, url: string, id = "w") => {
  const ws = await openWorkspace({
    id,
    collections: { notes, tasks },
    store: nodeStore(path.join(folder, name)),
    relay: { url },
  })
  ends.push(() => ws.close())
  return ws
}

test("a keystroke on A is on B's screen, through a real disk and a real socket", async () => {
  const { url } = await relayOn()
  const [a, b] = [await device("a", url), await device("b", url)]
  const { id } = await a.notes.create({ title: "T", body: "hello" })
  await a.whenStored()
  await until(() => b.notes.get(id)?.body === "hello", b)
  await b.notes.update(id, (_, edit) => edit.splice("body", 5, 0, " world"))
  await until(() => a.notes.get(id)?.body === "hello world", a)
  await b.whenStored()
  expect(a.status).toMatchObject({ phase: "live", pending: 0, complete: true, principal: "local", access: "write" })
  expect(a.notes.get(id)).toMatchObject({ $sync: "stored", $pending: false, $createdBy: "local", $dirtyFields: [] })
  await until(() => JSON.stringify(a.notes.all()) === JSON.stringify(b.notes.all()), a, b)
})

test("edits made offline on both sides merge when the relay is back", async () => {
  const relay = await relayOn()
  const [a, b] = [await device("a", relay.url), await device("b", relay.url)]
  const { id } = await a.notes.create({ title: "T", body: "base text" })
  await until(() => b.notes.get(id) !== undefined, b)
  await relay.close()
  await until(() => !a.status.connected && !b.status.connected, a, b)
  await a.notes.update(id, (_, edit) => edit.splice("body", 0, 0, "A "))
  await b.notes.update(id, (draft, edit) => {
    draft.title = "B"
    edit.splice("body", 9, 0, " B")
  })
  expect([a.status.pending, b.status.pending]).toEqual([1, 1])
  await relayOn(relay.port)
  a.connect()
  b.connect()
  await Promise.all([a.whenStored(), b.whenStored()])
  const merged = { body: "A base text B", title: "B" }
  const shows = (ws: typeof a) => ws.notes.get(id)?.body === merged.body && ws.notes.get(id)?.title === merged.title
  await until(() => shows(a) && shows(b), a, b)
})

test("a new device holds and shows everything once it is synced", async () => {
  const { url } = await relayOn()
  const a = await device("a", url)
  await Promise.all(Array.from({ length: 300 }, (_, i) => a.notes.create({ title: `n${i}`, body: "x".repeat(100) })))
  await a.whenStored()
  const b = await device("b", url)
  await b.whenSynced()
  expect(b.notes.all().map(({ title }) => title)).toEqual(a.notes.all().map(({ title }) => title))
  expect(b.notes.all().some((row) => row.$stale)).toBe(false)
})

test("several workspaces share one socket and one store", async () => {
  const { url, port } = await relayOn()
  let sockets = 0
  const accepted = (message: unknown) => {
    if ((message as { socket: Socket }).socket.localPort === port) sockets++
  }
  subscribe("net.server.socket", accepted)
  ends.push(async () => unsubscribe("net.server.socket", accepted))
  const [store, relay] = [nodeStore(path.join(folder, "a")), relayConnection({ url })]
  const [one, two, three] = await Promise.all(
    ["one", "two", "three"].map((id) => openWorkspace({ id, collections: { notes }, store, relay })),
  )
  ends.push(
    () => relay.close(),
    () => one!.close(),
    () => two!.close(),
    () => three!.close(),
  )
  await one!.notes.create({ title: "in one" })
  await Promise.all([one!.whenStored(), one!.whenSynced(), two!.whenSynced(), three!.whenSynced()])
  expect([one, two, three].map((ws) => ws!.notes.all().length)).toEqual([1, 0, 0])
  expect(sockets).toBe(1)
  await one!.close()
  await two!.notes.create({ title: "in two" })
  await two!.whenStored()
  three!.disconnect()
  three!.connect()
  await three!.whenSynced()
  expect(sockets).toBe(2) // a workspace that connects again needs a new socket, and the others move to the new one
  await device("b", url, "two")
  await until(() => sockets === 3) // device b dials a socket of its own
})

test("a disconnected workspace works offline until connect", async () => {
  const { url } = await relayOn()
  const a = await device("a", url)
  await a.whenSynced()
  a.disconnect()
  expect(a.status).toMatchObject({ phase: "offline", connected: false })
  const waiting = a.whenStored()
  await a.tasks.create({ done: false })
  await waiting // resolves, because nothing was owed when whenStored was called
  a.connect()
  await a.whenStored()
  expect(a.status.pending).toBe(0)
})

test("whenStored rejects when its signal aborts, and when the workspace is closed", async () => {
  const { url, close } = await relayOn()
  const a = await device("a", url)
  await close()
  await a.tasks.create({ done: true })
  await expect(a.whenStored({ signal: AbortSignal.timeout(50) })).rejects.toThrow(/timeout|abort/i)
  const ended = expect(a.whenStored()).rejects.toMatchObject({ code: "CLOSED" })
  await a.close()
  await ended
})
