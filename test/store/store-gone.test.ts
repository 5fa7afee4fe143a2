import { existsSync } from "node:fs"
import { mkdir, rename, rm, writeFile } from "node:fs/promises"
import path from "node:path"
import { ClassicLevel } from "classic-level"
import { collection, openWorkspace, shape } from "headwater"
import { nodeStore } from "headwater/node"
import { afterEach, beforeEach, expect, test } from "vitest"
import { systemEnv } from "../../src/sync/system.ts"
import { newFolder, removeFolder } from "../support/store/fixtures.ts"
import { until } from "../support/until.ts"

const notes = collection("notes", shape<{ title: string }>())
let parent: string
let folder: string
beforeEach(async () => {
  parent = await newFolder()
  folder = path.join(parent, "data")
})
afterEach(() => removeFolder(parent))

/** A clock whose background timers fire only when a test calls `pass`. */
function slowClock() {
  const waiting = new Map<() => void, number>()
  const after: typeof systemEnv.after = (ms, f, background) => {
    if (!background) return systemEnv.after(ms, f)
    waiting.set(f, ms)
    return () => void waiting.delete(f)
  }
  return {
    env: { ...systemEnv, after },
    waiting,
    pass() {
      for (const f of [...waiting.keys()]) {
        waiting.delete(f)
        f()
      }
    },
  }
}
const opened = (env: object = systemEnv) =>
  openWorkspace({ id: "w", collections: { notes }, store: nodeStore(folder), env })

const removals: [string, () => Promise<void>][] = [
  ["removed", () => rm(folder, { recursive: true })],
  ["moved", () => rename(folder, path.join(parent, "elsewhere"))],
  [
    "replaced",
    async () => {
      await rm(folder, { recursive: true })
      await mkdir(folder)
      await writeFile(path.join(folder, "LOCK"), "")
    },
  ],
]

test.each(removals)("a folder that was %s is noticed within 5 s, even if nothing is written", async (_, remove) => {
  const clock = slowClock()
  const ws = await opened({ ...clock.env, sizes: { foldedHistories: 0 } }) // so that no timer waits for a fold
  await ws.notes.create({ title: "saved" })
  expect([...clock.waiting.values()]).toEqual([5000, 5000]) // for the folder, and for the clock
  clock.pass()
  await until(() => clock.waiting.size === 2) // the folder was found, and both timers are set again
  expect(ws.status.error).toBe(null)
  await remove()
  const told: (string | undefined)[] = []
  ws.onStatus(({ phase, error }) => told.push(`${phase} ${error?.code}`))
  clock.pass()
  await until(() => told.length > 0)
  expect(told).toEqual(["error STORE_GONE"])
  await expect(ws.notes.create({ title: "lost" })).rejects.toMatchObject({ code: "STORE_GONE" })
  expect(ws.notes.all().map(({ title }) => title)).toEqual(["saved"])
  await ws.close()
  expect(clock.waiting.size).toBe(0)
})

test.each(removals)("no write to a folder that was %s counts as saved", async (_, remove) => {
  const ws = await opened(slowClock().env)
  await ws.notes.create({ title: "saved" })
  await remove()
  await expect(ws.notes.create({ title: "lost" })).rejects.toMatchObject({ code: "STORE_GONE" })
  expect(ws.status.error?.code).toBe("STORE_GONE")
  await ws.close()
})

test.each(removals)("every workspace in a folder that was %s notices, even if it only reads", async (_, remove) => {
  const store = nodeStore(folder)
  const clocks = ["a", "b", "c"].map((id) => ({ id, ...slowClock() }))
  const all = await Promise.all(clocks.map(({ id, env }) => openWorkspace({ id, collections: { notes }, store, env })))
  await remove()
  for (const { pass } of clocks) pass()
  await until(() => all.every(({ status }) => status.phase === "error"))
  expect(all.map(({ status }) => status.error?.code)).toEqual(["STORE_GONE", "STORE_GONE", "STORE_GONE"])
  for (const ws of all) await ws.close()
})

test("a removed folder is not made again by a read that must open the database again", async () => {
  const db = new ClassicLevel<string, Buffer>(folder, { valueEncoding: "buffer" })
  const store = nodeStore(folder, () => db)
  const release = await store.claim("w")
  const [batch, open] = [db.batch, db.open]
  const fail = () => Promise.reject(new Error("EIO"))
  Object.assign(db, { batch: () => ({ put() {}, write: fail }), open: fail })
  await expect(store.commit([[["k"], "v"]])).rejects.toMatchObject({ code: "STORE_FAILED" })
  await rm(folder, { recursive: true })
  await expect(store.look?.()).rejects.toMatchObject({ code: "STORE_GONE" })
  Object.assign(db, { batch, open })
  for (let i = 0; i < 2; i++) await expect(store.get(["k"])).rejects.toMatchObject({ code: "STORE_GONE" })
  expect(existsSync(folder)).toBe(false)
  await release()
})

test("a store that could not be opened takes whatever folder it finds the next time", async () => {
  const db = new ClassicLevel<string, Buffer>(folder, { valueEncoding: "buffer" })
  const store = nodeStore(folder, () => db)
  const { get } = db
  db.get = () => Promise.reject(new Error("EIO"))
  await expect(store.claim("w")).rejects.toMatchObject({ code: "STORE_FAILED" })
  expect(db.status).toBe("closed")
  await rm(folder, { recursive: true })
  db.get = get
  const release = await store.claim("w")
  await store.commit([[["k"], "v"]])
  await release()
})

test("a workspace that is opened again after its folder was removed has an empty store that works", async () => {
  let ws = await opened()
  await rm(folder, { recursive: true })
  await expect(ws.notes.create({ title: "lost" })).rejects.toMatchObject({ code: "STORE_GONE" })
  await ws.close()
  ws = await opened()
  await ws.notes.create({ title: "anew" })
  expect(ws.status.error).toBe(null)
  await ws.close()
})
